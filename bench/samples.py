"""Training samples of one thread: pairs of input, target and masks per second and side, by colour mode.

Faces of 128 px as a network of that size is trained on them, batch 8, from crops in memory, as when training has run
for a while: bent, turned, recoloured. A sample is one face with everything that is made of it. src samples alone are
counted, since only they are recoloured.

The reference's figures, one core of an EPYC of this kind with 512 px faces in the file cache: 37 a second plain, 31
with rct, 4.4 with idt, 2.3 with sot. They are absolute: on another machine the goals move with its speed.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import cv2
import numpy as np
import torch

from understudy.devices import keep_freed_memory
from understudy.imaging.colour_transfer import transfer
from understudy.training.batches.samples import Augmentation, BatchSource
from understudy.training.faces.bank import FaceBank

SIZE, BATCH, FACES = 128, 8, 64
REFERENCE = {"none": 37.0, "rct": 31.0, "idt": 4.4, "sot": 2.3}
GOALS = {"none": 8.0, "rct": 8.0, "idt": 12.0, "sot": 20.0}
MODES = ("none", "rct", "lct", "mkl", "idt", "sot")


def run(quick: bool = False) -> dict[str, Any]:
    """Samples a second for each mode, as we make them and as a faithful model needs them."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    keep_freed_memory()  # as training does
    rows = []
    for faithful in (False, True):
        for mode in MODES:
            rate, cpu_rate = _rates(mode, faithful, rounds=3 if quick else 12)
            rows.append(_row(mode, faithful, rate, cpu_rate))
    ours = [row for row in rows if not row["faithful"] and row["goal"]]
    return {
        "size": SIZE,
        "batch": BATCH,
        "transfer_alone_ms": {mode: _transfer_ms(mode, 2 if quick else 8) for mode in MODES if mode != "none"},
        "meets_goals": all(
            row["per second of processor time"] >= row["goal"] * REFERENCE[row["ct_mode"]] for row in ours
        ),
        "rows": rows,
    }


def _row(mode: str, faithful: bool, rate: float, cpu_rate: float) -> dict[str, Any]:
    reference = REFERENCE.get(mode)
    return {
        "ct_mode": mode,
        "faithful": faithful,
        "samples per second": round(rate, 1),
        "per second of processor time": round(cpu_rate, 1),
        "times the reference": round(rate / reference, 1) if reference else "",
        "goal": GOALS.get(mode, ""),
    }


def _rates(mode: str, faithful: bool, rounds: int) -> tuple[float, float]:
    """src samples per second by the clock, median of rounds, and of processor time, least of rounds."""
    source = _source(mode, faithful)
    wall, cpu = [], []
    for number in range(rounds + 1):
        started, worked = time.perf_counter(), time.process_time()
        plan, crops = source._fetched(source._planner.plan())
        source._planner.consume(plan)
        source._sample(0, plan, crops)
        if number:
            wall.append(time.perf_counter() - started)
            cpu.append(time.process_time() - worked)
    return BATCH / statistics.median(wall), BATCH / min(cpu)


def _source(mode: str, faithful: bool) -> BatchSource:
    augmentation = Augmentation(colours_of_dst=mode, faithful=faithful)
    return BatchSource(
        _bank(1, whole=False), _bank(2, whole=faithful), batch_size=BATCH, augmentation=augmentation, repeat_every=0
    )


def _bank(seed: int, *, whole: bool) -> FaceBank:
    """Faces with skin, shadow and grain, all different."""
    chance = np.random.default_rng(seed)
    channels = 4 + 3 * whole
    pixels = np.empty((FACES, SIZE, SIZE, channels), np.uint8)
    for crop in pixels:
        coarse = chance.uniform(0, 255, (9, 9, channels)).astype(np.float32)
        broad = cv2.resize(coarse, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
        crop[:] = (broad + chance.normal(0, 6, broad.shape)).clip(0, 255)
        face = np.zeros((SIZE, SIZE), np.uint8)
        crop[..., 3] = cv2.ellipse(face, (SIZE // 2, SIZE // 2), (SIZE // 3, SIZE // 2 - 4), 0, 0, 360, 255, -1)
    return FaceBank(pixels)


def _transfer_ms(mode: Any, rounds: int) -> float:
    """Milliseconds of processor time that one transfer takes of each picture."""
    pictures, references = (_bank(seed, whole=False).fetch(np.arange(BATCH), torch.device("cpu"))[0] for seed in (1, 2))
    times = []
    for number in range(rounds + 1):
        worked = time.process_time()
        transfer(mode, pictures, references, seeds=range(BATCH))
        if number:
            times.append(time.process_time() - worked)
    return round(1000 * statistics.median(times) / BATCH, 2)
