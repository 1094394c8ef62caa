"""Where a training step's time goes, on one core: convolutions and dense layers, and everything else by kind.

Of each kind the least of three steps counts, so that a busy machine spoils little. What is not convolution is what
could still be saved; convolutions of many channels run at the peak of matrix products in bfloat16.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from bench.training import CASES, Trainer
from understudy.devices import matmul_peak
from understudy.training.precision import Precision

KINDS = {
    "convolutions": ("aten::mkldnn_convolution", "aten::convolution_backward", "aten::_convolution"),
    "dense layers": ("aten::addmm", "aten::mm", "aten::mkldnn_linear"),
    "filters of losses": ("aten::bmm",),
    "optimiser": (
        "aten::_fused_adam_",
        "aten::_fused_sgd_",
        "aten::linalg_vector_norm",
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
