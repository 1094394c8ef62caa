"""Numbers and arrays as JSON can hold them, exactly, and back."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor


def to_plain(value: Any) -> Any:
    """Turn nested plain values, NumPy arrays and scalars and tensors into what JSON can hold, exactly."""
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray):
        data = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
        return {"array": value.dtype.str, "shape": list(value.shape), "base64": data}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    return value


def from_plain(value: Any) -> Any:
    """What `to_plain` was given, with tensors as NumPy arrays and tuples as lists."""
    if isinstance(value, dict):
        if value.keys() == {"array", "shape", "base64"}:
            flat = np.frombuffer(base64.b64decode(value["base64"]), dtype=np.dtype(value["array"]))
            return flat.reshape(value["shape"]).copy()
        return {key: from_plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [from_plain(item) for item in value]
    return value
