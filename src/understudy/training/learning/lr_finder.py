"""How fast a model can learn: a range test (Smith 2017, "Cyclical Learning Rates for Training Neural Networks").

loss  ──────╮                    rates rise from step to step, each by the same factor, and the loss is watched
             ╰──╮      ╱         steepest: where it falls fastest, for a training that begins
                 ╰────╯          suggested: a tenth of the rate at which it was lowest
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from understudy.files import writing
from understudy.report import Report, Stop, never, silent, track
from understudy.training.options.optimiser import LrSchedule
from understudy.training.session import Session

SMOOTH = 0.9
"""How much of the smoothed loss each step keeps; batches differ by far more than two neighbouring rates."""
TOO_HIGH = 2.0
"""How many times the lowest loss ends the test: everything beyond is worse."""
SETTLED = 0.1
"""The share of the steps that only settles the smoothed loss."""


@dataclass(frozen=True)
class LrCurve:
    """What a range test saw. rates rise; losses are smoothed, one for each."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]

    @property
    def lowest(self) -> float:
        """The rate at which the loss was lowest."""
        first = int(SETTLED * len(self.losses))
        return self.rates[min(range(first, len(self.losses)), key=self.losses.__getitem__)]

    @property
    def steepest(self) -> float:
        """The rate at which the loss fell fastest, as far as the one at which it was lowest."""
        first, last = int(SETTLED * len(self.losses)), self.rates.index(self.lowest)
        slopes = {at: self.losses[at] - self.losses[at - 1] for at in range(max(1, first), last + 1)}
        return self.rates[min(slopes, key=slopes.__getitem__)] if slopes else self.lowest

    @property
    def suggested(self) -> float:
        """A rate with room to spare, of two digits."""
        return float(f"{self.lowest / 10:.1e}")

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "suggested": self.suggested,
            "lowest": self.lowest,
            "steepest": self.steepest,
            "rates": list(self.rates),
            "losses": list(self.losses),
        }


def range_test(
    session: Session, *, first: float, last: float, steps: int, report: Report = silent, stop: Stop = never
) -> LrCurve:
    """Train a session, which is spoilt by it, at rates that rise from `first` to `last` in so many steps.

    Ends early where the loss is no finite number, twice its lowest value, or on `stop`.
    """
    learner = session.learner
    assert learner.rates is not None
    plain = replace(learner.rates, schedule=LrSchedule.CONSTANT, warmup=0, period=0, guarded=False)
    rates: list[float] = []
    losses: list[float] = []
    mean = 0.0
    for step in track(range(steps), "Trying rates", report, stop, unit="rates"):
        rate = first * (last / first) ** (step / (steps - 1))
        learner.rates = replace(plain, lr=rate)
        values = session.step(next(session.batches))
        loss = float(sum(values[name] for name in learner.losses_kept))
        if not math.isfinite(loss):
            break
        mean = SMOOTH * mean + (1 - SMOOTH) * loss
        rates.append(rate)
        losses.append(mean / (1 - SMOOTH ** (step + 1)))
        settled = losses[int(SETTLED * steps) :]
        if settled and losses[-1] > TOO_HIGH * min(settled):
            break
    return LrCurve(tuple(rates), tuple(losses))


def draw_lr_curve(curve: LrCurve, path: Path, *, width: int = 900, height: int = 420) -> Path:
    """Draw the smoothed loss over the rates as a PNG, with the rate that is suggested."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / 100, height / 100), dpi=100, layout="tight")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot(curve.rates, curve.losses, linewidth=1.4)
    axes.axvline(curve.suggested, linestyle="--", linewidth=1, color="tab:green", label=f"{curve.suggested:g}")
    axes.set_xscale("log")
    axes.set_xlabel("learning rate")
    axes.set_ylabel("smoothed loss")
    axes.grid(alpha=0.3)
    axes.legend(title="suggested", loc="upper left")
    with writing(path) as temp:
        figure.savefig(temp, format="png")
    return path
