"""How soon a recipe has the held-out loss that the reference's recipe ends at: df 64, a real pair, 800 iterations.

Every run is `understudy train` on a workspace made from two clips of different people (UNDERSTUDY_MEDIA), with
stretches of frames held out and looked at every 40 iterations. "reference" has the reference's optimiser, rate, initial
weights and samples, in float32. What a run learns follows from its seed, so a busy machine changes nothing in the
curves; the milliseconds of a step are measured on their own, in turns. Ended runs are kept in the system's temporary
folder: the same command goes on where it was stopped.
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import understudy
from understudy.errors import MissingFootage
from understudy.records import PrecisionChoice, Side
from understudy.report import Event, Metrics
from understudy.training.measuring.evaluations import FILE_NAME, Evaluations
from understudy.workspace import Workspace

MEDIA = Path(os.environ.get("UNDERSTUDY_MEDIA", Path(__file__).resolve().parents[2] / "shared" / "media"))
CLIPS = {Side.SRC: "man_a_turns_540x960.mp4", Side.DST: "man_b_talking_360x288.mp4"}
PLACE = Path(tempfile.gettempdir()) / "understudy-bench" / "time-to-loss"
ITERATIONS, SEEDS, LOOK_EVERY = 800, 3, 40

COMMON: Mapping[str, Any] = {
    "model": "saehd",
    "archi": "df",
    "resolution": 64,
    "ae_dims": 64,
    "e_dims": 32,
    "d_dims": 32,
    "d_mask_dims": 16,
    "batch_size": 4,
    "hold_out": 0.1,
    "evaluate_every": LOOK_EVERY,
    "preview_every": 0,
    "save_minutes": 2.0,
    "keep_checkpoints": 1,
    "threads": 0,
}

OURS: Mapping[str, Any] = {
    "precision": PrecisionChoice.BF16,
    "initial_weights": "he",
    "learning_rate": 2e-4,
    "lr_warmup": 100,
    "ema_decay": 0.999,
}
"""As in `default.toml`, but for a shorter warm-up, 500 of 800 iterations being too long here, and `uniform_yaw`."""

RECIPES: Mapping[str, Mapping[str, Any]] = {
    "reference": {"precision": PrecisionChoice.FP32, "faithful": True},
    "reference in bfloat16": {"precision": PrecisionChoice.BF16, "faithful": True},
    "default": OURS,
}


def run(quick: bool = False) -> dict[str, Any]:
    """Curves, and the share of the reference's time. quick: one seed and 60 iterations, which says nothing but that it
    runs."""
    iterations, seeds = (60, 1) if quick else (ITERATIONS, SEEDS)
    place = PLACE.with_name(f"{PLACE.name}-quick") if quick else PLACE
    workspace = pair(place)
    curves = {
        name: np.array([curve(workspace, name, options, seed, iterations) for seed in range(seeds)])
        for name, options in RECIPES.items()
    }
    goal = float(curves["reference"].mean(0)[-1])
    milliseconds = step_times(workspace, rounds=2 if quick else 5)
    table = {name: summary(found, goal, milliseconds[name]) for name, found in curves.items()}
    reference = iterations * milliseconds["reference"]
    for row in table.values():
        row["share_of_the_references_time"] = (
            None if row["iterations_to_goal"] is None else round(row["iterations_to_goal"] * row["ms"] / reference, 3)
        )
    single, half = (float(curves[name].mean(0)[-5:].mean()) for name in ("reference", "reference in bfloat16"))
    return {
        "iterations": iterations,
        "seeds": seeds,
        "goal": round(goal, 4),
        "recipes": table,
        "bfloat16_against_float32": round(half / single - 1, 4),
        "goal_share": 0.5,
        "stretch_share": 0.35,
    }


def pair(place: Path) -> Workspace:
    """The workspace with both facesets, made on the first call. Raises MissingFootage where the clips are not."""
    workspace = Workspace(place)
    if (place / "ready").is_file():
        return workspace
    missing = [name for name in CLIPS.values() if not (MEDIA / "clips" / name).is_file()]
    if missing:
        raise MissingFootage(f"No {missing[0]} in {MEDIA / 'clips'}.", hint="Set UNDERSTUDY_MEDIA.")
    place.mkdir(parents=True, exist_ok=True)
    understudy.init(place)
    for side, name in CLIPS.items():
        shutil.copy(MEDIA / "clips" / name, place / f"data_{side}.mp4")
        understudy.extract(workspace, side, understudy.ExtractOptions(image_size=256))
    (place / "ready").touch()
    return workspace


def curve(workspace: Workspace, name: str, options: Mapping[str, Any], seed: int, iterations: int) -> list[float]:
    """The held-out loss, src and dst together, every LOOK_EVERY iterations of a run that ends here or has ended."""
    model = model_name(name, seed)
    chosen = understudy.TrainOptions.of(**{**COMMON, **options, "seed": seed, "target_iter": iterations})
    understudy.train(workspace, model, chosen)
    found = Evaluations.read(workspace.model(model) / FILE_NAME)
    return [scores.loss for scores in found if scores.iteration <= iterations]


def model_name(recipe: str, seed: int) -> str:
    return f"{recipe.replace(' ', '-')}-{seed}"


def step_times(workspace: Workspace, *, rounds: int, steps: int = 8) -> dict[str, float]:
    """Milliseconds from one iteration to the next, batches included: medians of models that train in turns."""
    found: dict[str, list[float]] = {name: [] for name in RECIPES}
    for left in workspace.models.glob("timing-*"):
        shutil.rmtree(left)
    for turn in range(1, rounds + 1):
        for name, options in RECIPES.items():
            marks: list[float] = []

            def mark(event: Event, marks: list[float] = marks) -> None:
                if isinstance(event, Metrics):
                    marks.append(time.perf_counter())

            chosen = {**COMMON, **options, "evaluate_every": 0, "save_minutes": 600.0, "target_iter": turn * steps}
            understudy.train(
                workspace, f"timing-{model_name(name, 0)}", understudy.TrainOptions.of(**chosen), report=mark
            )
            found[name] += list(np.diff(marks[1:]))  # the first one makes everything ready
    return {name: 1000 * statistics.median(times) for name, times in found.items()}


def summary(found: np.ndarray[Any, Any], goal: float, milliseconds: float) -> dict[str, Any]:
    """One recipe: found (seeds, looks)."""
    mean = found.mean(0)
    reached = np.flatnonzero(mean <= goal)
    return {
        "ms": round(milliseconds, 1),
        "loss_at_end": round(float(mean[-1]), 4),
        "spread_of_seeds": round(float(found[:, -1].std()), 4),
        "iterations_to_goal": int(reached[0] + 1) * LOOK_EVERY if len(reached) else None,
        "curve": [round(float(value), 3) for value in mean],
    }
