"""The two schedules that ship, for the same number of iterations on the same real pair: how far each gets.

`train --schedule classic` and `train --schedule default` from new df 64 models, with `pace` such that both do as many
iterations; an iteration takes both about as long. Held-out faces are the same. What is compared is the held-out loss,
which has fixed weights whatever a phase trains with, SSIM and likeness. Ended runs are kept in the system's temporary
folder: the same command goes on where it was stopped. UNDERSTUDY_ITERATIONS sets the length.
"""

from __future__ import annotations

import os
import time
from typing import Any

import understudy
from bench.time_to_loss import COMMON, PLACE, pair
from understudy.recipe.options import RunOptions
from understudy.recipe.scheduling import schedule_for, train_by_schedule
from understudy.recipe.variables import parse_settings
from understudy.training.measuring.evaluations import FILE_NAME, Evaluations
from understudy.workspace import Workspace

ITERATIONS = int(os.environ.get("UNDERSTUDY_ITERATIONS", "2000"))
LOOKS = 10
"""Evaluations of a run: fewer than the plateaus of the phases wait for, so that none ends early."""

SETTINGS = {"classic": ("gan=false",), "default": ("gan=false",)}
"""Without a GAN, which trades held-out loss for detail."""

TYPED = ("hold_out", "preview_every", "save_minutes", "ae_dims", "e_dims", "d_dims", "d_mask_dims")
"""Options of `time_to_loss` that no variable of a schedule stands for."""

SHOWN = ("held_src", "held_dst", "ssim_src", "ssim_dst", "likeness", "landmarks", "pose")


def run(quick: bool = False) -> dict[str, Any]:
    """One row for each schedule. quick: 60 iterations, which says nothing but that it runs."""
    iterations = 60 if quick else ITERATIONS
    place = PLACE.with_name(f"{PLACE.name}-quick") if quick else PLACE
    workspace = pair(place)
    return {
        "iterations": iterations,
        "schedules": {name: _row(workspace, name, settings, iterations) for name, settings in SETTINGS.items()},
    }


def _row(workspace: Workspace, schedule: str, settings: tuple[str, ...], iterations: int) -> dict[str, Any]:
    model = f"schedule-{schedule}-{iterations}"
    options = understudy.TrainOptions.of(
        **{name: COMMON[name] for name in TYPED},
        evaluate_every=max(1, iterations // LOOKS),
        precision="bf16",
    )
    new = [f"{name}={COMMON[name]}" for name in ("archi", "resolution", "batch_size")]
    common = (*settings, *new, "class=saehd", "face_type=f")
    pace = iterations / _length(model, schedule, common)
    started = time.perf_counter()
    train_by_schedule(workspace, model, schedule, options, RunOptions(set_=(*common, f"pace={pace:.9f}")))
    seconds = time.perf_counter() - started
    last = list(Evaluations.read(workspace.model(model) / FILE_NAME))[-1]
    return {
        "iterations": last.iteration,
        "seconds_of_this_run": round(seconds, 1),
        **{name: round(last.values[name], 4) for name in SHOWN if name in last.values},
    }


def _length(model: str, schedule: str, settings: tuple[str, ...]) -> int:
    """Iterations of all phases together at pace 1."""
    recipe = schedule_for(model, schedule, understudy.TrainOptions(), parse_settings(settings))
    training = next(step.training for step in recipe.steps if step.training)
    return sum(phase.end.iterations for phase in training.phases if phase.on)
