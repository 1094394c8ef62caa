"""The process of one job: `python -m understudy.jobs.worker FOLDER` runs the stage that options.json names.

The socket listens before the stage's modules are imported, so a job can be stopped from its first moment. SIGINT and
SIGTERM ask for the same clean stop; SIGHUP, a closed terminal, is ignored.
"""

from __future__ import annotations

import faulthandler
import importlib
import inspect
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from understudy.errors import Interrupted, JobError, UnderstudyError, UsageError
from understudy.files import error_of
from understudy.jobs.control import Handler, serving
from understudy.jobs.events import EventLog
from understudy.jobs.folder import Job, JobResult, Request
from understudy.report import Report
from understudy.training.commands import CommandKind, Commands

ASKED_OF_TRAININGS = tuple(str(kind) for kind in CommandKind if kind is not CommandKind.STOP)
"""Commands that only a training carries out; `stop` is every job's."""


class StopRequest:
    """A stop that signals and commands can set, and that knows whether the stage took notice of it."""

    def __init__(self) -> None:
        self.asked = False
        self.noticed = False

    def ask(self, *_: object) -> dict[str, Any]:
        self.asked = True
        return {}

    def __call__(self) -> bool:
        self.noticed = self.noticed or self.asked
        return self.asked


def main(folder: str) -> int:
    """Run the job in `folder` to its end; the exit code is the one its listener gives."""
    faulthandler.enable()
    job, stop = Job(Path(folder)), StopRequest()
    signal.signal(signal.SIGINT, stop.ask)
    signal.signal(signal.SIGTERM, stop.ask)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    handlers: dict[str, Handler] = dict.fromkeys(ASKED_OF_TRAININGS, _not_yet)
    handlers |= {"stop": stop.ask, "ping": lambda message: {"pid": os.getpid()}}
    with serving(job.key, handlers) as address:
        job.claim(address)
        events = EventLog(job.events)
        result = run(job.request, events, stop, handlers)
        events.close()
        job.finish(result)
    return result.exit_code


def run(request: Request, report: Report, stop: StopRequest, handlers: dict[str, Handler]) -> JobResult:
    """Call the stage and put what came of it into the form of a result; only a door catches everything.

    A stage that takes commands answers them from here on: `handlers` get its own.
    """
    try:
        stage, arguments = resolve(request)
        if "commands" in inspect.signature(stage).parameters:
            arguments["commands"] = _listening(handlers)
        else:
            for name in ASKED_OF_TRAININGS:
                handlers.pop(name, None)
        body = stage(**arguments, report=report, stop=stop).as_json()
        if stop.noticed:
            raise Interrupted("Stopped on request; everything done so far is kept.", hint="The same command resumes.")
    except UnderstudyError as error:
        return JobResult({"ok": False, "error": error.as_json()}, error.exit_code)
    except Exception as error:
        traceback.print_exc()
        if isinstance(error, OSError):
            ours = error_of(error, Path(str(error.filename or request.workspace)))
            if ours is not None:
                return JobResult({"ok": False, "error": ours.as_json()}, ours.exit_code)
        last = traceback.format_exception_only(error)[-1].strip()
        return JobResult({"ok": False, "error": {"code": "internal-error", "message": last, "hint": ""}}, 1)
    return JobResult(body, 0)


def _not_yet(message: dict[str, Any]) -> dict[str, Any]:
    """What is answered before it is known whether this job is a training."""
    raise JobError("The job is still starting.", hint="Try again in a moment.")


def _listening(handlers: dict[str, Handler]) -> Commands:
    """The commands of a training, answered on the job's socket; `stop` stays the job's own."""
    commands = Commands()
    handlers |= dict.fromkeys(ASKED_OF_TRAININGS, commands.offer)
    handlers["ping"] = lambda message: {"pid": os.getpid(), **commands.state()}
    return commands


def resolve(request: Request) -> tuple[Callable[..., Any], dict[str, Any]]:
    """The stage function and its arguments in the types that its signature names.

    Raises UsageError for arguments that the stage does not take.
    """
    module, _, name = request.stage.partition(":")
    stage = getattr(importlib.import_module(module), name)
    parameters = inspect.signature(stage).parameters
    unknown = set(request.arguments) - set(parameters)
    if unknown:
        raise UsageError(f"{name} takes no argument {', '.join(sorted(unknown))}.")
    typed = {key: typed_as(parameters[key].annotation, value, stage) for key, value in request.arguments.items()}
    if "workspace" in parameters:
        from understudy.workspace import Workspace

        typed["workspace"] = Workspace.open(request.workspace)
    return stage, typed


def typed_as(annotation: Any, value: Any, stage: Callable[..., Any]) -> Any:
    """A JSON value as the type of an annotation: "src" becomes Side.SRC, a dictionary becomes its options model."""
    from pydantic import TypeAdapter, ValidationError

    if isinstance(annotation, str):
        annotation = eval(annotation, inspect.unwrap(stage).__globals__)  # our own source, as typing does it
    try:
        return TypeAdapter(annotation).validate_python(value)
    except ValidationError as error:
        raise UsageError(f"The saved arguments of this job do not fit: {error.errors()[0]['msg']}") from error


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
