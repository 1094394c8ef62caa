"""Crops by number: in memory as far as a budget allows, beyond it in a file that is read when they are drawn.

Reads are plain positioned reads, not a memory map: the system keeps what is read often in memory just the same, a file
that somebody cuts short meanwhile is an error that can be mended instead of a crash, and other threads go on.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
import weakref
import zlib
from array import array
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from understudy.errors import UnderstudyError
from understudy.files import os_errors

BLOCK_BYTES = 1 << 25
"""Memory is taken in blocks of this size, so that a bank may grow and a small one stays small."""

UNCHECKED = -1
"""In the place of a checksum: nothing to check."""

Shape = tuple[int, int, int]
Crop = NDArray[np.uint8]


class CropFile:
    """Crops of one shape one behind the other in a file. Adding is for one process at a time; reading is for many."""

    def __init__(self, handle: int, shape: Shape, path: Path | None = None) -> None:
        """handle: of the open file, which closes with this."""
        self._handle, self._shape, self._path = handle, shape, path
        self._bytes = int(np.prod(shape))
        self._lock = threading.Lock()
        weakref.finalize(self, os.close, handle)

    @classmethod
    def temporary(cls, shape: Shape, folder: Path | None) -> CropFile:
        """A file without a name in `folder` (None: the system's temporary one), which vanishes with the process."""
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            return cls(os.dup(file.fileno()), shape)

    @classmethod
    def open(cls, path: Path, shape: Shape) -> CropFile:
        """A file that stays, made if it is not there."""
        with os_errors(path):
            return cls(os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666), shape, path)

    def write(self, place: int, crop: Crop) -> int:
        """Put a crop in a place, in order of the places; its checksum. Raises DiskFull, ReadOnlyWorkspace."""
        body = np.ascontiguousarray(crop).data.cast("B")
        with self._lock, os_errors(self._path or Path("crops")):
            os.lseek(self._handle, place * self._bytes, os.SEEK_SET)
            written = 0
            while written < len(body):
                written += os.write(self._handle, body[written:])
        return zlib.crc32(body)

    def read(self, place: int, into: Crop) -> bool:
        """Read the crop of a place into an array of its shape; False where there is none, or not all of it."""
        body = into.data.cast("B")
        try:
            if hasattr(os, "preadv"):
                return os.preadv(self._handle, [body], place * self._bytes) == self._bytes
            with self._lock:
                os.lseek(self._handle, place * self._bytes, os.SEEK_SET)
                found = os.read(self._handle, self._bytes)
                body[: len(found)] = found
                return len(found) == self._bytes
        except OSError:
            return False


class Crops:
    """Crops of one shape by number, in the order they were added.

    budget: bytes of them that are held in memory. file: where the others lie; None: all are held. Those that lie in
    the file come into memory when they are first drawn, as long as there is room. mend: makes a crop again that turned
    out to be damaged, by its number; None where it cannot be made.
    """

    def __init__(self, shape: Shape, budget: int, file: CropFile | None = None) -> None:
        self.shape, self._file = shape, file
        self._bytes = int(np.prod(shape))
        self._room = budget // self._bytes
        self._per_block = max(1, BLOCK_BYTES // self._bytes)
        self._blocks: list[NDArray[np.uint8]] = []
        self._held = 0
        self._rows, self._places, self._checksums = array("q"), array("q"), array("q")
        self._lock = threading.Lock()
        self.mend: Callable[[int], Crop | None] = lambda number: None

    @classmethod
    def of(cls, pixels: NDArray[np.uint8]) -> Crops:
        """Crops that are in memory already: (N,S,S,C), which is not copied."""
        crops = cls((pixels.shape[1], pixels.shape[2], pixels.shape[3]), 0)
        crops._blocks, crops._per_block, crops._held = [pixels], max(1, len(pixels)), len(pixels)
        crops._rows = array("q", range(len(pixels)))
        crops._places = crops._checksums = array("q", [-1]) * len(pixels)
        return crops

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def held(self) -> int:
        """How many are in memory."""
        return self._held

    @property
    def has_room(self) -> bool:
        """Whether one more would be held in memory."""
        return self._held < self._room

    def add(self, crop: Crop | None = None, *, place: int = -1, checksum: int = UNCHECKED) -> int:
        """Add a crop: itself, or where it lies in the file with its checksum, or both. Its number."""
        with self._lock:
            self._rows.append(-1)
            self._places.append(place)
            self._checksums.append(checksum)
            number = len(self._rows) - 1
            if crop is not None:
                self._checksums[number] = UNCHECKED  # it is known to be whole
                self._hold(number, crop, always=place < 0)
            return number

    def take(self, numbers: NDArray[np.integer], into: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        """(len(numbers),S,S,C) uint8: the crops of these numbers, in a new array or in `into`."""
        out = np.empty((len(numbers), *self.shape), np.uint8) if into is None else into
        for number, crop in zip(numbers.tolist(), out, strict=True):
            row = self._rows[number]
            if row >= 0:
                crop[:] = self._blocks[row // self._per_block][row % self._per_block]
            else:
                self._read(number, crop)
        return out

    def _read(self, number: int, into: Crop) -> None:
        """From the file, looked at once whether it is whole, and from then on held where there is room."""
        assert self._file is not None
        wanted = self._checksums[number]
        whole = self._file.read(self._places[number], into)
        if not whole or (wanted != UNCHECKED and zlib.crc32(into.data.cast("B")) != wanted):
            into[:] = self._mended(number)
        with self._lock:
            self._checksums[number] = UNCHECKED
            self._hold(number, into)

    def _mended(self, number: int) -> Crop:
        made = self.mend(number)
        if made is None:  # the face is gone too: another one of the side takes its turn until the next save
            return self._blocks[0][0] if self._held else np.zeros(self.shape, np.uint8)
        assert self._file is not None
        with contextlib.suppress(UnderstudyError):
            self._file.write(self._places[number], made)
        return made

    def _hold(self, number: int, crop: Crop, *, always: bool = False) -> None:
        if self._rows[number] >= 0 or (self._held >= self._room and not always):
            return
        if self._held >= self._per_block * len(self._blocks):
            self._blocks.append(np.empty((self._per_block, *self.shape), np.uint8))
        self._blocks[self._held // self._per_block][self._held % self._per_block] = crop
        self._rows[number] = self._held
        self._held += 1
