"""What a job leaves on disk, and what that says about it.

.understudy/jobs/ID/
    job.json        what it is called, when it was asked for and by which version
    options.json    stage and arguments, every option written out: enough to do it again
    process.json    which process works on it, and the address of its socket
    key             the socket's secret, readable by this user only
    events.jsonl    what it reported
    result.json     how it ended; absent while it runs and after a crash
    log.txt         whatever it and its libraries printed
"""

from __future__ import annotations

import contextlib
import os
import platform
import secrets
import shutil
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from understudy import __version__
from understudy.errors import UnderstudyError, UsageError
from understudy.files import os_errors, parse_json, write_json
from understudy.jobs.events import last_event
from understudy.report import Metrics, Progress

SCHEMA, VERSION = "understudy.job", 1
KEPT_JOBS = 100
"""How many ended jobs a workspace remembers."""
START_SECS = 60.0
"""A job without a process after this long never started."""
SOCKET_PREFIX = "pymp-"
"""How `multiprocessing` begins the names of the temporary folders that it puts sockets into."""
RESERVE_BYTES = 16384
"""Room kept for result.json, so that a job that filled the disk can still say so."""


class JobState(StrEnum):
    """running: its process lives; crashed: the process is gone without a result; elsewhere: on another machine."""

    STARTING = "starting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    CRASHED = "crashed"
    ELSEWHERE = "elsewhere"

    @property
    def active(self) -> bool:
        return self in (JobState.STARTING, JobState.RUNNING, JobState.ELSEWHERE)


@dataclass(frozen=True)
class Request:
    """A stage as "module:function" with its arguments by name, as JSON values. `options` is one of the arguments."""

    stage: str
    workspace: Path
    title: str
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class JobResult:
    """The object that `--json` prints and the exit code that goes with it."""

    body: dict[str, Any]
    exit_code: int

    @property
    def ok(self) -> bool:
        return self.exit_code == 0


@dataclass(frozen=True)
class Job:
    """One job's folder; everything else is read from it."""

    folder: Path

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def events(self) -> Path:
        return self.folder / "events.jsonl"

    @property
    def log(self) -> Path:
        return self.folder / "log.txt"

    @property
    def key(self) -> bytes:
        return (self.folder / "key").read_bytes()

    @property
    def address(self) -> str | None:
        """Where the job listens for commands; None before it does."""
        address = self._read("process.json").get("address")
        return address if isinstance(address, str) else None

    @property
    def request(self) -> Request:
        """What was asked. Raises KeyError when the folder is no whole job."""
        body = self._read("options.json")
        return Request(body["stage"], Path(body["workspace"]), self.title, body["arguments"])

    @property
    def title(self) -> str:
        return str(self._read("job.json").get("title", self.id))

    @property
    def created(self) -> float:
        """When it was asked for, in seconds of the epoch."""
        return float(self._read("job.json").get("created", 0.0))

    @property
    def progress(self) -> Progress | None:
        return last_event(self.events, Progress)

    @property
    def metrics(self) -> Metrics | None:
        """The newest losses of a training; None for other jobs."""
        return last_event(self.events, Metrics, of=lambda metrics: "src" in metrics.values)

    @property
    def state(self) -> JobState:
        """What the folder and the process table say together; a dead process never counts as running."""
        if (result := self.result) is not None:
            return {0: JobState.DONE, 130: JobState.INTERRUPTED}.get(result.exit_code, JobState.FAILED)
        process = self._read("process.json")
        if not process:
            young = time.time() - self.created < START_SECS
            return JobState.STARTING if young else JobState.CRASHED
        if process.get("host") != platform.node():
            return JobState.ELSEWHERE
        return JobState.RUNNING if _lives(process) else JobState.CRASHED

    @property
    def result(self) -> JobResult | None:
        """How it ended; None while it runs and after a crash."""
        body = self._read("result.json")
        return JobResult(body["result"], int(body["exit_code"])) if body else None

    def claim(self, address: str) -> None:
        """Write that this process works on the job and listens at `address`."""
        import psutil

        started = psutil.Process().create_time()
        body = {"pid": os.getpid(), "started": started, "host": platform.node(), "address": address}
        write_json(self.folder / "process.json", body)

    def bury(self, pid: int) -> None:
        """Write that the process that was to work on the job was ended before it could claim it."""
        if not self._read("process.json"):
            with contextlib.suppress(UnderstudyError):
                write_json(
                    self.folder / "process.json", {"pid": pid, "started": 0.0, "host": platform.node(), "address": ""}
                )

    def finish(self, result: JobResult) -> None:
        """Write the result, into the room kept for it."""
        (self.folder / "reserve").unlink(missing_ok=True)
        write_json(self.folder / "result.json", {"result": result.body, "exit_code": result.exit_code})

    @property
    def pid(self) -> int | None:
        """The process that works on it, while it lives on this machine."""
        process = self._read("process.json")
        return int(process["pid"]) if process and self.state is JobState.RUNNING else None

    def drop_socket(self) -> None:
        """Remove the socket that a process left when it was killed, with its folder; nothing while the job runs."""
        address = Path(self.address or "")
        if address.parent.name.startswith(SOCKET_PREFIX) and not self.state.active:
            with contextlib.suppress(OSError):
                if address.is_socket():
                    address.unlink()
                address.parent.rmdir()

    def _read(self, name: str) -> dict[str, Any]:
        try:
            body = parse_json((self.folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return body if isinstance(body, dict) else {}


def create(jobs: Path, request: Request) -> Job:
    """Make the folder of a new job. Raises ReadOnlyWorkspace or DiskFull."""
    with os_errors(jobs):
        jobs.mkdir(parents=True, exist_ok=True)
        _forget_old(jobs)
        job = Job(_new_folder(jobs, request))
        key = os.open(job.folder / "key", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(key, "wb") as file:
            file.write(secrets.token_bytes(32))
        (job.folder / "reserve").write_bytes(bytes(RESERVE_BYTES))
        form = {"schema": SCHEMA, "version": VERSION}
        asked = {"stage": request.stage, "workspace": str(request.workspace), "arguments": request.arguments}
        write_json(job.folder / "options.json", {**form, **asked})
        made = {"title": request.title, "created": time.time(), "understudy": __version__}
        write_json(job.folder / "job.json", {**form, **made})
    return job


def jobs_in(jobs: Path) -> list[Job]:
    """Every job of a workspace, newest first. The id starts with the time, so names sort by it."""
    if not jobs.is_dir():
        return []
    folders = [path for path in jobs.iterdir() if (path / "job.json").is_file()]
    return [Job(path) for path in sorted(folders, key=lambda path: path.name, reverse=True)]


def running_in(jobs: Path) -> list[Job]:
    """Jobs that work now, newest first."""
    return [job for job in jobs_in(jobs) if job.state.active]


def find(jobs: Path, job_id: str) -> Job:
    """The job whose id is, starts with or ends with `job_id`. Raises UsageError when none or several are."""
    known = jobs_in(jobs)
    exact = [job for job in known if job.id == job_id]
    close = [job for job in known if job.id.startswith(job_id) or job.id.endswith(job_id)]
    found = exact or close
    if len(found) != 1:
        what = "No job of this workspace matches" if not found else f"{len(found)} jobs of this workspace match"
        raise UsageError(f"{what} {job_id!r}.", hint="See the ids with: understudy status")
    return found[0]


def _new_folder(jobs: Path, request: Request) -> Path:
    verb = request.stage.partition(":")[2].replace("_", "-")
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    while True:
        folder = jobs / f"{stamp}-{secrets.token_hex(2)}-{verb}"
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            return folder


def _forget_old(jobs: Path) -> None:
    for number, job in enumerate(jobs_in(jobs)):
        job.drop_socket()
        if number >= KEPT_JOBS and not job.state.active:
            shutil.rmtree(job.folder, ignore_errors=True)


def _lives(process: dict[str, Any]) -> bool:
    """Whether the very process that wrote this still runs: a number used again by another process does not count."""
    import psutil

    try:
        now = psutil.Process(int(process["pid"]))
        same = abs(now.create_time() - float(process["started"])) < 1.0
        return bool(same and now.status() != psutil.STATUS_ZOMBIE)
    except (psutil.NoSuchProcess, KeyError, ValueError):
        return False
    except psutil.AccessDenied:
        return True
