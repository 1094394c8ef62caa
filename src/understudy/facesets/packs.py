"""faceset.pak: a whole faceset in one file.

    u64 version = 1 · u64 C · C bytes: pickled list of N dictionaries · (N+1) u64 offsets · N JPEG files end to end

Offsets count from the first JPEG; the last one is the end of the file, counted from its beginning in packs made
elsewhere and from the first JPEG in ours. Little-endian. Packs are read and written in pieces, since they may hold a
million faces.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import struct
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from understudy import files
from understudy.errors import FacesetError, Interrupted, UnreadableFace, UnsafeFile
from understudy.facesets import metadata, pickles
from understudy.facesets.faces import read_header
from understudy.facesets.metadata import FaceMeta, base_name, from_dict
from understudy.geometry.face_types import FACE_TYPE_CODES
from understudy.report import Pace, Report, Stop, never, silent

if TYPE_CHECKING:
    from understudy.facesets.catalog import FaceEntry

PACK_NAME = "faceset.pak"
VERSION = 1

_HINT = "Unpack the original again, or remove faceset.pak so that the loose faces of the folder are used."
_TYPES_BY_CODE = {code: face_type for face_type, code in FACE_TYPE_CODES.items()}
_FACE_SAMPLE = 1
_TABLE_PIECE = 1 << 16


@dataclass(frozen=True, eq=False)
class PackedFace:
    """Where one JPEG lies in a pack. person: sub-folder name, None without. stored: its dictionary in the pack."""

    name: str
    person: str | None
    offset: int
    size: int
    stored: Mapping[str, Any]

    @property
    def key(self) -> str:
        """The name, after the person's and "/" where there is one."""
        return self.name if self.person is None else f"{self.person}/{self.name}"

    def meta(self) -> FaceMeta:
        """The data in the pack's own list, for a JPEG that has lost its. The JPEG's own data comes first."""
        wanted = ("landmarks", "seg_ie_polys", "eyebrows_expand_mod", "source_filename")
        found = {key: self.stored[key] for key in wanted if key in self.stored}
        code = self.stored.get("face_type")
        if isinstance(code, int) and int(code) in _TYPES_BY_CODE:
            found["face_type"] = str(_TYPES_BY_CODE[int(code)])
        found["xseg_mask"] = self.stored.get("xseg_mask_compressed")
        return from_dict(found)


def list_pack(path: Path) -> list[PackedFace]:
    """What a pack holds, in its order, all at once: `each_packed` is for large ones."""
    return list(each_packed(path))


def each_packed(path: Path) -> Iterator[PackedFace]:
    """What a pack holds, in its order, a few faces in memory at a time.

    Raises UnreadableFace or UnsafeFile, for a wrong offset or name where it comes; offsets are checked against the
    file, so that no face reaches out of it or into another.
    """
    with path.open("rb") as handle, path.open("rb") as beside:
        layout = _layout(handle, path)
        handle.seek(16)
        items = pickles.stream(handle, layout.config_size, list)
        ends = _ends(beside, layout)
        begin = next(ends)
        count = 0
        for count, item in enumerate(items, 1):  # noqa: B007 - looked at afterwards
            end = next(ends, -1)
            if not begin <= end <= layout.room:
                raise UnreadableFace("faceset.pak points outside of itself.", hint=_HINT, path=path)
            yield _located(item, layout.start + begin, end - begin)
            begin = end
        if count != layout.count:
            raise UnreadableFace("The list in faceset.pak does not fit its offsets.", hint=_HINT, path=path)


def count_packed(path: Path) -> int:
    """How many faces a pack holds, usually without reading its list. Raises UnreadableFace or UnsafeFile."""
    with path.open("rb") as handle:
        return _layout(handle, path).count


def read_packed(path: Path, offset: int, size: int) -> bytes:
    """The bytes of one packed JPEG. offset: from the beginning of the file."""
    with path.open("rb") as handle:
        handle.seek(offset)
        return _exactly(handle.read(size), size)


@dataclass(frozen=True)
class WrittenPack:
    """A pack that was just written. digests: SHA-256 of each face by key, in the pack's order."""

    path: Path
    digests: Mapping[str, bytes]


def write_pack(
    folder: Path, entries: Sequence[FaceEntry], *, report: Report = silent, stop: Stop = never
) -> WrittenPack:
    """Write loose faces into `folder`/faceset.pak, in their order and byte for byte as they are; then read it back.

    The pack appears when it is whole and has been compared; one that is there is replaced. Memory stays flat but for
    names and digests. Raises Interrupted, DiskFull, ReadOnlyWorkspace, UnreadableFace, and FacesetError when a face
    changes meanwhile; nothing is left behind then.
    """
    path = folder / PACK_NAME
    pace = Pace("Packing", 3 * len(entries), report, unit="steps")
    with files.writing(path) as temp:
        with temp.open("w+b") as handle:
            stamps = _write_list(handle, entries, pace, stop)
            digests = _write_faces(handle, entries, stamps, pace, stop)
        _compare(temp, digests, pace, stop)
    return WrittenPack(path, digests)


# -- writing


def _write_list(handle: BinaryIO, entries: Sequence[FaceEntry], pace: Pace, stop: Stop) -> list[tuple[int, int]]:
    """Write everything before the faces. Gives each file's size and time as they were read."""
    stamps: list[tuple[int, int]] = []

    def samples() -> Iterator[dict[str, Any]]:
        for entry in entries:
            _require_going(stop)
            stamps.append(_stamp(entry.path))
            yield _sample(entry, *read_header(entry.path))
            pace.advance()

    handle.write(bytes(16))
    for piece in pickles.dump_items(samples(), protocol=4):
        handle.write(piece)
    config_size = handle.tell() - 16
    starts = array("Q", itertools.accumulate((size for size, _ in stamps), initial=0))
    handle.write(np.asarray(starts, "<u8").tobytes())
    data_starts_at = handle.tell()
    handle.seek(0)
    handle.write(struct.pack("<QQ", VERSION, config_size))
    handle.seek(data_starts_at)
    return stamps


def _sample(entry: FaceEntry, meta: FaceMeta, size: tuple[int, int]) -> dict[str, Any]:
    """One face as the list describes it; keys in the order and values of the kinds that other programs write."""
    stored = metadata.to_dict(meta)
    return {
        "sample_type": pickles.SampleTypeCode(_FACE_SAMPLE),
        "filename": entry.name,
        "face_type": pickles.FaceTypeCode(FACE_TYPE_CODES[meta.face_type]),
        "shape": (*size, 3),
        "landmarks": stored["landmarks"],
        "seg_ie_polys": metadata.polygons_to_dict(meta.polygons),
        "xseg_mask": None,
        "xseg_mask_compressed": stored.get("xseg_mask"),
        "eyebrows_expand_mod": meta.eyebrows_expand_mod,
        "source_filename": meta.source_filename,
        "person_name": entry.person,
    }


def _write_faces(
    handle: BinaryIO, entries: Sequence[FaceEntry], stamps: Sequence[tuple[int, int]], pace: Pace, stop: Stop
) -> dict[str, bytes]:
    digests = {}
    for entry, stamp in zip(entries, stamps, strict=True):
        _require_going(stop)
        data = entry.read_bytes()
        if len(data) != stamp[0] or _stamp(entry.path) != stamp:
            raise FacesetError(
                "A face changed while it was packed.",
                hint="Nothing was packed. Run the same command again when nothing else writes this faceset.",
                path=entry.path,
            )
        handle.write(data)
        digests[entry.key] = hashlib.sha256(data).digest()
        pace.advance()
    return digests


def _compare(path: Path, digests: Mapping[str, bytes], pace: Pace, stop: Stop) -> None:
    """Read a pack back as any reader would. Raises FacesetError when it is not what was meant."""
    wanted = iter(digests.items())
    with path.open("rb") as handle:
        for face in each_packed(path):
            _require_going(stop)
            handle.seek(face.offset)
            if (face.key, hashlib.sha256(handle.read(face.size)).digest()) != next(wanted, None):
                raise FacesetError(
                    "The pack does not read back as it was written.", hint="Check the disk, then run it again."
                )
            pace.advance()


def _stamp(path: Path) -> tuple[int, int]:
    try:
        stat = os.stat(path)  # noqa: PTH116 - a third of the time of Path.stat
    except OSError as error:
        raise UnreadableFace(
            f"A face cannot be read: {error.strerror or error}.", hint="Run it again.", path=path
        ) from None
    return stat.st_size, stat.st_mtime_ns


def _require_going(stop: Stop) -> None:
    if stop():
        raise Interrupted("Stopped; the faceset is as it was.", hint="Run the same command again.")


# -- reading


@dataclass(frozen=True)
class _Layout:
    """Where the parts of a pack begin. start: of the first JPEG; room: bytes from there to the end."""

    config_size: int
    count: int
    file_size: int

    @property
    def table(self) -> int:
        return 16 + self.config_size

    @property
    def start(self) -> int:
        return self.table + 8 * (self.count + 1)

    @property
    def room(self) -> int:
        return self.file_size - self.start


def _layout(handle: BinaryIO, path: Path) -> _Layout:
    file_size = os.fstat(handle.fileno()).st_size
    version, config_size = struct.unpack("<QQ", _exactly(handle.read(16), 16))
    if version != VERSION:
        raise UnreadableFace(f"faceset.pak is of version {version}; only {VERSION} is known.", hint=_HINT, path=path)
    if config_size > file_size - 16:
        raise UnreadableFace("faceset.pak is cut off.", hint=_HINT, path=path)
    count = _count_by_table(handle, 16 + config_size, file_size)
    if count is None:
        count = _count_by_list(handle, config_size, path)
    layout = _Layout(config_size, count, file_size)
    if layout.room < 0:
        raise UnreadableFace("faceset.pak is cut off.", hint=_HINT, path=path)
    return layout


def _count_by_table(handle: BinaryIO, table: int, file_size: int) -> int | None:
    """Number of faces, from the last offset, which alone is the end of the file; None where none is.

    An offset before it is less than the bytes of all faces, so none can be taken for the end.
    """
    handle.seek(table)
    first = 0
    while piece := handle.read(8 * _TABLE_PIECE):
        offsets = np.frombuffer(piece[: len(piece) // 8 * 8], "<u8")
        rooms = file_size - table - 8 * np.arange(first + 1, first + 1 + len(offsets))
        found = np.flatnonzero((offsets == file_size) | ((rooms >= 0) & (offsets == rooms)) | (rooms < 0))
        if len(found):
            return first + int(found[0]) if rooms[found[0]] >= 0 else None
        first += len(offsets)
    return None


def _count_by_list(handle: BinaryIO, config_size: int, path: Path) -> int:
    handle.seek(16)
    return sum(1 for _ in pickles.stream(handle, config_size, list))


def _ends(handle: BinaryIO, layout: _Layout) -> Iterator[int]:
    """All offsets in turn, read in pieces; the last one is the end of the file however it was counted."""
    handle.seek(layout.table)
    for _ in range(layout.count):
        yield int.from_bytes(_exactly(handle.read(8), 8), "little")
    (last,) = struct.unpack("<Q", _exactly(handle.read(8), 8))
    yield min(last, layout.room) if layout.count else 0


def _located(item: Any, offset: int, size: int) -> PackedFace:
    if not isinstance(item, dict):
        raise UnreadableFace("The list in faceset.pak is of another kind.", hint=_HINT)
    name, person = item.get("filename"), item.get("person_name")
    if not isinstance(name, str) or not isinstance(person, (str, type(None))):
        raise UnreadableFace("faceset.pak holds a face without a name.", hint=_HINT)
    inside = _inside(person) if person else None
    return PackedFace(name=_inside(name), person=inside, offset=offset, size=size, stored=item)


def _inside(name: str) -> str:
    if base_name(name) != name:
        raise UnsafeFile(f"faceset.pak names a file outside of its folder: {name[:80]!r}.", hint=_HINT)
    return name


def _exactly(data: bytes, size: int) -> bytes:
    if len(data) != size:
        raise UnreadableFace("faceset.pak is cut off.", hint=_HINT)
    return data
