"""Moments that several processes share out among themselves (`--shard`): each updates its part of the weights.

    gradients, added up everywhere → each process moves the weights whose moments it keeps → they are sent to all

Moments take as much memory as one or two copies of the weights, on every device; shared by n processes, an n-th of it.
Weights and gradients are whole in every process.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from understudy.training.optimisers.base import Optimiser
from understudy.training.optimisers.parts import zeros_like
from understudy.training.team.team import Team


def owners(parameters: Mapping[str, Tensor], size: int) -> dict[str, int]:
    """Which of `size` processes keeps the moments of which parameter: the largest first, to whoever has least."""
    kept, found = [0] * size, {}
    for name in sorted(parameters, key=lambda name: (-parameters[name].numel(), name)):
        found[name] = kept.index(min(kept))
        kept[found[name]] += parameters[name].numel()
    return found


def make_whole(optimiser: Optimiser) -> None:
    """Let an optimiser have all its moments, those that others kept as zeros, in the order of its parameters."""
    optimiser.owned = None
    for moments in optimiser.moments.values():
        where = next(iter(moments.values())).device if moments else optimiser.device
        before = dict(moments)
        moments.clear()
        for name, weight in optimiser.parameters.items():
            moments[name] = before[name] if name in before else zeros_like(weight, where)


class Shared:
    """The optimisers of one process of a team, of which each keeps its part of the moments."""

    def __init__(self, team: Team) -> None:
        self._team = team

    def divide(self, optimisers: Iterable[Optimiser]) -> None:
        """Let go of the moments that others keep. For optimisers whose moments are whole."""
        for optimiser in optimisers:
            mine = owners(optimiser.parameters, self._team.size)
            optimiser.owned = frozenset(name for name, owner in mine.items() if owner == self._team.rank)
            for moments in optimiser.moments.values():
                for name in [name for name in moments if name not in optimiser.owned]:
                    del moments[name]

    def join(self, optimisers: Iterable[Optimiser]) -> None:
        """Have all moments in every process again. Every process must do so at the same time."""
        for optimiser in optimisers:
            whose = owners(optimiser.parameters, self._team.size)
            make_whole(optimiser)
            for moments in optimiser.moments.values():
                self._team.spread([moments[name] for name in whose], list(whose.values()))

    def spread(self, optimiser: Optimiser) -> None:
        """Bring the weights that each process has just moved to all."""
        whose = owners(optimiser.parameters, self._team.size)
        weights = [optimiser.parameters[name].detach() for name in whose]
        self._team.spread(weights, list(whose.values()))
        optimiser.take_over(name for name in whose if name not in (optimiser.owned or ()))

    def whole(self, optimiser: Optimiser) -> dict[str, Tensor]:
        """All moments, on the processor, as `state_dict` names them; empty but for the first process.

        Every process must ask at the same time.
        """
        found: dict[str, Tensor] = {}
        whose = owners(optimiser.parameters, self._team.size)
        for kind, moments in optimiser.moments.items():
            for name, owner in whose.items():
                weight = optimiser.parameters[name]
                moment = moments[name].contiguous() if name in moments else torch.empty(weight.shape)
                travelling = moment.to("cpu")
                self._team.spread([travelling], [owner])
                if self._team.leads:
                    found[f"{kind}.{name}"] = travelling
        return found
