"""`status` must always say what is there, what runs, and what comes next."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from shots import small_shot
from understudy.cli.tables import side_line
from understudy.facesets import Catalog
from understudy.files import TEMP_PREFIX
from understudy.jobs import JobState, Request
from understudy.jobs.folder import create
from understudy.records import Side
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
