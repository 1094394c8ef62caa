"""The order in which the faces of one side are drawn: functions of the seed and of how many were drawn before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

YAW_EDGES = np.linspace(-1.2, 1.2, 128)
"""Where the bins of `yaw_groups` begin, in radians; the last one takes everything beyond."""

Numbers = NDArray[np.int64]


class Draws(Protocol):
    """An endless order of faces without a state: to resume is to go on counting."""

    def take(self, start: int, count: int) -> Numbers:
        """Draws number start … start+count−1."""


class Sampler:
    """The order in which faces are drawn: all of them in a new shuffle, then all again.

    There is no state: draw number n is a function of the seed, so to resume is to go on counting.
    """

    def __init__(self, count: int, seed: int) -> None:
        self.count, self.seed = count, seed
        self._round = -1
        self._order: Numbers = np.empty(0, np.int64)

    def take(self, start: int, count: int) -> Numbers:
        """Draws number start … start+count−1."""
        return np.array([self._draw(number) for number in range(start, start + count)], np.int64)

    def _draw(self, number: int) -> int:
        turn, place = divmod(number, self.count)
        if turn != self._round:
            self._round = turn
            self._order = np.random.default_rng([self.seed, turn]).permutation(self.count)
        return int(self._order[place])


class GroupSampler:
    """The order in which faces are drawn where all groups of them should come equally often.

    All groups come once, in random order, before any comes again, each time with the next face of its own order.
    groups: the faces of each group, none empty. within: the order of each group's faces, by their places in it.
    """

    def __init__(self, groups: Sequence[Numbers], within: Sequence[Draws], seed: int) -> None:
        self._groups, self._within = groups, within
        self._order = Sampler(len(groups), seed)

    def take(self, start: int, count: int) -> Numbers:
        """Draws number start … start+count−1."""
        turns = np.arange(start, start + count) // len(self._groups)
        chosen = self._order.take(start, count)
        nth = [self._within[group].take(int(turn), 1)[0] for group, turn in zip(chosen, turns, strict=True)]
        return np.array([self._groups[group][face] for group, face in zip(chosen, nth, strict=True)], np.int64)


class YawSampler(GroupSampler):
    """The order in which faces are drawn where all directions should come equally often."""

    def __init__(self, yaws: NDArray[np.float64], seed: int) -> None:
        groups = yaw_groups(yaws)
        within = [Sampler(len(faces), seed_of(seed, place)) for place, faces in enumerate(groups)]
        super().__init__(groups, within, seed)


def yaw_groups(yaws: NDArray[np.float64]) -> list[Numbers]:
    """Faces (their numbers) by which way they look: 128 bins from −1.2 to 1.2 rad, with what lies beyond in the
    outermost; bins without a face are left out."""
    places = np.clip(np.searchsorted(YAW_EDGES, yaws, side="right") - 1, 0, len(YAW_EDGES) - 1)
    return _grouped(places)


def sampler_for(
    count: int,
    seed: int,
    *,
    yaws: NDArray[np.float64] | None = None,
    persons: NDArray[np.int32] | None = None,
) -> Draws:
    """The order for `count` faces. yaws: (count,) rad, where every direction should come equally often; persons:
    (count,) a number for each, where every person should; with both, every direction of each person."""
    if persons is None:
        return Sampler(count, seed) if yaws is None else YawSampler(yaws, seed)
    groups = _grouped(persons)
    within = [
        sampler_for(len(faces), seed_of(seed, place), yaws=None if yaws is None else yaws[faces])
        for place, faces in enumerate(groups)
    ]
    return GroupSampler(groups, within, seed)


def seed_of(seed: int, side: int) -> int:
    """The seed of one of several streams that a seed stands for."""
    return int(np.random.SeedSequence([seed, side]).generate_state(1)[0])


def _grouped(keys: NDArray[np.integer]) -> list[Numbers]:
    """The places of each value, in order of the values and of the places."""
    order = np.argsort(keys, kind="stable")
    starts = np.flatnonzero(np.diff(keys[order], prepend=keys[order][:1] - 1))
    return [faces.astype(np.int64) for faces in np.split(order, starts[1:])]
