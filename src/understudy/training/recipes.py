"""What each class of model brings to the training loop, by the name that people type.

The loop knows none of them: it asks for a batch, for a step and for pictures. A new class is a new entry here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from understudy.errors import IncompatibleModel
from understudy.networks import families
from understudy.networks.families import config_to_plain as config_to_plain
from understudy.networks.quick96 import Quick96, Quick96Config
from understudy.training.optimisers import RMSprop
from understudy.training.precision import Precision
from understudy.training.preview import PreviewFaces, swapper_previews
from understudy.training.samples import Batch
from understudy.training.step import train_step

Config = Quick96Config
Net = Quick96


@dataclass(frozen=True)
class Recipe:
    """One class of model. The functions are what differs between classes; everything else is the loop's."""

    model_class: str
    config: type[Config]
    build: Callable[[Config, torch.Generator], Net]
    optimiser: Callable[[Net, Precision, int], RMSprop]
    step: Callable[[Net, RMSprop, Batch, Precision], dict[str, Tensor]]
    previews: Callable[[Net, PreviewFaces], dict[str, NDArray[np.uint8]]]
    scale_range: float
    repeat_every: int = 0
    """Every so many iterations the batch before is learned once more, from its unwarped faces; 0: never."""


def quick96_optimiser(net: Net, precision: Precision, seed: int) -> RMSprop:
    """RMSprop with three of ten updates kept, as the reference trains Quick96."""
    return RMSprop(net.named_parameters(), lr=2e-4, lr_dropout=0.3, compute=precision.torch_dtype, seed=seed)


RECIPES = {
    "quick96": Recipe(
        model_class="Quick96",
        config=Quick96Config,
        build=lambda config, generator: Quick96(config, generator=generator),
        optimiser=quick96_optimiser,
        step=train_step,
        previews=lambda net, faces: swapper_previews(net, faces, "Quick96"),
        scale_range=0.05,
        repeat_every=3,
    ),
}


def recipe_for(model_class: str) -> Recipe:
    """The recipe of a class, by its name in `model.json` or on the command line. Raises IncompatibleModel."""
    found = RECIPES.get(model_class.lower())
    if found is None:
        known = ", ".join(recipe.model_class for recipe in RECIPES.values())
        raise IncompatibleModel(f"Models of the class {model_class} are not known here; these are: {known}.")
    return found


def config_from_plain(recipe: Recipe, stored: Mapping[str, Any]) -> Config:
    """The config in a `model.json`. Raises IncompatibleModel when it does not fit its class."""
    return cast(Config, families.config_from_plain(families.family_for(recipe.model_class), stored))
