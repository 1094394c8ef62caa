"""The state of an optimiser as named tensors, and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from understudy.errors import CorruptCheckpoint

Moments = Mapping[str, Mapping[str, Tensor]]
"""Moments by kind and name of their parameter."""


def kind_in(state: Mapping[str, Any]) -> str | None:
    """The kind of optimiser that a saved state says it is of; None where it does not, as an imported one."""
    return bytes(state["kind"].tolist()).decode(errors="replace") if "kind" in state else None


def as_letters(kind: str) -> Tensor:
    """A kind as a tensor of its letters."""
    return torch.tensor(list(kind.encode()), dtype=torch.uint8)


def take_moments(moments: Moments, stored: Mapping[str, Tensor]) -> list[str]:
    """Set moments to what was stored, or to zero; names of those that were missing.

    Raises CorruptCheckpoint when one has another shape than its parameter; nothing is changed then.
    """
    for kind, name, moment in _every(moments):
        _require_shape(stored.get(f"{kind}.{name}"), moment, name)
    missing = []
    for kind, name, moment in _every(moments):
        found = stored.get(f"{kind}.{name}")
        if found is None:
            moment.zero_()
            missing.append(f"{kind}.{name}")
        else:
            moment.copy_(found)
    return missing


def mend_squares(moments: Moments, square_name: str) -> int:
    """Begin anew where a mean of squares is negative or no finite number, whose root no step survives; how many were.

    Some of the reference's files have such numbers.
    """
    mended = 0
    for name, square in moments[square_name].items():
        bad = ~((square >= 0) & square.isfinite())
        count = int(bad.sum()) if square.device.type != "meta" else 0
        if count:
            for named in moments.values():
                named[name].masked_fill_(bad, 0)
            mended += count
    return mended


def notes_on(moments: Moments, missing: list[str], state: Mapping[str, Tensor], kind: str, title: str) -> list[str]:
    """What a person should know about a state with these moments missing, as sentences."""
    if not missing:
        return []
    count = sum(len(named) for named in moments.values())
    others = {found for found, dot, _ in (key.partition(".") for key in state) if dot} - set(moments)
    told = kind_in(state)
    if len(missing) == count and (others or told not in (None, kind)):
        named = told or ", ".join(sorted(others))
        return [
            f"The saved moments are of another optimiser ({named}): {title} starts with fresh ones and counts "
            f"on from iteration {int(state.get('iterations', 0))}."
        ]
    named = ", ".join(missing[:3]) + (" and others" if len(missing) > 3 else "")
    return [f"{len(missing)} of {count} saved moments are missing and start afresh: {named}."]


def _every(moments: Moments) -> Iterator[tuple[str, str, Tensor]]:
    for kind, named in moments.items():
        for name, moment in named.items():
            yield kind, name, moment


def _require_shape(stored: Tensor | None, moment: Tensor, name: str) -> None:
    if stored is not None and stored.shape != moment.shape:
        raise CorruptCheckpoint(
            f"The optimiser state has no moment that fits {name}: it is {tuple(stored.shape)} where "
            f"{tuple(moment.shape)} is needed.",
            tensor=name,
        )
