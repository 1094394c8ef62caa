"""A model measured on faces that it never learned from, by every measure that there is."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from understudy.devices import device_named
from understudy.errors import IncompatibleModel, Interrupted, UsageError
from understudy.facesets import Catalog, FaceEntry
from understudy.networks.dfm import DFM_SUFFIX
from understudy.networks.families import Config
from understudy.records import NEWEST, Side, WeightsChoice
from understudy.report import Note, Report, Stop, never, silent
from understudy.stages.held_out_faces import (
    HeldOutFaces,
    consecutive,
    decided,
    held_out_faces,
    indexes_of,
    load_some,
    split_of,
)
from understudy.stages.models import RESERVED_NAMES, open_model
from understudy.stages.result import StageResult
from understudy.training.faces.bank import FaceBank
from understudy.training.measuring.held_out import HeldOut, Sides, reference_objective
from understudy.training.measuring.scores import Faces, Scores
from understudy.training.options import TrainOptions
from understudy.training.recipes import config_from_plain, recipe_for
from understudy.training.saved.models import ModelRecord, read_record
from understudy.training.saved.weights import trained_network
from understudy.workspace import Workspace

MOST = 256
"""Faces of a side that are measured, evenly spread where there are more."""


def evaluate_model(
    workspace: Workspace,
    name: str,
    *,
    checkpoint: str | int = NEWEST,
    weights: WeightsChoice = WeightsChoice.AUTO,
    device: str = "auto",
    most: int = MOST,
    report: Report = silent,
    stop: Stop = never,
) -> StageResult:
    """Measure a saved state of a model on the held-out faces of the workspace. Nothing is written.

    checkpoint: newest, best, or an iteration that is kept. most: faces of each side. Where nothing is held out,
    training faces are measured, and the result says so. notes: `iteration`, `on` (held_out or training), `trained_on`
    (whether the model may have learned from these faces at some time), `looked_at` (how many of each side), `loss`,
    `gap`, and `values` by the names of `training.measuring.scores.MEANINGS`; `likeness_refused` says why there is no
    likeness.

    Raises MissingModel, CorruptCheckpoint, IncompatibleModel for a model that does not swap, EmptyFaceset, Interrupted.
    """
    started = time.perf_counter()
    if Path(name).suffix.lower() == DFM_SUFFIX:
        raise UsageError(f"{name} has no data to be evaluated by.", hint="Evaluate the model that it was made from.")
    if name in RESERVED_NAMES:
        raise IncompatibleModel(f"The model {name} draws masks, no faces.", hint="Evaluate a model that swaps.")
    folder = open_model(workspace, name, report=report)
    record = read_record(folder)
    recipe = recipe_for(record.model_class)
    if not recipe.family.can_swap:
        raise IncompatibleModel(f"The model {name} draws masks, no faces.", hint="Evaluate a model that swaps.")
    config = config_from_plain(recipe, record.config)
    trained = trained_network(folder, report, weights=weights, checkpoint=str(checkpoint))
    where = torch.device(device_named(device).id)
    known = bool(record.held_out)
    share = record.options.get("hold_out")
    options = TrainOptions() if share is None else TrainOptions.of(hold_out=share)
    if not known:
        record = decided(workspace, record, options, iteration=trained.iteration, report=silent)
    held_out, faces = _faces(workspace, record, options, config, where, most, report, stop)
    if stop():
        raise Interrupted("Stopped before the model was measured.", hint="The same command starts again.")
    reference = reference_objective(recipe.objective(config, TrainOptions(), False))
    values = held_out.measure(trained.net.to(where), reference, swap=True)
    values = {measure: value for measure, value in values.items() if math.isfinite(value)}
    scores = Scores(trained.iteration, values, held_out.on)
    trained_on = held_out.on is Faces.TRAINING or not known or faces.trained_on
    if trained_on:
        report(Note(_why_trained_on(record, held_out.on), "warning"))
    notes: dict[str, Any] = {
        "model": name,
        "class": record.model_class,
        "checkpoint": str(checkpoint),
        "iteration": trained.iteration,
        "on": str(held_out.on),
        "trained_on": trained_on,
        "loss": round(scores.loss, 6),
        "gap": None if scores.gap is None else round(scores.gap, 6),
        "values": {name: value for name, value in scores.as_json().items() if name in values},
        "looked_at": {"src": len(held_out.shown.src), "dst": len(held_out.shown.dst)},
        "likeness_refused": held_out.judge.refused or None,
    }
    return StageResult(
        faces=len(held_out.shown.src) + len(held_out.shown.dst), seconds=time.perf_counter() - started, notes=notes
    )


def _faces(
    workspace: Workspace,
    record: ModelRecord,
    options: TrainOptions,
    config: Config,
    device: torch.device,
    most: int,
    report: Report,
    stop: Stop,
) -> tuple[HeldOut, HeldOutFaces]:
    """The faces to measure on, held-out ones where there are any, and as many of those that are trained on."""
    held = held_out_faces(workspace, record, options, config, most=most, report=report, stop=stop)
    banks: dict[Side, FaceBank] = {}
    run = held.run
    for side in Side:
        with Catalog.open(workspace.side(side).aligned, cache=workspace.catalogs) as catalog:
            faces: Sequence[FaceEntry] = split_of(side, catalog.require_faces(), record, options).training
            in_a_row = consecutive(faces) if side is Side.DST and held.dst is None else []
            bank = load_some(faces, in_a_row, config, most, False, report, stop)
        if bank is None:
            raise UsageError(f"None of the {side} faces can be used.", hint="Look at them: understudy faceset review")
        banks[side] = bank
        if in_a_row:
            run = indexes_of(in_a_row, bank)
    held_out = HeldOut.of(
        Sides(banks[Side.SRC], banks[Side.DST]),
        held.src,
        held.dst,
        run=run,
        face_type=config.face_type,
        device=device,
        most=most,
    )
    return held_out, held


def _why_trained_on(record: ModelRecord, on: Faces) -> str:
    if on is Faces.TRAINING:
        return "Nothing is held out of these facesets: the model is measured on faces that it learned from."
    if record.imported:
        return "The model was trained by another program, on these faces too, as far as anyone knows: they flatter it."
    return "The model learned from some of these faces before they were held out: they flatter it."
