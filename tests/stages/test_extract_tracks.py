"""Extraction over time: tracks, steady landmarks, shots, and the same files after any stop."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from shots import small_shot
from understudy.demo.footage import Performer
from understudy.detection import ExtractOptions
from understudy.detection.cutting import crop_area
from understudy.detection.drawing import GREEN
from understudy.errors import Busy, InvalidOption, UsageError
from understudy.facesets import read_face, read_meta
from understudy.geometry.alignment import TEMPLATE_51
from understudy.imaging.files import Picture
from understudy.media import folder
from understudy.records import FaceType, Rect, Side
from understudy.report import Event, Note
from understudy.stages import extract as stage
from understudy.stages.extract import extract, size_for
from understudy.stages.extract_faces import FoundHere, sifted
from understudy.stages.extract_journal import Done, ExtractJournal, journal_path, seen_frames
from understudy.stages.shots import read_shots
from understudy.workspace import Workspace

FRAMES = 34
SMALL = ExtractOptions.of(image_size=256, workers=2)


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of two shots: one performer, then the other beside her, small."""
    path = tmp_path_factory.mktemp("footage") / "two_shots.mp4"
    first = small_shot(Performer.ASTRONAUT, frames=FRAMES).frames
    second = small_shot(Performer.ADMIRAL, frames=FRAMES).frames
    frames = [
        _wide(first[index], None) if index < 23 else _wide(second[index], first[index]) for index in range(FRAMES)
    ]
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "12", "preset": "veryfast", "g": "8"})
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def _wide(left: NDArray[np.uint8], right: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
    wide = np.full((240, 480, 3), 120, np.uint8)
    wide[:, :320] = left
    if right is not None:
        wide[60:180, 320:] = cv2.resize(right, (160, 120), interpolation=cv2.INTER_AREA)
    return wide


@pytest.fixture
def workspace(tmp_path: Path, footage: Path) -> Workspace:
    made = Workspace.create(tmp_path / "shot")
    shutil.copy(footage, made.root / "data_src.mp4")
    return made


@pytest.fixture(scope="module")
def whole(footage: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The same, extracted in one go. Not to be changed."""
    made = Workspace.create(tmp_path_factory.mktemp("whole"))
    shutil.copy(footage, made.root / "data_src.mp4")
    extract(made, Side.SRC, SMALL)
    return made


def faces_of(workspace: Workspace) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(workspace.src.aligned.iterdir())}


def test_faces_know_their_track_and_a_cut_ends_tracks(whole: Workspace) -> None:
    tracks = {path.name: read_meta(path).track for path in whole.src.aligned.iterdir()}
    assert {track for name, track in tracks.items() if int(name[:5]) <= 23} == {1}
    assert {track for name, track in tracks.items() if int(name[:5]) > 23 and name.endswith("_0.jpg")} == {2}
    assert {track for name, track in tracks.items() if name.endswith("_1.jpg")} == {3}


def test_faces_know_how_sure_the_engine_was(whole: Workspace) -> None:
    sure = [read_meta(path).confidence or 0 for path in whole.src.aligned.iterdir()]
    assert all(0 <= value <= 1 for value in sure)
    assert np.mean(np.array(sure) > 0.8) > 0.9


def test_the_shots_are_kept_too(whole: Workspace) -> None:
    with whole.footage(Side.SRC) as footage:
        shots = read_shots(whole, Side.SRC, footage)
    assert shots is not None
    assert (shots.starts, shots.frames) == ((0, 23), FRAMES)


def test_the_journal_tells_what_was_seen(whole: Workspace) -> None:
    frames = sorted(seen_frames(journal_path(whole, Side.SRC), with_points=True), key=lambda frame: frame.index)
    assert [frame.index for frame in frames] == list(range(FRAMES))
    assert [frame.index for frame in frames if frame.is_cut] == [23]
    names = set(faces_of(whole))
    for frame in frames:
        assert frame.size == (480, 240)
        for face in frame.faces or ():
            assert face.file in names
            meta = read_meta(whole.src.aligned / face.file)
            assert (face.track, face.confidence) == (meta.track, meta.confidence)
            assert face.points is not None
            assert meta.source_landmarks is not None
            assert np.abs(face.points - meta.source_landmarks).max() < 0.1 * face.rect.width


def trembling(workspace: Workspace) -> float:
    """Of the face of the first shot."""
    landmarks = [read_meta(workspace.src.aligned / f"{number:05d}_0.jpg").source_landmarks for number in range(1, 24)]
    return float(np.linalg.norm(np.diff(np.array(landmarks), 2, axis=0), axis=-1).mean())


def test_written_landmarks_are_smooth_unless_that_is_not_wanted(workspace: Workspace, whole: Workspace) -> None:
    extract(workspace, Side.SRC, SMALL.but(smoothing=0))
    assert trembling(whole) < 0.6 * trembling(workspace)
    for frame in seen_frames(journal_path(workspace, Side.SRC), with_points=True):
        for face in frame.faces or ():
            meta = read_meta(workspace.src.aligned / str(face.file))
            np.testing.assert_array_equal(meta.source_landmarks, face.points)


@pytest.mark.parametrize("workers", [1, 7])
def test_any_number_of_threads_writes_the_same_faces(workspace: Workspace, whole: Workspace, workers: int) -> None:
    extract(workspace, Side.SRC, SMALL.but(workers=workers))
    assert faces_of(workspace) == faces_of(whole)


KILLED = """
import sys
from pathlib import Path
from understudy.detection import ExtractOptions
from understudy.records import Side
from understudy.stages import journal
from understudy.stages.extract import extract
from understudy.workspace import Workspace

journal.BATCH_SECS = 0.0
extract(Workspace.open(Path(sys.argv[1])), Side.SRC, ExtractOptions.of(image_size=256, workers=int(sys.argv[2])))
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs a system with kill -9")
@pytest.mark.parametrize(("workers", "faces"), [(1, 3), (3, 20)])
def test_a_killed_run_taken_up_again_writes_the_same_faces(
    workspace: Workspace, whole: Workspace, workers: int, faces: int
) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(workspace.root), str(workers)], env=environment)
    while process.poll() is None and sum(1 for _ in workspace.src.aligned.glob("0*.jpg")) < faces:
        time.sleep(0.005)
    process.kill()
    process.wait()
    read = ExtractJournal.read(journal_path(workspace, Side.SRC))
    assert len(faces_of(workspace)) < len(faces_of(whole)), "killed before the end"
    result = extract(workspace, Side.SRC, SMALL)
    assert faces_of(workspace) == faces_of(whole)
    assert result.frames == FRAMES
    assert read is None or len(read.done) < FRAMES


@pytest.mark.parametrize("seed", range(3))
def test_whatever_frames_are_left_to_do_they_get_the_same_faces(
    workspace: Workspace, whole: Workspace, seed: int
) -> None:
    """Frames are finished out of order, so a stop leaves holes."""
    shutil.copytree(whole.src.aligned, workspace.src.aligned, dirs_exist_ok=True)
    lost = np.random.default_rng(seed).choice(FRAMES, 9, replace=False)
    lines = journal_path(whole, Side.SRC).read_text().splitlines(keepends=True)
    kept = [line for line in lines if not any(f'"frame": {index},' in line for index in lost) and '"end"' not in line]
    target = journal_path(workspace, Side.SRC)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("".join(kept))
    for index in lost:
        for path in workspace.src.aligned.glob(f"{index + 1:05d}_*.jpg"):
            path.unlink()
    extract(workspace, Side.SRC, SMALL.but(workers=1 + seed))
    assert faces_of(workspace) == faces_of(whole)


def test_pictures_that_come_later_get_tracks_of_their_own(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path)
    small_shot(frames=14).write_frames(workspace.src.frames)
    extract(workspace, Side.SRC, SMALL)
    Image.fromarray(small_shot(Performer.ADMIRAL).frames[0]).save(workspace.src.frames / "00015.png")
    extract(workspace, Side.SRC, SMALL)
    assert read_meta(workspace.src.aligned / "00015_0.jpg").track == 2


def test_a_journal_of_the_first_version_is_gone_on_with(workspace: Workspace, whole: Workspace) -> None:
    """It knows how many faces a frame has, and neither tracks nor landmarks."""
    for name in ("00001_0.jpg", "00002_0.jpg"):
        shutil.copy(whole.src.aligned / name, workspace.src.aligned / name)
    size = (workspace.root / "data_src.mp4").stat().st_size
    target = journal_path(workspace, Side.SRC)
    target.parent.mkdir(parents=True, exist_ok=True)
    settings = {"face_type": "whole_face", "image_size": 256}
    head = {"schema": "understudy-extract/1", "footage": f"data_src.mp4 {size}", "settings": settings}
    lines = [head, *({"frame": index, "name": f"{index + 1:05d}.png", "faces": 1} for index in range(2))]
    target.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert extract(workspace, Side.SRC, SMALL).frames == FRAMES
    assert set(faces_of(workspace)) == set(faces_of(whole))
    journal = ExtractJournal.read(target)
    assert journal is not None
    assert (journal.done["00001.png"], journal.is_complete) == (Done(0, 1), True)


# -- what is written and what is not


def test_a_frame_that_was_done_stays_done_however_its_faces_are_called_now(workspace: Workspace) -> None:
    extract(workspace, Side.SRC, SMALL)
    aligned = workspace.src.aligned
    (aligned / "00001_0.jpg").rename(aligned / "favourite.jpg")
    (aligned / "00002_0.jpg").unlink()
    before = faces_of(workspace)
    extract(workspace, Side.SRC, SMALL)
    assert faces_of(workspace) == before


def test_a_face_that_somebody_renamed_is_not_written_over(workspace: Workspace, whole: Workspace) -> None:
    """Sorted by hand while half of the footage was done: its name may be that of a face to come."""
    shutil.copy(whole.src.aligned / "00001_0.jpg", workspace.src.aligned / "00009_0.jpg")
    mine = (workspace.src.aligned / "00009_0.jpg").read_bytes()
    extract(workspace, Side.SRC, SMALL)
    assert (workspace.src.aligned / "00009_0.jpg").read_bytes() == mine
    assert read_meta(workspace.src.aligned / "00009_1.jpg").source_filename == "00009.png"


def test_going_on_can_be_refused(workspace: Workspace, whole: Workspace) -> None:
    shutil.copy(whole.src.aligned / "00001_0.jpg", workspace.src.aligned)
    with pytest.raises(UsageError) as error:
        extract(workspace, Side.SRC, SMALL.but(continue_=False))
    assert "--replace" in error.value.hint
    assert list(faces_of(workspace)) == ["00001_0.jpg"]


@pytest.mark.parametrize("face_type", list(FaceType))
def test_every_face_type_is_cut(tmp_path: Path, face_type: FaceType) -> None:
    workspace = Workspace.create(tmp_path)
    small_shot(frames=2).write_frames(workspace.src.frames)
    assert extract(workspace, Side.SRC, SMALL.but(face_type=face_type)).faces == 2
    face = read_face(workspace.src.aligned / "00001_0.jpg")
    assert face.meta.face_type is face_type
    assert face.rgb8.shape == ((240, 320, 3) if face_type is FaceType.MARK_ONLY else (256, 256, 3))


def test_jpeg_quality_is_heard(tmp_path: Path) -> None:
    sizes = []
    for quality in (30, 95):
        workspace = Workspace.create(tmp_path / str(quality))
        small_shot(frames=1).write_frames(workspace.src.frames)
        extract(workspace, Side.SRC, SMALL.but(jpeg_quality=quality))
        sizes.append((workspace.src.aligned / "00001_0.jpg").stat().st_size)
    assert sizes[1] > 2 * sizes[0]


def test_crops_far_larger_than_their_box_are_left_out_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the types up to full; the limit is lowered here, since the engine gives no such landmarks."""
    monkeypatch.setattr("understudy.detection.cutting.LARGEST_CROP", 0.5)
    for name, face_type in (("full", FaceType.FULL), ("whole", FaceType.WHOLE_FACE)):
        workspace = Workspace.create(tmp_path / name)
        small_shot(frames=2).write_frames(workspace.src.frames)
        Image.new("RGB", (320, 240)).save(workspace.src.frames / "00003.png")
        if face_type is FaceType.WHOLE_FACE:
            assert extract(workspace, Side.SRC, SMALL).faces == 2
            continue
        with pytest.raises(stage.NoFacesFound):
            extract(workspace, Side.SRC, SMALL.but(face_type=face_type))
        journal = ExtractJournal.read(journal_path(workspace, Side.SRC))
        assert journal is not None
        dropped = [[item.reason for item in done.dropped] for _, done in sorted(journal.done.items())]
        assert dropped == [["area"], ["area"], []]


def here(x: float, *, side: float = 100, score: float = 0.9) -> FoundHere:
    landmarks = np.concatenate([np.zeros((17, 2)), TEMPLATE_51.astype(np.float64)]) * side + (x, 50)
    return FoundHere(Rect(x, 50, x + side, 50 + side), landmarks, score, None)


def test_two_boxes_on_one_face_give_one_face() -> None:
    kept = sifted([here(100), here(104), here(400), here(520, side=20)], SMALL)
    assert [face.dropped for face in kept] == ["", "twin", "", "small"]


def test_the_largest_faces_are_kept_where_their_number_is_limited() -> None:
    kept = sifted([here(100), here(104), here(400), here(700)], SMALL.but(max_faces=2))
    assert [face.dropped for face in kept] == ["", "twin", "", "surplus"]


# -- the size of the aligned pictures


def test_auto_takes_the_size_of_the_faces_and_a_resumed_run_agrees(workspace: Workspace) -> None:
    notes: list[Event] = []
    extract(workspace, Side.SRC, SMALL.but(image_size="auto"), report=notes.append)
    said = [event.message for event in notes if isinstance(event, Note) and "Aligned pictures get" in event.message]
    assert len(said) == 1
    face = read_face(workspace.src.aligned / "00001_0.jpg")
    size = face.rgb8.shape[0]
    assert face.meta.source_landmarks is not None
    side = np.sqrt(crop_area(face.meta.source_landmarks, FaceType.WHOLE_FACE) or 0)
    assert size in (256, 320)
    assert size <= max(256, 1.2 * side)
    journal = journal_path(workspace, Side.SRC)
    journal.write_text("".join(journal.read_text().splitlines(keepends=True)[:9]))
    before = faces_of(workspace)
    extract(workspace, Side.SRC, SMALL.but(image_size="auto"))
    assert faces_of(workspace) == before


@pytest.mark.parametrize(
    ("sides", "size"), [([100], 256), ([500] * 9, 448), ([512] * 9, 512), ([300, 700, 700, 700], 576), ([9000], 2048)]
)
def test_the_size_is_one_at_which_three_quarters_of_the_faces_are_not_enlarged(sides: list[float], size: int) -> None:
    assert size_for(sides) == size


@pytest.mark.parametrize("value", ["large", 100, 4096, -1])
def test_other_sizes_are_refused(value: object) -> None:
    with pytest.raises(InvalidOption, match="image_size"):
        ExtractOptions.of(image_size=value)


# -- faults


def test_a_video_that_changes_meanwhile_is_said(workspace: Workspace) -> None:
    path = workspace.root / "data_src.mp4"

    def tamper(event: Event) -> None:
        os.utime(path, ns=(1, 1))

    with pytest.raises(UsageError) as error:
        extract(workspace, Side.SRC, SMALL, report=tamper)
    assert "changed while" in error.value.message
    assert "--replace" in error.value.hint


def test_a_frame_that_vanishes_meanwhile_is_skipped_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = Workspace.create(tmp_path)
    files = small_shot(frames=24).write_frames(workspace.src.frames)
    read = folder.read_image

    def read_and_lose(path: Path) -> Picture:
        if path == files[3]:
            files[22].unlink(missing_ok=True)
        return read(path)

    monkeypatch.setattr(folder, "read_image", read_and_lose)
    result = extract(workspace, Side.SRC, SMALL)
    assert [item.item for item in result.skipped] == ["00023.png"]
    assert result.frames == 23


def test_two_at_once_are_refused(workspace: Workspace) -> None:
    with workspace.writing("aligned-src"), pytest.raises(Busy):
        extract(workspace, Side.SRC, SMALL)


def test_debug_pictures_show_the_smoothed_landmarks(workspace: Workspace) -> None:
    extract(workspace, Side.SRC, SMALL.but(debug_images=True))
    drawn = np.asarray(Image.open(workspace.src.aligned_debug / "00012.jpg")).astype(int)
    landmarks = read_meta(workspace.src.aligned / "00012_0.jpg").source_landmarks
    assert landmarks is not None
    x, y = np.rint(landmarks[30]).astype(int)
    around = drawn[y - 2 : y + 3, x - 2 : x + 3].reshape(-1, 3)
    assert (around[:, 1] - around[:, 0]).max() > 30, f"something of {GREEN} at the tip of the nose"
