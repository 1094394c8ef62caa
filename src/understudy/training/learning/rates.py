"""How far steps go, as a function of options and counters: the class's own rates, what options change, the schedule.

    constant  ────────────      cosine  ───╮            tail  ─────────╮
                                           ╰──╮                        ╲
                                               ╰──                      ╲     each from `lr_from` to `target_iter`

and before any of them the warm-up, which counts from the moment the optimiser's moments were fresh, so that a change of
optimiser warms up too. The swing of learning-rate dropout goes on within.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import cast

from understudy.errors import InvalidOption
from understudy.training.optimisers import KINDS, Optimiser, OptimiserKind
from understudy.training.options import TrainOptions
from understudy.training.options.optimiser import LrSchedule, OptimiserChoice

FLOOR = 0.01
"""Share of the rate that a schedule ends at: a rate of 0 would train nothing when the target is passed."""

TAIL = 0.2
"""Share of the way to the target over which `tail` falls."""


@dataclass(frozen=True)
class Rates:
    """How an optimiser steps. dropout: share of the weights that a step changes. period: of the rate's swing, in
    iterations; 0: none. warmup: iterations. start, end: iterations between which the schedule runs; end 0: no schedule.
    The rest as `optimisers.settings.Settings`.
    """

    kind: OptimiserKind
    lr: float
    dropout: float = 1.0
    period: int = 0
    weight_decay: float = 0.0
    warmup: int = 0
    schedule: LrSchedule = LrSchedule.CONSTANT
    start: int = 0
    end: int = 0
    clip_norm: float = 0.0
    autoclip: float = 0.0
    guarded: bool = False

    def lr_at(self, iteration: int, age: int) -> float:
        """The learning rate of a step. iteration: those before it; age: updates since the moments were fresh."""
        rise = min(1.0, (age + 1) / self.warmup) if self.warmup else 1.0
        return self.lr * rise * self._share_at(iteration)

    def tune(self, optimiser: Optimiser, iteration: int = 0) -> None:
        """Set everything about an optimiser that may change between two steps, in place."""
        optimiser.lr, optimiser.lr_dropout = self.lr_at(iteration, optimiser.age), self.dropout
        optimiser.lr_period, optimiser.weight_decay = self.period, self.weight_decay
        optimiser.clip_norm, optimiser.autoclip, optimiser.guarded = self.clip_norm, self.autoclip, self.guarded

    def calmed(self, times: int) -> Rates:
        """These rates for a training that went wrong `times` times: half of the rate for each, clipped gradients."""
        return replace(self, lr=self.lr / 2**times, clip_norm=self.clip_norm or 1.0) if times else self

    def _share_at(self, iteration: int) -> float:
        if self.schedule is LrSchedule.CONSTANT or self.end <= self.start:
            return 1.0
        way = min(1.0, max(0.0, (iteration - self.start) / (self.end - self.start)))
        cosine = self.schedule is LrSchedule.COSINE
        left = (1 + math.cos(math.pi * way)) / 2 if cosine else min(1.0, (1 - way) / TAIL)
        return FLOOR + (1 - FLOOR) * left


def with_options(usual: Rates, options: TrainOptions) -> Rates:
    """A class's own rates as options change them."""
    asked = options.optimiser is not OptimiserChoice.AUTO
    kind = cast(OptimiserKind, str(options.optimiser)) if asked else usual.kind
    own = usual.lr * KINDS[kind].lr_share
    return replace(
        usual,
        kind=kind,
        lr=options.learning_rate or own,
        weight_decay=options.weight_decay,
        warmup=options.lr_warmup,
        schedule=options.lr_schedule,
        start=options.lr_from,
        end=options.target_iter,
        clip_norm=1.0 if options.clipgrad else 0.0,
        autoclip=options.autoclip,
        guarded=options.guard,
    )


def require_end_for_schedule(options: TrainOptions) -> None:
    """Raise InvalidOption where the learning rate should fall towards a target that there is not."""
    if options.lr_schedule is not LrSchedule.CONSTANT and options.target_iter <= options.lr_from:
        raise InvalidOption(
            f"--lr-schedule {options.lr_schedule} falls towards a target, and --target-iter is {options.target_iter}"
            + (f" with --lr-from {options.lr_from}." if options.lr_from else "."),
            hint="Say up to which iteration to train: --target-iter.",
        )
