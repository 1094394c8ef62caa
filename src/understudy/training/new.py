"""Making models: new ones, and ones that begin with weights from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from understudy.training.checkpoints import CheckpointStore
from understudy.training.history import FILE_NAME as HISTORY_NAME
from understudy.training.history import History
from understudy.training.models import new_record, publishing_model
from understudy.training.recipes import Config, Net, config_to_plain, recipe_for


def new_network(model_class: str, config: Config | None = None, *, seed: int = 0) -> Net:
    """A network with initial weights: the same ones for the same seed. config None: the class's own numbers."""
    recipe = recipe_for(model_class)
    return recipe.build(config or recipe.config(), torch.Generator().manual_seed(seed))


def create_model(
    folder: Path, model_class: str, *, config: Config | None = None, options: Mapping[str, Any] | None = None
) -> None:
    """Make the folder of a new model that begins with initial weights. Raises UsageError when the place is taken."""
    recipe = recipe_for(model_class)
    record = new_record(recipe.model_class, config_to_plain(config or recipe.config()))
    with publishing_model(folder, record.with_options(options or {})):
        pass


def adopt_model(
    folder: Path,
    net: Net,
    model_class: str,
    *,
    weights: Mapping[str, Tensor],
    optimiser: Mapping[str, Tensor] | None = None,
    iteration: int = 0,
    losses: Iterable[tuple[float, float]] = (),
    options: Mapping[str, Any] | None = None,
    imported_from: str = "",
) -> None:
    """Make the folder of a model whose weights come from elsewhere, as its first saved state, by one rename.

    net: gives the config. losses: (src, dst) of the iterations up to `iteration`; those of longer ago may be missing.
    Raises UsageError when the place is taken, TrainingDiverged when a weight is no finite number.
    """
    recipe = recipe_for(model_class)
    record = new_record(recipe.model_class, config_to_plain(net.config), imported_from=imported_from)
    with publishing_model(folder, record.with_options(options or {})) as temp:
        history = History(temp / HISTORY_NAME)
        known = list(losses)[-iteration:] if iteration else []
        first = iteration - len(known) + 1
        history.append((first + index, {"src": src, "dst": dst}) for index, (src, dst) in enumerate(known))
        state = {"iteration": iteration, "images": 0}
        CheckpointStore(temp).save(iteration, weights=weights, optimiser=optimiser, state=state)
