"""faceset.pak: read with its offsets checked against the file and its names against the folder."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest

from made_faces import make_jpeg, make_meta
from understudy.errors import UnderstudyError, UnreadableFace, UnsafeFile
from understudy.facesets import Catalog, pickles
from understudy.facesets.container import replace_payload
from understudy.facesets.metadata import to_dict, to_payload
from understudy.facesets.packs import list_pack, read_packed
from understudy.facesets.pickles import FaceTypeCode, SampleTypeCode
from understudy.records import FaceType


def sample(index: int, **changes: Any) -> dict[str, Any]:
    meta = to_dict(make_meta(index))
    made = {
        "sample_type": SampleTypeCode(1),
        "filename": f"{index}.jpg",
        "face_type": FaceTypeCode(4),
        "shape": (96, 96, 3),
        "landmarks": meta["landmarks"],
        "seg_ie_polys": {"polys": []},
        "xseg_mask": None,
        "xseg_mask_compressed": None,
        "eyebrows_expand_mod": 1.0,
        "source_filename": meta["source_filename"],
        "person_name": None,
    }
    return {**made, **changes}


def pack(path: Path, config: Any, faces: list[bytes], *, last: int | None = None, version: int = 1) -> Path:
    """A pack as the format describes it; `last`: the table's last entry, absolute by default."""
    body = pickles.dumps(config, 4)
    starts = [sum(map(len, faces[:n])) for n in range(len(faces))]
    end = 16 + len(body) + 8 * (len(faces) + 1) + sum(map(len, faces))
    table = struct.pack(f"<{len(faces) + 1}Q", *starts, end if last is None else last)
    path.write_bytes(struct.pack("<QQ", version, len(body)) + body + table + b"".join(faces))
    return path


def faces(count: int) -> list[bytes]:
    return [replace_payload(make_jpeg(index), to_payload(make_meta(index))) for index in range(count)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "faceset.pak"


def test_both_kinds_of_last_offset(path: Path) -> None:
    stored = faces(3)
    for last in (None, sum(map(len, stored))):
        pack(path, [sample(n) for n in range(3)], stored, last=last)
        found = list_pack(path)
        assert [read_packed(path, face.offset, face.size) for face in found] == stored


def test_a_pack_wins_over_loose_files(path: Path, jpeg: bytes) -> None:
    (path.parent / "loose.jpg").write_bytes(jpeg)
    pack(path, [sample(n) for n in range(2)], faces(2))
    with Catalog.open(path.parent) as catalog:
        assert [face.name for face in catalog] == ["0.jpg", "1.jpg"]
        assert catalog.skipped == []
        path.unlink()
        catalog.refresh()
        assert len(catalog) == 0
        assert [skipped.item for skipped in catalog.skipped] == ["loose.jpg"]


def test_a_changed_pack_is_read_again(path: Path) -> None:
    pack(path, [sample(0)], faces(1))
    with Catalog.open(path.parent, cache=path.parent / "cache") as catalog:
        assert len(catalog) == 1
        pack(path, [sample(n) for n in range(3)], faces(3))
        catalog.refresh()
        assert len(catalog) == 3


def test_the_jpegs_own_data_comes_first_and_the_packs_when_it_has_none(path: Path) -> None:
    own, bare = faces(1)[0], make_jpeg(1)
    pack(
        path,
        [sample(0, face_type=FaceTypeCode(2)), sample(1, face_type=FaceTypeCode(2), eyebrows_expand_mod=0.5)],
        [own, bare],
    )
    with Catalog.open(path.parent) as catalog:
        first, second = catalog.faces()
        assert first.face_type is FaceType.WHOLE_FACE
        assert second.face_type is FaceType.FULL
        assert second.meta.eyebrows_expand_mod == 0.5
        assert second.meta.source_filename == "00002.png"
        assert second.read().meta.source_filename == "00002.png"


def test_plain_numbers_for_types(path: Path) -> None:
    pack(path, [sample(0, face_type=4, sample_type=1)], faces(1))
    assert list_pack(path)[0].meta().face_type is FaceType.WHOLE_FACE


def test_an_empty_pack(path: Path) -> None:
    pack(path, [], [])
    with Catalog.open(path.parent) as catalog:
        assert len(catalog) == 0


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"filename": "../../evil.jpg"}, UnsafeFile),
        ({"filename": "C:\\evil.jpg"}, UnsafeFile),
        ({"filename": ".."}, UnsafeFile),
        ({"person_name": "../up"}, UnsafeFile),
        ({"filename": None}, UnreadableFace),
        ({"person_name": 3}, UnreadableFace),
    ],
    ids=str,
)
def test_names_that_leave_the_folder(path: Path, change: dict[str, Any], error: type[UnderstudyError]) -> None:
    pack(path, [sample(0, **change)], faces(1))
    with pytest.raises(error):
        Catalog.open(path.parent)


def test_one_broken_face_does_not_cost_the_others(path: Path) -> None:
    pack(path, [sample(n) for n in range(3)], [faces(1)[0], b"\x00" * 500, faces(3)[2]])
    with Catalog.open(path.parent) as catalog:
        assert [face.name for face in catalog] == ["0.jpg", "2.jpg"]
        assert [skipped.item for skipped in catalog.skipped] == ["1.jpg"]


def test_damaged_packs_say_so(path: Path) -> None:
    good = pack(path, [sample(n) for n in range(2)], faces(2)).read_bytes()
    config = struct.unpack("<Q", good[8:16])[0]
    damaged = {
        "empty": b"",
        "cut in the header": good[:10],
        "cut in the list": good[:200],
        "cut in the table": good[: 16 + config + 4],
        "another version": struct.pack("<Q", 2) + good[8:],
        "endless list": good[:8] + struct.pack("<Q", 2**62) + good[16:],
        "offsets outside": good[: 16 + config] + struct.pack("<3Q", 0, 2**60, 2**61) + good[16 + config + 24 :],
        "offsets backwards": good[: 16 + config] + struct.pack("<3Q", 900, 5, 2**40) + good[16 + config + 24 :],
    }
    for name, data in damaged.items():
        path.write_bytes(data)
        with pytest.raises(UnderstudyError):
            Catalog.open(path.parent)
        assert name
    pack(path, {"not": "a list"}, [])
    with pytest.raises(UnsafeFile, match="no list"):
        Catalog.open(path.parent)
