"""Face files and packs of the reference program open here, and what is written has the form that it reads."""

from __future__ import annotations

import hashlib
import json
import pickletools
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from understudy.facesets import Catalog, Face, FaceMeta, pickles, read_face, read_meta, write_face, write_meta
from understudy.facesets.container import parse_header
from understudy.facesets.metadata import to_dict
from understudy.facesets.packs import list_pack, read_packed
from understudy.facesets.xseg import decode_mask, encode_mask
from understudy.geometry import FACE_TYPE_CODES, PADDING, transform
from understudy.masks import face_hull, face_mask, rasterise

MARKERS = {0xDB: "DQT", 0xC0: "SOF0", 0xC2: "SOF2", 0xC4: "DHT", 0xDD: "DRI", 0xFE: "COM"}
MARKERS |= {0xE0 + n: f"APP{n}" for n in range(16)}

ADDED_LATER = {"xseg_mask", "seg_ie_polys", "eyebrows_expand_mod"}
"""Keys that tools add to an extracted face; their order is that in which the tools were used."""


@pytest.fixture(scope="module")
def folder(golden: Path) -> Path:
    return golden / "files"


@pytest.fixture(scope="module")
def expected(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "expected.json").read_text()))


@pytest.fixture(scope="module")
def pixels(folder: Path) -> dict[str, np.ndarray]:
    return dict(np.load(folder / "aligned_expected.npz"))


def faces(folder: Path, expected: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], Face]]:
    assert expected["aligned"]
    for name, facts in expected["aligned"].items():
        yield name, facts, read_face(folder / name)


def array(value: Any) -> np.ndarray:
    """A JSON value or its {"__ndarray__": …} form as an array."""
    return np.asarray(value["__ndarray__"], value["dtype"]) if isinstance(value, dict) else np.asarray(value)


def assert_same(meta: FaceMeta, other: FaceMeta) -> None:
    one, two = pickles.dumps(to_dict(meta)), pickles.dumps(to_dict(other))
    assert one == two


def test_data_of_every_face(folder: Path, expected: dict[str, Any]) -> None:
    for name, facts, face in faces(folder, expected):
        meta = face.meta
        assert face.rgb8.shape == tuple(facts["shape"]), name
        assert meta.face_type == facts["face_type"]
        assert meta.source_filename == facts["source_filename"]
        assert meta.eyebrows_expand_mod == facts["eyebrows_expand_mod"]
        np.testing.assert_array_equal(meta.landmarks, facts["landmarks"])
        np.testing.assert_array_equal(meta.source_landmarks, facts["source_landmarks"])
        rect = meta.source_rect
        assert rect is not None
        np.testing.assert_array_equal([rect.left, rect.top, rect.right, rect.bottom], array(facts["source_rect"]))
        if facts["image_to_face_mat"] is None:
            assert meta.image_to_face_mat is None
        else:
            np.testing.assert_array_equal(meta.image_to_face_mat, facts["image_to_face_mat"])
        assert (meta.xseg_mask is not None) == facts["has_xseg_mask"]
        assert bool(meta.polygons) == facts["has_seg_ie_polys"]


def test_stored_matrix_is_the_transform_of_the_source_landmarks(folder: Path, expected: dict[str, Any]) -> None:
    for name, facts, face in faces(folder, expected):
        if face.meta.face_type not in PADDING:
            continue
        made = transform(face.meta.source_landmarks, face.width, face.meta.face_type)
        np.testing.assert_allclose(made, facts["image_to_face_mat"], rtol=1e-5, atol=1e-3, err_msg=name)


def test_pixels(folder: Path, expected: dict[str, Any], pixels: dict[str, np.ndarray]) -> None:
    for name, _, face in faces(folder, expected):
        apart = np.abs(face.rgb8[..., ::-1].astype(int) - pixels[f"bgr|{name}"])
        assert apart.max() <= 2, f"{name}: JPEG decoders may differ by rounding only"


def test_cropping_the_source_photo(folder: Path, expected: dict[str, Any], pixels: dict[str, np.ndarray]) -> None:
    """The stored crops are bilinear; libraries round its weights in their own way, so a few levels of difference."""
    compared = 0
    for _, facts, face in faces(folder, expected):
        source = folder / f"source_{facts['source_filename']}"
        before = pixels.get(f"aligned_before_jpeg_{int(source.stem[-5:]) - 1}" if source.stem[-5:].isdigit() else "")
        if not source.is_file() or before is None or face.width != before.shape[0]:
            continue
        frame = cv2.imread(str(source), cv2.IMREAD_COLOR)
        matrix = transform(face.meta.source_landmarks, face.width, face.meta.face_type)
        crop = cv2.warpAffine(frame, matrix, before.shape[:2], flags=cv2.INTER_LINEAR)
        apart = np.abs(crop.astype(int) - before)
        assert apart.mean() < 0.5
        assert np.percentile(apart, 99.9) <= 4
        compared += 1
    assert compared


def test_stored_masks(folder: Path, expected: dict[str, Any], pixels: dict[str, np.ndarray]) -> None:
    for name, facts, face in faces(folder, expected):
        stored = face.meta.xseg_mask
        if stored is None:
            hull = face_hull(face.meta.landmarks, face.height, face.width, face.meta.eyebrows_expand_mod)
            np.testing.assert_array_equal(face_mask(face), hull)
            continue
        assert len(stored) == facts["xseg_mask_bytes"]
        assert stored[:4] == (b"\x89PNG" if facts["xseg_mask_encoding"] == "png" else b"\xff\xd8\xff\xe0")
        levels = np.round(decode_mask(stored) * 255)
        tolerance = 0 if facts["xseg_mask_encoding"] == "png" else 2
        assert np.abs(levels - pixels[f"xseg|{name}"][..., 0]).max() <= tolerance
        assert face_mask(face).shape == (face.height, face.width)


def test_encoding_a_mask(folder: Path, expected: dict[str, Any], pixels: dict[str, np.ndarray]) -> None:
    for name, mask in pixels.items():
        if not name.startswith("xseg_mask_float_in_"):
            continue
        number = int(name.rpartition("_")[2]) + 1
        facts = next(
            f for n, f in expected["aligned"].items() if Path(n).stem == f"{number:05d}_0" and f["has_xseg_mask"]
        )
        made = encode_mask(mask)
        assert (made[:4] == b"\x89PNG") == (facts["xseg_mask_encoding"] == "png")
        if facts["xseg_mask_encoding"] == "png":
            expected_levels = np.clip(mask[..., 0] * np.float32(255), 0, 255).astype(np.uint8)
            np.testing.assert_array_equal(np.round(decode_mask(made) * 255), expected_levels)
        else:
            assert abs(len(made) - facts["xseg_mask_bytes"]) < 1500, "the same quality was chosen"


def test_polygons(folder: Path, expected: dict[str, Any], pixels: dict[str, np.ndarray]) -> None:
    for name, facts, face in faces(folder, expected):
        if not facts["has_seg_ie_polys"]:
            continue
        listed = facts["seg_ie_polys_after_load_sorted"]
        assert [int(polygon.include) for polygon in face.meta.polygons] == [item["type"] for item in listed]
        for polygon, item in zip(face.meta.polygons, listed, strict=True):
            np.testing.assert_array_equal(polygon.points, np.float32(item["pts"]))
        size = (face.height, face.width)
        made = rasterise(face.meta.polygons, *size)
        np.testing.assert_array_equal(made, pixels[f"polymask|{name}"][..., 0])
        over_ones = rasterise(face.meta.polygons, *size, onto=np.ones(size, np.float32))
        np.testing.assert_array_equal(over_ones, pixels[f"polymask_ones|{name}"][..., 0])


def test_what_is_written_has_the_same_form(folder: Path, expected: dict[str, Any], tmp_path: Path) -> None:
    """Same segments in the same order, same keys in the same order, the same kinds of values, the same picture."""
    for name, facts, _ in faces(folder, expected):
        original = (folder / name).read_bytes()
        copy = tmp_path / Path(name).name
        write_face(copy, original, read_meta(folder / name))
        header = parse_header(copy.read_bytes())
        assert ["SOI", *(MARKERS[s.marker] for s in header.segments), "SOS", "EOI"] == facts["jpeg_chunks"]
        stored = pickles.loads(header.payloads[0])
        as_extracted = [key for key in facts["dict_keys_in_file_order"] if key not in ADDED_LATER]
        assert [key for key in stored if key not in ADDED_LATER] == as_extracted
        assert set(stored) == set(facts["dict_keys_in_file_order"])
        kinds = {
            key: f"ndarray:{value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
            for key, value in stored.items()
        }
        assert kinds == facts["dict_value_types"]
        opcodes = [(code.name, argument) for code, argument, _ in pickletools.genops(header.payloads[0])]
        assert ("PROTO", 3) in opcodes
        mentioned = {str(argument).replace(" ", ".") for code, argument in opcodes if code == "GLOBAL"}
        assert mentioned <= set(facts["pickle_globals"])
        assert_same(read_meta(copy), read_meta(folder / name))
        np.testing.assert_array_equal(read_face(copy).rgb8, read_face(folder / name).rgb8)
        first = copy.read_bytes()
        write_meta(copy, read_meta(copy))
        assert copy.read_bytes() == first


def test_packs(folder: Path, expected: dict[str, Any], tmp_path: Path) -> None:
    packs = [name for name in expected if name.endswith(".pak")]
    assert packs
    for name in packs:
        facts = expected[name]["samples"]
        packed = list_pack(folder / name)
        for face, sample in zip(packed, facts, strict=True):
            data = read_packed(folder / name, face.offset, face.size)
            assert hashlib.sha256(data).hexdigest() == sample["sha256"]
            assert (face.name, face.person) == (sample["filename"], sample["person_name"])
            assert int(face.stored["face_type"]) == sample["face_type"] == FACE_TYPE_CODES[face.meta().face_type]
            assert len(face.meta().polygons) == sample["n_polys"]
        inside = tmp_path / name
        inside.mkdir()
        shutil.copy(folder / name, inside / "faceset.pak")
        with Catalog.open(inside) as catalog:
            assert not catalog.skipped
            assert catalog.persons == sorted({s["person_name"] for s in facts if s["person_name"]})
            for entry, sample in zip(catalog.faces(), facts, strict=True):
                assert (entry.name, entry.person) == (sample["filename"], sample["person_name"])
                assert (entry.height, entry.width) == tuple(sample["shape"][:2])
                assert entry.has_mask == sample["has_xseg"]
                assert entry.meta.source_filename == sample["source_filename"]
                np.testing.assert_array_equal(entry.read().meta.landmarks, entry.meta.landmarks)


def test_metadata_backup_opens(folder: Path, expected: dict[str, Any]) -> None:
    for name, facts in expected.items():
        if name != "meta.dat":
            continue
        stored = pickles.loads((folder / name).read_bytes())
        assert list(stored) == facts["keys"]
        assert {key: list(value[0]) for key, value in stored.items()} == facts["shapes"]


def test_catalog_lists_every_face(folder: Path, expected: dict[str, Any]) -> None:
    for sub in sorted({Path(name).parent for name in expected["aligned"]}):
        with Catalog.open(folder / sub) as catalog:
            names = sorted(Path(name).name for name in expected["aligned"] if Path(name).parent == sub)
            assert [face.name for face in catalog.faces()] == names
            for face in catalog.faces():
                assert_same(face.meta, read_meta(face.path))
