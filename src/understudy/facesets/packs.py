"""faceset.pak: a whole faceset in one file.

    u64 version = 1 · u64 C · C bytes: pickled list of N dictionaries · (N+1) u64 offsets · N JPEG files end to end

Offsets count from the first JPEG; the last one is the end of the file, counted from its beginning in packs made
elsewhere and from the first JPEG in ours. Little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.errors import UnreadableFace, UnsafeFile
from understudy.facesets import pickles
from understudy.facesets.metadata import FaceMeta, base_name, from_dict
from understudy.geometry.face_types import FACE_TYPE_CODES

PACK_NAME = "faceset.pak"
VERSION = 1

_HINT = "Unpack the original again, or remove faceset.pak so that the loose faces of the folder are used."
_TYPES_BY_CODE = {code: face_type for face_type, code in FACE_TYPE_CODES.items()}


@dataclass(frozen=True, eq=False)
class PackedFace:
    """Where one JPEG lies in a pack. person: sub-folder name, None without. stored: its dictionary in the pack."""

    name: str
    person: str | None
    offset: int
    size: int
    stored: Mapping[str, Any]

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
    """What a pack holds, in its order. Raises UnreadableFace or UnsafeFile; offsets are checked against the file."""
    file_size = path.stat().st_size
    with path.open("rb") as handle:
        version, config_size = struct.unpack("<QQ", _exactly(handle.read(16), 16))
        if version != VERSION:
            raise UnreadableFace(
                f"faceset.pak is of version {version}; only {VERSION} is known.", hint=_HINT, path=path
            )
        if config_size > file_size - 16:
            raise UnreadableFace("faceset.pak is cut off.", hint=_HINT, path=path)
        config = pickles.loads(handle.read(config_size))
        if not isinstance(config, list) or not all(isinstance(item, dict) for item in config):
            raise UnreadableFace("The list in faceset.pak is of another kind.", hint=_HINT, path=path)
        table_size = 8 * (len(config) + 1)
        table = struct.unpack(f"<{len(config) + 1}Q", _exactly(handle.read(table_size), table_size))
    start = 16 + config_size + table_size
    return list(_located(config, table, start, file_size))


def read_packed(path: Path, offset: int, size: int) -> bytes:
    """The bytes of one packed JPEG. offset: from the beginning of the file."""
    with path.open("rb") as handle:
        handle.seek(offset)
        return _exactly(handle.read(size), size)


def _located(config: list[dict[str, Any]], table: tuple[int, ...], start: int, file_size: int) -> Iterator[PackedFace]:
    room = file_size - start
    ends = [*table[1:-1], min(table[-1], room)] if config else []
    for item, begin, end in zip(config, table[:-1], ends, strict=True):
        if not begin <= end <= room:
            raise UnreadableFace("faceset.pak points outside of itself.", hint=_HINT)
        name, person = item.get("filename"), item.get("person_name")
        if not isinstance(name, str) or not isinstance(person, (str, type(None))):
            raise UnreadableFace("faceset.pak holds a face without a name.", hint=_HINT)
        yield PackedFace(
            name=_inside(name),
            person=_inside(person) if person else None,
            offset=start + begin,
            size=end - begin,
            stored=item,
        )


def _inside(name: str) -> str:
    if base_name(name) != name:
        raise UnsafeFile(f"faceset.pak names a file outside of its folder: {name[:80]!r}.", hint=_HINT)
    return name


def _exactly(data: bytes, size: int) -> bytes:
    if len(data) != size:
        raise UnreadableFace("faceset.pak is cut off.", hint=_HINT)
    return data
