"""Arrays, and everything else that a global makes: none of it calls anything that the pickle chose.

A pickle spells an array as calls: `_reconstruct` makes an empty one, `dtype` its element type, and BUILD fills either.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal, NoReturn

import numpy as np
import numpy.typing as npt

from understudy.errors import UnsafeFile
from understudy.facesets.pickles.kinds import DTYPES, FaceTypeCode, SampleTypeCode
from understudy.facesets.pickles.refusals import HINT, refuse


class Blob:
    """Bytes that lie in the pickle and have not been copied out of it. may_change: they stand for a bytearray."""

    __slots__ = ("at", "data", "may_change", "size")

    def __init__(self, data: bytes | memoryview, at: int, size: int, *, may_change: bool = False) -> None:
        self.data, self.at, self.size, self.may_change = data, at, size, may_change

    def __len__(self) -> int:
        return self.size

    def __bytes__(self) -> bytes:
        return bytes(self.data[self.at : self.at + self.size])

    def numbers(self) -> npt.NDArray[np.uint8]:
        """The bytes where they lie."""
        return np.frombuffer(self.data, np.uint8, count=self.size, offset=self.at)


class ElementType:
    """The element type of an array; its BUILD may still change the byte order."""

    __slots__ = ("dtype",)

    def __init__(self, code: Any) -> None:
        code = _text(code)
        if not isinstance(code, str) or code.lstrip("<>=|") not in DTYPES:
            refuse("array elements that are not numbers")
        self.dtype: np.dtype[Any] = np.dtype(code.lstrip("<>=|")).newbyteorder(_ORDERS.get(code[0], "="))

    def build(self, state: tuple[Any, ...]) -> None:
        """Take the byte order of a BUILD, and refuse fields and subtypes."""
        order = _text(state[1])
        if order not in _ORDERS or any(part is not None for part in state[2:5]):
            refuse("array elements that are not numbers")
        self.dtype = self.dtype.newbyteorder(_ORDERS[order])


@dataclass(frozen=True)
class StoredArray:
    """An array that was left in its file: `at` is where its content begins in the pickle, in bytes."""

    at: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    order: Literal["C", "F"]

    @property
    def size_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    def read(self, file: BinaryIO) -> npt.NDArray[Any]:
        """The array, fresh, writeable and in the machine's byte order. file: the pickle, from its beginning.

        Raises UnsafeFile when the file has become shorter since.
        """
        raw = np.empty(self.size_bytes, np.uint8)
        file.seek(self.at)
        if _fill(file, raw) < len(raw):
            raise UnsafeFile("Refused: the file has become shorter while it was read.", hint=HINT)
        native = raw.view(self.dtype).astype(self.dtype.newbyteorder("="), order="C", copy=False)
        return np.asarray(native.reshape(self.shape, order=self.order))


class EmptyArray:
    """An array between its `_reconstruct` and its BUILD, which makes `array`."""

    __slots__ = ("array",)

    def __init__(self) -> None:
        self.array: npt.NDArray[Any] | StoredArray | None = None


class Arrays:
    """Makes arrays, each of its own memory, as long as there is room for them.

    room: bytes that all of them may take together; a few bytes of pickle must not become gigabytes. leaves: whether
    large ones are left where they lie.
    """

    def __init__(self, room: int, *, leaves: bool = False) -> None:
        self.room, self.leaves = room, leaves

    def fill(self, empty: EmptyArray, state: tuple[Any, ...]) -> None:
        """Do what a BUILD asks of an array."""
        if empty.array is not None:
            refuse("it changes the inside of something that is no array")
        _, shape, element, fortran, content = state
        empty.array = self.made(_latin1(content), element, shape, "F" if fortran else "C")

    def made(self, content: Any, element: Any, shape: Any, order: Any) -> npt.NDArray[Any] | StoredArray:
        """An array in the machine's own byte order, of arguments that may be anything."""
        if not isinstance(element, ElementType) or not isinstance(content, (bytes, bytearray, Blob)):
            refuse("an array without numeric content")
        if type(shape) is not tuple or len(shape) > 8 or not all(type(n) is int and 0 <= n < 2**40 for n in shape):
            refuse("an array of impossible shape")
        if math.prod(shape) * element.dtype.itemsize != len(content) or order not in ("C", "F"):
            refuse("an array whose content does not fit its shape")
        self.room -= len(content)
        if self.room < 0:
            refuse("arrays that take more room than the file has")
        if self.leaves and isinstance(content, Blob):
            return StoredArray(content.at, element.dtype, shape, order)
        raw = content.numbers() if isinstance(content, Blob) else np.frombuffer(content, np.uint8)
        native = raw.view(element.dtype).astype(element.dtype.newbyteorder("="), order="C")
        return np.asarray(native.reshape(shape, order=order))


class Global:
    """A name that a pickle may mention, and the one thing that calling it makes of the arguments."""

    __slots__ = ("make",)

    def __init__(self, make: Callable[..., Any]) -> None:
        self.make = make


def _fill(file: BinaryIO, raw: npt.NDArray[np.uint8]) -> int:
    """Read until the array is full or the file ends; how many bytes there were."""
    view, done = memoryview(raw), 0  # type: ignore[arg-type]
    while done < len(view) and (count := file.readinto(view[done:])):  # type: ignore[attr-defined]
        done += count
    return done


_ORDERS: dict[str, Literal["<", ">", "="]] = {"<": "<", ">": ">", "=": "=", "|": "="}


def _text(value: Any) -> Any:
    return value.decode("latin1") if isinstance(value, bytes) else value


def _latin1(value: Any) -> Any:
    """How protocol 2 spells bytes."""
    return value.encode("latin1") if isinstance(value, str) else value


# -- what each global makes of its arguments


def _bare_array(arrays: Arrays, *arguments: Any) -> NoReturn:
    refuse("it makes an array in a way that plain data never needs")


_NDARRAY = Global(_bare_array)


def _empty_array(arrays: Arrays, kind: Any, shape: Any, typecode: Any) -> EmptyArray:
    if kind is not _NDARRAY or shape != (0,) or typecode not in (b"b", "b"):
        refuse("an array of a foreign class")
    return EmptyArray()


def _element_type(arrays: Arrays, code: Any, *rest: Any) -> ElementType:
    return ElementType(code)


def _scalar(arrays: Arrays, element: Any, content: Any = b"") -> Any:
    made = arrays.made(_latin1(content), element, (1,), "C")
    return made if isinstance(made, StoredArray) else made[0]  # no number is as long as what is left in the file


def _from_buffer(arrays: Arrays, content: Any, element: Any, shape: Any, order: Any) -> Any:
    return arrays.made(content, element, shape, order)


def _encoded(arrays: Arrays, text: Any, encoding: Any = None) -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        refuse("text in an encoding other than latin1")
    return text.encode("latin1")


def _no_bytes(arrays: Arrays) -> bytes:
    """How protocol 2 spells empty bytes."""
    return b""


def _code_of(kind: type[int]) -> Callable[..., int]:
    def make(arrays: Arrays, value: Any) -> int:
        if type(value) is not int:
            refuse("a type number that is no number")
        return kind(value)

    return make


_FACE_TYPE, _SAMPLE_TYPE = Global(_code_of(FaceTypeCode)), Global(_code_of(SampleTypeCode))

GLOBALS: dict[tuple[str, str], Global] = {
    ("numpy.core.multiarray", "_reconstruct"): Global(_empty_array),
    ("numpy._core.multiarray", "_reconstruct"): Global(_empty_array),
    ("numpy.core.multiarray", "scalar"): Global(_scalar),
    ("numpy._core.multiarray", "scalar"): Global(_scalar),
    ("numpy.core.numeric", "_frombuffer"): Global(_from_buffer),
    ("numpy._core.numeric", "_frombuffer"): Global(_from_buffer),
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): Global(_element_type),
    ("_codecs", "encode"): Global(_encoded),
    ("__builtin__", "bytes"): Global(_no_bytes),
    ("facelib.FaceType", "FaceType"): _FACE_TYPE,
    ("facelib", "FaceType"): _FACE_TYPE,
    ("samplelib.Sample", "SampleType"): _SAMPLE_TYPE,
    ("samplelib", "SampleType"): _SAMPLE_TYPE,
}
"""Every name that is known, by module and name."""
