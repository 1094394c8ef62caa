"""Running a stage as a job from a terminal: this command is the job's first listener, and Ctrl-C asks it to stop."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any

from understudy.cli.door import Door
from understudy.cli.progress import duration_text, rate_text
from understudy.jobs import Job, JobResult, Request, follow, kill, request_stop, start, wait
from understudy.options import Options
from understudy.report import Report

STOP_SECS = 600.0

Shown = Callable[[dict[str, Any]], str]


def run_stage(
    door: Door,
    stage: str,
    title: str,
    *,
    shown: Shown | None = None,
    anew: tuple[str, ...] = ("--replace",),
    onward: tuple[str, ...] = (),
    **arguments: Any,
) -> None:
    """Run a stage of the door's workspace as a job, show its progress and how it ended.

    stage: "module:function" inside the package. shown: turns the result into text. anew: flags of the command that
    begin anew, and so are left out of the line that goes on. onward: the words of the command that goes on, where the
    stage keeps its options itself and repeating them would undo later changes. arguments: the stage's, by name.
    """
    workspace = door.workspace
    values = {name: as_json(value) for name, value in arguments.items()}
    job = start(workspace.private / "jobs", Request(f"understudy.{stage}", workspace.root, title, values))
    with door.progress() as report:
        result = listen(door, job, report)
    show(door, job, result, shown or functools.partial(summary, title), anew, onward)


def listen(door: Door, job: Job, report: Report) -> JobResult:
    """Follow a job to its end. Ctrl-C asks it to stop and waits; a second one ends it at once."""
    try:
        return follow(job, report)
    except KeyboardInterrupt:
        door.say("Stopping cleanly … (Ctrl-C again ends it at once; what it had saved stays)")
    try:
        request_stop(job)
        result = wait(job, STOP_SECS)
    except KeyboardInterrupt:
        result = None
    if result is None:
        kill(job)
        return JobResult(
            {"ok": False, "error": {"code": "interrupted", "message": "Ended at once, as asked.", "hint": ""}}, 130
        )
    return result


def show(
    door: Door,
    job: Job,
    result: JobResult,
    shown: Shown,
    anew: tuple[str, ...] = ("--replace",),
    onward: tuple[str, ...] = (),
) -> None:
    """Print how a job ended, as JSON or for a person, and end the command with its exit code."""
    body = result.body
    if result.ok:
        door.finish(body, shown(body))
        return
    error = body["error"]
    if result.exit_code == 130:
        error = {**error, "hint": f"{error['hint']} To go on: {resume_line(anew, onward)}".strip()}
    elif error["code"] == "internal-error" and not error["hint"]:
        error = {**error, "hint": f"This is a fault of the program; its traceback is in {job.log}."}
    print(error["message"], file=sys.stderr)
    if error["hint"]:
        print(error["hint"], file=sys.stderr)
    door.finish({**body, "error": error, "job": job.id}, exit_code=result.exit_code)


def resume_line(anew: tuple[str, ...] = ("--replace",), onward: tuple[str, ...] = ()) -> str:
    """The command line as it was typed, without the flags that would begin anew.

    onward: the words of a shorter command that does; only what was typed before the first of them is kept then.
    """
    import shlex

    if onward and onward[0] in sys.argv:
        before = sys.argv[1 : sys.argv.index(onward[0])]
        return shlex.join(["understudy", *before, *onward])
    return shlex.join(["understudy", *(word for word in sys.argv[1:] if word not in anew)])


def summary(title: str, body: dict[str, Any], *, most_skipped: int = 10) -> str:
    """A result's counts, time, outputs and skipped items as lines of text."""
    counts = [f"{body[name]} {name}" for name in ("frames", "faces") if name in body]
    counts += [f"iteration {body['iteration']}"] if "iteration" in body else []
    pace = [rate_text(body["rate"])] if body.get("rate") else []
    lines = [f"{title}: " + ", ".join([*counts, f"in {duration_text(body['seconds'])}", *pace])]
    outputs = body.get("outputs", [])
    lines += [f"  {path}" for path in outputs[:5]] + ([f"  … and {len(outputs) - 5} more"] if len(outputs) > 5 else [])
    skipped = body.get("skipped", [])
    if skipped:
        lines.append(f"{len(skipped)} skipped:")
        lines += [f"  {item['item']}: {item['reason']}" for item in skipped[:most_skipped]]
        if len(skipped) > most_skipped:
            lines.append(f"  … and {len(skipped) - most_skipped} more; --json lists all")
    return "\n".join(lines)


def as_json(value: Any) -> Any:
    """An argument as a JSON value; an options model with every value written out, so that the job can be repeated."""
    if isinstance(value, Options):
        return value.model_dump(mode="json")
    if isinstance(value, Enum):
        return value.value
    return str(value) if isinstance(value, Path) else value
