"""A Quick96 training step of batch 4 with its data: milliseconds by phase, beside the peak of matrix products.

Runs of the chosen number type, of float32 and of the two peaks take turns in one process, so that a machine that slows
down or is shared slows all of them. The target is 0.65 of the time that the work takes at 0.9 of the float32 peak.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from understudy.devices import best_device, cpu_model, matmul_peak
from understudy.networks.quick96 import Quick96
from understudy.records import PrecisionChoice
from understudy.training.options import TrainOptions
from understudy.training.precision import Precision, choose
from understudy.training.recipes import RECIPES
from understudy.training.samples import BatchSource, FaceBank
from understudy.training.step import Learner, prepare

BATCH = 4
TARGET, STRETCH, REFERENCE_SHARE = 0.65, 0.57, 0.9
DATA_SHARE = 0.06
PHASES = ("data", "forward", "backward", "optimiser")


def run(quick: bool = False) -> dict[str, Any]:
    """Median of 5 runs of 5 steps (quick: 2 of 2) for the number type chosen here and for float32."""
    device = best_device()
    chosen = choose(device.id)
    trainers = {chosen.dtype: _Trainer(chosen, device.torch)}
    if chosen.dtype != "float32":
        plain = choose(device.id, PrecisionChoice.FP32)
        trainers["float32"] = _Trainer(plain, device.torch)
    work = _gflop(device.torch)
    runs: dict[str, list[dict[str, float]]] = {dtype: [] for dtype in trainers}
    peaks: dict[str, list[float]] = {"float32": [], "bfloat16": []}
    for trainer in trainers.values():
        trainer.steps(2)
    for _ in range(2 if quick else 5):
        for dtype, found in peaks.items():
            found.append(matmul_peak(dtype, device=device.id, rounds=5))
        for dtype, trainer in trainers.items():
            runs[dtype].append(trainer.steps(2 if quick else 5))
    peak = {dtype: max(found) for dtype, found in peaks.items()}
    at_reference = work / (REFERENCE_SHARE * peak["float32"])
    results = {dtype: _summary(found, work, peak, at_reference) for dtype, found in runs.items()}
    return {
        "device": device.name if device.kind != "cpu" else cpu_model(),
        "threads": chosen.threads,
        "gflop_per_step": round(work, 1),
        "peak_gflops": {dtype: round(value, 1) for dtype, value in peak.items()},
        "chosen": chosen.dtype,
        "steps": results,
        "target_ratio": TARGET,
        "stretch_ratio": STRETCH,
        "target_data_share": DATA_SHARE,
        "meets_target": results[chosen.dtype]["ratio"] <= TARGET and results[chosen.dtype]["data_share"] <= DATA_SHARE,
    }


class _Trainer:
    """Quick96 on random faces, one precision."""

    def __init__(self, precision: Precision, device: torch.device) -> None:
        self.precision, self.device = precision, device
        self.net = Quick96(generator=torch.Generator().manual_seed(0))
        prepare(self.net, precision, device)
        recipe, options = RECIPES["quick96"], TrainOptions()
        self.optimiser = recipe.optimiser(self.net, options, precision, seed=0)
        self.learner = Learner(self.net, self.optimiser, recipe.objective(self.net.config, options, False))
        coarse = np.random.default_rng(0).integers(0, 256, (64, 12, 12, 4), dtype=np.uint8)
        bank = FaceBank(coarse.repeat(8, 1).repeat(8, 2))
        self.batches = BatchSource(bank, bank, batch_size=BATCH, device=device)

    def steps(self, count: int) -> dict[str, float]:
        """Median seconds of each phase and of the whole step, over `count` steps."""
        prepare(self.net, self.precision, self.device)  # the threads of this precision
        times: dict[str, list[float]] = {name: [] for name in (*PHASES, "step")}
        for _ in range(count):
            marks = [self._now()]
            batch = self.batches.next()
            marks.append(self._now())
            total, _ = self.learner.forward(batch)
            marks.append(self._now())
            total.backward()  # type: ignore[no-untyped-call]
            marks.append(self._now())
            self.optimiser.step()
            marks.append(self._now())
            for name, start, end in zip(PHASES, marks, marks[1:], strict=False):
                times[name].append(end - start)
            times["step"].append(marks[-1] - marks[0])
        return {name: statistics.median(values) for name, values in times.items()}

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


def _summary(runs: list[dict[str, float]], work: float, peak: dict[str, float], at_reference: float) -> dict[str, Any]:
    median = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    rate = work / median["step"]
    return {
        "ms": {name: round(1000 * value, 1) for name, value in median.items()},
        "ratio": round(median["step"] / at_reference, 3),
        "gflops": round(rate, 1),
        "share_of_peak": {dtype: round(rate / value, 3) for dtype, value in peak.items()},
        "data_share": round(median["data"] / median["step"], 4),
    }


def _gflop(device: torch.device) -> float:
    """Work of the network, forward and backward: convolutions and matrix products, a multiply-add counted as two."""
    net = Quick96().to(device)
    face = torch.zeros(BATCH, 3, net.config.size, net.config.size, device=device)
    with FlopCounterMode(display=False) as counter:
        total = torch.stack([part.sum() for part in net.reconstruct(face, face)]).sum()
        total.backward()  # type: ignore[no-untyped-call]
    return float(counter.get_total_flops()) / 1e9
