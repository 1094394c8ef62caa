"""The review: what is doubtful in a faceset, whoever made it, worst first."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shots import small_shot
from understudy.detection import ExtractOptions
from understudy.detection.placing import average_face
from understudy.errors import EmptyFaceset, UsageError
from understudy.facesets import FaceMeta, encode_jpeg, read_face, write_face, write_meta
from understudy.facesets.doubts import Kind
from understudy.geometry import affine, transform
from understudy.records import FaceType, Side
from understudy.stages.extract import extract
from understudy.stages.review import review, write_review
from understudy.stages.review_list import Item, read_review, review_path, runs_of
from understudy.workspace import Workspace

FRAMES = 10


def put_face(workspace: Workspace, number: int, *, shift: float = 0, k: int = 0, **known: object) -> Path:
    """A face of frame `number`, placed without any network."""
    found = average_face((160 + shift, 120), (230 + shift, 120))
    matrix = transform(found.landmarks, 64, FaceType.WHOLE_FACE)
    meta = FaceMeta(
        FaceType.WHOLE_FACE,
        affine.apply(matrix, found.landmarks),
        source_filename=f"{number:05d}.png",
        source_rect=found.rect,
        source_landmarks=found.landmarks,
        image_to_face_mat=matrix,
    )
    path = workspace.src.aligned / f"{number:05d}_{k}.jpg"
    write_face(path, encode_jpeg(np.full((64, 64, 3), 99, np.uint8), 90), dataclasses.replace(meta, **known))
    return path


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Ten frames of which 1, 2, 3, 7, 8 have a face, as another program may have left them: no journal, no tracks."""
    made = Workspace.create(tmp_path / "shot")
    for number in range(1, FRAMES + 1):
        Image.fromarray(np.full((240, 320, 3), 10 * number, np.uint8)).save(made.src.frames / f"{number:05d}.png")
    for number in (1, 2, 3, 7, 8):
        put_face(made, number)
    return made


def test_frames_without_a_face_are_listed_with_a_guess_where_it_is(workspace: Workspace) -> None:
    found = write_review(workspace, Side.SRC)
    assert (found.frames, found.faces) == (FRAMES, 5)
    assert found.frames_of(Kind.MISSING) == ["00004", "00005", "00006", "00009", "00010"]
    inside, outside = found.items[0], found.items[-1]
    assert inside.frame in ("00004", "00005", "00006")
    assert inside.rect is not None
    assert inside.score > 0.8
    assert outside.frame in ("00009", "00010")
    assert outside.score < 0.5


def test_the_file_is_what_the_guide_describes_and_reads_back(workspace: Workspace) -> None:
    found = write_review(workspace, Side.SRC)
    stored = json.loads(review_path(workspace, Side.SRC).read_text())
    assert stored["schema"] == "understudy-review/1"
    assert {"side", "frames", "faces", "counts", "accepted", "items"} <= set(stored)
    assert set(stored["items"][0]) == {"frame", "index", "score", "kinds", "reasons", "file", "rect"}
    scores = [item["score"] for item in stored["items"]]
    assert scores == sorted(scores, reverse=True)
    again = read_review(workspace, Side.SRC)
    assert again is not None
    assert [item.as_json() for item in again.items] == [item.as_json() for item in found.items]


def test_a_review_of_another_version_or_cut_short_is_none(workspace: Workspace) -> None:
    write_review(workspace, Side.SRC)
    path = review_path(workspace, Side.SRC)
    whole = path.read_text()
    path.write_text(whole[: len(whole) // 2])
    assert read_review(workspace, Side.SRC) is None
    path.write_text(whole.replace("understudy-review/1", "understudy-review/9"))
    assert read_review(workspace, Side.SRC) is None


def test_doubtful_faces_stand_with_their_files_and_reasons(workspace: Workspace) -> None:
    put_face(workspace, 2, confidence=0.2)
    put_face(workspace, 8, k=1, shift=2)  # two boxes that became one face
    items = {item.file: item for item in write_review(workspace, Side.SRC).items if item.file}
    assert items["00002_0.jpg"].kinds == (Kind.UNSURE,)
    assert items["00008_1.jpg"].kinds == (Kind.DOUBLE,)
    assert "20%" in items["00002_0.jpg"].reasons[0]


def test_a_face_of_a_track_that_is_missing_beside_another_is_a_gap(workspace: Workspace) -> None:
    for number in (1, 2, 3):
        put_face(workspace, number, track=1)
        if number != 2:
            put_face(workspace, number, k=1, shift=-90, track=2)
    gaps = [item for item in write_review(workspace, Side.SRC).items if Kind.GAP in item.kinds]
    assert [(item.frame, item.file) for item in gaps] == [("00002", None)]
    assert gaps[0].rect is not None
    assert gaps[0].rect.left < 100


def test_a_face_that_changed_its_track_or_is_hidden_by_another_is_no_gap(workspace: Workspace) -> None:
    for number, track in ((1, 1), (2, 2), (3, 1)):
        put_face(workspace, number, track=track)
    assert not [item for item in write_review(workspace, Side.SRC).items if Kind.GAP in item.kinds]


def test_a_deleted_debug_image_comes_first(workspace: Workspace) -> None:
    workspace.src.aligned_debug.mkdir()
    for number in range(1, FRAMES + 1):
        if number not in (2, 5):
            (workspace.src.aligned_debug / f"{number:05d}.jpg").write_bytes(b"x")
    found = write_review(workspace, Side.SRC)
    assert {item.frame for item in found.items[:2]} == {"00002", "00005"}
    assert all(item.kinds[0] is Kind.REDO and item.score == 1 for item in found.items[:2])
    assert found.frames_of(Kind.REDO) == ["00002", "00005"]


def test_a_frame_may_be_fine_although_its_debug_image_was_deleted(workspace: Workspace) -> None:
    """Nothing is found anew there and the old face is right: the frame must leave the list, until it is asked again."""
    workspace.src.aligned_debug.mkdir()
    pictures = [workspace.src.aligned_debug / f"{number:05d}.jpg" for number in range(1, FRAMES + 1)]
    for picture in pictures:
        picture.write_bytes(b"x")
    pictures[1].unlink()
    pictures[2].unlink()
    review(workspace, Side.SRC, accept=["00002"])
    assert write_review(workspace, Side.SRC).frames_of(Kind.REDO) == ["00003"]
    pictures[1].write_bytes(b"x")
    write_review(workspace, Side.SRC)
    pictures[1].unlink()
    assert write_review(workspace, Side.SRC).frames_of(Kind.REDO) == ["00002", "00003"]


def test_accepted_frames_stay_out_of_later_reviews(workspace: Workspace) -> None:
    result = review(workspace, Side.SRC, accept=["4", "00009.png"])
    assert result.notes["accepted"] == 2
    assert write_review(workspace, Side.SRC).frames_of(Kind.MISSING) == ["00005", "00006", "00010"]
    with pytest.raises(UsageError, match="no frame 77"):
        review(workspace, Side.SRC, accept=["77"])


def test_a_faceset_without_footage_is_reviewed_by_its_faces(workspace: Workspace) -> None:
    for path in workspace.src.frame_files():
        path.unlink()
    put_face(workspace, 3, confidence=0.1)
    found = write_review(workspace, Side.SRC)
    assert (found.frames, found.faces) == (5, 5)
    assert [item.file for item in found.items] == ["00003_0.jpg"]


def test_renamed_faces_are_found_by_their_frame(workspace: Workspace) -> None:
    for place, path in enumerate(sorted(workspace.src.aligned.iterdir(), reverse=True)):
        path.rename(path.with_name(f"{place:05d}.jpg"))
    assert write_review(workspace, Side.SRC).frames_of(Kind.MISSING) == ["00004", "00005", "00006", "00009", "00010"]


def test_nothing_at_all_is_an_error_and_frames_without_faces_are_not(tmp_path: Path) -> None:
    empty = Workspace.create(tmp_path / "empty")
    with pytest.raises(EmptyFaceset):
        review(empty, Side.SRC)
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(empty.src.frames / "00001.png")
    assert review(empty, Side.SRC).notes["counts"] == {"missing": 1}


def test_the_sheet_shows_one_tile_for_each_run_of_alike_items(workspace: Workspace) -> None:
    result = review(workspace, Side.SRC, sheet=40)
    with Image.open(result.outputs[1]) as sheet:
        assert sheet.width > 800
        colours = sheet.convert("RGB").getcolors(1 << 24)
    assert colours is not None
    assert any(colour == (255, 176, 64) for _, colour in colours)  # the box of the guess
    runs = runs_of(write_review(workspace, Side.SRC).items)
    assert [[item.frame for item in run] for run in runs] == [["00004", "00005", "00006"], ["00009", "00010"]]


def test_a_run_is_shown_by_its_worst() -> None:
    items = [Item(f"{i:05d}", i, score, (Kind.UNSURE,), ("x",)) for i, score in ((5, 0.6), (6, 0.9), (40, 0.7))]
    assert [[item.index for item in run] for run in runs_of(items)] == [[5, 6], [40]]


def test_after_extraction_frames_that_had_no_face_are_told_from_those_whose_face_was_taken_out(tmp_path: Path) -> None:
    made = Workspace.create(tmp_path / "shot")
    shot = small_shot(frames=6)
    shot.write_frames(made.src.frames)
    blank = np.full_like(shot.frames[0], 127)
    Image.fromarray(blank).save(made.src.frames / "00003.png")
    extract(made, Side.SRC, ExtractOptions.of(image_size=256, workers=1))
    (made.src.aligned / "00005_0.jpg").unlink()
    assert write_review(made, Side.SRC).frames_of(Kind.MISSING) == ["00003"]


def test_faces_placed_by_hand_are_not_doubted(workspace: Workspace) -> None:
    path = put_face(workspace, 2, confidence=0.2)
    meta = read_face(path).meta
    write_meta(path, meta.but(extra={"understudy_by_hand": True}))
    assert not [item for item in write_review(workspace, Side.SRC).items if item.file]
