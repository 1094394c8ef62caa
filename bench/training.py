"""Training steps with their data on this machine: seconds by phase and against the time that the arithmetic needs.

Five networks that the reference has been timed on. A ratio is the step's time over the time of its operations at 0.9 of
the float32 peak of matrix products, measured in the same process: the reference runs at 1.0. Runs of the chosen number
type, of float32 and of the peaks take turns, so that a machine that slows down or is shared slows all of them.

    decode      faces out of the bank, as numbers on the device
    augment     bent, turned and shifted
    forward     both people redrawn, and their losses
    backward    gradients of that
    discriminators   their own step, with its second drawing (GAN)
    optimiser   all updates
    idle        of the whole: what the cores did not work (of a graphics card: bench.card_training)
"""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from bench.learning import learner_of, noise_faces
from understudy.devices import best_device, cpu_model, matmul_peak
from understudy.records import PrecisionChoice
from understudy.training.batches.samples import BatchSource
from understudy.training.learning.precision import Precision, choose
from understudy.training.learning.step import SwapLearner
from understudy.training.optimisers import Optimiser
from understudy.training.recipes import RECIPES

TARGET, STRETCH, REFERENCE_SHARE = 0.65, 0.57, 0.9
PHASES = ("decode", "augment", "forward", "backward", "discriminators", "optimiser")
RUNS, STEPS = 5, 3
LOSS_PRODUCTS = (torch.ops.aten.bmm,)  # filters of the losses: no operations of the network


@dataclass(frozen=True)
class Case:
    """A model in training. numbers: its config, as people type it. seconds: the reference's step on 2 such cores."""

    name: str
    model_class: str
    numbers: Mapping[str, Any]
    batch: int
    options: Mapping[str, Any] = field(default_factory=dict)
    reference_seconds: str = ""


_UD = {"size": 128, "e_dims": 64, "d_dims": 64, "d_mask_dims": 22}
CASES = (
    Case("quick96", "quick96", {}, 4),
    Case("df-ud 128", "saehd", {**_UD, "archi": "df-ud", "ae_dims": 128}, 4, reference_seconds="2.35 to 2.8"),
    Case(
        "df-ud 128, GAN 0.1",
        "saehd",
        {**_UD, "archi": "df-ud", "ae_dims": 128},
        4,
        {"gan_power": 0.1},
        reference_seconds="2.82",
    ),
    Case("liae-ud 128", "saehd", {**_UD, "archi": "liae-ud", "ae_dims": 256}, 4, reference_seconds="3.3 to 3.45"),
    Case(
        "df 64",
        "saehd",
        {"size": 64, "archi": "df", "ae_dims": 64, "e_dims": 32, "d_dims": 32, "d_mask_dims": 16},
        8,
        reference_seconds="0.99",
    ),
)


def run(quick: bool = False) -> dict[str, Any]:
    """Medians of 5 alternated runs of 3 steps each (quick: 2 of 1, the small networks)."""
    device = best_device()
    chosen = choose(device.id)
    cases = [case for case in CASES if not quick or case.name in ("quick96", "df 64")]
    rows = [_measured(case, chosen, device.torch, quick=quick) for case in cases]
    ratios = [row["ratio"] for row in rows]
    return {
        "device": device.name if device.kind != "cpu" else cpu_model(),
        "threads": chosen.threads,
        "chosen": chosen.dtype,
        "worst_ratio": max(ratios),
        "target_ratio": TARGET,
        "stretch_ratio": STRETCH,
        "meets_target": max(ratios) <= TARGET,
        "meets_stretch": max(ratios) <= STRETCH,
        "rows": rows,
    }


def _measured(case: Case, chosen: Precision, device: torch.device, *, quick: bool) -> dict[str, Any]:
    """One case: the chosen number type and float32 in turns with the peaks."""
    trainers = {chosen.dtype: Trainer(case, chosen, device)}
    if chosen.dtype != "float32":
        trainers["float32"] = Trainer(case, choose(str(device), PrecisionChoice.FP32), device)
    work = trainers["float32"].operations() / 1e9
    runs: dict[str, list[dict[str, float]]] = {dtype: [] for dtype in trainers}
    peaks: dict[str, list[float]] = {dtype: [] for dtype in {"float32", chosen.dtype}}
    trainers[chosen.dtype].steps(1)
    for _ in range(2 if quick else RUNS):
        for dtype, found in peaks.items():
            found.append(matmul_peak(dtype, device=str(device), rounds=5))
        for dtype, trainer in trainers.items():
            runs[dtype].append(trainer.steps(1 if quick else STEPS))
    peak = {dtype: max(found) for dtype, found in peaks.items()}
    reference = work / (REFERENCE_SHARE * peak["float32"])
    ours, plain = (_medians(runs[dtype]) for dtype in (chosen.dtype, "float32"))
    return {
        "model": case.name,
        "batch": case.batch,
        "GFLOP": round(work, 1),
        **{f"{name} ms": round(1000 * ours[name], 1) for name in PHASES},
        "step ms": round(1000 * ours["step"], 1),
        "idle %": round(100 * ours["idle"], 1),
        "ratio": round(ours["step"] / reference, 3),
        "of its peak": round(work / ours["step"] / peak[chosen.dtype], 3),
        "float32 step ms": round(1000 * plain["step"], 1),
        "float32 ratio": round(plain["step"] / reference, 3),
        "reference s": case.reference_seconds,
    }


def _medians(runs: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


class Trainer:
    """One case in one number type, on faces of noise."""

    def __init__(self, case: Case, precision: Precision, device: torch.device) -> None:
        self.precision, self.device = precision, device
        self.learner = learner_of(
            case.model_class, case.numbers, case.options, precision, device, kind=_Clocked, batch_size=case.batch
        )
        assert isinstance(self.learner, _Clocked)
        recipe = RECIPES[case.model_class]
        faces = noise_faces(self.learner.size)
        self.batches = _ClockedBatches(
            faces, faces, batch_size=case.batch, repeat_every=recipe.repeat_every, device=device
        )

    def operations(self) -> float:
        """Of one step: convolutions and products of matrices of all networks in it, a multiply-add counted as two."""
        batch = self.batches.next()
        with FlopCounterMode(display=False) as counter:
            self.learner.learn(batch)
        counts = counter.get_flop_counts()["Global"]
        return float(sum(count for kind, count in counts.items() if kind not in LOSS_PRODUCTS))

    def steps(self, count: int) -> dict[str, float]:
        """Median seconds of each phase and of the whole step, and the share of the time in which nothing worked."""
        if self.precision.threads:
            torch.set_num_threads(self.precision.threads)
        times: dict[str, list[float]] = {name: [] for name in (*PHASES, "step")}
        began, worked = now(self.device), _worked()
        for _ in range(count):
            start = now(self.device)
            batch = self.batches.next()
            data = now(self.device) - start
            self.learner.learn(batch)
            spent = {**self.learner.spent, "decode": self.batches.decoding}
            spent["augment"] = data - spent["decode"]
            times["step"].append(now(self.device) - start)
            spent["forward"] = times["step"][-1] - sum(spent.values())
            for name in PHASES:
                times[name].append(spent.get(name, 0.0))
        whole = now(self.device) - began
        busy = (_worked() - worked) / max(1, self.precision.threads) / whole
        idle = max(0.0, 1 - busy) if self.device.type == "cpu" else math.nan
        return {**{name: statistics.median(found) for name, found in times.items()}, "idle": idle}


class _Clocked(SwapLearner):
    """A learner that notes how long its phases take."""

    def learn(self, batch: Any) -> dict[str, torch.Tensor]:
        self.spent = dict.fromkeys(("backward", "discriminators", "optimiser"), 0.0)
        return super().learn(batch)

    def _backward(self, optimiser: Optimiser, total: torch.Tensor) -> None:
        self._timed("backward" if optimiser is self.optimiser else "", super()._backward, optimiser, total)

    def _update(self, optimiser: Optimiser) -> None:
        self._timed("optimiser" if optimiser is self.optimiser else "", super()._update, optimiser)

    def _teach(self, *given: Any) -> torch.Tensor:
        return self._timed("discriminators", super()._teach, *given)

    def _timed(self, phase: str, work: Any, *given: Any) -> Any:
        start = now(self.optimiser.device)
        done = work(*given)
        if phase:
            self.spent[phase] += now(self.optimiser.device) - start
        return done

    @property
    def size(self) -> int:
        return int(self.net.config.size)  # type: ignore[union-attr, arg-type]


class _ClockedBatches(BatchSource):
    """Batches that note how long it took to fetch the faces."""

    decoding = 0.0

    def _fetched(self, plan: Any) -> Any:
        start = now(self.device)
        done = super()._fetched(plan)
        self.decoding = now(self.device) - start
        return done


def now(device: torch.device) -> float:
    """Seconds, when everything asked of the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _worked() -> float:
    """Seconds that all cores together have worked for this process."""
    times = os.times()
    return times.user + times.system
