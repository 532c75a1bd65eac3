"""Reference networks, by name."""

from asi_verify.zoo.cnn3d import CNN3D
from asi_verify.zoo.cnn7 import CNN7
from asi_verify.zoo.pooled_mlp import PooledMLP
from asi_verify.zoo.resnet import ResNet18, ResNet50
from asi_verify.zoo.small_cnn import SmallCNN
from asi_verify.zoo.table import ARCHITECTURES, architecture, build, options_of, require_options
from asi_verify.zoo.vit import ViT

__all__ = [
    "ARCHITECTURES",
    "CNN3D",
    "CNN7",
    "PooledMLP",
    "ResNet18",
    "ResNet50",
    "SmallCNN",
    "ViT",
    "architecture",
    "build",
    "options_of",
    "require_options",
]
