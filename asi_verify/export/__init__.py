"""Between torch, ``Network`` and the artifact, with the parity gate that they all have to pass."""

from asi_verify.export.artifact import Artifact
from asi_verify.export.load import ModelLike, load_model
from asi_verify.export.parity import require_parity
from asi_verify.export.torch_export import network_from_torch
from asi_verify.export.torch_module import NetworkModule

__all__ = [
    "Artifact",
    "ModelLike",
    "NetworkModule",
    "load_model",
    "network_from_torch",
    "require_parity",
]
