"""The sRGB curve (IEC 61966-2-1) between linear light and display-encoded values."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def srgb_from_linear(linear: Array) -> Array:
    """Display-encoded float32 of linear float values in 0..1, any shape."""
    linear = np.asarray(linear, np.float32)
    return np.where(
        linear <= np.float32(0.0031308), linear * np.float32(12.92),
        np.float32(1.055) * np.maximum(linear, np.float32(1e-8)) ** np.float32(1 / 2.4) - np.float32(0.055),
    )  # fmt: skip


def linear_from_srgb(encoded: Array) -> Array:
    """Linear float32 of display-encoded float values in 0..1, any shape."""
    encoded = np.asarray(encoded, np.float32)
    return np.where(
        encoded <= np.float32(0.04045), encoded / np.float32(12.92),
        ((encoded + np.float32(0.055)) / np.float32(1.055)) ** np.float32(2.4),
    )  # fmt: skip
