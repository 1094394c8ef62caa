"""The order in which the faces of one side are drawn: functions of the seed and of how many were drawn before."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

YAW_EDGES = np.linspace(-1.2, 1.2, 128)
"""Where the bins of `YawSampler` begin, in radians; the last one takes everything beyond."""


class Sampler:
    """The order in which faces are drawn: all of them in a new shuffle, then all again.

    There is no state: draw number n is a function of the seed, so to resume is to go on counting.
    """

    def __init__(self, count: int, seed: int) -> None:
        self.count, self.seed = count, seed
        self._round = -1
        self._order: NDArray[np.int64] = np.empty(0, np.int64)

    def take(self, start: int, count: int) -> NDArray[np.int64]:
        """Draws number start … start+count−1."""
        return np.array([self._draw(number) for number in range(start, start + count)], np.int64)

    def _draw(self, number: int) -> int:
        turn, place = divmod(number, self.count)
        if turn != self._round:
            self._round = turn
            self._order = np.random.default_rng([self.seed, turn]).permutation(self.count)
        return int(self._order[place])


class YawSampler:
    """The order in which faces are drawn where all directions should come equally often.

    The directions from −1.2 to 1.2 rad are parted into 128 bins, with what lies beyond in the outermost. All bins that
    hold a face come once, in random order, before any comes again; so do the faces of each bin. Like `Sampler`, draw
    number n is a function of the seed.
    """

    def __init__(self, yaws: NDArray[np.float64], seed: int) -> None:
        self.seed = seed
        places = np.clip(np.searchsorted(YAW_EDGES, yaws, side="right") - 1, 0, len(YAW_EDGES) - 1)
        self._bins = [np.flatnonzero(places == place) for place in np.unique(places)]
        self._order = Sampler(len(self._bins), seed)
        self._faces = [Sampler(len(faces), seed_of(seed, place)) for place, faces in enumerate(self._bins)]

    def take(self, start: int, count: int) -> NDArray[np.int64]:
        """Draws number start … start+count−1."""
        turns = np.arange(start, start + count) // len(self._bins)
        chosen = self._order.take(start, count)
        nth = [self._faces[place].take(int(turn), 1)[0] for place, turn in zip(chosen, turns, strict=True)]
        return np.array([self._bins[place][face] for place, face in zip(chosen, nth, strict=True)], np.int64)


def seed_of(seed: int, side: int) -> int:
    """The seed of one of several streams that a seed stands for."""
    return int(np.random.SeedSequence([seed, side]).generate_state(1)[0])
