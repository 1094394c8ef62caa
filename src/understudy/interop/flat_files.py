"""One of the reference's files: indexed by name, its tensors read one at a time.

A file is a pickled table of names and arrays (spec: weights, 2). It is mapped to find out where each array lies, by the
reader that builds plain data only, and what an array holds is read when it is asked for.
"""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from understudy.errors import IncompatibleModel, UnderstudyError, UnsafeFile
from understudy.facesets import pickles
from understudy.facesets.pickles import MAX_DEPTH, StoredArray
from understudy.interop.layout import to_ours
from understudy.networks.tensor_files import TensorKind


class UnusablePart(Exception):
    """A part that training could use turned out to be unusable while it was read. part: `GAN`, `src_dst_opt`, …"""

    def __init__(self, part: str, why: str) -> None:
        super().__init__(why)
        self.part, self.why = part, why


class FlatFile:
    """One of the reference's files of tensors, indexed: names to arrays, large ones left in the file."""

    def __init__(self, path: Path, handle: BinaryIO, entries: dict[str, Any]) -> None:
        self.path, self.handle, self.entries = path, handle, entries

    def array(self, key: str) -> NDArray[np.generic]:
        """The array of that name. Raises UnsafeFile or IncompatibleModel when the file has changed meanwhile."""
        found = self.entries[key]
        return self.read(found) if isinstance(found, StoredArray) else np.asarray(found)

    def read(self, stored: StoredArray) -> NDArray[np.generic]:
        """An array that was left in the file. Raises as `array` does."""
        try:
            return stored.read(self.handle)
        except UnsafeFile as error:
            raise _named(error, self.path) from error
        except OSError as error:
            raise _unreadable(self.path, error) from error

    def tensor(self, key: str, name: str) -> Tensor:
        """The array of that name as our network holds it, float32; what float32 cannot hold becomes infinite."""
        with np.errstate(all="ignore"):
            return to_ours(name, self.array(key))


MOST_ITEMS = 20_000
"""Values in lists and dictionaries of one file, losses aside; the reference has fifty."""


@dataclass(frozen=True)
class LazyArray:
    """An array of `data.dat` that is read when it is asked for."""

    file: FlatFile
    stored: StoredArray

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.stored.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return self.stored.shape

    def read(self) -> NDArray[np.generic]:
        return self.file.read(self.stored)


class FlatTensors:
    """Tensors in our names and layout, read from flat files one by one: a `TensorSource`.

    on_read: told the bytes of each tensor that has been read; may raise, to stop. `read` raises IncompatibleModel for a
    weight that is no finite number, UnusablePart for such a number in what only training needs.
    """

    def __init__(self) -> None:
        self.kinds: dict[str, TensorKind] = {}
        self.on_read: Callable[[int], None] = lambda size: None
        self._readers: dict[str, Callable[[], Tensor]] = {}

    def add(self, name: str, shape: tuple[int, ...], read: Callable[[], Tensor], dtype: str = "F32") -> None:
        self.kinds[name] = TensorKind(dtype, shape)
        self._readers[name] = read

    def read(self, name: str) -> Tensor:
        tensor = self._readers[name]()
        self.on_read(self.kinds[name].size_bytes)
        return tensor

    @property
    def size_bytes(self) -> int:
        return sum(kind.size_bytes for kind in self.kinds.values())


def require_tensor(file: FlatFile, key: str, shape: tuple[int, ...]) -> None:
    """Raise IncompatibleModel unless the file has that tensor, of numbers, in that shape (the file's layout)."""
    hint = "The file is of another architecture or was not copied whole."
    name = file.path.name
    if key not in file.entries:
        raise IncompatibleModel(f"{name} has no tensor {key}.", hint=hint, path=file.path, tensor=key)
    found = file.entries[key]
    if not isinstance(found, StoredArray | np.ndarray) or found.dtype.kind not in "fiu":
        raise IncompatibleModel(f"{name}: {key} is no array of numbers.", hint=hint, path=file.path, tensor=key)
    if found.shape != shape:
        raise IncompatibleModel(
            f"{name}: {key} has the shape {found.shape} where {shape} is expected.",
            hint=hint,
            path=file.path,
            tensor=key,
        )


def open_file(path: Path, files: contextlib.ExitStack) -> FlatFile:
    """The file, open as long as `files`, and the table of names in it. Raises UnsafeFile, IncompatibleModel."""
    try:
        handle = files.enter_context(path.open("rb"))
        if not path.stat().st_size:
            raise UnsafeFile(f"{path.name} is empty.", hint="It was not copied whole, or a disk was full.", path=path)
        with contextlib.closing(mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)) as mapped:
            found = pickles.references(mapped)
    except UnsafeFile as error:
        raise _named(error, path) from error
    except (OSError, ValueError, BufferError) as error:
        raise _unreadable(path, error) from error
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise IncompatibleModel(
            f"{path.name} does not hold a table of names.", hint="It is some other file.", path=path
        )
    return FlatFile(path, handle, found)


class Taken:
    """Copies values out of a file, with arrays that were left in it made readable.

    What refers to itself, or to the same lists again and again, would never end: after MOST_ITEMS it is refused.
    """

    def __init__(self, file: FlatFile) -> None:
        self.file = file
        self.left = MOST_ITEMS

    def copy(self, value: Any, depth: int = 0) -> Any:
        """The value in containers of its own. Raises IncompatibleModel."""
        self.left -= 1
        if self.left < 0 or depth > MAX_DEPTH:
            raise IncompatibleModel(
                f"{self.file.path.name} holds lists without end.", hint="It is damaged.", path=self.file.path
            )
        if isinstance(value, StoredArray):
            return LazyArray(self.file, value)
        if isinstance(value, list | tuple):
            return type(value)(self.copy(item, depth + 1) for item in value)
        if isinstance(value, dict):
            return {key: self.copy(item, depth + 1) for key, item in value.items()}
        return value


def part_reader(file: FlatFile, key: str, name: str, part: str) -> Callable[[], Tensor]:
    """What reads a tensor that only training needs: it raises UnusablePart for one that cannot be used."""

    def read() -> Tensor:
        try:
            tensor = file.tensor(key, name)
        except UnderstudyError as error:
            raise UnusablePart(part, error.message) from error
        if not is_finite(tensor):
            raise UnusablePart(part, f"{key} holds values that are no numbers.")
        return tensor

    return read


def is_finite(tensor: Tensor) -> bool:
    """Whether every value of a tensor is a number. A finite sum says so at once; another may only be a large one."""
    return bool(torch.isfinite(tensor.sum())) or bool(torch.isfinite(tensor).all())


def _named(error: UnsafeFile, path: Path) -> UnsafeFile:
    """The error with the file's name, and with what is most likely wrong where the bytes end too soon."""
    message = error.message if path.name in error.message else f"{path.name}: {error.message}"
    if any(words in message for words in ("cut off", "index out of")):
        message = f"{path.name} ends in the middle."
        return UnsafeFile(message, hint="It was not copied whole, or the disk was full when it was written.", path=path)
    return UnsafeFile(message, hint=error.hint, path=path)


def _unreadable(path: Path, error: Exception) -> IncompatibleModel:
    why = getattr(error, "strerror", None) or str(error)
    return IncompatibleModel(
        f"{path.name} cannot be read: {why}.", hint="Check the disk, and that this user may read the file.", path=path
    )
