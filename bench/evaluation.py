"""What an evaluation costs: milliseconds of each part, and the share of a training that it takes.

A Quick96 model of full size is measured on 32 faces of each side at 96 px, as training does every 500 iterations; the
swap with landmarks, likeness and flicker comes with every fourth. Beside them a training step of batch 4.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import torch
from torch import nn

from understudy.demo.footage import Performer, draw_shot
from understudy.devices import best_device
from understudy.facesets import Face, FaceMeta
from understudy.geometry import affine, transform
from understudy.networks.quick96 import Quick96
from understudy.records import FaceType
from understudy.training.batches.samples import BatchSource
from understudy.training.faces.bank import FaceBank
from understudy.training.learning.learner import prepare
from understudy.training.learning.precision import choose, computing_in
from understudy.training.learning.step import SwapLearner
from understudy.training.measuring.evaluating import SWAP_EVERY
from understudy.training.measuring.held_out import HeldOut, Sides, reference_objective
from understudy.training.options import TrainOptions
from understudy.training.options.evaluation import EvaluationOptions
from understudy.training.recipes import RECIPES

BATCH = 4
FRAMES = 40
TARGET_SHARE = 0.03


def run(quick: bool = False) -> dict[str, Any]:
    """Medians of 5 rounds (quick: 1)."""
    rounds = 1 if quick else 5
    device = best_device()
    precision = choose(device.id)
    net = Quick96(generator=torch.Generator().manual_seed(0))
    prepare(net, precision, device.torch)
    recipe, options = RECIPES["quick96"], TrainOptions()
    objective = recipe.objective(net.config, options, False)
    learner = SwapLearner(net, recipe.optimiser(net, options, precision, seed=0), objective)
    src, dst = (_bank(performer) for performer in (Performer.ASTRONAUT, Performer.ADMIRAL))
    batches = BatchSource(src, dst, batch_size=BATCH, device=device.torch)
    held_out = HeldOut.of(Sides(src, dst), src, dst, run=range(32), face_type=net.config.face_type, device=device.torch)
    reference = reference_objective(objective)

    def step() -> None:
        float(learner.learn(next(batches))["src"])

    def as_it_trains() -> nn.Module:
        return computing_in(net, precision.torch_dtype)

    judge = held_out.judge
    first = _ms(lambda: held_out.measure(as_it_trains(), reference, swap=True), 1)  # the classifier of likeness learns
    step_ms = _ms(step, 2 + rounds)
    wide = _ms(lambda: held_out.measure(net, reference), rounds)
    cheap = _ms(lambda: held_out.measure(as_it_trains(), reference), rounds)
    kept = _ms(lambda: held_out.held_losses(as_it_trains(), reference), rounds)
    with torch.no_grad():
        swap = _ms(lambda: judge.measure(as_it_trains(), device.torch), rounds)
    crops = dst.pixels[:32, ..., :3].copy()
    likeness = _ms(lambda: judge.likeness(crops), rounds)
    every = EvaluationOptions().evaluate_every
    mean = cheap + swap / SWAP_EVERY
    return {
        "device": device.name,
        "rows": [
            {"part": "a training step of batch 4", "ms": step_ms},
            {"part": "an evaluation: losses, SSIM, IoU", "ms": cheap},
            {"part": "the same in float32", "ms": wide},
            {"part": "what a save measures: held-out losses", "ms": kept},
            {"part": f"the swap, in one of {SWAP_EVERY}: landmarks, pose, likeness, flicker", "ms": swap},
            {"part": "of it likeness", "ms": likeness},
            {"part": "the first swap, for which the classifier of likeness learns", "ms": first},
        ],
        "every": every,
        "share_of_training": round(mean / (every * step_ms), 4),
        "target_share": TARGET_SHARE,
        "meets_target": mean / (every * step_ms) <= TARGET_SHARE,
    }


def _ms(work: Callable[[], object], rounds: int) -> float:
    taken = []
    for _ in range(rounds):
        begun = time.perf_counter()
        work()
        taken.append(1000 * (time.perf_counter() - begun))
    return round(statistics.median(taken), 1)


class _Ready:
    def __init__(self, name: str, face: Face) -> None:
        self.name, self._face = name, face

    def read(self) -> Face:
        return self._face


def _bank(performer: Performer) -> FaceBank:
    shot = draw_shot(performer, frames=FRAMES, size=(320, 240))
    faces = []
    for index, landmarks in enumerate(shot.truth.landmarks):
        matrix = transform(landmarks, 192, FaceType.WHOLE_FACE)
        picture = cv2.warpAffine(shot.frame(index), matrix, (192, 192), flags=cv2.INTER_CUBIC)
        meta = FaceMeta(FaceType.WHOLE_FACE, affine.apply(matrix, landmarks))
        faces.append(_Ready(f"{index:05d}_0.jpg", Face(np.asarray(picture, np.uint8), meta)))
    return FaceBank.load(faces, size=96, face_type=FaceType.FULL)
