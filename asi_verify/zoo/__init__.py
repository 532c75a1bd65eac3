"""Reference architectures."""

from asi_verify.zoo.small_cnn import SmallCNN

__all__ = ["ARCHITECTURES", "SmallCNN"]

ARCHITECTURES = {"small-cnn": SmallCNN}
"""The reference architectures by name; each is built from the data set's shape and statistics."""
