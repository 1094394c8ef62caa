"""Jobs as their users meet them: real processes, real signals, real crashes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from disks import small_disk
from understudy import jobs
from understudy.errors import JobError, UsageError
from understudy.jobs import Job, JobResult, JobState, Request
from understudy.report import Event, Metrics, Note, Preview, Progress
from understudy.stages.result import StageResult
from understudy.workspace import Workspace
from users import ordinary_user


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    return Workspace.create(tmp_path / "shot")


@pytest.fixture
def begin(workspace: Workspace) -> Any:
    """Start one of the stages for tests; whatever still runs at the end of the test is ended."""
    begun: list[Job] = []

    def start(stage: str, **arguments: Any) -> Job:
        request = Request(f"stages_for_jobs:{stage}", workspace.root, f"Test of {stage}", arguments)
        begun.append(jobs.start(workspace.private / "jobs", request))
        return begun[-1]

    yield start
    for job in begun:
        jobs.kill(job)


def slow_count(begin: Any, *, upto: int = 2000) -> Job:
    job: Job = begin("count", side="src", options={"upto": upto, "pause_secs": 0.02})
    until(lambda: job.progress is not None)
    return job


def until(condition: Callable[[], object], *, secs: float = 30.0) -> None:
    end = time.monotonic() + secs
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def test_a_job_reports_every_kind_of_event_and_leaves_its_result(begin: Any, workspace: Workspace) -> None:
    heard: list[Event] = []
    job = begin("count", side="src", options={"upto": 5})
    result = jobs.follow(job, heard.append)
    assert result.ok
    assert result.body["frames"] == 5
    assert result.body["skipped"] == [{"item": "13", "reason": "unlucky"}]
    assert heard[:3] == [
        Note("Off we go.", "info"),
        Metrics(7, {"loss": 0.25}),
        Preview("picture", workspace.root / "preview.png", 7),
    ]
    last = heard[-1]
    assert isinstance(last, Progress)
    assert (last.step, last.done, last.total, last.unit) == ("Counting", 5, 5, "numbers")
    assert job.state is JobState.DONE


def test_a_second_listener_hears_the_same_from_the_beginning(begin: Any) -> None:
    first: list[Event] = []
    second: list[Event] = []
    job = begin("count", side="src", options={"upto": 3})
    jobs.follow(job, first.append)
    assert jobs.follow(Job(job.folder), second.append) == job.result
    assert first == second


def test_what_was_asked_is_kept_with_every_option_and_can_be_repeated(begin: Any, workspace: Workspace) -> None:
    job = begin("count", side="src", options={"upto": 4, "pause_secs": 0.0})
    jobs.follow(job)
    (workspace.root / "counted.txt").unlink()
    again = jobs.start(workspace.private / "jobs", job.request)
    assert jobs.follow(again).body["frames"] == 4
    assert (workspace.root / "counted.txt").read_text() == "4"


def test_a_stop_from_elsewhere_ends_a_job_cleanly(begin: Any, workspace: Workspace) -> None:
    """The stage returns by itself, so what it does at its end is done: here, writing its file."""
    job = slow_count(begin)
    jobs.request_stop(Job(job.folder))
    result = jobs.wait(job, 30)
    assert result is not None
    assert result.exit_code == 130
    assert result.body["error"]["code"] == "interrupted"
    assert job.state is JobState.INTERRUPTED
    assert int((workspace.root / "counted.txt").read_text()) < 2000


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM that a process can handle")
def test_a_job_whose_socket_was_cleaned_away_stops_as_cleanly(begin: Any, workspace: Workspace) -> None:
    """As by a clean-up of the temporary folder in the days that a training takes."""
    job = slow_count(begin)
    assert job.address is not None
    shutil.rmtree(Path(job.address).parent)
    jobs.request_stop(job, start_secs=0.2)
    result = jobs.wait(job, 30)
    assert result is not None
    assert result.exit_code == 130
    assert int((workspace.root / "counted.txt").read_text()) < 2000


def test_a_stop_is_heard_while_the_process_still_starts(begin: Any) -> None:
    job = begin("count", side="src", options={"upto": 2000, "pause_secs": 0.02})
    jobs.request_stop(job)
    result = jobs.wait(job, 30)
    assert result is not None
    assert result.exit_code == 130


def test_what_is_asked_of_a_training_that_still_starts_is_put_off(workspace: Workspace) -> None:
    request = Request("stages_slow_to_import:nothing", workspace.root, "Test of a start")
    job = jobs.start(workspace.private / "jobs", request)
    until(lambda: job.address is not None)
    with pytest.raises(JobError, match="still starting"):
        jobs.send(job, "save")
    assert jobs.wait(job, 30) == JobResult(StageResult().as_json(), 0)


def test_a_command_that_is_too_long_is_called_so(begin: Any) -> None:
    job = slow_count(begin)
    with pytest.raises(UsageError, match="too long"):
        jobs.send(job, "set", options={"gan_power": "9" * 70_000})
    assert job.state is JobState.RUNNING


def test_a_stop_that_comes_too_late_does_not_call_a_finished_job_interrupted(begin: Any) -> None:
    job = begin("count", side="src", options={"upto": 1})
    jobs.follow(job)
    jobs.request_stop(job)
    assert job.state is JobState.DONE


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM that a process can handle")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_signals_to_the_process_stop_it_cleanly(begin: Any, name: str) -> None:
    job = slow_count(begin)
    assert job.pid is not None
    os.kill(job.pid, getattr(signal, name))
    result = jobs.wait(job, 30)
    assert result is not None
    assert result.exit_code == 130


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this system has no SIGHUP")
def test_closing_the_terminal_does_not_end_a_job(begin: Any) -> None:
    job = slow_count(begin)
    assert job.pid is not None
    assert os.getsid(job.pid) != os.getsid(0), "the job must have left this terminal's session"
    os.kill(job.pid, signal.SIGHUP)
    before = job.progress
    until(lambda: job.progress != before)
    assert job.state is JobState.RUNNING


def test_a_job_outlives_the_process_that_started_it(workspace: Workspace) -> None:
    code = (
        "from pathlib import Path; from understudy import jobs;"
        f"job = jobs.start(Path({str(workspace.private / 'jobs')!r}), jobs.Request('stages_for_jobs:count',"
        f" Path({str(workspace.root)!r}), 'x', {{'side': 'src', 'options': {{'upto': 40, 'pause_secs': 0.02}}}}));"
        "print(job.folder)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    job = Job(Path(done.stdout.strip()))
    assert jobs.follow(job).body["frames"] == 40


def test_a_killed_job_is_called_crashed_and_its_lock_is_free_again(begin: Any, workspace: Workspace) -> None:
    job = slow_count(begin)
    seen_by_others = Job(job.folder)
    assert seen_by_others.state is JobState.RUNNING
    pid = job.pid
    assert pid is not None
    import psutil

    psutil.Process(pid).kill()
    result = jobs.follow(job)
    assert result.exit_code == 1
    assert result.body["error"]["code"] == "job-crashed"
    assert str(job.log) in result.body["error"]["hint"]
    until(lambda: seen_by_others.state is JobState.CRASHED)
    assert jobs.running_in(workspace.private / "jobs") == []
    with workspace.writing("counting"):
        pass


def test_a_number_that_another_process_uses_now_does_not_make_a_job_alive(begin: Any) -> None:
    job = begin("count", side="src", options={"upto": 1})
    jobs.follow(job)
    (job.folder / "result.json").unlink()
    process = json.loads((job.folder / "process.json").read_text())
    (job.folder / "process.json").write_text(json.dumps({**process, "pid": os.getpid()}))
    assert job.state is JobState.CRASHED


def test_a_job_of_another_machine_is_neither_alive_nor_dead_here(begin: Any) -> None:
    job = begin("count", side="src", options={"upto": 1})
    jobs.follow(job)
    (job.folder / "result.json").unlink()
    process = json.loads((job.folder / "process.json").read_text())
    (job.folder / "process.json").write_text(json.dumps({**process, "host": "another"}))
    assert job.state is JobState.ELSEWHERE


def test_our_errors_keep_code_message_hint_and_exit_code(begin: Any) -> None:
    result = jobs.follow(begin("refuse"))
    error = {"code": "empty-faceset", "message": "There are no faces.", "hint": "Make some."}
    assert (result.body, result.exit_code) == ({"ok": False, "error": error}, 1)


def test_a_fault_keeps_its_traceback_in_the_log(begin: Any) -> None:
    job = begin("break_down")
    result = jobs.follow(job)
    assert result.body["error"]["code"] == "internal-error"
    assert "of course" in result.body["error"]["message"]
    log = job.log.read_text()
    assert "about to divide" in log
    assert "ZeroDivisionError" in log
    assert "stages_for_jobs.py" in log


def test_a_process_that_ends_without_a_word_is_reported(begin: Any) -> None:
    job = begin("die")
    result = jobs.follow(job)
    assert result.body["error"]["code"] == "job-crashed"
    assert "last words" in job.log.read_text()


def test_a_job_that_hears_nothing_can_be_ended_at_once(begin: Any, workspace: Workspace) -> None:
    job = begin("hear_nothing")
    until((workspace.root / "deaf.txt").exists)
    jobs.request_stop(job)
    assert jobs.wait(job, 0.5) is None
    assert socket_folder(job).is_dir()
    jobs.kill(job)
    assert job.state is JobState.CRASHED
    assert not socket_folder(job).exists()


def test_a_job_that_is_ended_before_it_says_a_word_does_not_count_as_starting(begin: Any) -> None:
    job = begin("count", side="src", options={"upto": 1})
    jobs.kill(job)
    assert job.state is JobState.CRASHED


def test_the_next_job_takes_away_the_socket_of_one_that_was_killed(begin: Any) -> None:
    killed = slow_count(begin)
    assert killed.pid is not None
    import psutil

    psutil.Process(killed.pid).kill()
    until(lambda: killed.state is JobState.CRASHED)
    assert socket_folder(killed).is_dir()
    running = slow_count(begin)
    assert not socket_folder(killed).exists()
    begin("count", side="src", options={"upto": 1})
    assert socket_folder(running).is_dir()


def socket_folder(job: Job) -> Path:
    assert job.address is not None
    if sys.platform == "win32":
        pytest.skip("pipes have no files here")
    return Path(job.address).parent


def test_two_jobs_on_one_resource_the_second_is_refused(begin: Any) -> None:
    slow_count(begin)
    second = jobs.follow(begin("count", side="src", options={"upto": 1}))
    assert second.body["error"]["code"] == "busy"
    assert "understudy stop" in second.body["error"]["hint"]


def test_arguments_become_what_the_signature_names(begin: Any, tmp_path: Path) -> None:
    assert jobs.follow(begin("where", folder=str(tmp_path))).body["outputs"] == [str(tmp_path)]


@pytest.mark.parametrize(
    "arguments", [{"side": "left", "options": {}}, {"nonsense": 1}, {"side": "src", "options": {"x": 1}}]
)
def test_arguments_that_do_not_fit_are_wrong_usage(begin: Any, arguments: dict[str, Any]) -> None:
    result = jobs.follow(begin("count", **arguments))
    assert result.exit_code == 2
    assert result.body["error"]["code"] == "usage-error"


def test_a_job_that_fills_the_disk_can_still_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Room for its last word is kept from the beginning."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    with small_disk(mib=4) as disk:
        workspace = Workspace.create(disk / "shot")
        request = Request("stages_for_jobs:fill_the_disk", workspace.root, "Filling")
        result = jobs.follow(jobs.start(workspace.private / "jobs", request))
        assert result.body["error"]["code"] == "disk-full"
        assert "resumes" in result.body["error"]["hint"]
        assert (workspace.root / "0.bin").stat().st_size == 50_000, "what was written before is whole"


@pytest.mark.skipif(os.name == "nt", reason="POSIX file modes")
def test_only_this_user_can_read_the_key(begin: Any) -> None:
    job = begin("count", side="src", options={"upto": 1})
    assert stat.S_IMODE((job.folder / "key").stat().st_mode) == 0o600
    jobs.follow(job)


def test_commands_need_the_key(begin: Any) -> None:
    job = slow_count(begin)
    until(lambda: job.address is not None)
    assert jobs.send(job, "ping") == {"pid": job.pid}
    key = (job.folder / "key").read_bytes()
    (job.folder / "key").write_bytes(bytes(32))
    with pytest.raises(JobError):
        jobs.send(job, "stop")
    (job.folder / "key").write_bytes(key)
    assert jobs.send(job, "ping") == {"pid": job.pid}, "a stranger must not deafen the job"


def test_unknown_and_malformed_commands_are_answered_and_harm_nothing(begin: Any) -> None:
    from multiprocessing.connection import Client

    job = slow_count(begin)
    with pytest.raises(JobError, match="knows no command 'dance'"):
        jobs.send(job, "dance")
    assert job.address is not None
    for message in (b"\x80\x04no json", b"[1, 2]", b'{"command": ["stop"]}', b"\xff"):
        with Client(job.address, authkey=job.key) as connection:
            connection.send_bytes(message)
            assert connection.poll(5)
            assert json.loads(connection.recv_bytes())["ok"] is False
    assert job.state is JobState.RUNNING


def test_one_who_connects_and_says_nothing_keeps_nobody_waiting(begin: Any) -> None:
    from multiprocessing.connection import Client

    job = slow_count(begin)
    assert job.address is not None
    with Client(job.address), Client(job.address):
        assert jobs.send(job, "ping") == {"pid": job.pid}


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_a_job_whose_process_is_stopped_is_not_waited_for_for_ever(begin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from understudy.jobs import control

    monkeypatch.setattr(control, "ANSWER_SECS", 0.2)
    job = slow_count(begin)
    assert job.pid is not None
    os.kill(job.pid, signal.SIGSTOP)
    try:
        with pytest.raises(JobError, match="did not answer"):
            jobs.send(job, "ping")
    finally:
        os.kill(job.pid, signal.SIGCONT)
    assert "pid" in jobs.send(job, "ping")


def test_another_users_job_is_named_as_one() -> None:
    with ordinary_user() as folder:
        Job(folder).claim("somewhere")
        (folder / "key").write_bytes(bytes(32))
        (folder / "key").chmod(0)
        with pytest.raises(JobError, match="another user's"):
            jobs.request_stop(Job(folder))


def test_jobs_are_found_by_either_end_of_their_id(begin: Any, workspace: Workspace) -> None:
    job = begin("count", side="src", options={"upto": 1})
    jobs.follow(job)
    folder = workspace.private / "jobs"
    assert jobs.find(folder, job.id) == jobs.find(folder, job.id[:20]) == jobs.find(folder, "count") == job
    with pytest.raises(UsageError, match="matches 'nothing'"):
        jobs.find(folder, "nothing")


def test_only_the_newest_ended_jobs_are_remembered(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    from understudy.jobs import folder

    monkeypatch.setattr(folder, "KEPT_JOBS", 3)
    for _ in range(5):
        job = folder.create(workspace.private / "jobs", Request("a:b", workspace.root, "x"))
        job.finish(jobs.JobResult({"ok": True}, 0))
    assert len(jobs.jobs_in(workspace.private / "jobs")) == 4, "three ended ones and the new one"


def test_a_workspace_without_jobs_has_none(tmp_path: Path) -> None:
    assert jobs.jobs_in(tmp_path / "nowhere") == []
