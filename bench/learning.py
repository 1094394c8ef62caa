"""Networks in training for the benchmarks that time or compare them; no figures of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from understudy.records import Archi
from understudy.training.batches.samples import FaceBank
from understudy.training.learning.discriminators import SALTS, Discriminator, discriminator_networks
from understudy.training.learning.learner import prepare
from understudy.training.learning.precision import Precision
from understudy.training.learning.step import SwapLearner
from understudy.training.options import TrainOptions
from understudy.training.recipes import RECIPES


def learner_of(
    model_class: str,
    numbers: Mapping[str, Any],
    given: Mapping[str, Any],
    precision: Precision,
    device: torch.device,
    *,
    faithful: bool = False,
    kind: type[SwapLearner] = SwapLearner,
    **options: Any,
) -> SwapLearner:
    """A network with initial weights, its optimiser and its discriminators, put together as `understudy train` does.

    numbers: fields of its config, the architecture as people type it.
    """
    recipe = RECIPES[model_class]
    asked = {**recipe.defaults, **given, **options}
    chosen = TrainOptions(**asked)
    named = {**numbers, **({"archi": Archi.parse(numbers["archi"])} if "archi" in numbers else {})}
    config = recipe.config(**named)
    net = recipe.build(config, torch.Generator().manual_seed(chosen.seed))
    discriminators = discriminator_networks(config, chosen, chosen.seed)
    for network in (net, *discriminators.values()):
        prepare(network, precision, device)
    discriminators = {
        name: Discriminator(its, recipe.optimiser(its, chosen, precision, seed=chosen.seed + SALTS[name]))
        for name, its in discriminators.items()
    }
    optimiser = recipe.optimiser(net, chosen, precision, seed=chosen.seed)
    learner = kind(net, optimiser, recipe.objective(config, chosen, faithful), discriminators, chosen.seed)
    recipe.configure(learner, chosen)
    return learner


def noise_faces(size: int, count: int = 64) -> FaceBank:
    """Faces of coarse noise, for timing: arithmetic does not look at what it computes."""
    coarse = np.random.default_rng(0).integers(0, 256, (count, size // 8, size // 8, 4), dtype=np.uint8)
    return FaceBank(coarse.repeat(8, 1).repeat(8, 2))
