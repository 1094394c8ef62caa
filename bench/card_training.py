"""Training on a graphics card: large faces and batches, against the card's arithmetic and the plan of its memory.

Steps with their data, in the number type that training chooses. `of the peak`: operations of a step over its time, as a
share of the best product of matrices of that type. Memory: the peak of what PyTorch held, beside what the plan said, to
which the driver's own share does not belong here. Without a card nothing is measured.
"""

from __future__ import annotations

from typing import Any

import torch

from bench.training import Case, Trainer
from understudy.devices import best_device, matmul_peak
from understudy.networks.families import config_to_plain
from understudy.training.learning.precision import Precision, choose
from understudy.training.memory.peak import training_memory
from understudy.training.options import TrainOptions
from understudy.training.recipes import RECIPES

PEAK_SIZE = 8192
"""Of the matrices, so that a card has enough to do."""

RUNS, STEPS = 3, 5

_UD = {"e_dims": 64, "d_dims": 64, "d_mask_dims": 22, "ae_dims": 256}
CASES = tuple(
    Case(f"{archi} {size}", "saehd", {**_UD, "size": size, "archi": archi}, batch, options)
    for archi, options in (("df-ud", {}), ("liae-ud", {}), ("liae-ud", {"gan_power": 0.1}))
    for size in (224, 320)
    for batch in (8, 16)
)


def run(quick: bool = False) -> dict[str, Any]:
    """Least of 3 medians of 5 steps each (quick: one of 2, faces of 224 px in batches of 8)."""
    device = best_device()
    if device.kind != "cuda":
        return {"device": device.name, "measured": "nothing: there is no graphics card"}
    chosen = choose(device.id)
    peak = matmul_peak(chosen.dtype, device=device.id, size=PEAK_SIZE)
    cases = [case for case in CASES if not quick or (case.numbers["size"], case.batch) == (224, 8)]
    rows = [measured(case, chosen, device.torch, peak, quick=quick) for case in cases]
    return {"device": device.name, "number_type": chosen.dtype, "peak_tflops": round(peak / 1000, 1), "rows": rows}


def measured(case: Case, chosen: Precision, device: torch.device, peak: float, *, quick: bool) -> dict[str, Any]:
    """One case. peak: GFLOP/s of the number type."""
    on_card = device.type == "cuda"
    if on_card:
        torch.cuda.empty_cache()
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
    trainer = Trainer(case, chosen, device)
    work = trainer.operations() / 1e9
    trainer.steps(1 if quick else 3)
    runs = [trainer.steps(2 if quick else STEPS) for _ in range(1 if quick else RUNS)]
    best = min(runs, key=lambda found: found["step"])
    held = torch.cuda.max_memory_allocated(device) - before if on_card else 0
    planned = _planned(case, chosen, trainer, device)
    return {
        "model": case.name + (f", GAN {case.options['gan_power']}" if case.options else ""),
        "batch": case.batch,
        "GFLOP": round(work, 1),
        "step ms": round(1000 * best["step"], 1),
        "faces per second": round(case.batch / best["step"], 1),
        "data ms": round(1000 * (best["decode"] + best["augment"]), 1),
        "optimiser ms": round(1000 * best["optimiser"], 1),
        "of the peak": round(work / best["step"] / peak, 3),
        "memory GB": round(held / 1e9, 2),
        "planned GB": round(planned / 1e9, 2),
        "plan over memory": round(planned / held, 2) if held else "",
    }


def _planned(case: Case, chosen: Precision, trainer: Trainer, device: torch.device) -> int:
    """Bytes that the plan of memory counts with, without the driver's."""
    recipe = RECIPES[case.model_class]
    config = config_to_plain(trainer.learner.net.config)
    options = TrainOptions(**{**recipe.defaults, **case.options, "batch_size": case.batch})
    need = training_memory(recipe.model_class, config, options, chosen, batch_size=case.batch, device=str(device))
    return need.total - need.overhead
