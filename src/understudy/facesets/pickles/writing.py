"""Pickles of plain data, written without a memo, in protocol 3 or 4."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from understudy.facesets.pickles.kinds import ARRAY_HEAD, DTYPES, MAX_DEPTH, FaceTypeCode, SampleTypeCode


def dumps(value: Any, protocol: int = 3, *, limit: int | None = None) -> bytes:
    """A pickle (protocol 3 or 4) of None, numbers, text, bytes, lists, tuples, dictionaries, arrays and codes as above.

    limit: most bytes that the result may have. Raises ValueError beyond it, and TypeError for any other kind of value.
    """
    if protocol not in (3, 4):
        raise ValueError(f"protocol {protocol}: only 3 and 4 are read by every program of this field")
    writer = _Writer(protocol, limit)
    writer.put(b"\x80" + bytes([protocol]))
    writer.write(value, 0)
    writer.put(b".")
    return b"".join(writer.parts)


def dump_items(items: Iterable[Any], protocol: int = 4) -> Iterator[bytes]:
    """The pickle of a list, piece by piece, without holding all of it."""
    yield b"\x80" + bytes([protocol]) + b"]"
    yield from (b"(" + dumps(item, protocol)[2:-1] + b"e" for item in items)
    yield b"."


def dump_entries(entries: Iterable[tuple[Any, Any]], protocol: int = 3) -> Iterator[Piece]:
    """The pickle of a dictionary, piece by piece, without holding all of it.

    What an array holds is handed out as it lies in memory: write a piece before asking for the next.
    """
    yield b"\x80" + bytes([protocol]) + b"}"
    for key, value in entries:
        writer = _Writer(protocol, None)
        writer.write(key, 0)
        writer.write(value, 0)
        yield b"("
        yield from writer.parts
        yield b"u"
    yield b"."


Piece = bytes | memoryview
"""A part of a pickle, ready to be written."""

_CODES: dict[type, bytes] = {
    FaceTypeCode: b"cfacelib.FaceType\nFaceType\n",
    SampleTypeCode: b"csamplelib.Sample\nSampleType\n",
}


class _Writer:
    """Emits opcodes without a memo: shared parts are written again, which every reader accepts."""

    def __init__(self, protocol: int, limit: int | None) -> None:
        self.protocol = protocol
        self.limit = limit
        self.size = 0
        self.parts: list[Piece] = []

    def put(self, *pieces: Piece) -> None:
        for piece in pieces:
            self.size += len(piece)
            self.parts.append(piece)
        if self.limit is not None and self.size > self.limit:
            raise ValueError(f"the data takes more than {self.limit} bytes")

    def write(self, value: Any, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise ValueError(f"data nested deeper than {MAX_DEPTH} levels")
        if isinstance(value, np.ndarray):
            self._array(value)
        elif isinstance(value, np.generic):
            self._scalar(value)
        elif type(value) in _CODES:
            self._code(value)
        elif isinstance(value, (list, tuple, dict)):
            self._container(value, depth)
        else:
            self._leaf(value)

    def _leaf(self, value: Any) -> None:
        if value is None:
            self.put(b"N")
        elif isinstance(value, bool):
            self.put(b"\x88" if value else b"\x89")
        elif isinstance(value, int):
            self._integer(value)
        elif isinstance(value, float):
            self.put(b"G", struct.pack(">d", value))
        elif isinstance(value, str):
            text = value.encode("utf-8", "surrogatepass")
            self.put(b"X", struct.pack("<I", len(text)), text)
        elif isinstance(value, (bytes, bytearray)):
            self._bytes(bytes(value))
        else:
            raise TypeError(f"{type(value).__name__} is no plain data")

    def _integer(self, value: int) -> None:
        if 0 <= value < 256:
            self.put(b"K", bytes([value]))
        elif -(2**31) <= value < 2**31:
            self.put(b"J", struct.pack("<i", value))
        else:
            body = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
            if len(body) > 64:
                raise ValueError("a whole number of more than 512 bits")
            self.put(b"\x8a", bytes([len(body)]), body)

    def _bytes(self, value: Piece) -> None:
        if len(value) < 256:
            self.put(b"C", bytes([len(value)]), value)
        elif len(value) < 2**32:
            self.put(b"B", struct.pack("<I", len(value)), value)
        elif self.protocol >= 4:
            self.put(b"\x8e", struct.pack("<Q", len(value)), value)
        else:
            raise ValueError("4 GiB in one piece need protocol 4")

    def _container(self, value: list[Any] | tuple[Any, ...] | dict[Any, Any], depth: int) -> None:
        if isinstance(value, dict):
            self.put(b"}(")
            for key, item in value.items():
                self.write(key, depth + 1)
                self.write(item, depth + 1)
            self.put(b"u")
        elif isinstance(value, list) and _are_points(value):
            self.put(b"](", _point_lists(value), b"e")
        else:
            self.put(b"](" if isinstance(value, list) else b"(")
            for item in value:
                self.write(item, depth + 1)
            self.put(b"e" if isinstance(value, list) else b"t")

    def _array(self, value: npt.NDArray[Any]) -> None:
        content = np.ascontiguousarray(value)
        self.put(ARRAY_HEAD)
        self.write(tuple(int(n) for n in value.shape), 0)
        self._dtype(content.dtype)
        self.put(b"\x89")
        self._content(content)
        self.put(b"tb")

    def _scalar(self, value: np.generic) -> None:
        content = np.asarray(value)
        self.put(b"cnumpy.core.multiarray\nscalar\n")
        self._dtype(content.dtype)
        self._content(content)
        self.put(b"\x86R")

    def _content(self, value: npt.NDArray[Any]) -> None:
        ordered = value.astype(value.dtype.newbyteorder("<"), copy=False)
        self._bytes(ordered.reshape(-1).view(np.uint8).data)

    def _dtype(self, dtype: np.dtype[Any]) -> None:
        name = f"{dtype.kind}{dtype.itemsize}"
        if name not in DTYPES:
            raise TypeError(f"an array of {dtype} is no plain data")
        order = b"|" if dtype.itemsize == 1 else b"<"
        self.put(b"cnumpy\ndtype\n")
        self._leaf(name)
        self.put(b"\x89\x88\x87R(K\x03X\x01\x00\x00\x00", order, b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb")

    def _code(self, value: int) -> None:
        self.put(_CODES[type(value)])
        self._integer(value)
        self.put(b"\x85R")


def _are_points(value: list[Any]) -> bool:
    """Whether a list holds [x, y] lists of floats and nothing else."""
    return set(map(type, value)) == {list} and set(map(len, value)) == {2} and set(map(type, chain(*value))) == {float}


def _point_lists(points: list[list[float]]) -> bytes:
    """The opcodes of many [x, y] lists at once, which are nearly all there is in a face's data."""
    numbers = np.array(points, ">f8")
    rows = np.empty((len(points), 21), np.uint8)
    rows[:] = np.frombuffer(b"](G________G________e", np.uint8)
    rows[:, 3:11] = numbers[:, :1].copy().view(np.uint8)
    rows[:, 12:20] = numbers[:, 1:].copy().view(np.uint8)
    return rows.tobytes()
