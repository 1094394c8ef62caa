"""Training on a graphics card: large faces and batches, against the card's arithmetic and the plan of its memory.

Steps with their data in float32, in the number type that training chooses, and in that with compiled passes. `of the
peak`: operations of a step over its time, as a share of the best product of matrices of that type. Memory: the peak of
what PyTorch held, beside what the plan said, to which the driver's own share does not belong here. Idle: the share of
the time in which the card computed nothing, of steps that nobody waits for, with batches as training feeds them; the
profiler that counts slows Python down, so it is rather less. Without a card nothing is measured.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from bench.learning import learner_of, noise_faces
from bench.training import Case, Trainer, now
from understudy.devices import best_device, matmul_peak
from understudy.networks.families import config_to_plain
from understudy.records import PrecisionChoice
from understudy.training.batches.samples import BatchSource
from understudy.training.learning.precision import Precision, choose
from understudy.training.memory.peak import training_memory
from understudy.training.options import TrainOptions
from understudy.training.recipes import RECIPES

PEAK_SIZE = 8192
"""Of the matrices, so that a card has enough to do."""

RUNS, STEPS, PROFILED = 3, 5, 8

_UD = {"e_dims": 64, "d_dims": 64, "d_mask_dims": 22, "ae_dims": 256}
CASES = tuple(
    Case(f"{archi} {size}", "saehd", {**_UD, "size": size, "archi": archi}, batch, options)
    for archi, options in (("df-ud", {}), ("liae-ud", {}), ("liae-ud", {"gan_power": 0.1}))
    for size in (128, 224, 320)
    for batch in (8, 16)
)


def run(quick: bool = False) -> dict[str, Any]:
    """Least of 3 medians of 5 steps each (quick: one of 2, faces of 128 px in batches of 8)."""
    device = best_device()
    if device.kind != "cuda":
        return {"device": device.name, "measured": "nothing: there is no graphics card"}
    chosen, single = choose(device.id), choose(device.id, PrecisionChoice.FP32)
    ways = {
        "float32": (single, {}),
        chosen.dtype: (chosen, {}),
        f"{chosen.dtype}, compiled": (chosen, {"compile": "yes"}),
    }
    peaks = {each.dtype: matmul_peak(each.dtype, device=device.id, size=PEAK_SIZE) for each in (single, chosen)}
    rows = [
        {
            "way": way,
            **measured(
                replace(case, options={**case.options, **more}),
                precision,
                device.torch,
                peaks[precision.dtype],
                quick=quick,
            ),
        }
        for case in CASES
        if not quick or (case.numbers["size"], case.batch) == (128, 8)
        for way, (precision, more) in ways.items()
    ]
    return {
        "device": device.name,
        "number_type": chosen.dtype,
        "peak_tflops": {dtype: round(peak / 1000, 1) for dtype, peak in peaks.items()},
        "rows": rows,
    }


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
        "model": case.name + (f", GAN {case.options['gan_power']}" if "gan_power" in case.options else ""),
        "batch": case.batch,
        "GFLOP": round(work, 1),
        "step ms": round(1000 * best["step"], 1),
        "faces per second": round(case.batch / best["step"], 1),
        "data ms": round(1000 * (best["decode"] + best["augment"]), 1),
        "optimiser ms": round(1000 * best["optimiser"], 1),
        "idle %": round(100 * idle(case, chosen, device, steps=2 if quick else PROFILED), 1),
        "of the peak": round(work / best["step"] / peak, 3),
        "memory GB": round(held / 1e9, 2),
        "planned GB": round(planned / 1e9, 2),
        "plan over memory": round(planned / held, 2) if held else "",
    }


def idle(case: Case, precision: Precision, device: torch.device, *, steps: int) -> float:
    """The share of `steps` steps in which the device computed nothing, between 0 and 1."""
    learner = learner_of(case.model_class, case.numbers, case.options, precision, device, batch_size=case.batch)
    faces = noise_faces(int(case.numbers["size"]))
    repeat_every = RECIPES[case.model_class].repeat_every
    batches = BatchSource(faces, faces, batch_size=case.batch, repeat_every=repeat_every, device=device)
    for _ in range(2):
        learner.learn(next(batches))
    began, on_card = now(device), device.type == "cuda"
    with profile(activities=[ProfilerActivity.CUDA if on_card else ProfilerActivity.CPU]) as profiler:
        for _ in range(steps):
            learner.learn(next(batches))
        whole = now(device) - began
    events = profiler.key_averages()
    spent = sum(event.self_device_time_total if on_card else event.self_cpu_time_total for event in events) / 1e6
    return max(0.0, 1 - spent / whole)


def _planned(case: Case, chosen: Precision, trainer: Trainer, device: torch.device) -> int:
    """Bytes that the plan of memory counts with, without the driver's."""
    recipe = RECIPES[case.model_class]
    config = config_to_plain(trainer.learner.net.config)
    options = TrainOptions(**{**recipe.defaults, **case.options, "batch_size": case.batch})
    need = training_memory(recipe.model_class, config, options, chosen, batch_size=case.batch, device=str(device))
    return need.total - need.overhead
