"""A slow average of a network's weights, which is calmer than they are: what is drawn, measured and merged with.

    mean ← mean + (w − mean) · max(1 − d, 9 / (9 + n))        d: decay, n: updates before this one

The first update takes the weights themselves, and until as many iterations as `d` averages over are long past, the mean
covers the last ninth of the training: a young network changes too fast for a longer one (the rule is that of
TensorFlow's ExponentialMovingAverage with num_updates). Every update reads and writes the weights once, 12 bytes for
each, so only every few iterations has one, with the decay of that many at once.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

UPDATES = "updates"
"""The count in a saved state."""

LEAD = 9
"""One part in so many of a young training is averaged over."""


class Ema:
    """The average of a network. net: a network of its own that holds it, of the same kind and on the same device."""

    def __init__(self, net: nn.Module, decay: float) -> None:
        self.net = copy.deepcopy(net).requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @property
    def every(self) -> int:
        """Iterations for each update: a twentieth of what is averaged over, 10 at most."""
        return max(1, min(10, round(0.05 / (1 - self.decay))))

    @torch.no_grad()
    def follow(self, net: nn.Module, iteration: int) -> None:
        """Take in the weights of `net` after `iteration`, if it is one of those that count."""
        if iteration % self.every:
            return
        share = max(1 - self.decay**self.every, LEAD / (LEAD + self.updates))
        self.updates += 1
        torch._foreach_lerp_(list(self.net.state_dict().values()), list(net.state_dict().values()), share)

    def state_dict(self) -> dict[str, Tensor]:
        """The tensors of the network by their names, and how many updates they have had."""
        return {**self.net.state_dict(), UPDATES: torch.tensor(self.updates)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take back what `state_dict` gave."""
        self.net.load_state_dict({name: tensor for name, tensor in state.items() if name != UPDATES})
        self.updates = int(state[UPDATES])
