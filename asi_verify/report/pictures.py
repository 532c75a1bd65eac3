"""Pictures of samples, as data that can stand inside a page."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

__all__ = ["picture"]

_SIDE = 112
_SLICES = 3


def picture(image: npt.NDArray[Any]) -> str:
    """A PNG as a ``data:`` address, enlarged without smoothing so that pixels stay visible.

    Args:
        image: ``(C, H, W)``, or ``(C, D, H, W)``, of which three slices are shown side by side;
            uint8 or float32 in [0, 1].
    """
    values = image if image.dtype == np.uint8 else np.rint(image * 255).astype(np.uint8)
    if values.ndim == 4:
        depth = values.shape[1]
        chosen = [depth * (i + 1) // (_SLICES + 1) for i in range(_SLICES)]
        values = np.concatenate([values[:, i] for i in chosen], axis=2)
    pixels = values[0] if values.shape[0] == 1 else np.moveaxis(values[:3], 0, 2)
    shown = Image.fromarray(np.ascontiguousarray(pixels))
    scale = max(1, round(_SIDE / pixels.shape[0]))
    size = (pixels.shape[1] * scale, pixels.shape[0] * scale)
    buffer = io.BytesIO()
    shown.resize(size, Image.Resampling.NEAREST).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
