"""`status` must always say what is there, what runs, and what comes next."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from own_models import own_model
from shots import small_shot
from understudy.cli.tables import side_line
from understudy.facesets import Catalog
from understudy.facesets.doubts import Kind
from understudy.files import TEMP_PREFIX
from understudy.jobs import JobState, Request
from understudy.jobs.folder import create
from understudy.records import Side
from understudy.stages.extract_journal import journal_path
from understudy.stages.person_groups import notebook_path
from understudy.stages.review_list import Item, Review, save_review
from understudy.stages.status import status
from understudy.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.create(tmp_path / "shot")


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_the_seven_commands_are_suggested_in_order(workspace: Workspace) -> None:
    """Each suggestion stands until its files are there."""
    assert status(workspace).next.startswith("copy a video to")
    small_shot().write_video(workspace.root / "data_src.mp4")
    assert "data_dst" in status(workspace).next
    small_shot().write_video(workspace.root / "data_dst.mp4")
    assert status(workspace).next == "understudy video frames src --fps 10"
    touch(workspace.src.frames / "00001.png")
    assert status(workspace).next == "understudy faceset extract src"
    touch(workspace.src.aligned / "00001_0.jpg")
    assert status(workspace).next == "understudy faceset extract dst"
    touch(workspace.dst.aligned / "00001_0.jpg")
    assert status(workspace).next.startswith("understudy train hello --model quick96")
    model = workspace.models / "hello"
    model.mkdir()
    (model / "model.json").write_text(
        '{"schema": "understudy-model", "version": 1, "class": "quick96", "config": {}, "options": {}}'
    )
    assert status(workspace).next.startswith("understudy train hello")
    touch(model / "checkpoints" / "000001000" / "state.json")
    assert status(workspace).next == "understudy merge hello"
    touch(workspace.merged / "00001.png")
    assert status(workspace).next == "understudy video encode mp4"
    touch(workspace.root / "result.mp4")
    later = time.time() + 10
    os.utime(workspace.root / "result.mp4", (later, later))
    found = status(workspace)
    assert found.next == "understudy open result"
    assert "understudy train hello" in found.why


def test_merged_frames_newer_than_the_result_are_delivered_again(workspace: Workspace) -> None:
    test_the_seven_commands_are_suggested_in_order(workspace)
    later = time.time() + 100
    os.utime(workspace.merged / "00001.png", (later, later))
    assert status(workspace).next == "understudy video encode mp4"


def test_of_several_results_the_newest_counts(workspace: Workspace) -> None:
    """An older delivery in another container does not ask for a new one for ever."""
    test_the_seven_commands_are_suggested_in_order(workspace)
    touch(workspace.root / "result.avi", workspace.root / "result_mask.avi")
    os.utime(workspace.root / "result.avi", (1.0, 1.0))
    found = status(workspace)
    assert found.next == "understudy open result"
    assert [path.name for path in found.results] == ["result.mp4", "result.avi", "result_mask.avi"]


def test_a_src_faceset_needs_no_footage(workspace: Workspace) -> None:
    """Facesets travel without the videos that they were cut from."""
    touch(workspace.src.aligned / "00001_0.jpg")
    found = status(workspace)
    assert "data_dst" in found.next
    assert side_line(found.sides[Side.SRC]) == "  src     no footage · 1 faces"
    assert side_line(found.sides[Side.DST]) == "  dst     no footage"


def test_a_trained_model_needs_no_src(workspace: Workspace) -> None:
    """A model that came from elsewhere merges with dst alone."""
    test_the_seven_commands_are_suggested_in_order(workspace)
    for path in (workspace.root / "data_src.mp4", workspace.root / "result.mp4", workspace.merged / "00001.png"):
        path.unlink()
    shutil.rmtree(workspace.src.frames)
    assert status(workspace).next == "understudy merge hello"
    (workspace.dst.aligned / "00001_0.jpg").unlink()
    assert status(workspace).next == "understudy faceset extract dst"


def test_packed_faces_and_those_of_several_persons_are_counted(workspace: Workspace, golden: Path) -> None:
    touch(workspace.dst.aligned / "anna" / "00001_0.jpg", workspace.dst.aligned / "ben" / "00001_0.jpg")
    shutil.copy(golden / "files" / "faceset.pak", workspace.src.aligned)
    with Catalog.open(workspace.src.aligned) as catalog:
        packed = len(catalog)
    sides = status(workspace).sides
    assert (sides[Side.SRC].faces, sides[Side.DST].faces) == (packed, 2)
    (workspace.src.aligned / "faceset.pak").write_bytes(b"no pack")
    assert "faceset.pak" in status(workspace).sides[Side.SRC].problem


def test_unfinished_writes_are_no_frames(workspace: Workspace) -> None:
    """A frame that a killed process left under its temporary name neither counts nor keeps a step from being done."""
    touch(workspace.dst.frames / "00001.png", workspace.dst.frames / f"{TEMP_PREFIX}12345678-00002.png")
    assert status(workspace).sides[Side.DST].frames == 1


def test_a_note_beside_the_video_is_not_the_video(workspace: Workspace) -> None:
    touch(*(workspace.root / f"data_dst.{suffix}" for suffix in ("AAE", "jpg", "MOV", "srt")))
    video = workspace.dst.video
    assert video is not None
    assert video.name == "data_dst.MOV"


def test_footage_and_counts_are_said(workspace: Workspace) -> None:
    small_shot().write_video(workspace.root / "data_src.mp4")
    touch(workspace.src.frames / "00001.png", workspace.src.frames / "00002.png", workspace.src.aligned / "00001_0.jpg")
    body = status(workspace).as_json()
    assert body["src"]["frames"] == 2
    assert body["src"]["faces"] == 1
    assert (body["src"]["footage"]["width"], body["src"]["footage"]["height"]) == (320, 240)
    assert body["dst"] == {"video": None, "footage": None, "frames": 0, "faces": 0}


def test_looking_writes_nothing(workspace: Workspace) -> None:
    small_shot().write_video(workspace.root / "data_src.mp4")
    before = sorted(workspace.root.rglob("*"))
    status(workspace)
    assert sorted(workspace.root.rglob("*")) == before


def test_a_job_that_never_started_is_not_called_running_for_ever(workspace: Workspace) -> None:
    job = create(workspace.private / "jobs", Request("a:b", workspace.root, "Something"))
    assert [found.state for found in status(workspace).running] == [JobState.STARTING]
    text = (job.folder / "job.json").read_text()
    created = job.created
    (job.folder / "job.json").write_text(text.replace(str(created), str(created - 3600)))
    found = status(workspace)
    assert found.running == []
    assert [item.state for item in found.recent] == [JobState.CRASHED]


def journal(workspace: Workspace, side: Side, *lines: str, footage: str = "frames", size: int = 512) -> None:
    """An extraction's journal with these lines after its head."""
    path = journal_path(workspace, side)
    path.parent.mkdir(parents=True, exist_ok=True)
    settings = f'{{"face_type": "whole_face", "image_size": {size}}}'
    head = f'{{"schema": "understudy-extract/2", "footage": "{footage}", "settings": {settings}}}'
    path.write_text("\n".join([head, *lines, ""]))


DONE_FRAMES = ('{"frame": 0, "name": "00001.png", "faces": 1}', '{"frame": 1, "name": "00002.png", "faces": 1}')


def both_extracted(workspace: Workspace) -> None:
    for side in Side:
        paths = workspace.side(side)
        touch(paths.frames / "00001.png", paths.frames / "00002.png")
        touch(paths.aligned / "00001_0.jpg", paths.aligned / "00002_0.jpg")
        journal(workspace, side, *DONE_FRAMES, '{"end": true}')


def test_a_stopped_extraction_is_to_be_ended_first(workspace: Workspace) -> None:
    both_extracted(workspace)
    assert status(workspace).next.startswith("understudy train")
    journal(workspace, Side.SRC, *DONE_FRAMES)
    found = status(workspace)
    assert found.next == "understudy faceset extract src"
    assert "stopped after 2 frames" in found.why
    assert side_line(found.sides[Side.SRC]) == "  src     2 frames on disk · 2 faces in the first 2 frames"
    assert found.as_json()["src"]["searched"] == 2
    assert "searched" not in found.as_json()["dst"]


def test_what_goes_on_is_what_was_stopped(workspace: Workspace) -> None:
    """A faceset keeps its size and its source: the same command without them would be refused."""
    both_extracted(workspace)
    journal(workspace, Side.DST, *DONE_FRAMES, footage="data_dst.mp4 123456", size=256)
    assert status(workspace).next == "understudy faceset extract dst --image-size 256 --from video"
    touch(workspace.dst.aligned_debug / "00001.jpg")
    assert status(workspace).next == "understudy faceset extract dst --image-size 256 --debug-images --from video"


def test_frames_that_came_after_the_end_are_searched_too(workspace: Workspace) -> None:
    """A stop in a second run is a stop, although the first one came to its end."""
    both_extracted(workspace)
    journal(workspace, Side.DST, DONE_FRAMES[0], '{"end": true}', DONE_FRAMES[1])
    assert status(workspace).next == "understudy faceset extract dst"


@pytest.mark.parametrize(
    "text", ["", "\n\n", "[]", '{"schema": 1}', '{"footage": "frames", "settings": 7}\n{"frame": 1}']
)
def test_a_journal_that_makes_no_sense_stops_nobody(workspace: Workspace, text: str) -> None:
    both_extracted(workspace)
    journal_path(workspace, Side.SRC).write_text(text)
    assert status(workspace).next.startswith("understudy train")


def test_doubtful_faces_are_counted_and_pointed_to(workspace: Workspace) -> None:
    both_extracted(workspace)
    item = Item("00002", 1, 0.9, (Kind.UNSURE,), ("The engine was unsure.",), file="00002_0.jpg")
    save_review(workspace, Review(Side.DST, 2, 2, (item,)))
    save_review(workspace, Review(Side.SRC, 2, 2))
    found = status(workspace)
    assert side_line(found.sides[Side.DST]).endswith("2 faces · 1 to review")
    assert found.next.startswith("understudy train")
    assert found.why.endswith("Worth a look before: understudy faceset review dst")
    assert (found.as_json()["src"]["doubtful"], found.as_json()["dst"]["doubtful"]) == (0, 1)


def test_several_people_are_to_be_told_apart_before_training(workspace: Workspace) -> None:
    both_extracted(workspace)
    touch(workspace.dst.aligned / "00001_1.jpg")
    assert status(workspace).next == "understudy faceset persons dst find"
    touch(notebook_path(workspace, Side.DST))
    assert status(workspace).next.startswith("understudy train")


def test_a_mask_network_is_no_model_to_merge_with(workspace: Workspace) -> None:
    """The one saved last is suggested, and that may be XSeg."""
    for side in (workspace.src, workspace.dst):
        touch(side.frames / "00001.png", side.aligned / "00001_0.jpg")
    own_model(workspace, "XSeg", "XSeg-small")
    assert status(workspace).next.startswith("understudy train hello")
    own_model(workspace, "my face", "tiny", iteration=0, losses=0)
    assert status(workspace).next == "understudy train 'my face'"
    own_model(workspace, "her face", "tiny", iteration=7)
    later = time.time() + 100
    os.utime(workspace.model("XSeg") / "model.json", (later, later))
    assert status(workspace).next == "understudy merge 'her face'"
