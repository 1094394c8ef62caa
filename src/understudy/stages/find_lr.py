"""How fast a model can learn, tried on a copy of it."""

from __future__ import annotations

import glob
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from understudy.errors import Interrupted, InvalidOption
from understudy.files import TEMP_PREFIX, os_errors, sweep
from understudy.report import Preview, Report, Stop, never, silent
from understudy.stages.models import open_model
from understudy.stages.result import StageResult
from understudy.stages.task_faces import faces_for
from understudy.stages.train import on_this_machine, resolve
from understudy.training.learning.lr_finder import draw_lr_curve, range_test
from understudy.training.opening import open_session
from understudy.training.options import TrainOptions
from understudy.training.options.optimiser import LrSchedule
from understudy.training.saved.checkpoints import CheckpointStore, link_or_copy
from understudy.training.saved.models import read_record, write_record
from understudy.training.team.launching import launch
from understudy.workspace import Workspace

PICTURE = "lr_curve.png"
LEAST = 20
"""Rates that a curve needs to say anything."""


def find_lr(
    workspace: Workspace,
    name: str,
    *,
    optimiser: str = "",
    first: float = 1e-7,
    last: float = 1e-2,
    steps: int = 150,
    device: str = "",
    report: Report = silent,
    stop: Stop = never,
) -> StageResult:
    """Try learning rates from `first` to `last` on a copy of a model, in so many steps, and suggest one.

    optimiser, device: as the options of training; "": those of the model's last run. Nothing of the model changes; the
    curve is drawn beside its loss curve. The notes hold model, iteration, optimiser, suggested, lowest (the rate at
    which the loss was lowest), steepest (at which it fell fastest), rates and losses (smoothed).
    Raises MissingModel, CorruptCheckpoint, EmptyFaceset, InvalidOption, Busy while rates are tried on it, Interrupted.
    """
    started = time.perf_counter()
    if not 0 < first < last or steps < LEAST:
        raise InvalidOption(
            f"Rates from {first:g} to {last:g} in {steps} steps make no curve.",
            hint=f"The first must be smaller than the last, and there must be at least {LEAST} steps.",
        )
    folder = open_model(workspace, name, report=report)
    record = read_record(folder)
    asked = {name: value for name, value in (("optimiser", optimiser), ("device", device)) if value}
    typed = TrainOptions.of(**asked)
    resolved = on_this_machine(record, resolve(record, typed), typed, report)
    alone = resolved.but(ema_decay=0.0, lr_schedule=LrSchedule.CONSTANT, devices="")
    faces = faces_for(workspace, record, alone, report, stop)
    with workspace.writing(f"rates-{name}"), _copy_of(folder) as copy:
        write_record(copy, record)
        session = open_session(copy, record, alone, faces.src, faces.dst, fabric=launch(alone.device))
        iteration, kind = session.state.iteration, session.learner.optimiser.kind
        curve = range_test(session, first=first, last=last, steps=steps, report=report, stop=stop)
        del session
    if stop():
        raise Interrupted("Stopped before a learning rate was found.", hint="The same command starts again.")
    if len(curve.rates) < LEAST:
        raise InvalidOption(
            f"The loss left every bound after {len(curve.rates)} rates.",
            hint="Begin with a smaller one: --first 1e-9",
        )
    picture = draw_lr_curve(curve, folder / PICTURE)
    report(Preview("Learning rates", picture, iteration))
    return StageResult(
        seconds=time.perf_counter() - started,
        outputs=[picture],
        notes={"model": name, "iteration": iteration, "optimiser": kind, **curve.as_json()},
    )


@contextmanager
def _copy_of(folder: Path) -> Iterator[Path]:
    """A model's saved states in a folder of their own, which share the disk with them, as long as the block goes on.

    For one at a time: what a killed one has left is deleted.
    """
    what = f"find-lr-{folder.name}"
    sweep(folder.parent, glob.escape(what))
    scratch = folder.parent / f"{TEMP_PREFIX}{uuid.uuid4().hex[:8]}-{what}"
    copy = scratch / folder.name
    try:
        for generation in CheckpointStore(folder).generations():
            into = copy / generation.relative_to(folder)
            with os_errors(into):
                into.mkdir(parents=True)
                for item in generation.iterdir():
                    if item.is_file():
                        link_or_copy(item, into / item.name)
        copy.mkdir(parents=True, exist_ok=True)
        yield copy
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
