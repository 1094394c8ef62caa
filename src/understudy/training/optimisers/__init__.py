"""Optimisers as the reference defines them, on one base that works in one pass over memory.

base.py      learning rates, clipping, working copies in a smaller type, saved states, passes over memory
dropout.py   which updates learning-rate dropout keeps
kernels.py   the two pieces of arithmetic, on a processor and on a graphics card
rmsprop.py, adabelief.py   what a gradient does to the moments: a new optimiser is a file like these and a line below
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from understudy.training.optimisers.adabelief import AdaBelief
from understudy.training.optimisers.base import Optimiser, kind_in
from understudy.training.optimisers.rmsprop import RMSprop

OptimiserKind = Literal["rmsprop", "adabelief"]

KINDS: Mapping[str, type[RMSprop] | type[AdaBelief]] = MappingProxyType(
    {optimiser.kind: optimiser for optimiser in (RMSprop, AdaBelief)}
)

__all__ = ["KINDS", "AdaBelief", "Optimiser", "OptimiserKind", "RMSprop", "kind_in", "optimiser_named"]


def optimiser_named(kind: OptimiserKind) -> type[RMSprop] | type[AdaBelief]:
    """The class of an optimiser by the name that options use. Raises KeyError for another name."""
    return KINDS[kind]
