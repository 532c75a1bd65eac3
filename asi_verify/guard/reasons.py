"""Why a guard does not answer: one code per layer, summed where several refuse."""

from __future__ import annotations

from enum import IntFlag

__all__ = ["Reason"]


class Reason(IntFlag):
    """What refuses; the values are those of the file's output ``reason``."""

    NONE = 0
    """Nothing: the guard answers."""

    DOMAIN = 1
    """A pixel is NaN or outside [0, 1]."""

    STATISTICS = 2
    """Brightness, contrast, a percentile or roughness lies outside what training images had."""

    ACTIVATIONS = 4
    """A neuron of the last hidden layer lies outside what the training images gave."""

    NOT_CERTIFIED = 8
    """The label is not proved for the whole region around the image."""

    LAYOUT = 16
    """Where the image is bright, taken with its statistics, is far from the training images."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the codes in the sum, in order."""
        return tuple(code.name.lower().replace("_", "-") for code in self if code.name)
