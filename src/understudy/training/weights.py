"""Saved weights put into a network."""

from __future__ import annotations

from torch import nn

from understudy.errors import IncompatibleModel
from understudy.training.checkpoints import Checkpoint


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
