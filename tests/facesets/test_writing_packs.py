"""Packs that we write: what other programs find in them, and what happens when the ground moves meanwhile."""

from __future__ import annotations

import gc
import json
import pickle
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from made_faces import make_jpeg, make_labelled_meta, make_meta
from understudy.errors import FacesetError, Interrupted, UnreadableFace, UnsafeFile
from understudy.facesets import Catalog, pickles, write_face
from understudy.facesets import packs as packs_module
from understudy.facesets.container import replace_payload
from understudy.facesets.metadata import to_payload
from understudy.facesets.packs import count_packed, each_packed, list_pack, read_packed, write_pack

MakeFaceset = Callable[[int], Path]

FOREIGN_READER = """
import enum, json, pickle, struct, sys, types

asked = []

class SampleType(enum.IntEnum):
    IMAGE = 0
    FACE = 1

class FaceType(enum.IntEnum):
    HALF = 0
    FULL = 2
    WHOLE_FACE = 4
    HEAD = 10

for name, kind in (("samplelib", None), ("samplelib.Sample", SampleType), ("facelib", None), ("facelib.FaceType", FaceType)):
    module = sys.modules[name] = types.ModuleType(name)
    if kind is not None:
        setattr(module, kind.__name__, kind)

class Noting(pickle.Unpickler):
    def find_class(self, module, name):
        asked.append(f"{module}.{name}")
        return super().find_class(module, name)

with open(sys.argv[1], "rb") as file:
    version, size = struct.unpack("QQ", file.read(16))
    config = Noting(file).load()
    assert file.tell() == 16 + size
    table = struct.unpack(f"{len(config) + 1}Q", file.read(8 * (len(config) + 1)))
    start = file.tell()
    faces = []
    for begin, end in zip(table, table[1:]):
        file.seek(start + begin)
        faces.append(file.read(end - begin).hex())
print(json.dumps({
    "version": version,
    "asked": sorted(set(asked)),
    "keys": [list(sample) for sample in config],
    "kinds": [{key: type(value).__name__ for key, value in sample.items()} for sample in config],
    "names": [sample["filename"] for sample in config],
    "persons": [sample["person_name"] for sample in config],
    "types": [int(sample["face_type"]) for sample in config],
    "polys": [len(sample["seg_ie_polys"]["polys"]) for sample in config],
    "masks": [None if s["xseg_mask_compressed"] is None else bytes(s["xseg_mask_compressed"]).hex() for s in config],
    "faces": faces,
}))
"""  # noqa: E501
"""Reads a pack with nothing but Python's own pickle, as the reference program does."""


def foreign(path: Path) -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-c", FOREIGN_READER, path], capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


@pytest.fixture
def persons(faceset: MakeFaceset) -> Path:
    """A faceset of two people, one face of which has everything in it."""
    folder = faceset(0)
    for person, index in (("ada", 0), ("ada", 1), ("bob", 2)):
        (folder / person).mkdir(exist_ok=True)
        meta = make_labelled_meta(index) if index == 1 else make_meta(index)
        write_face(folder / person / f"{index}.jpg", make_jpeg(index), meta)
    return folder


def test_another_program_opens_our_pack(persons: Path) -> None:
    with Catalog.open(persons) as catalog:
        entries = catalog.faces()
        written = write_pack(persons, entries)
        mask = entries[1].meta.xseg_mask
    found = foreign(written.path)
    assert found["version"] == 1
    assert set(found["asked"]) <= {
        "numpy.core.multiarray._reconstruct",
        "numpy.ndarray",
        "numpy.dtype",
        "samplelib.Sample.SampleType",
        "facelib.FaceType.FaceType",
    }
    wanted = (
        "sample_type filename face_type shape landmarks seg_ie_polys xseg_mask xseg_mask_compressed"
        " eyebrows_expand_mod source_filename person_name"
    )
    assert found["keys"] == [wanted.split()] * 3
    assert found["kinds"][0] == {
        "sample_type": "SampleType", "filename": "str", "face_type": "FaceType", "shape": "tuple", "landmarks": "list",
        "seg_ie_polys": "dict", "xseg_mask": "NoneType", "xseg_mask_compressed": "NoneType",
        "eyebrows_expand_mod": "float", "source_filename": "str", "person_name": "str",
    }  # fmt: skip
    assert found["names"] == ["0.jpg", "1.jpg", "2.jpg"]
    assert found["persons"] == ["ada", "ada", "bob"]
    assert found["types"] == [4, 4, 4]
    assert found["polys"] == [0, 2, 0]
    assert mask is not None
    assert found["masks"] == [None, mask.hex(), None]
    assert found["faces"] == [(persons / entry.key).read_bytes().hex() for entry in entries]


def test_our_pack_reads_back(faceset: MakeFaceset) -> None:
    folder = faceset(40)
    with Catalog.open(folder) as catalog:
        loose = [(entry.key, entry.read_bytes()) for entry in catalog]
        write_pack(folder, catalog.faces())
        assert count_packed(folder / "faceset.pak") == 40
        catalog.refresh()
        assert [(entry.key, entry.read_bytes()) for entry in catalog] == loose
        assert all(entry.packed_at is not None for entry in catalog)
        assert [path.name for path in folder.iterdir() if path.suffix != ".jpg"] == ["faceset.pak"]


def test_a_face_that_changes_while_it_is_packed(faceset: MakeFaceset, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = faceset(3)
    with Catalog.open(folder) as catalog:
        real = packs_module._write_faces

        def meddling(*arguments: Any) -> Any:
            write_face(folder / "00002_0.jpg", make_jpeg(9), make_meta(9))
            return real(*arguments)

        monkeypatch.setattr(packs_module, "_write_faces", meddling)
        with pytest.raises(FacesetError, match="changed while it was packed"):
            write_pack(folder, catalog.faces())
    assert sorted(path.name for path in folder.iterdir()) == [f"0000{n}_0.jpg" for n in (1, 2, 3)]


def test_a_face_that_vanishes_while_it_is_packed(faceset: MakeFaceset) -> None:
    folder = faceset(3)
    with Catalog.open(folder) as catalog:
        entries = catalog.faces()
        (folder / "00002_0.jpg").unlink()
        with pytest.raises(UnreadableFace):
            write_pack(folder, entries)
    assert not (folder / "faceset.pak").exists()


def test_a_stopped_packing_leaves_nothing(faceset: MakeFaceset) -> None:
    folder = faceset(5)
    with Catalog.open(folder) as catalog:
        for after in (0, 3, 7, 12):
            calls = iter(range(100))
            with pytest.raises(Interrupted):
                write_pack(folder, catalog.faces(), stop=lambda calls=calls, after=after: next(calls) >= after)  # type: ignore[misc]
    assert len(list(folder.iterdir())) == 5


def many(path: Path, count: int, *, jpeg: bytes, shared: bool = False) -> Path:
    """A pack of `count` faces with the list pickled as the reference program does, through Python's own pickler."""
    landmarks = make_meta(0).landmarks.tolist()
    config = [
        {
            "filename": f"{n:06d}.jpg",
            "face_type": 4,
            "landmarks": landmarks if shared else (np.array(landmarks) + n).tolist(),
            "person_name": None,
        }
        for n in range(count)
    ]
    body = pickle.dumps(config, 4)
    table = struct.pack(f"<{count + 1}Q", *(n * len(jpeg) for n in range(count + 1)))
    with path.open("wb") as file:
        file.write(struct.pack("<QQ", 1, len(body)) + body + table)
        for _ in range(count):
            file.write(jpeg)
    return path


@pytest.mark.parametrize("shared", [False, True], ids=["each its own", "one list for all"])
def test_a_list_in_many_pieces(tmp_path: Path, shared: bool) -> None:
    """More faces than fit into one batch; also when the pickle says the same list for all of them."""
    path = many(tmp_path / "faceset.pak", 2300, jpeg=b"\xff\xd8x", shared=shared)
    found = list_pack(path)
    assert [face.name for face in found] == [f"{n:06d}.jpg" for n in range(2300)]
    assert [face.size for face in found] == [3] * 2300
    first = make_meta(0).landmarks
    for n in (0, 499, 500, 1000, 2299):
        np.testing.assert_allclose(found[n].meta().landmarks, first + (0 if shared else n))


def test_memory_does_not_grow_with_the_pack(tmp_path: Path) -> None:
    """Each face of the list is 70 objects; of 6,000 faces never more than two batches of a thousand are there."""
    path = many(tmp_path / "faceset.pak", 6000, jpeg=b"")
    gc.collect()
    before = len(gc.get_objects())
    alive = [len(gc.get_objects()) - before for n, _ in enumerate(each_packed(path), 1) if n % 1500 == 0]
    assert len(alive) == 4
    assert max(alive) < 2100 * 70


def test_lying_packs_are_refused(tmp_path: Path) -> None:
    """Offsets and counts that do not hold; whatever was right before the lie does not make it right."""
    jpeg = replace_payload(make_jpeg(), to_payload(make_meta()))
    whole = many(tmp_path / "whole.pak", 3, jpeg=jpeg).read_bytes()
    (config,) = struct.unpack("<Q", whole[8:16])
    table, size = 16 + config, len(jpeg)
    lies = {
        "overlap": (0, 2 * size, size, 3 * size),
        "past the end": (0, size, 4 * size, 3 * size),
        "before the data": (2**64 - 8, size, 2 * size, 3 * size),
        "all behind the end": (9 * size, 10 * size, 11 * size, 12 * size),
    }
    for name, offsets in lies.items():
        path = tmp_path / "lie.pak"
        path.write_bytes(whole[:table] + struct.pack("<4Q", *offsets) + whole[table + 32 :])
        with pytest.raises((UnreadableFace, UnsafeFile)):
            list_pack(path)
        assert name
    fewer = struct.pack("<4Q", 0, size, 3 * size + 16, 0)  # the table ends before the list does
    (tmp_path / "fewer.pak").write_bytes(whole[:table] + fewer + whole[table + 32 :])
    with pytest.raises((UnreadableFace, UnsafeFile)):
        list_pack(tmp_path / "fewer.pak")


def test_a_huge_count_in_few_bytes(tmp_path: Path) -> None:
    """A list that says one face again and again must not take more than its own length allows."""
    one = pickles.dumps({"filename": "a.jpg", "person_name": None}, 4)[2:-1]
    body = b"\x80\x04](" + one + b"\x94" + b"h\x00" * 200_000 + b"e."
    (tmp_path / "faceset.pak").write_bytes(struct.pack("<QQ", 1, len(body)) + body + b"\x00" * 64)
    with pytest.raises((UnreadableFace, UnsafeFile)):
        list_pack(tmp_path / "faceset.pak")


def test_bytes_of_a_face_in_the_middle(tmp_path: Path) -> None:
    jpeg = replace_payload(make_jpeg(), to_payload(make_meta()))
    path = many(tmp_path / "faceset.pak", 4, jpeg=jpeg)
    assert [read_packed(path, face.offset, face.size) for face in each_packed(path)] == [jpeg] * 4
