"""`understudy train-control`: what one asks of a training that runs, from any terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Any

import typer

from understudy.errors import InvalidOption, JobError, UsageError
from understudy.jobs import Job, JobState, running_in, send


class Action(StrEnum):
    """What can be asked."""

    SET = "set"
    SAVE = "save"
    BACKUP = "backup"
    PREVIEW = "preview"
    PAUSE = "pause"
    RESUME = "resume"
    STOP = "stop"


TRAINING = ("train", "train_xseg", "train_by_schedule")
"""Stages that train the model that they are given by name."""

DONE = {
    Action.SAVE: "{model} saves, at iteration {iteration} or the next.",
    Action.BACKUP: "{model} saves, at iteration {iteration} or the next, and keeps that as a backup.",
    Action.PREVIEW: "{model} draws its previews, at iteration {iteration} or the next.",
    Action.PAUSE: "{model} saves and pauses, at iteration {iteration} or the next.\nTo go on: "
    "understudy train-control {model} resume",
    Action.RESUME: "{model} trains on from iteration {iteration}.",
    Action.STOP: "{model} saves and stops.",
}


def train_control(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The model that is in training.")],
    action: Annotated[Action, typer.Argument(help="What to do.")],
    changes: Annotated[
        list[str] | None, typer.Argument(metavar="[OPTION=VALUE]...", help="With set: options and their new values.")
    ] = None,
) -> None:
    """Change options of a training that runs, save, draw, pause or stop it.

    From any terminal. set changes options from the next iteration on, and for the runs after this one, such as
    gan_power=0.1 batch_size=6; what the architecture fixes cannot change. save, backup, preview do now what training
    does by its clock. pause keeps the job and its memory and computes nothing until resume; stop saves and ends it.
    """
    door = context.obj
    if bool(changes) != (action is Action.SET):
        raise UsageError(
            f"{action} takes no options." if changes else "set needs at least one option.",
            hint=f"Such as: understudy train-control {name} set gan_power=0.1",
        )
    fields: dict[str, Any] = {"options": parted(changes)} if changes else {}
    job = training_of(running_in(door.workspace.private / "jobs"), name)
    answer = {"model": name, **send(job, str(action), **fields)}
    door.finish({"ok": True, "job": job.id, **answer}, told(action, answer))


def parted(changes: Iterable[str]) -> dict[str, str]:
    """`gan_power=0.1` as name and value. Raises InvalidOption."""
    found = {}
    for change in changes:
        name, mark, value = change.partition("=")
        if not mark or not name:
            raise InvalidOption(f"{change!r} is no option with its value.", hint="Such as: gan_power=0.1")
        found[name] = value
    return found


def training_of(running: list[Job], name: str) -> Job:
    """The job that trains the model. Raises UsageError when none does."""
    trained = []
    for job in running:
        model = _model_of(job)
        if model == name:
            return job
        trained += [model] if model else []
    if trained:
        others = ", ".join(sorted(trained))
        raise UsageError(f"{name} is not in training. In training: {others}.", hint="See: understudy status")
    raise UsageError(f"{name} is not in training.", hint=f"Start it with: understudy train {name}")


def _model_of(job: Job) -> str:
    """The model that a job trains now, as it says itself, else as it was asked to; empty for another kind of job."""
    if job.state is JobState.ELSEWHERE:
        return ""
    with contextlib.suppress(JobError):
        if model := send(job, "ping").get("model"):
            return str(model)
    with contextlib.suppress(KeyError):
        if job.request.stage.partition(":")[2] in TRAINING:
            return str(job.request.arguments.get("name", ""))
    return ""


def told(action: Action, answer: dict[str, Any]) -> str:
    """What was done, for a person."""
    if action is not Action.SET:
        return DONE[action].format(**answer)
    changed = answer.get("changed", {})
    if not changed:
        return f"{answer['model']} trains with that already."
    lines = [f"  {name}: {shown(before)} → {shown(after)}" for name, (before, after) in changed.items()]
    return "\n".join(
        [f"{answer['model']}, from iteration {answer['iteration'] + 1} on:", *lines, *answer.get("notes", [])]
    )


def shown(value: Any) -> str:
    """A value as it is typed."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list):
        return ",".join(str(item) for item in value)
    return "none" if value is None else str(value)
