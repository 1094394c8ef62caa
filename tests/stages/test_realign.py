"""Putting faces right: the new face is where it was said to be, the old one comes back, labels are not lost."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shots import small_shot
from understudy.detection import ExtractOptions
from understudy.detection.realign_options import RealignOptions
from understudy.errors import Busy, InvalidOption, MissingFootage, UsageError
from understudy.facesets import FaceMeta, Polygon, read_face, read_meta, write_meta
from understudy.facesets.changes import undo_last
from understudy.facesets.doubts import Kind
from understudy.facesets.xseg import decode_mask, encode_mask
from understudy.geometry import affine, transform
from understudy.geometry.boxes import box_of
from understudy.masks import face_hull
from understudy.records import FaceType, Side
from understudy.stages.extract import extract
from understudy.stages.realign import realign
from understudy.stages.review import write_review
from understudy.stages.review_list import read_review
from understudy.workspace import Workspace

FRAMES = 4
EXTRACT = ExtractOptions.of(image_size=256, workers=1)
SHOT = small_shot(frames=FRAMES)
TRUTH = SHOT.truth.landmarks


def rect_words(index: int, grow: float = 0.0) -> str:
    box = box_of(TRUTH[index])
    return f"{box.left - grow:.1f},{box.top - grow:.1f},{box.right + grow:.1f},{box.bottom + grow:.1f}"


@pytest.fixture(scope="module")
def extracted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An extracted src of four frames, of which 00003 shows nobody, with debug images."""
    made = Workspace.create(tmp_path_factory.mktemp("realign") / "shot")
    SHOT.write_frames(made.src.frames)
    Image.fromarray(np.full_like(SHOT.frames[0], 127)).save(made.src.frames / "00003.png")
    extract(made, Side.SRC, EXTRACT.but(debug_images=True))
    return made.root


@pytest.fixture
def workspace(extracted: Path, tmp_path: Path) -> Workspace:
    import shutil

    shutil.copytree(extracted, tmp_path / "shot", ignore=shutil.ignore_patterns("locks"))
    return Workspace.open(tmp_path / "shot")


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())} if folder.is_dir() else {}


def test_a_rectangle_replaces_the_face_that_lies_there_and_undo_brings_it_back(workspace: Workspace) -> None:
    before = files(workspace.src.aligned)
    result = realign(workspace, Side.SRC, "2", RealignOptions.of(rect=rect_words(1)))
    assert (result.notes["written"], result.notes["replaced"]) == (["00002_0.jpg"], ["00002_0.jpg"])
    face = read_face(workspace.src.aligned / "00002_0.jpg")
    assert face.rgb8.shape == (256, 256, 3)
    assert face.meta.source_filename == "00002.png"
    assert face.meta.face_type is FaceType.WHOLE_FACE
    assert face.meta.source_landmarks is not None
    eyes = np.linalg.norm(TRUTH[1][36] - TRUTH[1][45])
    assert np.linalg.norm(face.meta.source_landmarks - TRUTH[1], axis=1).mean() < 0.15 * eyes
    assert files(workspace.src.aligned_trash)["00002_0.jpg"] == before["00002_0.jpg"]
    undo_last(workspace.changes(Side.SRC))
    assert files(workspace.src.aligned) == before


def test_a_frame_without_a_face_gets_one_and_leaves_the_review(workspace: Workspace) -> None:
    assert write_review(workspace, Side.SRC).frames_of(Kind.MISSING) == ["00003"]
    result = realign(workspace, Side.SRC, "00003", RealignOptions.of(anchor="160,120", tip="230,120"))
    assert result.notes["written"] == ["00003_0.jpg"]
    assert result.notes["replaced"] == []
    found = read_review(workspace, Side.SRC)
    assert found is not None
    assert found.frames_of(Kind.MISSING) == []
    assert write_review(workspace, Side.SRC).frames_of(Kind.MISSING, Kind.UNSURE, Kind.JUMP) == []
    meta = read_meta(workspace.src.aligned / "00003_0.jpg")
    assert meta.source_landmarks is not None
    np.testing.assert_allclose(meta.source_landmarks[30], (160, 120))


def test_landmarks_from_a_file_are_taken_as_they_are(workspace: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(TRUTH[0].tolist()))
    realign(workspace, Side.SRC, "00001", RealignOptions.of(landmarks=path, jpeg_quality=100))
    meta = read_meta(workspace.src.aligned / "00001_0.jpg")
    np.testing.assert_allclose(meta.source_landmarks, TRUTH[0])
    np.testing.assert_allclose(meta.image_to_face_mat, transform(TRUTH[0], 256, FaceType.WHOLE_FACE))


def test_another_place_in_the_frame_is_another_face(workspace: Workspace) -> None:
    """A face that overlaps none is added; with --face it takes the place of the one that is named."""
    corner = RealignOptions.of(anchor="40,40", tip="70,40")
    assert realign(workspace, Side.SRC, "1", corner).notes["written"] == ["00001_1.jpg"]
    result = realign(workspace, Side.SRC, "1", corner.but(face=0))
    assert (result.notes["written"], result.notes["replaced"]) == (["00001_0.jpg"], ["00001_0.jpg"])
    assert realign(workspace, Side.SRC, "1", corner.but(face=7)).notes["written"] == ["00001_7.jpg"]


def test_the_area_filter_does_not_apply_to_what_a_person_says(workspace: Workspace, tmp_path: Path) -> None:
    """Landmarks far larger than the box would be dropped by extraction."""
    for path in workspace.src.aligned.iterdir():
        path.unlink()
    (workspace.private / "extract" / "src.jsonl").unlink()
    options = RealignOptions.of(anchor="160,120", tip="300,120", face_type="full_face", image_size=128)
    realign(workspace, Side.SRC, "1", options)
    face = read_face(workspace.src.aligned / "00001_0.jpg")
    assert (face.meta.face_type, face.width) == (FaceType.FULL, 128)


def test_outlines_and_masks_follow_the_face_into_its_new_alignment(workspace: Workspace, tmp_path: Path) -> None:
    """Labels took an artist minutes each: what they mark in the frame must stay marked."""
    path = workspace.src.aligned / "00002_0.jpg"
    old = read_meta(path)
    outline = old.landmarks[:17].astype(np.float32)
    hull = face_hull(old.landmarks, 256, 256)
    write_meta(
        path,
        old.but(polygons=(Polygon(outline), Polygon(outline[:3], include=False)), xseg_mask=encode_mask(hull),
                group="anna", track=5, eyebrows_expand_mod=0.8, extra={"foreign": 1}),
    )  # fmt: skip
    turned = affine.apply(affine.rotation_about((160, 120), 25), TRUTH[1]) + np.array((6, -3))
    landmarks = tmp_path / "turned.json"
    landmarks.write_text(json.dumps(turned.tolist()))
    realign(workspace, Side.SRC, "2", RealignOptions.of(landmarks=landmarks))
    new = read_meta(path)
    assert (new.group, new.track, new.eyebrows_expand_mod, new.extra["foreign"]) == ("anna", 5, 0.8, 1)
    in_frame = in_the_frame(new, new.polygons[0].points)
    np.testing.assert_allclose(in_frame, in_the_frame(old, outline), atol=0.01)
    assert [polygon.include for polygon in new.polygons] == [True, False]
    assert new.xseg_mask is not None
    expected = face_hull(affine.apply(new_from_old(new, old), old.landmarks), 256, 256)
    assert np.abs(decode_mask(new.xseg_mask) - expected).mean() < 0.02


def in_the_frame(meta: FaceMeta, points: np.ndarray) -> np.ndarray:
    return affine.apply(affine.invert(meta.image_to_face_mat), points)


def new_from_old(new: FaceMeta, old: FaceMeta) -> np.ndarray:
    return affine.compose(new.image_to_face_mat, affine.invert(old.image_to_face_mat))


def test_a_renamed_faceset_is_mended_too(workspace: Workspace) -> None:
    (workspace.src.aligned / "00002_0.jpg").rename(workspace.src.aligned / "00031.jpg")
    result = realign(workspace, Side.SRC, "2", RealignOptions.of(rect=rect_words(1)))
    assert result.notes["replaced"] == ["00031.jpg"]
    assert not (workspace.src.aligned / "00031.jpg").exists()
    assert read_meta(workspace.src.aligned / str(result.notes["written"][0])).source_filename == "00002.png"


def test_the_debug_image_is_drawn_anew(workspace: Workspace) -> None:
    before = files(workspace.src.aligned_debug)
    realign(workspace, Side.SRC, "3", RealignOptions.of(anchor="160,120", tip="230,120"))
    after = files(workspace.src.aligned_debug)
    assert [name for name in after if after[name] != before[name]] == ["00003.jpg"]


def test_deleted_debug_images_are_searched_again_and_what_is_not_found_stays_open(workspace: Workspace) -> None:
    """Frame 4 has a face that somebody took out, frame 3 has none to find."""
    for number in (3, 4):
        (workspace.src.aligned_debug / f"{number:05d}.jpg").unlink()
    (workspace.src.aligned / "00004_0.jpg").unlink()
    result = realign(workspace, Side.SRC, options=RealignOptions.of(all_deleted_debug=True))
    assert (result.notes["searched"], result.notes["found"], result.notes["open"]) == (2, 1, ["00003"])
    assert result.notes["written"] == ["00004_0.jpg"]
    assert (workspace.src.aligned_debug / "00004.jpg").is_file()
    assert not (workspace.src.aligned_debug / "00003.jpg").exists()
    found = read_review(workspace, Side.SRC)
    assert found is not None
    assert found.frames_of(Kind.REDO) == ["00003"]


def test_a_face_found_again_in_the_same_place_is_left_to_a_person(workspace: Workspace) -> None:
    (workspace.src.aligned_debug / "00001.jpg").unlink()
    before = files(workspace.src.aligned)
    first = realign(workspace, Side.SRC, options=RealignOptions.of(all_deleted_debug=True))
    if first.notes["found"]:  # smoothed or helped by the frame before, it may have moved a little: then once more
        (workspace.src.aligned_debug / "00001.jpg").unlink()
        before = files(workspace.src.aligned)
        first = realign(workspace, Side.SRC, options=RealignOptions.of(all_deleted_debug=True))
    assert first.notes["open"] == ["00001"]
    assert files(workspace.src.aligned) == before


def test_missing_faces_are_searched_again_and_present_ones_are_not_touched(workspace: Workspace) -> None:
    Image.fromarray(SHOT.frames[2]).save(workspace.src.frames / "00003.png")  # now there is a face to find
    before = files(workspace.src.aligned)
    result = realign(workspace, Side.SRC, options=RealignOptions.of(all_missing=True))
    assert result.notes["written"] == ["00003_0.jpg"]
    after = files(workspace.src.aligned)
    assert {name: after[name] for name in before} == before
    again = realign(workspace, Side.SRC, options=RealignOptions.of(all_missing=True))
    assert again.notes["searched"] == 0


def test_a_video_without_frames_on_disk_does_too(tmp_path: Path) -> None:
    made = Workspace.create(tmp_path / "video")
    SHOT.write_video(made.root / "data_dst.mp4")
    result = realign(made, Side.DST, "3", RealignOptions.of(rect=rect_words(2)))
    assert result.notes["written"] == ["00003_0.jpg"]
    meta = read_meta(made.dst.aligned / "00003_0.jpg")
    assert meta.source_filename == "00003.png"
    assert meta.source_landmarks is not None
    assert np.linalg.norm(meta.source_landmarks - TRUTH[2], axis=1).mean() < 10


@pytest.mark.parametrize(
    ("frame", "options", "said"),
    [
        ("99", {"rect": "10,10,90,90"}, "00001 to 00004"),
        ("../00001", {"rect": "900,900,990,990"}, "outside"),
        ("../../etc/passwd", {"rect": "10,10,90,90"}, "no frame"),
        ("1", {"rect": "50,50,50,90"}, "no area"),
        ("1", {}, "--rect"),
        ("", {"rect": "10,10,90,90"}, "No frame"),
        ("1", {"all_missing": True}, "is named"),
        ("1", {"anchor": "5000,5000", "tip": "5100,5000"}, "outside"),
        ("1", {"anchor": "50,50", "tip": "50,50"}, "same point"),
    ],
)
def test_what_makes_no_sense_is_refused_and_changes_nothing(
    workspace: Workspace, frame: str, options: dict[str, object], said: str
) -> None:
    before = files(workspace.src.aligned)
    with pytest.raises(UsageError) as caught:
        realign(workspace, Side.SRC, frame, RealignOptions.of(**options))
    assert said in f"{caught.value.message} {caught.value.hint}"
    assert files(workspace.src.aligned) == before


@pytest.mark.parametrize(
    "options",
    [
        {"rect": "1,2,3"},
        {"rect": "1,2,3,x"},
        {"rect": "1,2,3,nan"},
        {"anchor": "1,2"},
        {"rect": "1,2,30,40", "landmarks": Path("a.json")},
        {"turn": 5.0},
        {"all_missing": True, "face": 1},
        {"all_missing": True, "all_deleted_debug": True},
    ],
)
def test_options_that_do_not_go_together_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(InvalidOption):
        RealignOptions.of(**options)


def test_without_footage_or_with_another_writer_it_is_said(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(MissingFootage):
        realign(Workspace.create(tmp_path / "none"), Side.SRC, "1", RealignOptions.of(rect="1,1,60,60"))
    with workspace.writing("aligned-src"), pytest.raises(Busy):
        realign(workspace, Side.SRC, "1", RealignOptions.of(rect="1,1,60,60"))
