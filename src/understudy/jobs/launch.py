"""Starting a job as a process of its own, listening to it, and ending it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from understudy.errors import JobError
from understudy.files import os_errors
from understudy.jobs.control import not_yours, send
from understudy.jobs.events import EventTail
from understudy.jobs.folder import Job, JobResult, Request, create
from understudy.report import Report, silent

POLL_SECS = 0.05
_children: dict[Path, subprocess.Popen[bytes]] = {}
"""Processes started here, so that an ended one is collected instead of staying behind as a zombie."""


def start(jobs: Path, request: Request) -> Job:
    """Start a stage in a new process, detached from this terminal. Raises ReadOnlyWorkspace or DiskFull.

    jobs: the workspace's folder of jobs. The process keeps the caller's current folder and environment.
    """
    job = create(jobs, request)
    with os_errors(job.log), job.log.open("wb") as log:
        _children[job.folder] = subprocess.Popen(
            # -P: a file in the current folder must not stand in for a module.
            [sys.executable, "-P", "-m", "understudy.jobs.worker", str(job.folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUTF8": "1"},
            close_fds=True,
            start_new_session=os.name != "nt",
            creationflags=_windows_flags(),
        )
    return job


def follow(job: Job, report: Report = silent) -> JobResult:
    """Pass on the job's events from its beginning until it ends; any number of listeners may do so."""
    tail = EventTail(job.events)
    while True:
        ended = not _active(job)
        for event in tail.read():
            report(event)
        if ended:
            return job.result or _crash(job)
        time.sleep(POLL_SECS)


def wait(job: Job, timeout_secs: float) -> JobResult | None:
    """The job's result once it has ended; None when it still runs after `timeout_secs`."""
    until = time.monotonic() + timeout_secs
    while _active(job):
        if time.monotonic() > until:
            return None
        time.sleep(POLL_SECS)
    return job.result or _crash(job)


def request_stop(job: Job, *, start_secs: float = 10.0) -> None:
    """Ask a job to stop, waiting first until it listens. A job that has ended needs no asking.

    One whose socket somebody has cleaned away is asked by a signal, where the system has them.
    Raises JobError when it does not answer, or is another user's.
    """
    until = time.monotonic() + start_secs
    while _active(job):
        try:
            send(job, "stop")
            return
        except JobError as error:
            if isinstance(error.__cause__, PermissionError):
                raise
        if time.monotonic() > until:
            if _signalled(job):
                return
            raise JobError("The job does not answer.", hint="End it with: understudy stop --now", job=job.id)
        time.sleep(POLL_SECS)


def _signalled(job: Job) -> bool:
    """Ask a job by SIGTERM, which its process takes as the same clean stop; whether that could be done."""
    if os.name == "nt" or job.pid is None:
        return False
    try:
        os.kill(job.pid, signal.SIGTERM)
    except OSError:
        return False
    return True


def kill(job: Job) -> None:
    """End a job at once. What it had published stands; what it was writing is left under a temporary name.

    Raises JobError when it is another user's.
    """
    import psutil

    child = _children.get(job.folder)
    pid = child.pid if child is not None and child.poll() is None else job.pid
    if pid is None:
        return
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        family = [*process.children(recursive=True), process]
        for member in family:
            try:
                member.kill()
            except psutil.NoSuchProcess:
                continue
            except psutil.AccessDenied as error:
                raise not_yours(job) from error
        if child is None:
            psutil.wait_procs(family, timeout=10)
    if child is not None:
        child.wait()
        job.bury(pid)
    job.drop_socket()


def _active(job: Job) -> bool:
    child = _children.get(job.folder)
    if child is not None:
        if child.poll() is None:
            return True
        del _children[job.folder]
        return False
    return job.state.active


def _crash(job: Job) -> JobResult:
    """The result of a job that left none: what is known, and where to look."""
    job.drop_socket()
    error = {
        "code": "job-crashed",
        "message": "The job ended without a result: its process was killed or crashed.",
        "hint": f"Its last words are in {job.log}. Everything it had finished is kept; the same command resumes.",
    }
    return JobResult({"ok": False, "error": error}, 1)


def _windows_flags() -> int:
    """A console of its own without a window, so that closing the starter's window does not end the job."""
    if sys.platform == "win32":
        return subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
    return 0
