"""Crops kept between runs, so that a training starts at once: a folder for each faceset, size and face type.

    .understudy/crops/aligned-1f0c…-128-full_face-4/index.sqlite     which face's crop lies where, with its checksum
                                                    crops-1.bin      the crops one behind the other

A face is known by its file's size and time and by the frame it was cut from, not by its name: sorting a faceset, which
renames every face, costs nothing. Everything here may be deleted at any time. A damaged index is made anew; a damaged
crop is noticed when it is drawn and made again. One process writes at a time and the others wait for it, since they
mostly want the same faces; crops never move while somebody reads them.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import sqlite3
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from filelock import FileLock, Timeout

from understudy.errors import Interrupted, WorkspaceError
from understudy.facesets import FaceEntry
from understudy.files import os_errors
from understudy.report import Stop, never
from understudy.training.faces.crops import Crop, CropFile, Shape

VERSION = 1
"""Another one where crops are made differently: everything is made anew."""

DISK_SHARE = 0.5
"""How much of the free disk (with what the caches take of it) all caches of a workspace may fill together."""

WASTE = 2
"""A cache is made smaller when it holds so many times as many crops as the faceset has faces."""

WAIT_SECS = 0.5

FEW = 500
"""Faces that are asked for by number; for more the whole index is read, which is quicker."""

_SCHEMA = """
create table if not exists crops (face integer primary key, place integer, yaw real, checksum integer);
create table if not exists about (name text primary key, value integer);
"""


class Kept(NamedTuple):
    """A crop that is there. yaw: as in `FaceBank.yaws`."""

    place: int
    yaw: float
    checksum: int


def fingerprint(face: FaceEntry) -> int:
    """64 bits by which a face is known, signed: another number when its file changed, the same when it was renamed."""
    known_by = (face.source_filename, face.source_rect, face.track)
    name = face.key if face.source_filename is None else ""
    text = repr((face.stamp, face.packed_at, *known_by, face.height, name))
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int(struct.unpack("<q", digest)[0])


def cache_folder(caches: Path, faceset: Path, shape: Shape, face_type: str) -> Path:
    """Where the crops of a faceset lie. The whole of what they depend on besides the faces is in the name."""
    digest = hashlib.sha256(str(faceset.absolute()).encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return caches / f"{faceset.name}-{digest}-{shape[0]}-{face_type}-{shape[2]}"


class CropCache:
    """The crops of one faceset on disk. `crop_cache` opens it."""

    def __init__(self, folder: Path, shape: Shape) -> None:
        self.folder, self._shape, self._opened = folder, shape, 0
        self._lock = FileLock(folder / "lock")
        self._index = self._connected()
        self.file = self._file()

    def kept(self, faces: Sequence[int]) -> dict[int, Kept]:
        """What is there of these faces, by their fingerprints. Raises WorkspaceError when the index cannot be read."""
        wanted, query = set(faces), "select face, place, yaw, checksum from crops"
        with self._index_errors():
            if len(wanted) <= FEW:
                rows = self._index.execute(f"{query} where face in ({','.join('?' * len(wanted))})", tuple(wanted))
            else:
                rows = self._index.execute(query)
            return {face: Kept(place, yaw, checksum) for face, place, yaw, checksum in rows if face in wanted}

    def add(self, face: int, crop: Crop, yaw: float) -> Kept:
        """Write one crop; `flush` makes it known. Raises WorkspaceError, such as DiskFull."""
        kept = Kept(self._next, yaw, self.file.write(self._next, crop))
        self._next += 1
        with self._index_errors():
            self._index.execute("insert or replace into crops values (?, ?, ?, ?)", (face, *kept))
        return kept

    def flush(self) -> None:
        """Make what was added known to others, and to the next run even if this one is killed. Where that cannot be,
        it is forgotten: a change that stays open would keep others from writing."""
        try:
            self._index.commit()
        except sqlite3.Error:
            with contextlib.suppress(sqlite3.Error):
                self._index.rollback()

    @contextlib.contextmanager
    def writing(self, stop: Stop = never) -> Iterator[None]:
        """Hold the one writer's place; another process that has it is waited for. Raises Interrupted on `stop`, and
        WorkspaceError where the cache is no longer what this process reads from."""
        while True:
            try:
                self._lock.acquire(timeout=WAIT_SECS)
                break
            except Timeout:
                if stop():
                    raise _stopped() from None
        try:
            with self._index_errors():
                self._next = self._index.execute("select coalesce(max(place), -1) + 1 from crops").fetchone()[0]
                if self._number() != self._opened:
                    raise _unusable("another training has moved it")
            yield
        finally:
            self.flush()
            self._lock.release()

    def shrink(self, faces: Sequence[int]) -> None:
        """Keep the crops of these faces alone where most others are of faces that are gone. For the writer, before
        anything is read: the crops move to a new file, and whoever reads the old one goes on with it. Where there is no
        room for both files it stays as it is."""
        with self._index_errors():
            total = self._index.execute("select count(*) from crops").fetchone()[0]
        kept = self.kept(faces)
        if total <= WASTE * max(1, len(faces)) or total == len(kept):
            return
        number = self._opened + 1
        path = self.folder / f"crops-{number}.bin"
        try:
            new = self._moved(kept, path, number)
        except (WorkspaceError, sqlite3.Error):
            with contextlib.suppress(sqlite3.Error):
                self._index.rollback()
            with contextlib.suppress(OSError):
                path.unlink()
            return
        self.file, self._next, self._opened = new, len(kept), number
        self._sweep(number)

    def _moved(self, kept: dict[int, Kept], path: Path, number: int) -> CropFile:
        """These crops in a new file of that number, which the index tells of."""
        new = CropFile.open(path, self._shape)
        crop = np.empty(self._shape, np.uint8)
        rows = []
        for place, (face, old) in enumerate(sorted(kept.items(), key=lambda item: item[1].place)):
            if self.file.read(old.place, crop):
                new.write(place, crop)
                rows.append((face, place, old.yaw, old.checksum))
        self._index.execute("delete from crops")
        self._index.executemany("insert into crops values (?, ?, ?, ?)", rows)
        self._index.execute("insert or replace into about values ('file', ?)", (number,))
        self._index.commit()
        return new

    def close(self) -> None:
        """Let go of the index; the crops stay readable."""
        with contextlib.suppress(sqlite3.Error):
            self._index.close()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self._index.close()

    def _connected(self) -> sqlite3.Connection:
        path = self.folder / "index.sqlite"
        try:
            return _index(path)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            for item in self.folder.glob("index.sqlite*"):
                item.unlink(missing_ok=True)
            return _index(path)

    def _number(self) -> int:
        ((number,),) = self._index.execute("select max(value) from about where name = 'file'")
        return int(number or 0)

    def _file(self) -> CropFile:
        number = self._number()
        if not number:  # a new index, perhaps in the place of a damaged one: what others may still read stays as it is
            number = 1 + max((int(path.stem[6:]) for path in self.folder.glob("crops-[0-9]*.bin")), default=0)
            self._index.execute("insert or replace into about values ('file', ?)", (number,))
            self._index.commit()
            self._sweep(number)
        self._opened = number
        return CropFile.open(self.folder / f"crops-{number}.bin", self._shape)

    @contextlib.contextmanager
    def _index_errors(self) -> Iterator[None]:
        """What SQLite says of the index as an error of ours: others lock it, or it was damaged after it was opened."""
        try:
            yield
        except sqlite3.Error as error:
            raise _unusable(str(error)) from error

    def _sweep(self, number: int) -> None:
        for item in self.folder.glob("crops-*.bin"):
            if item.name != f"crops-{number}.bin":
                with contextlib.suppress(OSError):  # somebody reads it (Windows): the next time
                    item.unlink()


def crop_cache(caches: Path, faceset: Path, shape: Shape, face_type: str, *, bytes_wanted: int) -> CropCache | None:
    """The cache of a faceset, with room for so many bytes; None where it cannot be: no permission, or no room.

    Caches that were not used for the longest time are deleted where they are in the way.
    """
    folder = cache_folder(caches, faceset, shape, face_type)
    try:
        with os_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        if not _has_room(caches, folder, bytes_wanted):
            return None
        cache = CropCache(folder, shape)
    except (OSError, sqlite3.Error, WorkspaceError):
        return None
    (folder / "used").touch()
    return cache


def _has_room(caches: Path, own: Path, wanted: int) -> bool:
    """Whether the caches may grow to so many bytes for this faceset, after old ones made room."""
    sizes = {folder: _size(folder) for folder in caches.iterdir() if folder.is_dir()}
    if wanted <= sizes.get(own, 0):  # 0: another process has just made room with it
        return True
    limit = DISK_SHARE * (shutil.disk_usage(caches).free + sum(sizes.values()))
    needed = max(wanted, sizes.pop(own, 0))
    for folder in sorted(sizes, key=_last_used):
        if needed + sum(sizes.values()) <= limit:
            break
        if _discarded(folder):
            sizes.pop(folder)
    return needed + sum(sizes.values()) <= limit


def _discarded(folder: Path) -> bool:
    """Delete a cache that nobody uses at the moment."""
    try:
        with FileLock(folder / "lock").acquire(timeout=0):
            for item in folder.iterdir():
                if item.name != "lock":
                    item.unlink()
    except (Timeout, OSError):
        return False
    shutil.rmtree(folder, ignore_errors=True)
    return True


def _last_used(folder: Path) -> float:
    try:
        return (folder / "used").stat().st_mtime
    except OSError:
        return 0.0


def _size(folder: Path) -> int:
    total = 0
    for item in folder.iterdir():
        with contextlib.suppress(OSError):
            total += item.stat().st_size
    return total


def _index(path: Path) -> sqlite3.Connection:
    index = sqlite3.connect(path, timeout=30.0, check_same_thread=False)
    try:
        version = index.execute("pragma user_version").fetchone()[0]
        if version not in (0, VERSION):
            index.executescript("drop table if exists crops; drop table if exists about;")
        index.execute("pragma synchronous = normal")
        if version != VERSION:  # a full disk takes no change, not even the same number again
            index.executescript(_SCHEMA)
            index.execute(f"pragma user_version = {VERSION}")
        ((found,),) = index.execute("pragma quick_check(1)")
        if found != "ok":
            raise sqlite3.DatabaseError(found)
        index.commit()
    except BaseException:
        index.close()
        raise
    return index


def _unusable(why: str) -> WorkspaceError:
    return WorkspaceError(f"The cache of faces that are ready cannot be used: {why}.", hint="It can be deleted.")


def _stopped() -> Interrupted:
    return Interrupted("Stopped while loading faces.", hint="The same command starts again where it stopped.")
