"""Saved weights put into a network."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from torch import nn

from understudy.errors import IncompatibleModel
from understudy.networks.families import Family, config_from_plain, family_for
from understudy.records import NEWEST, WeightsChoice
from understudy.report import Report, silent
from understudy.training.saved.checkpoints import Checkpoint, CheckpointStore, load_for_use
from understudy.training.saved.choosing import read_state
from understudy.training.saved.models import read_record


class Trained(NamedTuple):
    """The network of a model, its config in `net.config`, as it was saved at an iteration. averaged: whether its
    weights are the slow average of the trained ones."""

    family: Family
    net: nn.Module
    iteration: int
    averaged: bool = False


def trained_network(
    model_folder: Path,
    report: Report = silent,
    *,
    weights: WeightsChoice = WeightsChoice.AUTO,
    checkpoint: str = NEWEST,
) -> Trained:
    """A saved state of a model, float32 on the processor; of the newest, damaged ones are passed over with a warning.

    weights: which of them; auto takes the average where one was kept. checkpoint: newest, best or an iteration.
    Raises MissingModel when there is no model or no such state, CorruptCheckpoint when no saved state is whole,
    IncompatibleModel when it does not fit model.json or has no average where one is asked for.
    """
    record, store = read_record(model_folder), CheckpointStore(model_folder)
    family = family_for(record.model_class)
    net = family.bare(config_from_plain(family, record.config))
    found = read_state(store, checkpoint, lambda folder: load_for_use(folder, weights), report)
    load_weights(net, found, assign=True)
    return Trained(family, net, found.iteration, averaged=found.ema is not None)


def load_weights(net: nn.Module, found: Checkpoint, *, assign: bool = False) -> None:
    """Put saved weights into a network. Raises IncompatibleModel naming the first tensor that does not fit.

    assign: take the tensors of `found` themselves instead of copying them, as a network without memory of its own
    (device "meta") needs it. What else was saved, such as a discriminator, is left out.
    """
    wanted = net.state_dict()
    for name, tensor in wanted.items():
        given = found.weights.get(name)
        if given is None or given.shape != tensor.shape:
            has = "is missing" if given is None else f"is {tuple(given.shape)} where {tuple(tensor.shape)} is needed"
            raise IncompatibleModel(
                f"The saved weights are of another architecture than model.json says: {name} {has}.",
                hint="Restore model.json or the saved states from a copy; they do not belong together.",
                folder=found.folder,
            )
    net.load_state_dict({name: found.weights[name] for name in wanted}, assign=assign)
