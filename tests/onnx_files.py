"""Small ONNX files for tests, written without any package: nodes, weights, fixed answers.

    save_onnx(path, size=64, nodes=[node("Conv", ["picture", "w"], ["heat"])], weights={"w": array},
              outputs={"heat": (1, 68, 64, 64)})

The field numbers are those of onnx.proto3.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FLOAT, INT64 = 1, 7


def save_onnx(
    path: Path,
    *,
    size: int | str | tuple[int | str, ...] = 64,
    nodes: Sequence[bytes] = (),
    weights: Mapping[str, NDArray[Any] | bytes] | None = None,
    outputs: Mapping[str, Sequence[int | str]],
) -> Path:
    """One network with the input `picture` (1, 3, size, size), or of the shape `size`; text stands for an open side."""
    shape = (1, 3, size, size) if isinstance(size, int | str) else size
    graph = b"".join(_field(1, item) for item in nodes) + _text(2, "test")
    tensors = ((value if isinstance(value, bytes) else _tensor(name, value)) for name, value in (weights or {}).items())
    graph += b"".join(_field(5, tensor) for tensor in tensors)
    graph += _field(11, _value("picture", shape)) + b"".join(_field(12, _value(n, s)) for n, s in outputs.items())
    model = _number(1, 8) + _field(7, graph) + _field(8, _text(1, "") + _number(2, 17))
    path.write_bytes(model)
    return path


def save_fixed(path: Path, answers: Mapping[str, NDArray[np.float32]], *, size: int | str = 64) -> Path:
    """A network that gives the same answers to every picture."""
    weights = {f"{name}_value": value for name, value in answers.items()}
    nodes = [node("Identity", [f"{name}_value"], [name]) for name in answers]
    shapes = {name: value.shape for name, value in answers.items()}
    return save_onnx(path, size=size, nodes=nodes, weights=weights, outputs=shapes)


def node(kind: str, inputs: Sequence[str], outputs: Sequence[str], **whole: int | Sequence[int]) -> bytes:
    """One operation; attributes are whole numbers or lists of them."""
    made = b"".join(_text(1, name) for name in inputs) + b"".join(_text(2, name) for name in outputs) + _text(4, kind)
    for name, value in whole.items():
        if isinstance(value, int):
            made += _field(5, _text(1, name) + _number(3, value) + _number(20, 2))
        else:
            made += _field(5, _text(1, name) + b"".join(_number(8, item) for item in value) + _number(20, 7))
    return made


def outside_weights(name: str, sides: Sequence[int], location: str) -> bytes:
    """A tensor of float32 whose numbers lie in another file, as large networks have them."""
    where = _field(13, _text(1, "location") + _text(2, location))
    return b"".join(_number(1, side) for side in sides) + _number(2, FLOAT) + _text(8, name) + where + _number(14, 1)


def _tensor(name: str, value: NDArray[Any]) -> bytes:
    kind = INT64 if value.dtype.kind == "i" else FLOAT
    raw = np.ascontiguousarray(value, "<i8" if kind == INT64 else "<f4").tobytes()
    return b"".join(_number(1, side) for side in value.shape) + _number(2, kind) + _text(8, name) + _field(9, raw)


def _value(name: str, shape: Sequence[int | str]) -> bytes:
    sides = b"".join(_field(1, _number(1, side) if isinstance(side, int) else _text(2, side)) for side in shape)
    return _text(1, name) + _field(2, _field(1, _number(1, FLOAT) + _field(2, sides)))


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _text(number: int, text: str) -> bytes:
    return _field(number, text.encode())


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value & (1 << 64) - 1)


def _varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += struct.pack("B", value & 127 | 128)
        value >>= 7
    return out + struct.pack("B", value)
