"""Does bfloat16 learn what float32 learns? Two Quick96 runs from the same seed on the same batches, side by side.

Both see the same faces, warps and dropout, so their loss curves differ by rounding alone; a third run of another seed
shows how far apart two curves are by chance.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from understudy.devices import best_device
from understudy.networks.quick96 import Quick96
from understudy.records import PrecisionChoice
from understudy.training.options import TrainOptions
from understudy.training.precision import choose
from understudy.training.recipes import RECIPES
from understudy.training.samples import BatchSource, FaceBank
from understudy.training.step import Learner, prepare

RUNS = {
    "float32": (PrecisionChoice.FP32, 0),
    "bfloat16": (PrecisionChoice.BF16, 0),
    "chance": (PrecisionChoice.BF16, 1),
}


def run(quick: bool = False) -> dict[str, Any]:
    """Loss (src and dst together) over 150 iterations (quick: 20), and how far the curves part at the end."""
    iterations = 20 if quick else 150
    curves = {name: _curve(choice, seed, iterations) for name, (choice, seed) in RUNS.items()}
    tail = {name: float(curve[-iterations // 5 :].mean()) for name, curve in curves.items()}
    return {
        "iterations": iterations,
        "loss_first": {name: round(float(curve[0]), 3) for name, curve in curves.items()},
        "loss_last_fifth": {name: round(value, 3) for name, value in tail.items()},
        "parted_by_rounding": round(abs(tail["bfloat16"] / tail["float32"] - 1), 4),
        "parted_by_chance": round(abs(tail["chance"] / tail["bfloat16"] - 1), 4),
        "curves": {name: [round(float(value), 3) for value in curve[::5]] for name, curve in curves.items()},
        "meets_target": abs(tail["bfloat16"] / tail["float32"] - 1) < 0.03,
    }


def _curve(choice: PrecisionChoice, seed: int, iterations: int) -> NDArray[np.float64]:
    device = best_device()
    precision = choose(device.id, choice)
    net = Quick96(generator=torch.Generator().manual_seed(seed))
    prepare(net, precision, device.torch)
    recipe, options = RECIPES["quick96"], TrainOptions()
    optimiser = recipe.optimiser(net, options, precision, seed=seed)
    learner = Learner(net, optimiser, recipe.objective(net.config, options, False))
    batches = BatchSource(_faces(0), _faces(1), batch_size=4, seed=seed, device=device.torch)
    found = []
    for _ in range(iterations):
        values = learner.learn(batches.next())
        found.append(float(values["src"] + values["dst"]))
    return np.array(found)


def _faces(person: int) -> FaceBank:
    """Six drawings of one person: an oval of skin with eyes and a mouth that move, before a plain background."""
    rng = np.random.default_rng(person)
    skin, background = rng.integers(120, 220, 3), rng.integers(20, 120, 3)
    y, x = np.mgrid[0:96, 0:96]
    faces = []
    for _ in range(6):
        cx, cy = rng.uniform(44, 52, 2)
        oval = ((x - cx) / 30) ** 2 + ((y - cy) / 40) ** 2 < 1
        picture = np.where(oval[..., None], skin, background).astype(np.float64)
        for dx, dy, wide, tall in ((-12, -10, 5, 3), (12, -10, 5, 3), (0, 18, 10, rng.uniform(2, 7))):
            picture[((x - cx - dx) / wide) ** 2 + ((y - cy - dy) / tall) ** 2 < 1] = 40
        picture *= (0.7 + 0.3 * x / 96)[..., None]
        faces.append(np.dstack([picture, 255 * oval]).astype(np.uint8))
    return FaceBank(np.stack(faces))
