"""One face file: what is written comes back, what is foreign is kept, what is broken is named."""

from __future__ import annotations

import os
import pickle
import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from understudy.errors import FacesetError, UnderstudyError, UnreadableFace, UnsafeFile
from understudy.facesets import FaceMeta, Polygon, pickles, read_face, read_meta, write_face, write_meta
from understudy.facesets.container import replace_payload
from understudy.facesets.faces import read_header
from understudy.facesets.metadata import from_dict, from_payload, to_dict, to_payload
from understudy.facesets.xseg import MAX_BYTES, decode_mask, encode_mask
from understudy.records import FaceType, Rect


def assert_same(one: FaceMeta, other: FaceMeta) -> None:
    assert pickles.dumps(to_dict(one)) == pickles.dumps(to_dict(other))


def test_everything_comes_back(tmp_path: Path, jpeg: bytes, meta: FaceMeta) -> None:
    path = tmp_path / "00001_0.jpg"
    write_face(path, jpeg, meta)
    face = read_face(path)
    assert_same(face.meta, meta)
    assert_same(read_meta(path), meta)
    assert read_header(path)[1] == (face.height, face.width) == face.rgb8.shape[:2]
    assert [file.name for file in tmp_path.iterdir()] == ["00001_0.jpg"]


def test_new_data_leaves_the_pictures_bytes(tmp_path: Path, jpeg: bytes, meta: FaceMeta) -> None:
    path = tmp_path / "face.jpg"
    write_face(path, jpeg, meta)
    before = path.read_bytes()
    write_meta(path, meta.but(polygons=()))
    assert read_meta(path).polygons == ()
    assert path.read_bytes().endswith(before[before.index(b"\xff\xdb") :])


def test_of_a_large_file_only_the_beginning_is_read(tmp_path: Path, jpeg: bytes, meta: FaceMeta) -> None:
    """Data that takes 60 kB and a file of megabytes: still one header. A video called .jpg: one look."""
    path = tmp_path / "face.jpg"
    large = meta.but(extra={"large": b"x" * 50_000})
    write_face(path, jpeg, large)
    path.write_bytes(path.read_bytes() + b"\x00" * 10_000_000)
    garbage = tmp_path / "video.jpg"
    garbage.write_bytes(b"\x00\x00\x00\x20ftypmp42" * 1_000_000)
    tracemalloc.start()
    assert_same(read_meta(path), large)
    with pytest.raises(UnreadableFace, match="no JPEG"):
        read_meta(garbage)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


def test_too_much_data_leaves_the_file_as_it_was(tmp_path: Path, jpeg: bytes, meta: FaceMeta) -> None:
    path = tmp_path / "face.jpg"
    write_face(path, jpeg, meta)
    before = path.read_bytes()
    many = Polygon(np.zeros((9000, 2), np.float32))
    with pytest.raises(FacesetError, match="does not fit"):
        write_meta(path, meta.but(polygons=(many,)))
    assert path.read_bytes() == before


def test_types_that_other_programs_rely_on(meta: FaceMeta) -> None:
    stored = pickle.loads(to_payload(meta))
    assert isinstance(stored["source_rect"], np.ndarray)
    assert stored["source_rect"].dtype.kind == "i"
    assert stored["xseg_mask"].dtype == np.uint8
    assert type(stored["landmarks"]) is list
    assert type(stored["landmarks"][0]) is list
    assert stored["image_to_face_mat"].shape == (2, 3)
    assert [polygon["type"] for polygon in stored["seg_ie_polys"]["polys"]] == [1, 0]
    assert stored["seg_ie_polys"]["polys"][0]["pts"].dtype == np.float32
    assert not any(value is None for value in stored.values())
    first = ["face_type", "landmarks", "source_filename", "source_rect", "source_landmarks", "image_to_face_mat"]
    assert list(stored)[:6] == first


def test_what_is_not_there_is_left_out() -> None:
    assert list(to_dict(FaceMeta(FaceType.FULL, np.zeros((68, 2))))) == ["face_type", "landmarks"]


POINTS = np.arange(136.0).reshape(68, 2)
FORMS: dict[str, dict[str, Any]] = {
    "lists": {"landmarks": POINTS.tolist()},
    "tuples": {"landmarks": tuple(map(tuple, POINTS.tolist()))},
    "float32": {"landmarks": POINTS.astype(np.float32)},
    "whole numbers": {"landmarks": POINTS.astype(int).tolist()},
    "rows of arrays": {"landmarks": list(POINTS)},
    "rows of NumPy scalars": {"landmarks": [[np.float32(x), np.float32(y)] for x, y in POINTS]},
}


@pytest.mark.parametrize("name", FORMS)
def test_any_kind_of_sequence_is_read(name: str) -> None:
    np.testing.assert_array_equal(from_dict(FORMS[name]).landmarks, POINTS)


def test_any_key_may_be_missing(meta: FaceMeta) -> None:
    stored = to_dict(meta)
    for key in stored:
        from_dict({name: value for name, value in stored.items() if name != key})
    assert from_dict({"source_filename": "1.png"}).face_type is FaceType.FULL
    assert not from_dict({"source_filename": "1.png"}).has_landmarks
    assert from_dict({"face_type": "WHOLE_FACE"}).face_type is FaceType.WHOLE_FACE


def test_rectangles_of_turned_faces_keep_their_order() -> None:
    made = from_dict({"source_rect": np.array([300, 200, 100, 50], np.int32)})
    assert made.source_rect == Rect(300, 200, 100, 50)
    np.testing.assert_array_equal(to_dict(made)["source_rect"], [300, 200, 100, 50])


def test_masks_in_any_wrapping() -> None:
    data = encode_mask(np.ones((8, 8), np.float32))
    flat = np.frombuffer(data, np.uint8)
    for stored in (data, flat, flat[:, None], flat.tolist()):
        assert from_dict({"xseg_mask": stored}).xseg_mask == data


def test_both_forms_of_polygons() -> None:
    square = [[0, 0], [4, 0], [4, 4]]
    pairs = from_dict({"seg_ie_polys": [(0, square), [1, square]]}).polygons
    rows = [{"type": 0, "pts": np.array(square), "more": 1}, {"type": 1, "pts": square}]
    dictionary = from_dict({"seg_ie_polys": {"polys": rows}}).polygons
    for polygons in (pairs, dictionary):
        assert [polygon.include for polygon in polygons] == [True, False]
        assert polygons[0].points.dtype == np.float32
    assert from_dict({"seg_ie_polys": "?"}).polygons == ()
    assert not from_dict({"seg_ie_polys": [(1, [])]}).is_labelled


@pytest.mark.parametrize(
    "stored",
    [
        {"landmarks": POINTS[:67]},
        {"landmarks": "x" * 68},
        {"landmarks": [[1, float("nan")]] * 68},
        {"landmarks": [[1, 10**400]] * 68},
        {"landmarks": [[1, "2"]] * 68},
        {"landmarks": {}},
        {"landmarks": [[[1, 2]] * 2] * 68},
        {"source_rect": [1, 2, 3]},
        {"image_to_face_mat": np.eye(3)},
        {"face_type": "elbow"},
        {"source_filename": 7},
        {"seg_ie_polys": [(7, [[0, 0]])]},
        {"xseg_mask": {}},
        {"eyebrows_expand_mod": "high"},
    ],
    ids=str,
)
def test_senseless_values_are_refused(stored: dict[str, Any]) -> None:
    with pytest.raises(UnreadableFace):
        from_dict(stored)


def test_names_cannot_leave_the_folder() -> None:
    assert from_dict({"source_filename": "..\\..\\x/../00001.png"}).source_filename == "00001.png"
    for name in ("..", "a/..", "", "x/", "a\x00b", "half\ud800"):
        with pytest.raises(UnsafeFile):
            from_dict({"source_filename": name})


class Hostile:
    def __reduce__(self) -> Any:
        return os.system, ("echo hostile",)


def test_a_hostile_face_is_refused_and_named(tmp_path: Path, jpeg: bytes) -> None:
    path = tmp_path / "evil.jpg"
    path.write_bytes(replace_payload(jpeg, pickle.dumps({"face_type": Hostile()}, 3)))
    for read in (read_face, read_meta):
        with pytest.raises(UnsafeFile, match=r"evil\.jpg"):
            read(path)


def test_plain_pictures_and_missing_files_are_named(tmp_path: Path, jpeg: bytes) -> None:
    path = tmp_path / "plain.jpg"
    path.write_bytes(jpeg)
    with pytest.raises(UnreadableFace, match="no face data") as caught:
        read_meta(path)
    assert "extract" in caught.value.hint
    for read in (read_face, read_meta):
        with pytest.raises(UnreadableFace, match=r"cannot be read.*gone\.jpg"):
            read(tmp_path / "gone.jpg")
    path.write_bytes(replace_payload(jpeg, pickle.dumps({}, 3)))
    with pytest.raises(UnderstudyError):
        read_meta(path)


def test_a_nest_of_shared_lists_is_refused_quickly() -> None:
    nest: Any = 1.0
    for _ in range(50):
        nest = [nest, nest]
    for key in ("landmarks", "source_rect", "seg_ie_polys", "xseg_mask"):
        with pytest.raises(UnreadableFace):
            from_payload(pickle.dumps({key: [nest] * 68 if key != "seg_ie_polys" else [(1, [nest])]}, 3))


def test_large_masks_become_jpeg_and_stay_small() -> None:
    noise = np.random.default_rng(0).random((256, 256)).astype(np.float32)
    stored = encode_mask(noise)
    assert stored.startswith(b"\xff\xd8\xff")
    assert len(stored) <= MAX_BYTES
    assert np.abs(decode_mask(stored) - noise).mean() < 0.1
    with pytest.raises(FacesetError, match="too detailed"):
        encode_mask(np.random.default_rng(0).random((4096, 4096)).astype(np.float32))


def test_masks_are_cut_not_rounded() -> None:
    made = decode_mask(encode_mask(np.full((4, 4, 3), 0.999, np.float32)))
    assert made.shape == (4, 4)
    assert np.unique(made * 255).round(3).tolist() == [254.0]


def test_a_mask_that_claims_to_be_huge_costs_nothing() -> None:
    """A few hundred bytes with the header of a PNG of 7000 x 7000 pixels kept the decoder busy for seconds."""
    data = bytearray(encode_mask(np.ones((64, 64), np.float32)))
    data[16:24] = struct.pack(">II", 7000, 7000)
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    with pytest.raises(UnreadableFace, match="7000 x 7000"):
        decode_mask(bytes(data))


@pytest.mark.parametrize(
    "data", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n" + b"\x00" * 8 + b"\x7f\xff\xff\xff" * 2, b"\xff\xd8\xff"]
)
def test_masks_that_are_no_pictures(data: bytes) -> None:
    with pytest.raises(UnreadableFace):
        decode_mask(data)


def test_a_mask_with_a_chunk_longer_than_itself_is_refused_before_decoding() -> None:
    """The PNG decoder makes room for what a chunk claims before it reads: 4 kB cost seconds and gigabytes."""
    made = bytearray(encode_mask(np.eye(64, dtype=np.float32)))
    at = made.index(b"IDAT") - 4
    made[at : at + 4] = struct.pack(">I", 0x7FFFFFF0)
    with pytest.raises(UnreadableFace, match="cut off"):
        decode_mask(bytes(made))


def test_what_only_we_store_is_left_out_when_absent_and_never_makes_a_face_unusable() -> None:
    assert not {key for key in to_dict(from_dict({})) if key.startswith("understudy")}
    known = FaceMeta(FaceType.FULL, np.zeros((68, 2)), confidence=0.5, track=0, group="ada")
    stored = pickles.loads(to_payload(known))
    assert (stored["understudy_confidence"], stored["understudy_track"], stored["understudy_person"]) == (0.5, 0, "ada")
    senseless = {"understudy_confidence": 7, "understudy_track": -1, "understudy_person": ["ada"]}
    odd = from_dict({**stored, **senseless})
    assert (odd.confidence, odd.track, odd.group) == (None, None, None)
    assert not odd.extra
