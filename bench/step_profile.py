"""Where a training step's time goes, on one core: convolutions and dense layers, and everything else by kind.

Of each kind the least of three steps counts, so that a busy machine spoils little. What is not convolution is what
could still be saved; convolutions of many channels run at the peak of matrix products in bfloat16.

Beside that, as shares of a step's processor time, which other programs disturb less: a step's data, as they are and
with colours of dst (rct); the length of the gradient, which the guard looks at; an average of the weights.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from bench.training import CASES, Case, Trainer
from understudy.devices import matmul_peak
from understudy.training.batches.samples import Augmentation
from understudy.training.learning.ema import Ema
from understudy.training.learning.precision import Precision
from understudy.training.optimisers.lengths import length_of

KINDS = {
    "convolutions": ("aten::mkldnn_convolution", "aten::convolution_backward", "aten::_convolution"),
    "dense layers": ("aten::addmm", "aten::mm", "aten::mkldnn_linear"),
    "filters of losses": ("aten::bmm",),
    "optimiser": (
        "aten::_fused_adam_",
        "aten::_fused_sgd_",
        "aten::linalg_vector_norm",
        "aten::dot",
        "aten::random_",
        "aten::lerp_",
    ),
    "activations": ("aten::leaky_relu_", "aten::leaky_relu_backward", "aten::leaky_relu"),
    "copies": ("aten::copy_", "aten::cat"),
    "resampling": ("aten::grid_sampler_2d",),
}


def run(quick: bool = False) -> dict[str, Any]:
    """Milliseconds and shares by kind (quick: the small networks, one step)."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        peak = matmul_peak("bfloat16", rounds=5)
        cases = [case for case in CASES if not quick or case.name in ("quick96", "df 64")]
        rows = []
        for case in cases:
            trainer = Trainer(case, Precision("bfloat16", True, 1), torch.device("cpu"))
            work = trainer.operations() / 1e9
            found = _least([_kinds(trainer) for _ in range(1 if quick else 3)])
            whole = sum(found.values())
            rows.append(
                {
                    "model": case.name,
                    "ms": round(1000 * whole, 1),
                    **{f"{kind} %": round(100 * seconds / whole, 1) for kind, seconds in found.items()},
                    "of the bfloat16 peak": round(work / whole / peak, 3),
                    **_shares(trainer, case, rounds=1 if quick else 3),
                }
            )
    finally:
        torch.set_num_threads(before)
    shares = [100 - row["convolutions %"] - row["dense layers %"] for row in rows]
    return {
        "threads": 1,
        "bfloat16_peak_gflops": round(peak, 1),
        "worst_share_besides": round(max(shares), 1),
        "rows": rows,
    }


def _shares(trainer: Trainer, case: Case, rounds: int) -> dict[str, float]:
    """Processor time of a step in ms, and what some parts of it are of that."""
    learner = trainer.learner
    data = _seconds(trainer.batches.next, rounds)
    batch = trainer.batches.next()
    step = _seconds(lambda: learner.learn(batch), rounds)
    weights = learner.optimiser.parameters.values()
    gradients = [torch.randn_like(weight).bfloat16() for weight in weights]
    average = Ema(learner.net, 0.999)
    parts = {
        "data": data,
        "data, rct": _seconds(_recoloured(trainer, case), rounds),
        "length": _seconds(lambda: length_of(gradients), rounds),
        "ema": _seconds(lambda: average.follow(learner.net, 0), rounds) / average.every,
    }
    return {
        "processor ms": round(1000 * (step + data), 1),
        **{f"{name} %": round(100 * seconds / (step + data), 2) for name, seconds in parts.items()},
    }


def _recoloured(trainer: Trainer, case: Case) -> Callable[[], object]:
    """Draws batches whose src takes on colours of dst."""
    trainer.batches.configure(
        augmentation=Augmentation(colours_of_dst="rct"), batch_size=case.batch, repeat_every=0, uniform_yaw=False
    )
    return trainer.batches.next


def _seconds(work: Callable[[], object], rounds: int) -> float:
    """The least processor time of some rounds after one."""
    times = []
    for _ in range(rounds + 1):
        began = time.thread_time()
        work()
        times.append(time.thread_time() - began)
    return min(times[1:])


def _kinds(trainer: Trainer) -> dict[str, float]:
    """Seconds of one step by kind."""
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        trainer.learner.learn(trainer.batches.next())
    found = dict.fromkeys((*KINDS, "rest"), 0.0)
    for event in profiled.key_averages():
        kind = next((kind for kind, names in KINDS.items() if event.key in names), "rest")
        found[kind] += event.self_cpu_time_total / 1e6
    return found


def _least(steps: list[dict[str, float]]) -> dict[str, float]:
    return {kind: min(step[kind] for step in steps) for kind in steps[0]}
