"""The merge as a user sees it: files, order, resuming, and what happens when something is wrong."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from shots import small_shot
from understudy.compositing.options import ColorTransfer, MaskMode, MergeMode, MergeOptions
from understudy.errors import (
    Busy,
    EmptyFaceset,
    Interrupted,
    InvalidOption,
    MissingFootage,
    MissingModel,
    UnreadableFace,
)
from understudy.facesets import FaceMeta, encode_jpeg, read_meta, write_face
from understudy.geometry import affine, alignment
from understudy.media.options import VideoFormat
from understudy.networks.quick96 import Quick96Config
from understudy.records import FaceType, FootageFrom, PrecisionChoice, Rect
from understudy.report import Event, Note, Progress
from understudy.stages.merge import merge
from understudy.training.saved.new import adopt_model, new_network
from understudy.workspace import Workspace

FRAMES = 6
WITHOUT_FACE = 3
TINY = Quick96Config(size=64, ae_dims=8, e_dims=4, d_dims=4, d_mask_dims=4)
OPTIONS = MergeOptions(mask_mode=MaskMode.DST, erode_mask_modifier=5, blur_mask_modifier=30, workers=2)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with six frames, five faces and a tiny model that was never trained."""
    workspace = Workspace.create(tmp_path_factory.mktemp("merge") / "shot")
    shot = small_shot(frames=FRAMES)
    shot.write_frames(workspace.dst.frames)
    for index, (frame, landmarks) in enumerate(zip(shot.frames, shot.truth.landmarks, strict=True)):
        if index != WITHOUT_FACE:
            add_face(workspace, index, frame, np.asarray(landmarks, np.float64))
    net = new_network("quick96", TINY)
    adopt_model(workspace.model("hello"), net, "quick96", weights=net.state_dict(), iteration=7)
    return workspace.root


@pytest.fixture
def workspace(template: Path, tmp_path: Path) -> Workspace:
    return Workspace.open(shutil.copytree(template, tmp_path / "shot"))


def add_face(workspace: Workspace, index: int, frame: np.ndarray, landmarks: np.ndarray, number: int = 0) -> Path:
    face_from_frame = alignment.transform(landmarks, 64, FaceType.FULL)
    meta = FaceMeta(
        face_type=FaceType.FULL,
        landmarks=affine.apply(face_from_frame, landmarks),
        source_filename=f"{index + 1:05d}.png",
        source_rect=Rect(0, 0, 40, 40),
        source_landmarks=landmarks,
        image_to_face_mat=face_from_frame,
    )
    path = workspace.dst.aligned / f"{index + 1:05d}_{number}.jpg"
    write_face(path, encode_jpeg(cv2.warpAffine(frame, face_from_frame, (64, 64)), 90), meta)
    return path


def picture(path: Path) -> np.ndarray:
    read = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert read is not None, path
    return read


def outputs(workspace: Workspace) -> dict[str, bytes]:
    folders = (workspace.merged, workspace.merged_mask)
    return {f"{folder.name}/{path.name}": path.read_bytes() for folder in folders for path in folder.glob("*.png")}


def stamps(workspace: Workspace) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in workspace.merged.glob("*.png")}


def stop_after(count: int) -> Callable[[], bool]:
    asked = itertools.count()
    return lambda: next(asked) >= count


def without_frames(workspace: Workspace) -> Workspace:
    """The same workspace with a video in place of the folder of frames."""
    for path in workspace.dst.frame_files():
        path.unlink()
    small_shot(frames=FRAMES).write_video(workspace.root / "data_dst.mp4")
    return workspace


def test_every_frame_has_a_picture_and_a_mask(workspace: Workspace) -> None:
    events: list[Event] = []
    result = merge(workspace, "hello", OPTIONS, report=events.append)
    names = [f"{index + 1:05d}.png" for index in range(FRAMES)]
    for folder in (workspace.merged, workspace.merged_mask):
        assert sorted(path.name for path in folder.glob("*.png")) == names
    assert (result.frames, result.faces, result.skipped) == (FRAMES, FRAMES - 1, [])
    assert result.notes["frames_with_faces"] == FRAMES - 1
    assert result.outputs == [workspace.merged, workspace.merged_mask]
    done = [event for event in events if isinstance(event, Progress) and event.step == "Merging"]
    assert done[-1].done == done[-1].total == FRAMES


def test_pixels_outside_the_mask_are_those_of_the_frame(workspace: Workspace) -> None:
    merge(workspace, "hello", OPTIONS)
    for path in workspace.dst.frame_files():
        plate, merged = picture(path), picture(workspace.merged / path.name)
        mask = picture(workspace.merged_mask / path.name)
        assert mask.ndim == 2
        np.testing.assert_array_equal(merged[mask == 0], plate[mask == 0])
        changed = (merged != plate).any(axis=2)
        if path.stem == f"{WITHOUT_FACE + 1:05d}":
            assert not mask.any()
            assert not changed.any()
        else:
            assert changed[mask == 255].mean() > 0.9


def test_any_number_of_workers_gives_the_same_bytes(workspace: Workspace) -> None:
    merge(workspace, "hello", OPTIONS.but(workers=1))
    one = outputs(workspace)
    merge(workspace, "hello", OPTIONS.but(workers=5, replace=True))
    assert outputs(workspace) == one
    assert len(one) == 2 * FRAMES


def test_a_stopped_merge_goes_on_where_it_was(workspace: Workspace, template: Path, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        merge(workspace, "hello", OPTIONS, stop=stop_after(3))
    early = stamps(workspace)
    assert 0 < len(early) < FRAMES
    events: list[Event] = []
    result = merge(workspace, "hello", OPTIONS, report=events.append)
    assert result.frames == FRAMES
    assert result.faces == FRAMES - 1
    assert {name: stamps(workspace)[name] for name in early} == early, "finished frames were rendered again"
    assert any(isinstance(event, Note) and "up to date" in event.message for event in events)
    whole = Workspace.open(shutil.copytree(template, tmp_path / "whole"))
    merge(whole, "hello", OPTIONS)
    assert outputs(workspace) == outputs(whole)


def test_a_finished_merge_renders_nothing_again(workspace: Workspace) -> None:
    first = merge(workspace, "hello", OPTIONS)
    before = stamps(workspace)
    again = merge(workspace, "hello", OPTIONS)
    assert stamps(workspace) == before
    assert (again.frames, again.faces) == (first.frames, first.faces)


@pytest.mark.parametrize("spoil", ["truncate", "remove the mask", "cut the journal short"])
def test_files_that_are_not_whole_are_made_again(workspace: Workspace, spoil: str) -> None:
    merge(workspace, "hello", OPTIONS)
    good = outputs(workspace)
    if spoil == "truncate":
        (workspace.merged / "00002.png").write_bytes(b"half")
    elif spoil == "remove the mask":
        (workspace.merged_mask / "00002.png").unlink()
    else:
        journal = workspace.private / "merge" / "journal.jsonl"
        lines = journal.read_text().splitlines()
        journal.write_text("\n".join(lines[:4]) + "\n" + lines[4][:20])
    merge(workspace, "hello", OPTIONS)
    assert outputs(workspace) == good


def test_other_settings_render_everything_again(workspace: Workspace) -> None:
    merge(workspace, "hello", OPTIONS)
    before = outputs(workspace)
    merge(workspace, "hello", OPTIONS.but(blur_mask_modifier=60))
    after = outputs(workspace)
    unchanged = [name for name in before if before[name] == after[name]]
    assert sorted(unchanged) == [f"merged/{WITHOUT_FACE + 1:05d}.png", f"merged_mask/{WITHOUT_FACE + 1:05d}.png"]


def test_another_number_type_renders_everything_again(workspace: Workspace) -> None:
    merge(workspace, "hello", OPTIONS)
    old, pictures = stamps(workspace), outputs(workspace)
    merge(workspace, "hello", OPTIONS.but(precision=PrecisionChoice.BF16))
    assert [name for name, stamp in stamps(workspace).items() if stamp == old[name]] == []
    after = outputs(workspace)
    assert after["merged/00001.png"] != pictures["merged/00001.png"]
    assert after["merged_mask/00001.png"] == pictures["merged_mask/00001.png"], "the mask here is the hull"


@pytest.mark.parametrize("unknown", [{"device": "cuda:99"}, {"device": "cpu", "precision": "fp16"}])
def test_a_device_and_a_number_type_that_are_not_there_are_refused(
    workspace: Workspace, unknown: dict[str, str]
) -> None:
    with pytest.raises(InvalidOption):
        merge(workspace, "hello", OPTIONS.but(**unknown))
    assert not outputs(workspace)


def test_changed_faces_render_only_their_frames(workspace: Workspace) -> None:
    merge(workspace, "hello", OPTIONS)
    before, old = stamps(workspace), outputs(workspace)
    face = workspace.dst.aligned / "00002_0.jpg"
    landmarks = read_meta(face).source_landmarks
    assert landmarks is not None
    add_face(workspace, 1, small_shot(frames=FRAMES).frames[1], landmarks + np.array((6, 2)))
    merge(workspace, "hello", OPTIONS)
    changed = [name for name, stamp in stamps(workspace).items() if stamp != before[name]]
    assert changed == ["00002.png"]
    assert outputs(workspace)["merged/00002.png"] != old["merged/00002.png"]


def test_a_changed_frame_is_rendered_again(workspace: Workspace) -> None:
    merge(workspace, "hello", OPTIONS)
    before = stamps(workspace)
    path = workspace.dst.frames / "00001.png"
    cv2.imwrite(str(path), 255 - picture(path))
    merge(workspace, "hello", OPTIONS)
    assert [name for name, stamp in stamps(workspace).items() if stamp != before[name]] == ["00001.png"]


def test_old_results_stand_until_their_successors_are_there(workspace: Workspace) -> None:
    merge(workspace, "hello", OPTIONS)
    old = outputs(workspace)
    with pytest.raises(Interrupted):
        merge(workspace, "hello", OPTIONS.but(mask_mode=MaskMode.FULL), stop=stop_after(2))
    now = outputs(workspace)
    assert now.keys() == old.keys()
    assert 0 < sum(now[name] != old[name] for name in now) < len(now)


def test_a_face_that_cannot_be_used_leaves_its_frame_original(workspace: Workspace) -> None:
    face = workspace.dst.aligned / "00002_0.jpg"
    meta = read_meta(face)
    broken = replace(meta, source_landmarks=np.full((68, 2), 30.0))
    write_face(face, face.read_bytes(), broken)
    for _ in range(2):  # the second run renders nothing and still names the frame
        result = merge(workspace, "hello", OPTIONS)
        assert [item.item for item in result.skipped] == ["00002.png"]
        assert "original" in result.skipped[0].reason
        np.testing.assert_array_equal(
            picture(workspace.merged / "00002.png"), picture(workspace.dst.frames / "00002.png")
        )
    assert result.frames == FRAMES


@pytest.mark.parametrize("to_video", [None, VideoFormat.MP4])
def test_when_no_face_can_be_used_the_merge_fails(workspace: Workspace, to_video: VideoFormat | None) -> None:
    for face in workspace.dst.aligned.glob("*.jpg"):
        write_face(face, face.read_bytes(), replace(read_meta(face), source_landmarks=np.full((68, 2), 30.0)))
    old = workspace.root / "result.mp4"
    old.write_bytes(b"an old result")
    with pytest.raises(UnreadableFace, match="None of the 5 frames"):
        merge(workspace, "hello", OPTIONS.but(to_video=to_video))
    assert old.read_bytes() == b"an old result"


def test_several_faces_of_a_frame_are_all_redrawn(workspace: Workspace) -> None:
    merge(workspace, "hello", OPTIONS)
    one = picture(workspace.merged_mask / "00001.png")
    landmarks = read_meta(workspace.dst.aligned / "00001_0.jpg").source_landmarks
    assert landmarks is not None
    small = (landmarks - landmarks.mean(axis=0)) * 0.4 + np.array((40, 40))
    add_face(workspace, 0, small_shot(frames=FRAMES).frames[0], small, number=1)
    result = merge(workspace, "hello", OPTIONS)
    two = picture(workspace.merged_mask / "00001.png")
    assert result.faces == FRAMES
    assert two[:80, :80].max() == 255 > one[:80, :80].max()
    np.testing.assert_array_equal(two[120:], one[120:])


def test_sixteen_bit_frames_stay_sixteen_bit(workspace: Workspace) -> None:
    path = workspace.dst.frames / "00001.png"
    deep = picture(path).astype(np.uint16) * 257 + 13
    cv2.imwrite(str(path), deep)
    merge(workspace, "hello", OPTIONS)
    merged, mask = picture(workspace.merged / path.name), picture(workspace.merged_mask / path.name)
    assert merged.dtype == mask.dtype == np.uint16
    np.testing.assert_array_equal(merged[:30], deep[:30])


def test_frames_straight_from_the_video(workspace: Workspace) -> None:
    result = merge(without_frames(workspace), "hello", OPTIONS)
    assert result.frames == FRAMES
    assert result.faces == FRAMES - 1
    assert picture(workspace.merged_mask / "00001.png").max() == 255
    assert not picture(workspace.merged_mask / f"{WITHOUT_FACE + 1:05d}.png").any()
    events: list[Event] = []
    merge(workspace, "hello", OPTIONS, report=events.append)
    assert not any(isinstance(event, Progress) and event.step == "Merging" for event in events)


def test_options_are_saved_beside_the_result(workspace: Workspace) -> None:
    merge(workspace, "hello", OPTIONS)
    saved = json.loads((workspace.merged / "options.json").read_text())
    assert saved["model"] == "hello"
    assert saved["iteration"] == 7
    assert MergeOptions.of(**saved["options"]).blur_mask_modifier == 30
    assert saved["options"]["faithful"] is False


def test_imported_models_keep_the_quirks(workspace: Workspace) -> None:
    net = new_network("quick96", TINY)
    adopt_model(workspace.model("old"), net, "quick96", weights=net.state_dict(), imported_from="model/old_Quick96")
    merge(workspace, "old", OPTIONS)
    assert json.loads((workspace.merged / "options.json").read_text())["options"]["faithful"] is True


def video_frames(path: Path) -> Iterator[av.VideoFrame]:
    with av.open(str(path)) as container:
        yield from container.decode(video=0)


@pytest.mark.parametrize("frames_on_disk", [True, False])
def test_straight_to_video(workspace: Workspace, frames_on_disk: bool) -> None:
    if frames_on_disk:
        small_shot(frames=FRAMES).write_video(workspace.root / "data_dst.mp4")
    else:
        without_frames(workspace)
    result = merge(workspace, "hello", OPTIONS.but(to_video=VideoFormat.MP4))
    video, mask = workspace.root / "result.mp4", workspace.root / "result_mask.mp4"
    assert result.outputs == [video, mask]
    times = [[frame.time for frame in video_frames(path)] for path in (workspace.root / "data_dst.mp4", video, mask)]
    assert times[0] == times[1] == times[2]
    levels = [frame.to_ndarray()[: frame.height].max() for frame in video_frames(mask)]
    assert [level > 200 for level in levels] == [index != WITHOUT_FACE for index in range(FRAMES)]
    assert json.loads((workspace.root / "result_options.json").read_text())["options"]["to_video"] == "mp4"
    assert not workspace.merged.exists()


def test_a_stopped_video_leaves_the_old_one(workspace: Workspace) -> None:
    old = workspace.root / "result.mp4"
    old.write_bytes(b"an old result")
    with pytest.raises(Interrupted):
        merge(without_frames(workspace), "hello", OPTIONS.but(to_video=VideoFormat.MP4), stop=stop_after(2))
    assert old.read_bytes() == b"an old result"
    assert not [path for path in workspace.root.iterdir() if path.name.startswith(".tmp-")]


def test_pictures_changed_by_hand_win_over_the_video(workspace: Workspace) -> None:
    """Frames on disk may have been cleaned up; a video merged straight must show that."""
    small_shot(frames=FRAMES).write_video(workspace.root / "data_dst.mp4")
    for path, frame in zip(workspace.dst.frame_files(), video_frames(workspace.root / "data_dst.mp4"), strict=True):
        rgb = frame.to_ndarray(format="rgb24")
        rgb[:20, :20] = 255
        cv2.imwrite(str(path), rgb[..., ::-1])
    options = OPTIONS.but(to_video=VideoFormat.MP4, mode=MergeMode.ORIGINAL)
    merge(workspace, "hello", options)
    assert next(video_frames(workspace.root / "result.mp4")).to_ndarray(format="gray")[:16, :16].min() > 225
    merge(workspace, "hello", options.but(from_=FootageFrom.VIDEO))
    assert next(video_frames(workspace.root / "result.mp4")).to_ndarray(format="gray")[:16, :16].min() < 225


def test_what_is_missing_is_said(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(MissingModel, match="nobody"):
        merge(workspace, "nobody", OPTIONS)
    empty = Workspace.create(tmp_path / "empty")
    with pytest.raises(MissingFootage):
        merge(empty, "hello", OPTIONS)
    for path in workspace.dst.aligned.glob("*.jpg"):
        path.unlink()
    with pytest.raises(EmptyFaceset):
        merge(workspace, "hello", OPTIONS)


def test_a_second_merge_at_the_same_time_is_refused(workspace: Workspace) -> None:
    with workspace.writing("merge"), pytest.raises(Busy):
        merge(workspace, "hello", OPTIONS)


def test_faces_of_other_frames_change_nothing_and_that_is_said(workspace: Workspace) -> None:
    for number, path in enumerate(sorted(workspace.dst.aligned.glob("*.jpg"))):
        meta = read_meta(path)
        write_face(path, path.read_bytes(), replace(meta, source_filename=f"other_{number}.png"))
    events: list[Event] = []
    result = merge(workspace, "hello", OPTIONS.but(color_transfer_mode=ColorTransfer.NONE), report=events.append)
    assert result.faces == 0
    assert any(isinstance(event, Note) and event.level == "warning" for event in events)


@pytest.mark.parametrize("from_video", [False, True])
def test_a_merge_killed_after_its_last_frame_ends_well(workspace: Workspace, from_video: bool) -> None:
    if from_video:
        without_frames(workspace)
    merge(workspace, "hello", OPTIONS)
    before = stamps(workspace)
    journal = workspace.private / "merge" / "journal.jsonl"
    journal.write_text("".join(line for line in journal.read_text().splitlines(keepends=True) if '"end"' not in line))
    assert merge(workspace, "hello", OPTIONS).frames == FRAMES
    assert stamps(workspace) == before
    assert '"end"' in journal.read_text()


def test_a_gap_in_the_frames_is_named_and_the_rest_is_merged(workspace: Workspace) -> None:
    (workspace.dst.frames / "00003.png").unlink()
    (workspace.dst.frames / "00005.png").write_bytes(b"no picture")
    for _ in range(2):
        result = merge(workspace, "hello", OPTIONS)
        assert result.frames == FRAMES - 2
        assert [item.item for item in result.skipped] == ["00003.png", "00005.png"]
    assert not (workspace.merged / "00005.png").exists()
    small_shot(frames=FRAMES).write_frames(workspace.dst.frames)
    mended = merge(workspace, "hello", OPTIONS)
    assert (mended.frames, mended.skipped) == (FRAMES, [])


def test_a_later_video_does_not_keep_the_frames_of_an_earlier_one(workspace: Workspace) -> None:
    without_frames(workspace)
    merge(workspace, "hello", OPTIONS)
    small_shot(frames=4, seed=8).write_video(workspace.root / "data_dst.mp4")
    assert merge(workspace, "hello", OPTIONS).frames == 4
