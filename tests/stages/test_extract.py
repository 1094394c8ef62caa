"""Extraction as a user runs it: files in, faces out, and nothing lost on the way."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from shots import small_shot
from understudy.detection import ExtractOptions
from understudy.errors import DiskFull, Interrupted, MissingFootage, NoFacesFound, UsageError
from understudy.facesets import read_face, read_meta
from understudy.facesets.doubts import Kind
from understudy.geometry import affine, transform
from understudy.records import FaceType, Side
from understudy.report import Event, Note, Progress
from understudy.stages.extract import extract
from understudy.stages.result import StageResult
from understudy.stages.review_list import read_review
from understudy.workspace import Workspace

FRAMES = 14  # more than one stretch
SMALL = ExtractOptions.of(image_size=256, workers=2)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A workspace whose src is a folder of frames of one face that turns and speaks."""
    made = Workspace.create(tmp_path / "shot")
    small_shot(frames=FRAMES).write_frames(made.src.frames)
    return made


def faces_of(workspace: Workspace) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(workspace.src.aligned.iterdir())}


def test_every_frame_gives_an_aligned_face_with_its_data(workspace: Workspace) -> None:
    result = extract(workspace, Side.SRC, SMALL)
    assert (result.frames, result.faces, result.skipped) == (FRAMES, FRAMES, [])
    assert result.outputs == [workspace.src.aligned]
    assert sorted(faces_of(workspace)) == [f"{number:05d}_0.jpg" for number in range(1, FRAMES + 1)]
    truth = small_shot(frames=FRAMES).truth.landmarks
    for number, path in enumerate(sorted(workspace.src.aligned.iterdir())):
        face = read_face(path)
        meta = face.meta
        assert face.rgb8.shape == (256, 256, 3)
        assert meta.face_type is FaceType.WHOLE_FACE
        assert meta.source_filename == f"{number + 1:05d}.png"
        assert meta.source_landmarks is not None
        assert meta.image_to_face_mat is not None
        assert meta.source_rect is not None
        np.testing.assert_allclose(meta.image_to_face_mat, transform(meta.source_landmarks, 256, FaceType.WHOLE_FACE))
        np.testing.assert_allclose(meta.landmarks, affine.apply(meta.image_to_face_mat, meta.source_landmarks))
        eyes = np.linalg.norm(truth[number][36] - truth[number][45])
        assert np.linalg.norm(meta.source_landmarks - truth[number], axis=1).mean() < 0.1 * eyes


def test_the_picture_is_the_frame_seen_through_the_matrix(workspace: Workspace) -> None:
    extract(workspace, Side.SRC, SMALL.but(jpeg_quality=100))
    face = read_face(workspace.src.aligned / "00003_0.jpg")
    assert face.meta.image_to_face_mat is not None
    frame = small_shot(frames=FRAMES).frames[2]
    expected = cv2.warpAffine(frame, face.meta.image_to_face_mat, (256, 256), flags=cv2.INTER_LINEAR)
    assert np.abs(face.rgb8.astype(int) - expected.astype(int)).mean() < 2


def test_a_video_gives_the_same_names_as_its_frames(workspace: Workspace) -> None:
    small_shot(frames=FRAMES).write_video(workspace.root / "data_dst.mp4")
    result = extract(workspace, Side.DST, SMALL)
    assert (result.frames, result.faces) == (FRAMES, FRAMES)
    assert read_meta(workspace.dst.aligned / "00001_0.jpg").source_filename == "00001.png"


def test_any_number_of_threads_writes_the_same_faces(workspace: Workspace) -> None:
    extract(workspace, Side.SRC, SMALL.but(workers=1))
    alone = faces_of(workspace)
    extract(workspace, Side.SRC, SMALL.but(workers=5, replace=True))
    assert faces_of(workspace) == alone


@pytest.mark.parametrize("stop_after", [1, 5, 10])
def test_a_stopped_run_taken_up_again_equals_one_that_was_not_stopped(workspace: Workspace, stop_after: int) -> None:
    extract(workspace, Side.SRC, SMALL)
    whole = faces_of(workspace)

    def enough() -> bool:
        return len(faces_of(workspace)) >= stop_after if workspace.src.aligned.is_dir() else False

    with pytest.raises(Interrupted) as stopped:
        extract(workspace, Side.SRC, SMALL.but(replace=True, workers=1), stop=enough)
    assert "without --replace" in stopped.value.hint
    assert 0 < len(faces_of(workspace)) < FRAMES
    result = extract(workspace, Side.SRC, SMALL)
    assert (result.frames, result.faces) == (FRAMES, FRAMES)
    assert faces_of(workspace) == whole


def test_a_killed_run_is_taken_up_again(workspace: Workspace) -> None:
    """A journal cut in the middle of a line, as a crash may leave it."""
    extract(workspace, Side.SRC, SMALL.but(workers=1))
    whole = faces_of(workspace)
    journal = workspace.private / "extract" / "src.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(lines[:6]) + lines[6][:17])
    for path in sorted(workspace.src.aligned.iterdir())[6:]:
        path.unlink()
    (workspace.src.aligned / ".tmp-0123abcd-00007_0.jpg").write_bytes(b"half a face")
    extract(workspace, Side.SRC, SMALL)
    assert not list(workspace.src.aligned.glob(".*"))
    assert faces_of(workspace) == whole


def test_a_finished_faceset_is_left_alone_and_deleted_faces_stay_deleted(workspace: Workspace) -> None:
    first = extract(workspace, Side.SRC, SMALL)
    (workspace.src.aligned / "00002_0.jpg").unlink()
    before = faces_of(workspace)
    again = extract(workspace, Side.SRC, SMALL)
    assert (again.frames, again.faces, again.rate) == (first.frames, first.faces, None)
    assert faces_of(workspace) == before


def test_new_pictures_in_the_folder_are_extracted_too(workspace: Workspace) -> None:
    extract(workspace, Side.SRC, SMALL)
    before = faces_of(workspace)
    shutil.copy(workspace.src.frames / "00004.png", workspace.src.frames / "00015.png")
    result = extract(workspace, Side.SRC, SMALL)
    assert result.faces == FRAMES + 1
    after = faces_of(workspace)
    assert {name: after[name] for name in before} == before
    assert "00015_0.jpg" in after


def test_faces_from_another_program_are_kept_and_only_the_rest_is_done(workspace: Workspace) -> None:
    extract(workspace, Side.SRC, SMALL)
    shutil.rmtree(workspace.private / "extract")
    kept = workspace.src.aligned / "00001_0.jpg"
    (workspace.src.aligned / "00005_0.jpg").unlink()
    kept.rename(kept.with_name("my favourite.jpg"))
    before = faces_of(workspace)
    extract(workspace, Side.SRC, SMALL)
    after = faces_of(workspace)
    assert set(after) - set(before) == {"00005_0.jpg"}
    assert {name: after[name] for name in before} == before


@pytest.mark.parametrize("change", [{"face_type": "f"}, {"image_size": 320}])
def test_a_faceset_does_not_become_mixed_by_accident(workspace: Workspace, change: dict[str, object]) -> None:
    extract(workspace, Side.SRC, SMALL)
    before = faces_of(workspace)
    with pytest.raises(UsageError) as error:
        extract(workspace, Side.SRC, SMALL.but(**change))
    assert "--replace" in error.value.hint
    assert faces_of(workspace) == before


def test_replacing_moves_the_old_faces_to_the_trash(workspace: Workspace) -> None:
    extract(workspace, Side.SRC, SMALL)
    before = faces_of(workspace)
    notes: list[Event] = []
    extract(workspace, Side.SRC, SMALL.but(replace=True, face_type="f"), report=notes.append)
    (trash,) = (workspace.private / "trash").iterdir()
    assert {path.name: path.read_bytes() for path in (trash / "aligned").iterdir()} == before
    assert read_meta(workspace.src.aligned / "00001_0.jpg").face_type is FaceType.FULL
    assert any(isinstance(note, Note) and "trash" in note.message for note in notes)


def test_unreadable_frames_are_skipped_and_named(workspace: Workspace) -> None:
    (workspace.src.frames / "00003.png").write_bytes(b"not a picture")
    (workspace.src.frames / "00007.png").write_bytes(b"")
    events: list[Event] = []
    result = extract(workspace, Side.SRC, SMALL, report=events.append)
    assert {item.item for item in result.skipped} >= {"00003.png", "00007.png"}
    warnings = {event.item: event.message for event in events if isinstance(event, Note) and event.level == "warning"}
    assert "00003.png" in warnings
    assert "00003.png" not in warnings["00003.png"], "the name is shown before the message"
    assert result.faces == FRAMES - 2
    again = extract(workspace, Side.SRC, SMALL)
    assert {item.item for item in again.skipped} == {item.item for item in result.skipped}


def test_frames_without_a_face_are_counted_and_not_looked_at_again(workspace: Workspace) -> None:
    for number in (2, 9):
        Image.new("RGB", (320, 240), (90, 120, 90)).save(workspace.src.frames / f"{number:05d}.png")
    result = extract(workspace, Side.SRC, SMALL)
    assert (result.faces, result.notes["frames_without_face"]) == (FRAMES - 2, 2)
    assert extract(workspace, Side.SRC, SMALL).rate is None


def test_no_face_at_all_is_an_error_with_advice(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path)
    for number in (1, 2):
        Image.new("RGB", (200, 200), (90, 120, 90)).save(workspace.src.frames / f"{number:05d}.png")
    for _ in range(2):
        with pytest.raises(NoFacesFound) as error:
            extract(workspace, Side.SRC, SMALL)
        assert "2 src frames" in error.value.message
        assert error.value.hint


def test_missing_footage_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MissingFootage):
        extract(Workspace.create(tmp_path), Side.SRC, SMALL)


def test_several_faces_are_numbered_by_size_and_can_be_limited(tmp_path: Path) -> None:
    frame = small_shot().frames[0]
    wide = np.zeros((240, 480, 3), np.uint8)
    wide[:, :320] = frame
    wide[60:180, 320:480] = cv2.resize(frame, (160, 120), interpolation=cv2.INTER_AREA)
    workspace = Workspace.create(tmp_path)
    Image.fromarray(wide).save(workspace.src.frames / "00001.png")
    assert extract(workspace, Side.SRC, SMALL).faces == 2
    large, small = (read_meta(workspace.src.aligned / f"00001_{k}.jpg").source_rect for k in (0, 1))
    assert large is not None
    assert small is not None
    assert large.area > small.area
    assert extract(workspace, Side.SRC, SMALL.but(max_faces=1, replace=True)).faces == 1
    assert extract(workspace, Side.SRC, SMALL.but(min_face=90, replace=True)).faces == 1


@pytest.mark.parametrize(("face_type", "size"), [("head", 768), ("h", 512), ("mark_only", None)])
def test_face_types_have_their_usual_size(workspace: Workspace, face_type: str, size: int | None) -> None:
    for path in sorted(workspace.src.frames.glob("*.png"))[1:]:
        path.unlink()
    extract(workspace, Side.SRC, ExtractOptions.of(face_type=face_type))
    face = read_face(workspace.src.aligned / "00001_0.jpg")
    assert face.rgb8.shape[:2] == ((size, size) if size else (240, 320))
    assert (face.meta.image_to_face_mat is None) == (size is None)


def test_debug_pictures_are_written_for_every_frame(workspace: Workspace) -> None:
    Image.new("RGB", (320, 240), (90, 120, 90)).save(workspace.src.frames / "00002.png")
    extract(workspace, Side.SRC, SMALL.but(debug_images=True))
    pictures = sorted(path.name for path in workspace.src.aligned_debug.iterdir())
    assert pictures == [f"{number:05d}.jpg" for number in range(1, FRAMES + 1)]
    drawn = np.asarray(Image.open(workspace.src.aligned_debug / "00001.jpg"))
    green = (drawn[..., 1] > 150) & (drawn[..., 0] < 100) & (drawn[..., 2] < 100)
    assert green.sum() > 50


def test_odd_sizes_and_names_of_any_language(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path / "ünï ço∂é 顔")
    odd = np.ascontiguousarray(small_shot().frames[0][:239, :319])
    Image.fromarray(odd).save(workspace.src.frames / "Портрет & 顔 (1).png")
    assert extract(workspace, Side.SRC, SMALL).faces == 1
    meta = read_meta(workspace.src.aligned / "Портрет & 顔 (1)_0.jpg")
    assert meta.source_filename == "Портрет & 顔 (1).png"


def test_pictures_of_one_stem_do_not_overwrite_each_other(workspace: Workspace) -> None:
    Image.fromarray(small_shot().frames[5]).save(workspace.src.frames / "00001.jpg")
    result = extract(workspace, Side.SRC, SMALL)
    assert result.faces == FRAMES
    assert any(item.item in ("00001.jpg", "00001.png") for item in result.skipped)


AS_ORDINARY_USER = """
import os, sys
from pathlib import Path
from understudy.errors import ReadOnlyWorkspace
from understudy.records import Side
from understudy.stages.extract import extract
from understudy.workspace import Workspace

Workspace(Path(sys.argv[1])).footage(Side.SRC)  # loads what is loaded late, while everything may still be read
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
try:
    extract(Workspace.open(Path(sys.argv[1])), Side.SRC)
except ReadOnlyWorkspace as error:
    print("READ-ONLY", error.hint)
"""


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs a system with user ids")
def test_a_workspace_that_cannot_be_written_is_named() -> None:
    """As an ordinary user: root may write anywhere."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        workspace = Workspace.create(Path(folder) / "shot")
        small_shot(frames=2).write_frames(workspace.src.frames)
        folders = [workspace.root, *(path for path in workspace.root.rglob("*") if path.is_dir())]
        for closed in folders:
            closed.chmod(0o555)
        command = [sys.executable, "-c", AS_ORDINARY_USER, str(workspace.root)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        for closed in folders:
            closed.chmod(0o755)
        assert "READ-ONLY" in done.stdout, done.stderr
        assert not any(workspace.src.aligned.iterdir())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB, on which the frames and a few faces fit."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
        done = subprocess.run(command, capture_output=True, check=False)
    except OSError:
        pytest.skip("mounting is not possible here, so a full disk cannot be tried")
    if done.returncode:
        pytest.skip(f"mounting is not allowed here, so a full disk cannot be tried: {done.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_is_said_and_what_was_written_is_whole(small_disk: Path) -> None:
    workspace = Workspace.create(small_disk)
    small_shot(frames=FRAMES).write_video(workspace.root / "data_src.mp4")
    large = ExtractOptions.of(image_size=1024, jpeg_quality=100, workers=2)
    with pytest.raises(DiskFull) as full:
        extract(workspace, Side.SRC, large)
    assert full.value.hint
    written = sorted(workspace.src.aligned.iterdir())
    assert 0 < len(written) < FRAMES
    for path in written:
        assert read_face(path).rgb8.shape == (1024, 1024, 3)
    subprocess.run(["mount", "-o", "remount,size=60m", str(small_disk)], check=True)
    assert extract(workspace, Side.SRC, large).faces == FRAMES


def test_progress_and_result_tell_the_same_counts(workspace: Workspace) -> None:
    events: list[Event] = []
    result = extract(workspace, Side.SRC, SMALL, report=events.append)
    last = [event for event in events if isinstance(event, Progress)][-1]
    assert (last.done, last.total) == (result.frames, FRAMES)
    body = result.as_json()
    assert body["ok"] is True
    assert (body["frames"], body["faces"]) == (FRAMES, FRAMES)
    assert isinstance(result, StageResult)


def test_a_run_that_goes_on_draws_debug_pictures_if_the_first_part_did(workspace: Workspace) -> None:
    """Frames without one count as deleted, and the review would ask for all of them again."""
    later = sorted(workspace.src.frame_files())[5:]
    aside = workspace.root / "aside"
    aside.mkdir()
    for path in later:
        path.rename(aside / path.name)
    extract(workspace, Side.SRC, SMALL.but(debug_images=True))
    for path in later:
        (aside / path.name).rename(path)
    extract(workspace, Side.SRC, SMALL)
    assert len(list(workspace.src.aligned_debug.iterdir())) == FRAMES
    found = read_review(workspace, Side.SRC)
    assert found is not None
    assert found.frames_of(Kind.REDO) == []
