"""Does bfloat16 learn what float32 learns? Two Quick96 runs from the same seed on the same batches, side by side.

Both see the same faces, warps and dropout, so their curves differ by rounding alone; a third run of another seed shows
how far apart two curves are by chance. Faces are drawings, so this needs no footage; on a real pair the same question
is the second line of `bench.time_to_loss`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bench.learning import learner_of
from understudy.devices import best_device
from understudy.records import PrecisionChoice
from understudy.training.batches.samples import Batch, BatchSource, FaceBank, Sample
from understudy.training.learning.precision import choose
from understudy.training.learning.step import SwapLearner
from understudy.training.losses import drawing_losses, drawn_inside, targets_of, weighted_sums
from understudy.training.measuring.held_out import redrawn, reference_objective

RUNS = {
    "float32": (PrecisionChoice.FP32, 0),
    "bfloat16": (PrecisionChoice.BF16, 0),
    "chance": (PrecisionChoice.BF16, 1),
}
TARGET = 0.02
LOOK_EVERY, LEARNED = 5, 12


def run(quick: bool = False) -> dict[str, Any]:
    """Loss on faces that were held out (src and dst together) over 150 iterations (quick: 20), and how far the curves
    part at the end."""
    iterations = 20 if quick else 150
    curves = {name: _curve(choice, seed, iterations) for name, (choice, seed) in RUNS.items()}
    tail = {name: float(curve[-len(curve) // 5 :].mean()) for name, curve in curves.items()}
    parted = abs(tail["bfloat16"] / tail["float32"] - 1)
    return {
        "iterations": iterations,
        "held_out_loss_first": {name: round(float(curve[0]), 3) for name, curve in curves.items()},
        "held_out_loss_last_fifth": {name: round(value, 3) for name, value in tail.items()},
        "parted_by_rounding": round(parted, 4),
        "parted_by_chance": round(abs(tail["chance"] / tail["bfloat16"] - 1), 4),
        "curves": {name: [round(float(value), 3) for value in curve] for name, curve in curves.items()},
        "target_parted": TARGET,
        "meets_target": parted <= TARGET,
    }


def _curve(choice: PrecisionChoice, seed: int, iterations: int) -> NDArray[np.float64]:
    device = best_device()
    learner = learner_of("quick96", {}, {}, choose(device.id, choice), device.torch, seed=seed)
    src, dst = _faces(0), _faces(1)
    learned, held = (
        [FaceBank(bank.pixels[part]) for bank in (src, dst)] for part in (np.s_[:LEARNED], np.s_[LEARNED:])
    )
    batches = BatchSource(*learned, batch_size=4, seed=seed, device=device.torch)
    unseen = Batch(*(_as_they_are(bank, device.torch) for bank in held))
    found = []
    for iteration in range(iterations):
        learner.learn(batches.next())
        if iteration % LOOK_EVERY == LOOK_EVERY - 1:
            found.append(_loss(learner, unseen))
    return np.array(found)


def _loss(learner: SwapLearner, faces: Batch) -> float:
    objective = replace(reference_objective(learner.objective), bare_blur=False)
    with torch.no_grad():
        targets = targets_of(faces, objective)
        drawn = redrawn(learner.net, faces.src.target, faces.dst.target)
        parts = drawing_losses(drawn, drawn_inside(drawn, targets, objective), targets, objective)
        return float(torch.stack([*weighted_sums(parts, objective.weights).values()]).sum(0).mean())


def _as_they_are(bank: FaceBank, device: torch.device) -> Sample:
    pictures, masks = bank.fetch(np.arange(len(bank)), device)
    return Sample(pictures, pictures, masks)


def _faces(person: int) -> FaceBank:
    """Sixteen drawings of one person: an oval of skin with eyes and a mouth that move, before a plain background."""
    rng = np.random.default_rng(person)
    skin, background = rng.integers(120, 220, 3), rng.integers(20, 120, 3)
    y, x = np.mgrid[0:96, 0:96]
    faces = []
    for _ in range(LEARNED + 4):
        cx, cy = rng.uniform(44, 52, 2)
        oval = ((x - cx) / 30) ** 2 + ((y - cy) / 40) ** 2 < 1
        picture = np.where(oval[..., None], skin, background).astype(np.float64)
        for dx, dy, wide, tall in ((-12, -10, 5, 3), (12, -10, 5, 3), (0, 18, 10, rng.uniform(2, 7))):
            picture[((x - cx - dx) / wide) ** 2 + ((y - cy - dy) / tall) ** 2 < 1] = 40
        picture *= (0.7 + 0.3 * x / 96)[..., None]
        faces.append(np.dstack([picture, 255 * oval]).astype(np.uint8))
    return FaceBank(np.stack(faces))
