"""Files of tensors in the safetensors format, written and read one tensor at a time.

    8 bytes     length of the header, little-endian
    header      JSON: name → {"dtype", "shape", "data_offsets"}, padded with spaces to a multiple of 8
    the rest    the tensors' bytes, little-endian, one after the other without gaps

The library that owns the format wants all tensors in memory to write them; here a tensor is asked for when its turn has
come, and the file's SHA-256 is made on the way, so that a model of any size is written with the room of its largest
tensor. What is written, the library reads.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

    Value: TypeAlias = Tensor | NDArray[np.generic]

NUMPY_NAMES = {
    f"{name}{bits}": f"{letter}{bits}"
    for name, letter, sizes in (
        ("int", "I", (8, 16, 32, 64)),
        ("uint", "U", (8, 16, 32, 64)),
        ("float", "F", (16, 32, 64)),
        ("bfloat", "BF", (16,)),
    )
    for bits in sizes
} | {"bool": "BOOL"}
"""The format's names of element types, by NumPy's and torch's."""

_NUMPYS = {theirs: ours for ours, theirs in NUMPY_NAMES.items() if theirs != "BF16"}

ORDER = ("U64", "I64", "F64", "F32", "U32", "I32", "BF16", "F16", "U16", "I16", "I8", "U8", "BOOL")
"""Tensors lie in a file in this order, so that each is aligned; the library's."""

BYTES = {name: int(name.strip("BIUFOL") or 8) // 8 for name in ORDER}
"""The size of an element, by the format's names."""

CHUNK = 8 << 20
"""Bytes that are hashed and written at once."""


@dataclass(frozen=True)
class TensorKind:
    """What a header says of one tensor: the format's name of its elements, and its shape."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        count = 1
        for side in self.shape:
            count *= side
        return count * BYTES[self.dtype]


@runtime_checkable
class TensorSource(Protocol):
    """Tensors that are somewhere else: what there is, and each of them when it is asked for."""

    @property
    def kinds(self) -> Mapping[str, TensorKind]: ...

    def read(self, name: str) -> Value:
        """The tensor, of the kind that `kinds` says."""
        ...


@dataclass(frozen=True)
class Written:
    """What was written: the file's size in bytes, and its SHA-256."""

    size_bytes: int
    sha256: str


def write_tensors(
    path: Path, tensors: Mapping[str, Value] | TensorSource, *, each: Callable[[str], None] = lambda name: None
) -> Written:
    """Write a safetensors file. each: told the name of every tensor that has been written.

    Tensors lie in the order of their elements' types, then of their names, as the library has them.
    The system's errors come out as they are; ValueError for a tensor that is not what its source said.
    """
    source = tensors if isinstance(tensors, TensorSource) else _InMemory(tensors)
    kinds = source.kinds
    order = sorted(kinds, key=lambda name: (ORDER.index(kinds[name].dtype), name))
    digest = hashlib.sha256()
    size = 0
    with path.open("wb", buffering=0) as file:
        size += _put(file, digest, _header({name: kinds[name] for name in order}))
        for name in order:
            size += _put(file, digest, _bytes_of(source.read(name), name, kinds[name]))
            each(name)
    return Written(size, digest.hexdigest())


def read_tensors(path: Path) -> dict[str, NDArray[np.generic]]:
    """The arrays of a small safetensors file; none where there is no such file. Raises ValueError for a damaged one."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path) if path.is_file() else {}
    except SafetensorError as error:
        raise ValueError(str(error)) from error


def numpy_type(name: str) -> np.dtype[Any]:
    """NumPy's type of elements that the format calls so, as they lie in a file. Raises KeyError for one it has not."""
    return np.dtype(_NUMPYS[name]).newbyteorder("<")


def kind_of(value: Value | Any) -> TensorKind:
    """What the header says of a tensor or an array. Raises ValueError for elements that the format does not know."""
    name = getattr(value.dtype, "name", None) or str(value.dtype).removeprefix("torch.")
    if name not in NUMPY_NAMES:
        raise ValueError(f"{name} cannot be written to a file of tensors")
    return TensorKind(NUMPY_NAMES[name], tuple(int(side) for side in value.shape))


class _InMemory:
    """Tensors that are all there."""

    def __init__(self, tensors: Mapping[str, Value]) -> None:
        self._tensors = tensors
        self.kinds = {name: kind_of(value) for name, value in tensors.items()}

    def read(self, name: str) -> Value:
        return self._tensors[name]


def _header(kinds: Mapping[str, TensorKind]) -> bytes:
    begin, entries = 0, {}
    for name, kind in kinds.items():
        end = begin + kind.size_bytes
        entries[name] = {"dtype": kind.dtype, "shape": list(kind.shape), "data_offsets": [begin, end]}
        begin = end
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def _bytes_of(value: Value, name: str, kind: TensorKind) -> memoryview:
    """The tensor's bytes, without a copy where they lie as the file wants them."""
    if kind_of(value) != kind:
        raise ValueError(f"{name} is {kind_of(value)} where {kind} was announced")
    if isinstance(value, np.ndarray):
        little = value.astype(value.dtype.newbyteorder("<"), order="C", copy=False)
        return little.reshape(-1).view(np.uint8).data
    import torch

    plain: Any = value
    return memoryview(plain.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())


def _put(file: Any, digest: Any, data: bytes | memoryview) -> int:
    view = memoryview(data)
    for begin in range(0, len(view), CHUNK):
        piece = view[begin : begin + CHUNK]
        digest.update(piece)
        written = 0
        while written < len(piece):
            written += file.write(piece[written:])
    return len(view)
