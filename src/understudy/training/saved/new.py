"""Making models: new ones, and ones that begin with weights from elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from understudy.networks.families import config_to_plain, family_for
from understudy.training.history import FILE_NAME as HISTORY_NAME
from understudy.training.history import History
from understudy.training.saved.checkpoints import CheckpointStore, Tensors
from understudy.training.saved.models import new_record, publishing_model

LINES = 10_000
"""Losses that are written to a history at once."""


def new_network(model_class: str, config: Any = None, *, seed: int = 0) -> Any:
    """A network with initial weights: the same ones for the same seed. config None: the class's own numbers."""
    family = family_for(model_class)
    return family.build(config or family.config(), generator=torch.Generator().manual_seed(seed))


def create_model(
    folder: Path, model_class: str, *, config: Any = None, options: Mapping[str, Any] | None = None
) -> None:
    """Make the folder of a new model that begins with initial weights. Raises UsageError when the place is taken."""
    family = family_for(model_class)
    record = new_record(family.model_class, config_to_plain(config or family.config()))
    with publishing_model(folder, record.with_options(options or {})):
        pass


def adopt_model(
    folder: Path,
    net: Any,
    model_class: str,
    *,
    weights: Tensors,
    optimiser: Tensors | None = None,
    iteration: int = 0,
    losses: Iterable[Sequence[float]] = (),
    loss_names: Sequence[str] = ("src", "dst"),
    options: Mapping[str, Any] | None = None,
    imported_from: str = "",
    event: tuple[str, str] | None = None,
    beside: Callable[[Path], None] = lambda folder: None,
) -> None:
    """Make the folder of a model whose weights come from elsewhere, as its first saved state, by one rename.

    net: a network or whatever has its `config`. weights, optimiser: as `CheckpointStore.save` takes them. losses: of
    the iterations up to `iteration`, by `loss_names`; those of longer ago may be missing. event: what the record says
    befell the model, a word and a sentence. beside: writes more into the folder before anybody sees it.
    Raises UsageError when the place is taken, TrainingDiverged when a weight is no finite number, DiskFull.
    """
    family = family_for(model_class)
    record = new_record(family.model_class, config_to_plain(net.config), imported_from=imported_from)
    record = record.with_options(options or {})
    with publishing_model(folder, record.with_event(*event) if event else record) as temp:
        known = _write_history(temp, iteration, list(losses), loss_names)
        state = {"iteration": iteration, "images": 0, "history": known}
        CheckpointStore(temp).save(iteration, weights=weights, optimiser=optimiser, state=state)
        beside(temp)


def _write_history(folder: Path, iteration: int, losses: list[Sequence[float]], names: Sequence[str]) -> int:
    """Write the losses of the iterations up to and with `iteration`; how many they are."""
    history = History(folder / HISTORY_NAME)
    known = losses[-iteration:] if iteration else []
    first = iteration - len(known) + 1
    entries = ((first + index, dict(zip(names, values, strict=True))) for index, values in enumerate(known))
    while lines := list(islice(entries, LINES)):
        history.append(lines)
    return len(known)
