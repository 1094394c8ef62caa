"""Which faces each batch shows: a function of the seed and of what was shown before, decided without touching a pixel.

A plan can be made one batch ahead, so that its faces are fetched while the network learns from the batch before: what
it depends on lies at least two iterations back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from understudy.training.batches.replay import HardFaces
from understudy.training.batches.samplers import Draws, Sampler, sampler_for, seed_of
from understudy.training.faces.bank import FaceBank

READ_EVERY = 16
"""Iterations after which losses are read from the device, which then has to wait, to see which faces are hard."""

REPLAYS = 4
"""The stream of random numbers of what is shown again; those of the sides are 0 and 1, that of AMP's channels is 2."""

PARTNERS = 5
"""The stream of those who lend their colours."""

Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Drawing:
    """What decides about the order besides the seed. replay: share of each batch that is drawn from hard faces.
    partners: whether each src face comes with a dst face whose colours it takes on."""

    batch_size: int
    repeat_every: int = 3
    uniform_yaw: bool = False
    persons_equally: bool = False
    replay: float = 0.0
    partners: bool = False


@dataclass(frozen=True)
class Counters:
    """What was drawn so far: batches, those of them that did not repeat the one before, and faces of each side. start:
    where the faces of the newest batch begin. since: from where on each side is dealt in its present order. again: hard
    faces in the newest batch, by side."""

    iteration: int = 0
    fresh: int = 0
    position: int = 0
    start: int = 0
    since: tuple[int, int] = (0, 0)
    again: tuple[tuple[int, ...], ...] = ((), ())


class Plan(NamedTuple):
    """One batch. faces: numbers of src's and dst's, (B,) each. warped: not the repetition of the batch before.
    partners: numbers of the dst faces whose colours src's take on, (B,)."""

    counters: Counters
    faces: tuple[Numbers, Numbers]
    warped: bool
    partners: Numbers | None = None


class _Noted(NamedTuple):
    """Losses of one batch by side, (B,), still on the device or read from a saved state."""

    iteration: int
    faces: tuple[Numbers, Numbers]
    losses: tuple[Tensor, Tensor]


class Planner:
    """Plans batches one after the other. `state_dict` after a batch is all there is to know."""

    def __init__(self, banks: tuple[FaceBank, FaceBank], drawing: Drawing, seed: int) -> None:
        self.seed, self.counters = seed, Counters()
        self._noted: list[_Noted] = []
        self._deal(banks, drawing)
        self._hard = self._nothing_hard()

    def plan(self) -> Plan:
        """The batch after those that were consumed; the same one until `consume`."""
        before, drawing = self.counters, self._drawing
        if drawing.replay and (before.iteration + 1) % READ_EVERY == 0:
            self._learn_what_is_hard(until=before.iteration - 1)
        repeats = drawing.repeat_every and before.fresh and before.iteration % drawing.repeat_every == 0
        if repeats and before.start >= max(before.since):  # else those faces may be gone
            counters = replace(before, iteration=before.iteration + 1)
            return Plan(counters, self._faces(counters), warped=False, partners=self._partners(counters))
        again = self._shown_again(before.fresh + 1)
        counters = Counters(
            iteration=before.iteration + 1,
            fresh=before.fresh + 1,
            start=before.position,
            position=before.position + drawing.batch_size - len(again[0]),
            since=before.since,
            again=again,
        )
        return Plan(counters, self._faces(counters), warped=True, partners=self._partners(counters))

    def consume(self, plan: Plan) -> None:
        """Count a planned batch as drawn."""
        self.counters = plan.counters

    def note(self, plan: Plan, losses: Sequence[Tensor]) -> None:
        """Remember how hard the faces of a batch were: losses (B,) of src and dst."""
        if self._drawing.replay:
            src, dst = losses
            self._noted.append(_Noted(plan.counters.iteration, plan.faces, (src.detach(), dst.detach())))

    def change(self, banks: tuple[FaceBank, FaceBank], drawing: Drawing) -> None:
        """Plan otherwise from the next batch on. A side with other faces is dealt anew."""
        others = [bank.digest != old.digest for bank, old in zip(banks, self._banks, strict=True)]
        if not drawing.replay:
            self._noted, self._hard = [], self._nothing_hard()
        self._deal(banks, drawing)
        self._begin_anew(others)

    def state_dict(self) -> dict[str, Any]:
        """What was consumed, a few numbers, and with replay which faces are hard, a few kilobytes."""
        counters = self.counters
        state: dict[str, Any] = {
            "seed": self.seed,
            "iteration": counters.iteration,
            "fresh": counters.fresh,
            "position": counters.position,
            "start": counters.start,
            "since": list(counters.since),
            "dealt": [bank.digest for bank in self._banks],
        }
        if self._drawing.replay:
            state["again"] = [list(faces) for faces in counters.again]
            state["hard"] = [hard.state_dict() for hard in self._hard]
            state["noted"] = [
                [noted.iteration, *noted.faces, *(each.float().cpu() for each in noted.losses)] for noted in self._noted
            ]
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken; a side that has other faces by now is dealt anew."""
        self.seed = int(state["seed"])
        position = int(state["position"])
        src, dst = state.get("again", ((), ()))
        since = state.get("since", (0, 0))
        self.counters = Counters(
            int(state["iteration"]),
            int(state["fresh"]),
            position,
            int(state.get("start", max(0, position - self._drawing.batch_size))),
            (int(since[0]), int(since[1])),
            (tuple(int(face) for face in src), tuple(int(face) for face in dst)),
        )
        self._noted, self._hard = [], self._nothing_hard()
        if "hard" in state and self._drawing.replay:
            for hard, its_state in zip(self._hard, state["hard"], strict=True):
                hard.load_state_dict(its_state)
            self._noted = [_noted_from(row) for row in state["noted"]]
        self._deal(self._banks, self._drawing)
        dealt = state.get("dealt", [bank.digest for bank in self._banks])
        self._begin_anew([bank.digest != old for bank, old in zip(self._banks, dealt, strict=True)])

    def _deal(self, banks: tuple[FaceBank, FaceBank], drawing: Drawing) -> None:
        self._banks, self._drawing = banks, drawing
        self._samplers: dict[int, tuple[int, Draws]] = {}

    def _begin_anew(self, others: Sequence[bool]) -> None:
        """Deal the sides whose faces are others from here on; what was hard of them is forgotten."""
        if not any(others):
            return
        now = self.counters.position
        src, dst = (now if other else since for other, since in zip(others, self.counters.since, strict=True))
        self.counters = replace(self.counters, since=(src, dst))
        self._noted, self._hard = [], self._nothing_hard()
        self._samplers = {}

    def _nothing_hard(self) -> list[HardFaces]:
        return [HardFaces(len(bank)) for bank in self._banks]

    def _faces(self, counters: Counters) -> tuple[Numbers, Numbers]:
        src, dst = (self._of_side(side, counters) for side in (0, 1))
        return src, dst

    def _partners(self, counters: Counters) -> Numbers | None:
        """Dst faces in an order of their own, all of them before any comes again."""
        if not self._drawing.partners:
            return None
        since = counters.since[1]
        known = self._samplers.get(PARTNERS)
        if known is None or known[0] != since:
            order = Sampler(len(self._banks[1]), seed_of(seed_of(self.seed, PARTNERS), since))
            known = self._samplers[PARTNERS] = since, order
        return known[1].take(max(0, counters.start - since), self._drawing.batch_size)

    def _of_side(self, side: int, counters: Counters) -> Numbers:
        since = counters.since[side]
        again = np.array(counters.again[side][: self._drawing.batch_size], np.int64)  # it may be less by now
        first = max(0, counters.start - since)
        dealt = self._sampler(side, since).take(first, self._drawing.batch_size - len(again))
        return np.concatenate([dealt, again])

    def _sampler(self, side: int, since: int) -> Draws:
        known = self._samplers.get(side)
        if known is None or known[0] != since:
            seed, bank = seed_of(self.seed, side), self._banks[side]
            yaws = bank.yaws if self._drawing.uniform_yaw else None
            persons = bank.persons if self._drawing.persons_equally else None
            made = sampler_for(len(bank), seed_of(seed, since) if since else seed, yaws=yaws, persons=persons)
            known = self._samplers[side] = since, made
        return known[1]

    def _shown_again(self, fresh: int) -> tuple[tuple[int, ...], ...]:
        """Hard faces for a new batch, as many of each side."""
        share = self._drawing.replay
        if not share or not all(hard.ready for hard in self._hard):
            return ((), ())
        chance = np.random.default_rng([self.seed, REPLAYS, fresh])
        count = int(share * self._drawing.batch_size + chance.random())
        return tuple(tuple(hard.draw(count, chance).tolist()) for hard in self._hard)

    def _learn_what_is_hard(self, until: int) -> None:
        ready = [noted for noted in self._noted if noted.iteration <= until]
        self._noted = [noted for noted in self._noted if noted.iteration > until]
        if not ready:
            return
        losses = torch.cat([torch.stack(noted.losses, dim=1) for noted in ready]).float().cpu().numpy()
        for side, hard in enumerate(self._hard):
            hard.note(np.concatenate([noted.faces[side] for noted in ready]), losses[:, side])


def _noted_from(row: Sequence[Any]) -> _Noted:
    iteration, src, dst, of_src, of_dst = row
    faces = np.asarray(src, np.int64), np.asarray(dst, np.int64)
    return _Noted(int(iteration), faces, (torch.as_tensor(of_src), torch.as_tensor(of_dst)))
