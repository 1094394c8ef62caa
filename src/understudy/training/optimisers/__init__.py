"""Optimisers, two as the reference defines them and three as they were published, in one pass over memory.

base.py      working copies in a smaller type, clipping, saved states
parts.py     the work cut into pieces that suit the device
kernels.py   the arithmetic, on a processor and on a graphics card
dropout.py   which updates learning-rate dropout keeps
lengths.py   how long gradients are, and clipping by how long they were
two_moments.py   what AdaBelief and Adam have in common
rmsprop.py, adabelief.py, adam.py, lion.py   what a gradient does: a new optimiser is a file like these and a line below
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, TypeAlias

from understudy.training.optimisers.adabelief import AdaBelief
from understudy.training.optimisers.adam import Adam, AdamW
from understudy.training.optimisers.base import Optimiser
from understudy.training.optimisers.lion import Lion
from understudy.training.optimisers.rmsprop import RMSprop
from understudy.training.optimisers.saved import kind_in

OptimiserKind = Literal["rmsprop", "adabelief", "adam", "adamw", "lion"]
OptimiserType: TypeAlias = type[RMSprop] | type[AdaBelief] | type[Adam] | type[Lion]

KINDS: Mapping[str, OptimiserType] = MappingProxyType(
    {optimiser.kind: optimiser for optimiser in (RMSprop, AdaBelief, Adam, AdamW, Lion)}
)

__all__ = [
    "KINDS",
    "AdaBelief",
    "Adam",
    "AdamW",
    "Lion",
    "Optimiser",
    "OptimiserKind",
    "OptimiserType",
    "RMSprop",
    "kind_in",
    "optimiser_named",
]


def optimiser_named(kind: OptimiserKind) -> OptimiserType:
    """The class of an optimiser by the name that options use. Raises KeyError for another name."""
    return KINDS[kind]
