"""Faults met through the real command line: each a clear message with a hint, nothing lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from terminal import Ended, as_ordinary_user, begin, ended, understudy

from disks import fill, small_disk
from shots import small_shot
from understudy.jobs import Job, running_in
from understudy.workspace import Workspace


@contextmanager
def extraction(workspace: Workspace) -> Iterator[tuple[subprocess.Popen[str], Job]]:
    """A long extraction and its job, once it works; nothing of it is left behind."""
    process = begin("-w", workspace.root, "--json", "faceset", "extract", "src")
    try:
        yield process, _working(workspace, process)
    finally:
        understudy("-w", workspace.root, "stop", "--now")
        process.kill()
        process.communicate()


def _working(workspace: Workspace, process: subprocess.Popen[str]) -> Job:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        assert process.poll() is None, process.communicate()
        for job in running_in(workspace.private / "jobs"):
            if job.pid is not None and job.progress is not None:
                return job
        time.sleep(0.05)
    raise AssertionError("the extraction never started")


def error_of(done: Ended, code: int) -> dict[str, str]:
    assert done.code == code, done
    error: dict[str, str] = done.body["error"]
    assert error["message"]
    assert "Traceback" not in done.err
    return error


def test_no_footage_at_all(workspace: Workspace) -> None:
    error = error_of(understudy("-w", workspace.root, "--json", "faceset", "extract", "dst"), 1)
    assert error["code"] == "missing-footage"
    assert "data_dst.mp4" in error["hint"]


def test_a_video_that_is_none(workspace: Workspace) -> None:
    (workspace.root / "data_src.mp4").write_bytes(b"this is not a video" * 100)
    error = error_of(understudy("-w", workspace.root, "--json", "video", "frames", "src"), 1)
    assert error["code"] in ("unreadable-media", "no-frames")
    assert error["hint"]
    found = understudy("-w", workspace.root, "--json", "status")
    assert found.code == 0, "a broken video must not hide the rest of the workspace"
    assert found.body["src"]["problem"]


def test_probing_a_file_that_is_not_there(tmp_path: Path) -> None:
    error = error_of(understudy("--json", "video", "probe", tmp_path / "none.mp4"), 1)
    assert error["hint"]


@pytest.mark.parametrize("line", ["train hello", "merge hello", "video encode", "faceset info src"])
def test_commands_before_their_time_say_what_comes_first(workspace: Workspace, line: str) -> None:
    error = error_of(understudy("-w", workspace.root, "--json", *line.split()), 1)
    assert "understudy" in error["hint"], error


def test_a_model_name_that_would_leave_the_workspace(workspace: Workspace) -> None:
    error = error_of(understudy("-w", workspace.root, "--json", "train", "../outside"), 2)
    assert error["code"] == "usage-error"


def test_names_that_no_disk_takes(workspace: Workspace) -> None:
    """No traceback: too long a name is wrong usage, whether of a model or of a folder."""
    long_name = "n" * 300
    for line in (["train", long_name], ["merge", long_name], ["init", str(workspace.root / long_name)]):
        error = error_of(understudy("-w", workspace.root, "--json", *line), 2)
        assert "too long" in error["message"]
        assert "shorter" in error["hint"]


def test_a_read_only_workspace(long_footage: Workspace) -> None:
    settings = as_ordinary_user()
    folders = [long_footage.root, *(path for path in long_footage.root.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o500)
    try:
        probe = understudy("-w", long_footage.root, "--json", "status", **settings)
        if probe.code == 77:
            pytest.skip("root could not give up its powers here, and may write anywhere: run as an ordinary user")
        assert probe.code == 0, "looking needs no writing"
        for line in (["faceset", "extract", "src"], ["video", "frames", "src"], ["clear", "--yes"]):
            error = error_of(understudy("-w", long_footage.root, "--json", *line, **settings), 1)
            assert error["code"] == "read-only-workspace", line
            assert "writable" in error["hint"]
    finally:
        for folder in folders:
            folder.chmod(0o700)
    assert len(long_footage.src.frame_files()) == 3000


def test_a_disk_that_fills_while_frames_are_written() -> None:
    with small_disk(mib=3) as disk:
        workspace = Workspace.create(disk / "shot")
        small_shot().write_video(workspace.root / "data_src.mp4")
        ballast = fill(disk)
        error = error_of(understudy("-w", workspace.root, "--json", "video", "frames", "src"), 1)
        assert error["code"] == "disk-full", "not even the job's folder can be made"
        assert error["hint"]
        with ballast.open("r+b") as file:
            file.truncate(ballast.stat().st_size - 300_000)
        error = error_of(understudy("-w", workspace.root, "--json", "video", "frames", "src"), 1)
        assert error["code"] == "disk-full"
        ballast.unlink()
        again = understudy("-w", workspace.root, "--json", "video", "frames", "src")
        assert again.code == 0, "the same command resumes once there is room"
        assert len(workspace.src.frame_files()) == len(small_shot().frames)


@pytest.mark.skipif(os.name == "nt", reason="Windows sends Ctrl-C to consoles, not to processes")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_ctrl_c_stops_the_job_and_says_how_to_resume(long_footage: Workspace, name: str) -> None:
    with extraction(long_footage) as (process, job):
        process.send_signal(getattr(signal, name))
        done = ended(process)
        error = error_of(done, 130)
        assert error["code"] == "interrupted"
        assert f"understudy -w {long_footage.root} --json faceset extract src" in error["hint"]
        assert "Stopping" in done.err
        assert not job.state.active
    found = understudy("-w", long_footage.root, "--json", "status").body
    assert found["running"] == []
    assert found["recent"][0]["state"] == "interrupted"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGHUP")
def test_a_closed_terminal_leaves_the_job_running_and_others_can_see_and_stop_it(long_footage: Workspace) -> None:
    with extraction(long_footage) as (process, job):
        process.send_signal(signal.SIGHUP)
        process.wait(30)
        running = understudy("-w", long_footage.root, "--json", "status").body["running"]
        assert [(item["id"], item["state"]) for item in running] == [(job.id, "running")]
        assert running[0]["total"] == 3000
        assert running[0]["done"] >= 1
        stopped = understudy("-w", long_footage.root, "--json", "stop")
        assert stopped.body == {"ok": True, "stopped": [job.id], "state": "interrupted"}


def test_stopped_from_another_terminal(long_footage: Workspace) -> None:
    with extraction(long_footage) as (process, job):
        assert understudy("-w", long_footage.root, "stop", job.id).code == 0
        assert error_of(ended(process), 130)["code"] == "interrupted"


def test_a_killed_job_is_a_clear_failure_and_no_longer_runs(long_footage: Workspace) -> None:
    with extraction(long_footage) as (process, job):
        assert job.pid is not None
        psutil.Process(job.pid).kill()
        error = error_of(ended(process), 1)
        assert error["code"] == "job-crashed"
        assert str(job.log) in error["hint"]
    text = understudy("-w", long_footage.root, "status").out
    assert "Running" not in text
    assert "crashed" in text


def test_two_extractions_of_one_side_the_second_is_refused(long_footage: Workspace) -> None:
    with extraction(long_footage):
        error = error_of(understudy("-w", long_footage.root, "--json", "faceset", "extract", "src"), 1)
        assert error["code"] == "busy"
        assert "understudy stop" in error["hint"]


def test_stop_with_nothing_to_stop(workspace: Workspace) -> None:
    done = understudy("-w", workspace.root, "--json", "stop")
    assert (done.code, done.body) == (0, {"ok": True, "stopped": []})


def test_clear_asks_first_and_can_be_undone(long_footage: Workspace) -> None:
    (long_footage.root / "result.mp4").write_bytes(b"video")
    (long_footage.root / "data_src.mp4").write_bytes(b"footage")
    where = ["-w", long_footage.root, "--json", "clear"]
    error = error_of(understudy(*where), 2)
    assert "--yes" in error["hint"]
    assert "data_src" in error["message"]
    assert len(long_footage.src.frame_files()) == 3000
    assert set(understudy(*where, "--yes").body["moved"]) == {"data_src", "result.mp4"}
    assert long_footage.src.frame_files() == []
    assert (long_footage.root / "data_src.mp4").exists(), "the footage itself stays"
    assert long_footage.src.aligned.is_dir(), "the workspace is ready for the next"
    assert understudy(*where, "--undo").code == 0
    assert len(long_footage.src.frame_files()) == 3000
    assert (long_footage.root / "result.mp4").read_bytes() == b"video"


def test_clear_is_refused_while_something_runs(long_footage: Workspace) -> None:
    with extraction(long_footage):
        assert error_of(understudy("-w", long_footage.root, "--json", "clear", "--yes"), 1)["code"] == "busy"


def test_events_of_a_job_are_typed_json_lines(long_footage: Workspace) -> None:
    with extraction(long_footage) as (_, job):
        lines = [json.loads(line) for line in job.events.read_text().splitlines()]
    assert lines
    assert all(line["v"] == 1 and line["type"] in ("progress", "metrics", "preview", "note") for line in lines)
