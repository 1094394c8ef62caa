"""pack, unpack, resize, restore-names, save-meta, restore-meta and what they leave where: nothing is ever lost."""

from __future__ import annotations

import os
import pickle
import shutil
import struct
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from made_faces import SIZE, make_jpeg, make_labelled_meta, make_meta
from understudy.errors import Busy, DiskFull, EmptyFaceset, Interrupted, ReadOnlyWorkspace, UnsafeFile, UsageError
from understudy.facesets import Catalog, FaceMeta, decode_jpeg, encode_jpeg, pickles, read_face, read_meta, write_face
from understudy.facesets.changes import undo_last
from understudy.facesets.metadata import to_dict
from understudy.facesets.options import (
    DrawLandmarksOptions,
    ExportMasksOptions,
    ImportPngOptions,
    MaskFormat,
    PackOptions,
    ResizedType,
    ResizeOptions,
    UnpackOptions,
)
from understudy.facesets.xseg import decode_mask, encode_mask
from understudy.geometry import transform
from understudy.masks import rasterise
from understudy.records import FaceType, Side
from understudy.stages.draw_landmarks import draw_landmarks
from understudy.stages.export_masks import export_masks
from understudy.stages.faceset_info import faceset_info
from understudy.stages.import_png import import_png
from understudy.stages.meta_backup import restore_meta, save_meta
from understudy.stages.names import restore_names
from understudy.stages.pack import pack
from understudy.stages.resize import resize
from understudy.stages.unpack import unpack
from understudy.workspace import Workspace

SRC = Side.SRC


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Four faces of src, of which the third has a mask, outlines and everything else."""
    made = Workspace.create(tmp_path / "shot")
    for index in range(4):
        meta = make_labelled_meta(index) if index == 2 else make_meta(index)
        write_face(made.src.aligned / f"{index + 1:05d}_0.jpg", make_jpeg(index), meta)
    return made


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder by its name from there."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def same(one: FaceMeta, other: FaceMeta) -> bool:
    return pickles.dumps(to_dict(one)) == pickles.dumps(to_dict(other))


def persons_of(workspace: Workspace) -> None:
    """Put the faces into folders of two persons."""
    for number, person in enumerate(["ada", "ada", "bob", "bob"], 1):
        (workspace.src.aligned / person).mkdir(exist_ok=True)
        name = f"{number:05d}_0.jpg"
        (workspace.src.aligned / name).rename(workspace.src.aligned / person / name)


# -- pack and unpack


@pytest.mark.parametrize("several", [False, True], ids=["one person", "several"])
def test_packing_and_unpacking_give_back_every_byte(workspace: Workspace, several: bool) -> None:
    if several:
        persons_of(workspace)
    before = contents(workspace.src.aligned)
    result = pack(workspace, SRC, PackOptions(delete_originals=True))
    assert result.faces == 4
    assert result.notes["persons"] == (["ada", "bob"] if several else [])
    assert list(contents(workspace.src.aligned)) == ["faceset.pak"]
    assert contents(workspace.src.aligned_trash) == before, "deleting means moving"
    assert unpack(workspace, SRC).faces == 4
    assert contents(workspace.src.aligned) == before
    assert "faceset.pak" in contents(workspace.src.aligned_trash)


def test_originals_stay_unless_asked(workspace: Workspace) -> None:
    before = contents(workspace.src.aligned)
    pack(workspace, SRC)
    assert {**before, "faceset.pak": b""}.keys() == contents(workspace.src.aligned).keys()
    assert unpack(workspace, SRC).faces == 4, "loose files that are the same are not in the way"
    assert contents(workspace.src.aligned) == before


def test_pictures_that_were_not_packed_are_not_taken_away(workspace: Workspace) -> None:
    """The reference program deletes them together with the rest."""
    (workspace.src.aligned / "plain.jpg").write_bytes(make_jpeg(9))
    result = pack(workspace, SRC, PackOptions(delete_originals=True))
    assert [item.item for item in result.skipped] == ["plain.jpg"]
    assert sorted(contents(workspace.src.aligned)) == ["faceset.pak", "plain.jpg"]


def test_packing_over_a_pack_needs_replace_and_can_be_undone(workspace: Workspace) -> None:
    pack(workspace, SRC)
    old = (workspace.src.aligned / "faceset.pak").read_bytes()
    write_face(workspace.src.aligned / "00009_0.jpg", make_jpeg(9), make_meta(9))
    with pytest.raises(UsageError, match="already"):
        pack(workspace, SRC)
    assert pack(workspace, SRC, PackOptions(replace=True)).faces == 5
    assert (workspace.src.aligned_trash / "faceset.pak").read_bytes() == old
    undo_last(workspace.changes(SRC))
    assert (workspace.src.aligned / "faceset.pak").read_bytes() == old


def test_unpacking_refuses_to_mix_or_overwrite(workspace: Workspace) -> None:
    pack(workspace, SRC)
    write_face(workspace.src.aligned / "00001_0.jpg", make_jpeg(7), make_meta(7))
    write_face(workspace.src.aligned / "later.jpg", make_jpeg(8), make_meta(8))
    (workspace.src.aligned / "holiday.jpg").write_bytes(make_jpeg(5))
    before = contents(workspace.src.aligned)
    with pytest.raises(UsageError, match=r"2 loose pictures .*00001_0\.jpg, later\.jpg"):
        unpack(workspace, SRC)
    assert contents(workspace.src.aligned) == before
    unpack(workspace, SRC, UnpackOptions(replace=True))
    after = contents(workspace.src.aligned)
    assert sorted(after) == [*(f"0000{n}_0.jpg" for n in range(1, 5)), "holiday.jpg"]
    trash = contents(workspace.src.aligned_trash)
    assert (trash["00001_0.jpg"], trash["later.jpg"]) == (before["00001_0.jpg"], before["later.jpg"])


def test_a_stopped_unpacking_goes_on(workspace: Workspace) -> None:
    before = contents(workspace.src.aligned)
    pack(workspace, SRC, PackOptions(delete_originals=True))
    calls = iter(range(100))
    with pytest.raises(Interrupted):
        unpack(workspace, SRC, stop=lambda: next(calls) >= 6)
    with Catalog.open(workspace.src.aligned) as catalog:
        assert len(catalog) == 4, "the pack is still what everything reads"
    unpack(workspace, SRC)
    assert contents(workspace.src.aligned) == before


def test_a_pack_gives_its_data_to_a_picture_that_has_none(workspace: Workspace) -> None:
    folder = workspace.src.aligned
    for path in folder.iterdir():
        path.unlink()
    meta, jpeg = to_dict(make_meta(3)), make_jpeg(3)
    sample = {"filename": "a.jpg", "face_type": 4, "landmarks": meta["landmarks"], "source_filename": "00004.png"}
    body = pickles.dumps([sample], 4)
    (folder / "faceset.pak").write_bytes(
        struct.pack("<QQ", 1, len(body)) + body + struct.pack("<QQ", 0, len(jpeg)) + jpeg
    )
    unpack(workspace, SRC)
    assert read_meta(folder / "a.jpg").source_filename == "00004.png"
    np.testing.assert_array_equal(read_meta(folder / "a.jpg").landmarks, meta["landmarks"])


def test_names_in_a_pack_that_no_face_file_has(workspace: Workspace) -> None:
    folder, face = workspace.src.aligned, (workspace.src.aligned / "00001_0.jpg").read_bytes()
    for path in folder.iterdir():
        path.unlink()
    names = ["a.jpg", "run.sh", ".hidden.jpg", "A.JPG"]
    body = pickles.dumps([{"filename": name, "person_name": None} for name in names], 4)
    table = struct.pack("<5Q", *(n * len(face) for n in range(5)))
    (folder / "faceset.pak").write_bytes(struct.pack("<QQ", 1, len(body)) + body + table + face * 4)
    result = unpack(workspace, SRC)
    assert [item.item for item in result.skipped] == ["run.sh", ".hidden.jpg", "A.JPG"]
    assert list(contents(folder)) == ["a.jpg"]


def test_names_in_a_pack_that_leave_the_folder_end_it_before_anything_is_written(workspace: Workspace) -> None:
    folder, face = workspace.src.aligned, (workspace.src.aligned / "00001_0.jpg").read_bytes()
    for path in folder.iterdir():
        path.unlink()
    body = pickles.dumps([{"filename": name, "person_name": None} for name in ("a.jpg", "../../evil.jpg")], 4)
    table = struct.pack("<3Q", *(n * len(face) for n in range(3)))
    (folder / "faceset.pak").write_bytes(struct.pack("<QQ", 1, len(body)) + body + table + face * 2)
    with pytest.raises(UnsafeFile):
        unpack(workspace, SRC)
    assert list(contents(folder)) == ["faceset.pak"]
    assert not list(workspace.root.rglob("evil.jpg"))


@pytest.mark.parametrize("stage", [pack, unpack, resize, save_meta, restore_meta, restore_names, draw_landmarks])
def test_empty_and_missing_facesets(tmp_path: Path, stage: object) -> None:
    assert callable(stage)
    workspace = Workspace.create(tmp_path / "shot")
    with pytest.raises((EmptyFaceset, UsageError)) as caught:
        stage(workspace, SRC)
    assert caught.value.hint
    shutil.rmtree(workspace.src.aligned)
    with pytest.raises((EmptyFaceset, UsageError)):
        stage(workspace, SRC)


@pytest.mark.parametrize("stage", [resize, save_meta, restore_meta, restore_names, draw_landmarks, export_masks])
def test_a_packed_faceset_is_refused_where_it_must_be_loose(workspace: Workspace, stage: object) -> None:
    assert callable(stage)
    pack(workspace, SRC)
    before = contents(workspace.src.aligned)
    if stage is resize:
        assert resize(workspace, SRC, ResizeOptions(image_size=128)).faces == 4
        stage = lambda workspace, side: resize(workspace, side, ResizeOptions(image_size=128, replace=True))  # noqa: E731
    with pytest.raises(UsageError, match="packed"):
        stage(workspace, SRC)
    assert contents(workspace.src.aligned) == before


def test_two_at_once(workspace: Workspace) -> None:
    with workspace.writing("aligned-src"):
        for stage in (pack, resize, restore_names, save_meta, draw_landmarks, export_masks, import_png):
            with pytest.raises(Busy):
                stage(workspace, SRC)


@pytest.mark.skipif(os.name == "nt" or not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root writes anywhere")
def test_a_read_only_faceset(workspace: Workspace) -> None:
    (workspace.src.aligned / "00001_0.jpg").rename(workspace.src.aligned / "sorted.jpg")
    before = contents(workspace.src.aligned)
    workspace.src.aligned.chmod(0o555)
    try:
        for stage in (pack, restore_names, save_meta, draw_landmarks):
            with pytest.raises(ReadOnlyWorkspace):
                stage(workspace, SRC)
    finally:
        workspace.src.aligned.chmod(0o755)
    assert contents(workspace.src.aligned) == before


# -- resize


def test_resizing_takes_everything_along(workspace: Workspace) -> None:
    before = contents(workspace.src.aligned)
    result = resize(workspace, SRC, ResizeOptions(image_size=192, jpeg_quality=95))
    assert result.faces == 4
    assert contents(workspace.src.aligned) == before, "without --replace the faceset stays as it is"
    for name in before:
        old, new = read_face(workspace.src.aligned / name), read_face(workspace.src.frames / "aligned_resized" / name)
        assert new.rgb8.shape == (192, 192, 3)
        np.testing.assert_allclose(new.meta.landmarks, old.meta.landmarks * 2)
        assert new.meta.source_landmarks is not None
        np.testing.assert_allclose(
            new.meta.image_to_face_mat, transform(new.meta.source_landmarks, 192, FaceType.WHOLE_FACE)
        )
        for one, other in zip(old.meta.polygons, new.meta.polygons, strict=True):
            np.testing.assert_allclose(other.points, one.points * 2)
        assert new.meta.xseg_mask == old.meta.xseg_mask
        assert new.meta.extra.keys() == old.meta.extra.keys()
        assert (new.meta.source_filename, new.meta.source_rect) == (old.meta.source_filename, old.meta.source_rect)
        small = cv2.resize(new.rgb8, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
        assert np.abs(small.astype(int) - old.rgb8).mean() < 12, "the picture is the same, of noise"


def test_another_face_type(tmp_path: Path) -> None:
    """A smooth picture, so that what was cropped twice can be compared with what is cropped once."""
    workspace = Workspace.create(tmp_path / "shot")
    y, x = np.mgrid[0:800, 0:800]
    frame = np.stack([128 + 100 * np.sin(x / 40), 128 + 100 * np.cos(y / 30), (x + y) / 7], axis=-1).astype(np.uint8)
    source = make_meta(0).source_landmarks
    assert source is not None
    whole = transform(source, 256, FaceType.WHOLE_FACE)
    meta = make_meta(0)
    mask = np.zeros((256, 256), np.float32)
    cv2.circle(mask, (128, 120), 60, (1,), -1)
    from understudy.geometry import affine

    polygon = meta.but(
        landmarks=affine.apply(whole, source),
        image_to_face_mat=whole,
        xseg_mask=encode_mask(mask),
    )
    picture = np.asarray(cv2.warpAffine(frame, whole, (256, 256), flags=cv2.INTER_CUBIC), np.uint8)
    write_face(workspace.src.aligned / "00001_0.jpg", encode_jpeg(picture, 100, full_colour=True), polygon)
    resize(workspace, SRC, ResizeOptions(image_size=200, face_type=ResizedType.FULL))
    made = read_face(workspace.src.frames / "aligned_resized" / "00001_0.jpg")
    wanted = transform(source, 200, FaceType.FULL)
    assert made.meta.face_type is FaceType.FULL
    np.testing.assert_allclose(made.meta.image_to_face_mat, wanted)
    np.testing.assert_allclose(made.meta.landmarks, affine.apply(wanted, source), atol=0.05)
    direct = np.asarray(cv2.warpAffine(frame, wanted, (200, 200), flags=cv2.INTER_CUBIC), np.uint8)
    assert np.abs(made.rgb8.astype(int) - direct).mean() < 2.5
    assert made.meta.xseg_mask is not None
    moved = decode_mask(made.meta.xseg_mask)
    assert moved.shape == (256, 256)
    assert set(np.unique(moved)) == {0.0, 1.0}
    new_from_old = affine.compose(
        affine.compose(affine.scaling(256 / 200), wanted), affine.invert(whole)
    )  # mask pixels of the old crop → of the new one
    expected = cv2.warpAffine(mask, new_from_old, (256, 256), flags=cv2.INTER_LINEAR) >= 0.5
    assert np.mean((moved > 0.5) != expected) < 0.01


def test_a_mask_of_any_size_follows_the_face(workspace: Workspace) -> None:
    """The reference program takes every stored mask for one of 256 pixels; ours here has 64."""
    resize(workspace, SRC, ResizeOptions(image_size=SIZE + 32, face_type=ResizedType.FULL))
    old = read_face(workspace.src.aligned / "00003_0.jpg").meta
    new = read_face(workspace.src.frames / "aligned_resized" / "00003_0.jpg").meta
    assert old.xseg_mask is not None
    assert new.xseg_mask is not None
    # the middle of the mask, as a part of the face's own span, must stay where it was in the face
    centres = []
    for meta, side in ((old, SIZE), (new, SIZE + 32)):
        assert meta.xseg_mask is not None
        inside = decode_mask(meta.xseg_mask)
        rows, columns = np.nonzero(inside > 0.5)
        middle = np.array([columns.mean(), rows.mean()]) / inside.shape[0] * side
        centres.append((middle - meta.landmarks[30]) / np.ptp(meta.landmarks[:, 0]))
    np.testing.assert_allclose(centres[0], centres[1], atol=0.06)


def test_resizing_in_place_can_be_undone(workspace: Workspace) -> None:
    before = contents(workspace.src.aligned)
    resize(workspace, SRC, ResizeOptions(image_size=128, replace=True))
    with Catalog.open(workspace.src.aligned, cache=workspace.catalogs) as catalog:
        assert {face.width for face in catalog} == {128}
    assert contents(workspace.src.aligned_trash) == before
    assert not (workspace.src.frames / "aligned_resized").exists()
    undo_last(workspace.changes(SRC))
    assert contents(workspace.src.aligned) == before


def test_a_full_disk_ends_the_run(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is nothing that one face has: no list of a hundred thousand skipped faces."""

    def full(*_: object, **__: object) -> None:
        raise DiskFull("The disk is full.", hint="Free some room.")

    save_meta(workspace, SRC)
    for path in workspace.src.aligned.glob("*.jpg"):
        path.write_bytes(make_jpeg(7))
    with monkeypatch.context() as patched:
        patched.setattr("understudy.files.write_bytes", full)
        with pytest.raises(DiskFull):
            restore_meta(workspace, SRC)
    restore_meta(workspace, SRC)
    monkeypatch.setattr("understudy.files.write_bytes", full)
    for stage in (resize, draw_landmarks):
        with pytest.raises(DiskFull):
            stage(workspace, SRC)


def test_pictures_that_are_not_square_are_named(workspace: Workspace) -> None:
    wide = encode_jpeg(np.zeros((64, 96, 3), np.uint8), 90)
    write_face(workspace.src.aligned / "wide.jpg", wide, make_meta(9))
    result = resize(workspace, SRC)
    assert result.faces == 4
    assert [(item.item, "96 x 64" in item.reason) for item in result.skipped] == [("wide.jpg", True)]


def test_a_stopped_resizing_goes_on_and_other_options_begin_anew(workspace: Workspace) -> None:
    for index in range(4, 14):
        write_face(workspace.src.aligned / f"{index + 1:05d}_0.jpg", make_jpeg(index), make_meta(index))
    calls = iter(range(100))
    with pytest.raises(Interrupted):
        resize(workspace, SRC, ResizeOptions(image_size=128, workers=1), stop=lambda: next(calls) >= 10)
    folder = workspace.src.frames / "aligned_resized"
    stamps = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert 0 < len(stamps) < 14
    resize(workspace, SRC, ResizeOptions(image_size=128))
    assert len(contents(folder)) == 14
    assert {name: (folder / name).stat().st_mtime_ns for name in stamps} == stamps
    resize(workspace, SRC, ResizeOptions(image_size=160))
    assert {read_face(path).width for path in folder.iterdir()} == {160}
    assert any((workspace.private / "trash").rglob("00001_0.jpg")), "the earlier result moved to the trash"


# -- names


def test_names_come_back_after_sorting(workspace: Workspace) -> None:
    folder = workspace.src.aligned
    write_face(folder / "00002_1.jpg", make_jpeg(8), make_meta(1))
    before = contents(folder)
    for number, name in enumerate(["00004_0.jpg", "00002_0.jpg", "00001_0.jpg", "00002_1.jpg", "00003_0.jpg"]):
        (folder / name).rename(folder / f"sorted-{number}.jpg")
    assert restore_names(workspace, SRC, dry_run=True).notes["would_rename"] == 5
    assert restore_names(workspace, SRC).notes["renamed"] == 5
    assert contents(folder) == before
    assert restore_names(workspace, SRC).notes["renamed"] == 0


def test_frames_of_one_stem_share_the_numbers(workspace: Workspace) -> None:
    """The reference program lets the second overwrite the first on some systems."""
    folder = workspace.src.aligned
    write_face(folder / "x.jpg", make_jpeg(8), make_meta(0).but(source_filename="00001.jpg"))
    write_face(folder / "nameless.jpg", make_jpeg(9), make_meta(0).but(source_filename=None))
    (folder / "00001_1.jpg").write_bytes(make_jpeg(7))
    result = restore_names(workspace, SRC)
    assert sorted(contents(folder)) == [
        "00001_0.jpg", "00001_1.jpg", "00001_2.jpg", "00002_0.jpg", "00003_0.jpg", "00004_0.jpg", "nameless.jpg",
    ]  # fmt: skip
    assert read_meta(folder / "00001_2.jpg").source_filename == "00001.jpg"
    assert [item.item for item in result.skipped] == ["00001_1.jpg", "nameless.jpg"]


def test_names_within_persons_and_with_a_warm_catalog(workspace: Workspace) -> None:
    persons_of(workspace)
    folder = workspace.src.aligned
    (folder / "bob" / "00003_0.jpg").rename(folder / "bob" / "00000.jpg")
    restore_names(workspace, SRC)
    with Catalog.open(folder, cache=workspace.catalogs) as catalog:
        assert [face.key for face in catalog] == [
            "ada/00001_0.jpg", "ada/00002_0.jpg", "bob/00003_0.jpg", "bob/00004_0.jpg",
        ]  # fmt: skip
        assert [face.meta.source_filename for face in catalog] == [f"0000{n}.png" for n in range(1, 5)]


# -- meta.dat


def test_data_comes_back_to_edited_pictures(workspace: Workspace) -> None:
    folder = workspace.src.aligned
    before = {name: read_face(folder / name) for name in contents(folder)}
    save_meta(workspace, SRC)
    twice = cv2.resize(before["00001_0.jpg"].rgb8, (2 * SIZE, 2 * SIZE), interpolation=cv2.INTER_CUBIC)
    (folder / "00001_0.jpg").write_bytes(encode_jpeg(np.asarray(twice, np.uint8), 95))
    edited = encode_jpeg(255 - before["00002_0.jpg"].rgb8, 95)
    (folder / "00002_0.jpg").write_bytes(edited)
    (folder / "new.jpg").write_bytes(make_jpeg(6))
    result = restore_meta(workspace, SRC)
    assert (result.notes["restored"], result.notes["unchanged"]) == (2, 2)
    assert [item.item for item in result.skipped] == ["new.jpg"]
    for name, face in before.items():
        assert same(read_meta(folder / name), face.meta), name
    assert read_face(folder / "00001_0.jpg").rgb8.shape == (SIZE, SIZE, 3)
    np.testing.assert_array_equal(read_face(folder / "00002_0.jpg").rgb8, decode_jpeg(edited))
    assert (folder / "meta.dat").exists()
    assert (workspace.src.aligned_trash / "00002_0.jpg").read_bytes() == edited
    undo_last(workspace.changes(SRC))
    assert (folder / "00002_0.jpg").read_bytes() == edited


def test_another_program_opens_our_backup(workspace: Workspace) -> None:
    persons_of(workspace)
    assert [path.parent.name for path in save_meta(workspace, SRC).outputs] == ["ada", "bob"]
    stored = pickle.loads((workspace.src.aligned / "bob" / "meta.dat").read_bytes())
    assert list(stored) == ["00003_0.jpg", "00004_0.jpg"]
    shape, data = stored["00003_0.jpg"]
    assert shape == (SIZE, SIZE, 3)
    assert isinstance(data["source_rect"], np.ndarray)
    assert data["xseg_mask"].dtype == np.uint8
    (workspace.src.aligned / "bob" / "00003_0.jpg").write_bytes(make_jpeg(2))
    assert restore_meta(workspace, SRC).notes["restored"] == 1


def test_an_earlier_backup_is_kept(workspace: Workspace) -> None:
    save_meta(workspace, SRC)
    first = (workspace.src.aligned / "meta.dat").read_bytes()
    (workspace.src.aligned / "00001_0.jpg").unlink()
    save_meta(workspace, SRC)
    assert (workspace.src.aligned_trash / "meta.dat").read_bytes() == first
    assert (workspace.src.aligned / "meta.dat").read_bytes() != first


def test_a_hostile_backup(workspace: Workspace) -> None:
    folder = workspace.src.aligned
    before = contents(folder)
    data = to_dict(make_meta(5))
    senseless = {
        "../../evil.jpg": ((96, 96, 3), data),
        "00001_0.jpg": ((10**6, 10**6, 3), data),
        "00002_0.jpg": ((96, 96, 3), {"landmarks": [[1.0]]}),
        "00003_0.jpg": "nothing",
        "00004_0.jpg": ((0, 96, 3), data),
    }
    (folder / "meta.dat").write_bytes(pickles.dumps(senseless, 3))
    result = restore_meta(workspace, SRC)
    assert result.faces == 0
    assert len(result.skipped) == 4
    (folder / "meta.dat").write_bytes(b"\x80\x03cos\nsystem\nX\x02\x00\x00\x00id\x85R.")
    with pytest.raises(UnsafeFile):
        restore_meta(workspace, SRC)
    (folder / "meta.dat").unlink()
    assert contents(folder) == before
    assert not list(workspace.root.rglob("evil.jpg"))


# -- drawn pictures


def test_drawn_landmarks_are_no_part_of_the_faceset(workspace: Workspace) -> None:
    before = contents(workspace.src.aligned)
    assert draw_landmarks(workspace, SRC).notes["drawn"] == 4
    drawn = workspace.src.aligned / "00001_0_debug.jpg"
    face = read_face(workspace.src.aligned / "00001_0.jpg")
    picture = decode_jpeg(drawn.read_bytes())
    assert picture.shape == face.rgb8.shape
    middle = face.meta.landmarks[30].astype(int)
    assert picture[middle[1] + 4, middle[0] + 4].mean() < 120, "the inside of the hull is darkened"
    assert draw_landmarks(workspace, SRC, DrawLandmarksOptions(jpeg_quality=90)).notes["drawn"] == 4
    with Catalog.open(workspace.src.aligned, cache=workspace.catalogs) as catalog:
        assert (len(catalog), catalog.skipped) == (4, [])
    assert draw_landmarks(workspace, SRC, DrawLandmarksOptions(remove=True)).notes["removed"] == 4
    assert contents(workspace.src.aligned) == before


def test_a_face_that_is_called_like_a_drawn_picture(workspace: Workspace) -> None:
    name = "00001_0_debug.jpg"
    write_face(workspace.src.aligned / name, make_jpeg(7), make_meta(7))
    before = (workspace.src.aligned / name).read_bytes()
    result = draw_landmarks(workspace, SRC)
    assert [item.item for item in result.skipped] == ["00001_0.jpg"]
    assert (workspace.src.aligned / name).read_bytes() == before
    draw_landmarks(workspace, SRC, DrawLandmarksOptions(remove=True))
    assert (workspace.src.aligned / name).read_bytes() == before


@pytest.mark.parametrize("kind", MaskFormat)
def test_exported_masks(workspace: Workspace, kind: MaskFormat) -> None:
    folder = workspace.src.aligned
    outlined = make_labelled_meta(1).but(xseg_mask=None)
    write_face(folder / "00002_0.jpg", make_jpeg(1), outlined)
    before = contents(folder)
    result = export_masks(workspace, SRC, ExportMasksOptions(format=kind))
    assert result.notes["masks"] == 2
    assert [item.item for item in result.skipped] == ["00001_0.jpg", "00004_0.jpg"]
    read = {n: cv2.imread(str(folder / f"0000{n}_0_mask.{kind}"), cv2.IMREAD_UNCHANGED) for n in (2, 3)}
    np.testing.assert_array_equal(read[2] > 127, rasterise(outlined.polygons, SIZE, SIZE) > 0.5)
    assert read[3].shape == (64, 64), "an applied mask keeps its own resolution"
    with Catalog.open(folder, cache=workspace.catalogs) as catalog:
        assert (len(catalog), catalog.skipped) == (4, [])
    assert export_masks(workspace, SRC, ExportMasksOptions(format=kind, outline=True)).notes["masks"] == 4
    export_masks(workspace, SRC, ExportMasksOptions(remove=True))
    assert contents(folder) == before


# -- faces of old versions


def png_face(picture: np.ndarray, payload: bytes | None) -> bytes:
    """A PNG with a chunk of the name that old versions used."""
    data = bytes(cv2.imencode(".png", picture)[1])
    if payload is None:
        return data
    body = b"fcWp" + payload
    chunk = struct.pack(">I", len(payload)) + body + struct.pack(">I", zlib.crc32(body))
    return data[:-12] + chunk + data[-12:]


def test_png_faces_become_faces_of_today(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path / "shot")
    folder, meta = workspace.src.aligned, make_labelled_meta(2)
    picture = decode_jpeg(make_jpeg(3))
    stored = {**to_dict(meta), "landmarks": meta.landmarks.tolist()}
    (folder / "00001_0.png").write_bytes(png_face(picture[..., ::-1], pickle.dumps(stored, 3)))
    (folder / "plain.png").write_bytes(png_face(picture, None))
    (folder / "evil.png").write_bytes(png_face(picture, b"\x80\x03cos\nsystem\nX\x02\x00\x00\x00id\x85R."))
    result = import_png(workspace, SRC, ImportPngOptions(delete_originals=True))
    assert result.faces == 1
    assert [item.item for item in result.skipped] == ["evil.png", "plain.png"]
    face = read_face(folder / "00001_0.jpg")
    assert same(face.meta, meta)
    assert np.abs(face.rgb8.astype(int) - picture).mean() < 12
    assert sorted(contents(folder)) == ["00001_0.jpg", "evil.png", "plain.png"]
    assert list(contents(workspace.src.aligned_trash)) == ["00001_0.png"]
    with pytest.raises(EmptyFaceset, match="None of the 2 PNG"):
        import_png(workspace, SRC)


# -- info


def test_info_says_what_the_faces_are_like(workspace: Workspace) -> None:
    folder = workspace.src.aligned
    write_face(folder / "00002_1.jpg", make_jpeg(5), make_meta(1).but(confidence=0.25, track=3, group="ada"))
    write_face(folder / "00005_0.jpg", make_jpeg(5), make_meta(4).but(confidence=0.75, track=4, group="ada"))
    found = faceset_info(workspace, SRC)
    assert found.faces == 6
    notes = found.notes
    assert (notes["frames_with_faces"], notes["most_faces_in_a_frame"]) == (5, 2)
    assert (notes["first_frame"], notes["last_frame"]) == ("00001", "00005")
    assert notes["sizes"] == {str(SIZE): 6}
    assert notes["face_in_frame"] == {"least": 310, "median": 310, "most": 310}
    assert (notes["persons"], notes["tracks"], notes["untracked"]) == ({"ada": 2}, 2, 4)
    assert notes["confidence"] == {"least": 0.25, "median": 0.5, "below 0.5": 1}
    assert (notes["labelled"], notes["masked"]) == (1, 1)
    assert sum(notes["looking"].values()) == 6
    assert notes["yaw"]["5%"] <= notes["yaw"]["50%"] <= notes["yaw"]["95%"]
    assert notes["bytes"] == sum(len(data) for data in contents(folder).values())


@pytest.mark.skipif(sys.platform == "win32", reason="open files cannot be replaced there")
def test_a_folder_that_changes_while_it_is_looked_at(workspace: Workspace, tmp_path: Path) -> None:
    """Files come, go and change between the listing and the reading: each is used, or named, and nothing ends."""
    folder = workspace.src.aligned
    import understudy.facesets.scanning as module

    real = module._pictures

    def meddling(path: Path):  # type: ignore[no-untyped-def]
        found = list(real(path))
        (folder / "00001_0.jpg").unlink(missing_ok=True)
        (folder / "00002_0.jpg").write_bytes(b"")
        (folder / "00003_0.jpg").unlink(missing_ok=True)
        (folder / "00003_0.jpg").mkdir(exist_ok=True)
        return iter(found)

    patch = pytest.MonkeyPatch()
    patch.setattr(module, "_pictures", meddling)
    try:
        with Catalog.open(folder) as catalog:
            assert [face.name for face in catalog] == ["00004_0.jpg"]
            assert [item.item for item in catalog.skipped] == ["00001_0.jpg", "00002_0.jpg", "00003_0.jpg"]
    finally:
        patch.undo()


def test_a_pack_that_was_killed_before_it_moved_the_originals_is_gone_on_with(workspace: Workspace) -> None:
    before = contents(workspace.src.aligned)
    pack(workspace, SRC)
    result = pack(workspace, SRC, PackOptions.of(delete_originals=True))
    assert (result.faces, result.notes["originals_moved"]) == (4, True)
    assert set(contents(workspace.src.aligned)) == {"faceset.pak"}
    assert contents(workspace.src.aligned_trash) == before
    with pytest.raises(UsageError, match=r"faceset\.pak already"):
        pack(workspace, SRC, PackOptions.of(delete_originals=True))


def test_loose_faces_that_a_pack_does_not_hold_are_never_set_aside_for_it(workspace: Workspace) -> None:
    pack(workspace, SRC)
    write_face(workspace.src.aligned / "00002_0.jpg", make_jpeg(9), make_meta(1))
    before = contents(workspace.src.aligned)
    with pytest.raises(UsageError, match=r"faceset\.pak already"):
        pack(workspace, SRC, PackOptions.of(delete_originals=True))
    assert contents(workspace.src.aligned) == before


def test_a_face_whose_name_has_no_room_for_an_ending_is_passed_over(workspace: Workspace) -> None:
    path = workspace.src.aligned / "00001_0.jpg"
    try:
        path.rename(path.with_name("x" * 250 + ".jpg"))
    except OSError:
        pytest.skip("this disk takes no such name")
    drawn = draw_landmarks(workspace, SRC)
    masks = export_masks(workspace, SRC, ExportMasksOptions.of(outline=True))
    assert [item.item for item in (*drawn.skipped, *masks.skipped)] == ["x" * 250 + ".jpg"] * 2
    assert draw_landmarks(workspace, SRC, DrawLandmarksOptions.of(remove=True)).notes == {"removed": 3}
