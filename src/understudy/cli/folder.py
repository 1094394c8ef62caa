"""Commands about the workspace as a whole: init, status, open, stop, clear."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from understudy.errors import UsageError
from understudy.records import Side

if TYPE_CHECKING:
    from understudy.workspace import Workspace


class Place(StrEnum):
    """What `open` can show."""

    RESULT = "result"
    ALIGNED = "aligned"
    DEBUG = "debug"
    REVIEW = "review"
    PERSONS = "persons"
    COVERAGE = "coverage"


def init(
    context: typer.Context,
    folder: Annotated[Path | None, typer.Argument(metavar="DIR", help="Where; else -w or the current folder.")] = None,
) -> None:
    """Make a workspace: the folder that holds everything about one job.

    What is already there stays. Then copy the videos into it, as data_src.mp4 and data_dst.mp4 (any extension).
    """
    from understudy.stages.init import init as make

    result = make(folder or context.obj.folder)
    root = result.outputs[0]
    steps = f"{root} is ready.\nNext: copy the videos there as data_src.* and data_dst.*, then: understudy status"
    context.obj.finish(result.as_json(), steps)


def status(context: typer.Context) -> None:
    """Show what is in the workspace, what runs, and what comes next."""
    from understudy.cli.tables import status_text
    from understudy.stages.status import status as look

    found = look(context.obj.workspace)
    context.obj.finish(found.as_json(), status_text(found))


def open_folder(
    context: typer.Context,
    place: Annotated[
        Place,
        typer.Argument(
            help="The result; the folder of faces or of debug images; the sheet of the review or of the persons; "
            "the picture of what src covers."
        ),
    ],
    side: Annotated[Side, typer.Argument(help="Whose faces; coverage is always that of dst.")] = Side.DST,
) -> None:
    """Open the result, the faces or a sheet of them in the system's viewer.

    Where there is no screen, and with --json, the path is only printed.
    """
    workspace = context.obj.workspace
    path, make = _shown_at(workspace, place, side)
    if path is None or not path.exists():
        raise UsageError(f"There is no {place} in this workspace yet.", hint=f"Make it with: {make}")
    if not context.obj.json and has_screen():
        typer.launch(str(path))
    context.obj.finish({"ok": True, "outputs": [str(path)]}, str(path))


def _shown_at(workspace: Workspace, place: Place, side: Side) -> tuple[Path | None, str]:
    """Where the thing lies, whether or not it is there, and the command that makes it."""
    faces = workspace.side(side)
    match place:
        case Place.RESULT:
            from understudy.stages.status import results

            return next(iter(results(workspace)), None), "understudy video encode mp4"
        case Place.ALIGNED:
            return faces.aligned, f"understudy faceset extract {side}"
        case Place.DEBUG:
            return faces.aligned_debug, f"understudy faceset extract {side} --debug-images"
        case Place.REVIEW:
            return workspace.private / "review" / f"{side}.png", f"understudy faceset review {side} --sheet 40"
        case Place.PERSONS:
            return workspace.private / "persons" / f"{side}.png", f"understudy faceset persons {side} find"
        case Place.COVERAGE:
            picture = workspace.private / "coverage" / "src-against-dst.png"
            return picture, "understudy faceset coverage src --against dst"


def has_screen() -> bool:
    """Whether a viewer could show itself. `UNDERSTUDY_NO_SCREEN` says no, for scripts."""
    if os.environ.get("UNDERSTUDY_NO_SCREEN"):
        return False
    if sys.platform.startswith(("win", "darwin")):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def stop(
    context: typer.Context,
    job_id: Annotated[str, typer.Argument(metavar="ID", help="Which job; the only one when not given.")] = "",
    now: Annotated[bool, typer.Option("--now", help="End its process at once; what it had saved stays.")] = False,
) -> None:
    """Stop a running job; the command that started it resumes it."""
    from understudy.jobs import find, kill, request_stop, running_in, wait

    door = context.obj
    jobs = door.workspace.private / "jobs"
    running = [find(jobs, job_id)] if job_id else running_in(jobs)
    if len(running) > 1:
        ids = ", ".join(job.id for job in running)
        raise UsageError(f"{len(running)} jobs run in this workspace.", hint=f"Say which: understudy stop ID, of {ids}")
    if not running or not running[0].state.active:
        door.finish({"ok": True, "stopped": []}, "Nothing runs in this workspace.")
        return
    job = running[0]
    if now:
        kill(job)
    else:
        request_stop(job)
        door.say(f"Stopping {job.title} ({job.id}) …")
    result = wait(job, 600.0)
    ended = "ended" if now else "stopped" if result else "is still saving"
    door.finish({"ok": True, "stopped": [job.id], "state": str(job.state)}, f"{job.title} {ended}.")


def clear(
    context: typer.Context,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; else only say what would move.")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Bring back what the last clear moved away.")] = False,
) -> None:
    """Empty the workspace by moving what was made into its trash.

    Frames, faces, models, merged frames and results go; the videos data_src.* and data_dst.* stay.
    """
    from understudy.stages.clear import clear as empty
    from understudy.stages.clear import clearable, restore

    door, workspace = context.obj, context.obj.workspace
    if undo:
        result = restore(workspace)
        door.finish(result.as_json(), "Brought back:\n" + "\n".join(f"  {path}" for path in result.outputs))
        return
    found = clearable(workspace)
    if found and not yes:
        names = ", ".join(path.name for path in found)
        raise UsageError(f"This would move to the trash: {names}.", hint="Do it with: understudy clear --yes")
    result = empty(workspace)
    text = (
        f"Moved to {result.outputs[0]}.\nUndo: understudy clear --undo"
        if result.outputs
        else "There is nothing to clear."
    )
    door.finish(result.as_json(), text)
