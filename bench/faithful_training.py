"""What each habit of the reference does to training: the held-out loss with it, over the loss without it.

Small networks of 64 px learn a real pair (as `bench.time_to_loss` makes it) with one habit on, then off, from the same
seeds, and are judged on the end of both clips, which they never see, by the losses of every class inside the soft mask.
`chance` is the same network against itself from other seeds: an effect below it says nothing. A run follows from its
seed, so a busy machine changes nothing; ended runs are kept, and the same command goes on where it was stopped.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import statistics
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from bench.learning import learner_of
from bench.time_to_loss import PLACE as PAIR
from bench.time_to_loss import pair
from understudy.facesets import Catalog
from understudy.networks.families import FAMILIES
from understudy.records import FaceType, Side
from understudy.training.batches import samples
from understudy.training.batches.samples import Augmentation, Batch, BatchSource, FaceBank, Sample
from understudy.training.batches.warp import Ranges, node_maps, pixel_maps
from understudy.training.learning.precision import Precision
from understudy.training.learning.step import SwapLearner
from understudy.training.losses import drawing_losses, drawn_inside, targets_of, weighted_sums
from understudy.training.measuring.held_out import redrawn, reference_objective
from understudy.training.optimisers import AdaBelief, Optimiser
from understudy.training.recipes import RECIPES

PLACE = Path(tempfile.gettempdir()) / "understudy-bench" / "faithful-training"
SIZE, BATCH, GUARD, LOOKED_AT = 64, 4, 12, 48
ITERATIONS = int(os.environ.get("UNDERSTUDY_ITERATIONS", 800))
SEEDS = int(os.environ.get("UNDERSTUDY_SEEDS", 3))

DIMS = {"size": SIZE, "ae_dims": 32, "e_dims": 16, "d_dims": 16, "d_mask_dims": 16}
DF = ("saehd", {**DIMS, "archi": "df-ud"})
LIAE = ("saehd", {**DIMS, "archi": "liae-ud"})
AMP = ("amp", {**DIMS, "inter_dims": 64})


@dataclass(frozen=True)
class Way:
    """How a run goes. bends: whether bends mirror each other, lie half a pixel off, and are resampled twice. objective:
    fields of it that are other than usual. unwarped_from: share of the run after which faces come unbent."""

    model: tuple[str, Mapping[str, Any]] = DF
    options: Mapping[str, Any] = field(default_factory=dict)
    bends: tuple[bool, bool, bool] = (False, False, False)
    objective: Mapping[str, Any] = field(default_factory=dict)
    objective_unwarped: Mapping[str, Any] = field(default_factory=dict)
    unwarped_from: float = 1.0
    corrected: bool = False
    mean_gradient: bool = False
    trained_inters: bool = False


@dataclass(frozen=True)
class Habit:
    """on: a run as the reference goes; off: without the habit."""

    on: Way
    off: Way


def habits() -> dict[str, Habit]:
    """Every habit that changes what is learned, by name."""
    usual, amp = Way(), Way(AMP)
    liae = Way(LIAE, unwarped_from=0.5)
    gan = Way(options={"gan_power": 0.1}, unwarped_from=0.5)
    quick = Way(("quick96", DIMS))
    style = Way(options={"bg_style_power": 10.0})
    frozen = {"frozen": ("inter_AB.",)}
    return {
        "bends that mirror each other": Habit(replace(usual, bends=(True, False, False)), usual),
        "half a pixel": Habit(replace(usual, bends=(False, True, False)), usual),
        "resampled twice": Habit(replace(usual, bends=(False, False, True)), usual),
        "all three of them": Habit(replace(usual, bends=(True, True, True)), usual),
        "background outside src (style 10)": Habit(replace(style, objective={"background_outside_src": True}), style),
        "roughness along channels (GAN 0.1)": Habit(replace(gan, objective={"roughness_along_channels": True}), gan),
        "inter_AB frozen without warp (liae)": Habit(replace(liae, objective_unwarped=frozen), liae),
        "inters never trained (amp)": Habit(amp, replace(amp, trained_inters=True)),
        "no bias correction": Habit(usual, replace(usual, corrected=True)),
        "gradient of the sum": Habit(usual, replace(usual, mean_gradient=True)),
        "gradient of the sum, clipped": Habit(
            replace(usual, options={"clipgrad": True}), replace(usual, options={"clipgrad": True}, mean_gradient=True)
        ),
        "plain blurred mask (quick96)": Habit(quick, replace(quick, objective={"bare_blur": False})),
    }


def run(quick: bool = False) -> dict[str, Any]:
    """Means over the seeds (quick: 30 iterations of one seed, which says nothing but that it runs)."""
    iterations, seeds = (30, 1) if quick else (ITERATIONS, SEEDS)
    journal = Journal(PLACE / f"{iterations}.jsonl")
    faces = Faces.load()
    rows = []
    for name, habit in habits().items():
        on, off = (
            [
                journal.loss(way, seed, lambda way=way, seed=seed: faces.learn(way, seed, iterations))
                for seed in range(seeds)
            ]  # type: ignore[misc]
            for way in (habit.on, habit.off)
        )
        shares = [100 * (one / other - 1) for one, other in zip(on, off, strict=True)]
        rows.append(
            {
                "habit": name,
                "loss with": round(statistics.mean(on), 4),
                "without": round(statistics.mean(off), 4),
                "effect %": round(statistics.mean(shares), 2),
                "from seed to seed %": round(statistics.stdev(shares), 2) if seeds > 1 else "",
            }
        )
    usual = [row["without"] for row in rows if row["habit"] == "half a pixel"]
    return {"iterations": iterations, "seeds": seeds, "usual_loss": usual[0], "rows": rows}


class Journal:
    """Results of runs that have ended, one JSON object per line."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text().splitlines() if path.is_file() else []
        self._known = {(entry["run"], entry["seed"]): float(entry["loss"]) for entry in map(json.loads, lines)}

    def loss(self, way: Way, seed: int, learn: Any) -> float:
        """The held-out loss of a run, which is done if it was not. Habits that are compared with one way share it."""
        run = repr(way)
        if (run, seed) not in self._known:
            self._known[run, seed] = learn()
            with self._path.open("a") as file:
                file.write(json.dumps({"run": run, "seed": seed, "loss": self._known[run, seed]}) + "\n")
        return self._known[run, seed]


@dataclass(frozen=True, eq=False)
class Faces:
    """Both people's faces at 64 px: those that are learned from, and the last tenth of each clip."""

    src: FaceBank
    dst: FaceBank
    held: Batch

    @classmethod
    def load(cls) -> Faces:
        workspace = pair(PAIR)
        learned, held = [], []
        for side in Side:
            with Catalog.open(workspace.side(side).aligned) as catalog:
                pixels = FaceBank.load(
                    catalog.require_faces(), size=SIZE, face_type=FaceType.FULL, eyes_mouth=True
                ).pixels
            end = len(pixels) - len(pixels) // 10
            learned.append(FaceBank(pixels[: end - GUARD]))
            held.append(_shown(FaceBank(pixels[end:])))
        return cls(*learned, Batch(*held))

    def learn(self, way: Way, seed: int, iterations: int) -> float:
        """Train by one way; the loss on the held-out faces."""
        model_class, numbers = way.model
        recipe, device = RECIPES[model_class], torch.device("cpu")
        parts = {"untrained": ()} if way.trained_inters else {}
        with mock.patch.dict(RECIPES, {model_class: replace(recipe, family=replace(FAMILIES[model_class], **parts))}):
            learner = learner_of(
                model_class, numbers, way.options, Precision(), device, kind=_Otherwise, seed=seed, batch_size=BATCH
            )
        assert isinstance(learner, _Otherwise)
        learner.way = way
        learner.objective = replace(learner.objective, background_outside_src=False, roughness_along_channels=False)
        learner.objective = replace(learner.objective, **way.objective)
        augmentation = Augmentation(ranges=Ranges(scale=recipe.scale_range), faithful=way.bends[2])
        batches = BatchSource(
            self.src,
            self.dst,
            batch_size=BATCH,
            seed=seed,
            augmentation=augmentation,
            repeat_every=recipe.repeat_every,
        )
        with _bending(mirrored=way.bends[0], shifted=way.bends[1]):
            for iteration in range(iterations):
                if iteration == round(way.unwarped_from * iterations):
                    batches.augmentation = replace(augmentation, random_warp=False)
                    learner.objective = replace(learner.objective, **way.objective_unwarped)
                learner.learn(batches.next())
        return self._judged(learner)

    def _judged(self, learner: SwapLearner) -> float:
        """src's and dst's loss together, by what every class is judged by, in the soft mask of all but Quick96."""
        objective = replace(reference_objective(learner.objective), bare_blur=False)
        learner.net.eval()
        with torch.no_grad():
            targets = targets_of(self.held, objective)
            drawn = redrawn(learner.net, self.held.src.target, self.held.dst.target)
            parts = drawing_losses(drawn, drawn_inside(drawn, targets, objective), targets, objective)
            return float(torch.stack([*weighted_sums(parts, objective.weights).values()]).sum(0).mean())


class _Otherwise(SwapLearner):
    """A learner that does without habits of the reference's arithmetic."""

    way = Way()

    def learn(self, batch: Batch) -> dict[str, torch.Tensor]:
        if self.way.corrected and self.rates is not None:
            lr, eps = _corrected(self.optimiser)
            self.rates, self.optimiser.eps = replace(self.rates, lr=lr), eps
        return super().learn(batch)

    def _backward(self, optimiser: Optimiser, total: torch.Tensor) -> None:
        super()._backward(optimiser, total / BATCH if self.way.mean_gradient else total)


def _corrected(optimiser: Optimiser) -> tuple[float, float]:
    """The rate and ε by which AdaBelief without bias correction takes the next step of one with it."""
    assert isinstance(optimiser, AdaBelief)
    step = optimiser.iterations + 1
    second = math.sqrt(1 - optimiser.memory**step)
    return AdaBelief.default_lr * second / (1 - optimiser.momentum**step), 1e-6 * second


@contextlib.contextmanager
def _bending(*, mirrored: bool, shifted: bool) -> Iterator[None]:
    """Bend samples with these two habits, each by itself; the product has them together or not at all."""

    def nodes(drawn: Any, *, faithful: bool) -> Any:
        return node_maps(drawn, faithful=mirrored)

    def maps(draws: Any, device: torch.device, *, faithful: bool) -> torch.Tensor:
        with mock.patch("understudy.training.batches.warp.node_maps", nodes):
            return pixel_maps(draws, device, faithful=shifted)

    with mock.patch.object(samples, "pixel_maps", maps):
        yield


def _shown(bank: FaceBank) -> Sample:
    """48 faces, evenly spread, as they are; some come twice where there are fewer."""
    indexes = np.linspace(0, len(bank) - 1, LOOKED_AT).astype(np.int64)
    pictures, masks = bank.fetch(indexes, torch.device("cpu"))
    return Sample(pictures, pictures, masks[:, :1])
