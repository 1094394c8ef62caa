"""Names of the people in a faceset, which stay with them however often they are looked for."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence


def stable_names(
    labels: Sequence[int], before: Sequence[str | None], given: Sequence[str | None], *, prefix: str = "person-"
) -> list[str]:
    """The name of every group, by label: what the user gave, else the name most of its faces had, else a new number.

    before: the names faces have now. A name goes to the group that holds most of its faces; numbers that are free again
    are used first.
    """
    count = max(labels, default=-1) + 1
    names: list[str | None] = [None] * count
    _hand_out(names, Counter((label, name) for label, name in zip(labels, given, strict=True) if name is not None))
    _hand_out(names, Counter((label, name) for label, name in zip(labels, before, strict=True) if name is not None))
    taken = {name.casefold() for name in names if name is not None}
    free = (f"{prefix}{number}" for number in itertools.count(1) if f"{prefix}{number}".casefold() not in taken)
    return [name if name is not None else next(free) for name in names]


def _hand_out(names: list[str | None], shares: Counter[tuple[int, str]]) -> None:
    taken = {name.casefold() for name in names if name is not None}
    for (label, name), _ in sorted(shares.items(), key=lambda item: (-item[1], item[0])):
        if names[label] is None and name.casefold() not in taken:
            names[label] = name
            taken.add(name.casefold())
