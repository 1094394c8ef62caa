"""Trouble in training, and the way back from it.

    no finite number   a loss or the length of a gradient is infinite or none at all; weights never get to see it
    loss               for 20 iterations in a row more than three times the median of the 200 before them
    contrast           for 20 readings in a row one person's faces are a tenth as varied as before: all drawn alike
    no beginning       after 300 iterations one person is drawn in a single colour: dead weights; from 600 on it is a
                       collapse like the others, since the model had begun

What is wrong is raised as TrainingDiverged where losses are read. The way back is the newest whole saved state from
before the trouble, with other random draws; for a model that never began, the beginning with other initial weights.
From the second time on it is with half the rate for each and with clipped gradients, and a saved state further back. A
thousand iterations without trouble make everything as the options say.
"""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from understudy.errors import TrainingDiverged
from understudy.training.saved.checkpoints import DIVERGED_HINT

HEALED = 1000
"""Iterations without trouble after which it is forgotten."""
RUN, BEFORE, ARMED = 20, 200, 100
"""Readings that must all be bad; readings that they are compared with at most, and at least."""
LOSS_TIMES, CONTRAST_TIMES = 3.0, 0.1
BEGUN, NOTHING = 300, 0.01
"""The iteration by which even the slowest training draws something, and a contrast of nothing at all."""


@dataclass(eq=False)
class Guard:
    """Remembers how a training has gone.

    times: ways back taken since it was last well; trouble_at: the iteration of the last trouble; back_to: where the way
    back led.
    """

    times: int = 0
    trouble_at: int = 0
    back_to: int = 0
    _losses: deque[float] = field(default_factory=lambda: deque(maxlen=BEFORE + RUN))
    _contrasts: deque[float] = field(default_factory=lambda: deque(maxlen=BEFORE + RUN))

    @property
    def calm(self) -> int:
        """How much more calmly training goes: not at all after the first time, which may have been bad luck."""
        return max(0, self.times - 1)

    @property
    def calm_until(self) -> int:
        """The iteration from which training goes as the options say again."""
        return self.trouble_at + HEALED

    def begin(self) -> None:
        """Forget how losses were, since what they measure has changed."""
        self._losses.clear()
        self._contrasts.clear()

    def watch(self, iteration: int, loss: float, contrast: float | None) -> None:
        """Look at what an iteration gave. Raises TrainingDiverged when the model has collapsed."""
        if self.times and iteration >= self.calm_until:
            self.times = 0
        self._losses.append(loss)
        if contrast is not None:
            self._contrasts.append(contrast)
        usual = _usual(self._losses)
        if usual and min(list(self._losses)[-RUN:]) > LOSS_TIMES * usual:
            raise _trouble(f"The loss has been above {LOSS_TIMES:g} times its usual {usual:.3g}", iteration)
        usual = _usual(self._contrasts)
        if usual and max(list(self._contrasts)[-RUN:]) < CONTRAST_TIMES * usual:
            raise _trouble("The faces that are drawn of one person have been all alike", iteration)
        if iteration >= BEGUN and len(self._contrasts) >= RUN and max(list(self._contrasts)[-RUN:]) < NOTHING:
            if iteration >= 2 * BEGUN:  # it had begun; what came before the last start or change is not known here
                raise _trouble("One of the two people has been drawn in a single colour", iteration)
            raise TrainingDiverged(
                f"By iteration {iteration} one of the two people is drawn in a single colour: that part of "
                "the model does not learn.",
                hint="Make the model anew, and train it with a smaller --learning-rate or with --lr-warmup 500.",
                iteration=iteration,
                began=0,
                never_began=True,
            )

    def state_dict(self) -> dict[str, int]:
        """What goes into a saved state."""
        return {"times": self.times, "trouble_at": self.trouble_at, "back_to": self.back_to}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave; of a state without it, nothing has happened."""
        self.times, self.trouble_at, self.back_to = (
            int(state.get(name, 0)) for name in ("times", "trouble_at", "back_to")
        )


def _usual(values: deque[float]) -> float:
    """The median of what was before the last run of values; 0 where too little is known."""
    before = list(values)[:-RUN]
    return statistics.median(before) if len(before) >= ARMED else 0.0


def _trouble(what: str, iteration: int) -> TrainingDiverged:
    return TrainingDiverged(
        f"{what} for {RUN} iterations at iteration {iteration}: the model has collapsed.",
        hint=DIVERGED_HINT,
        iteration=iteration,
        began=iteration - RUN,
    )
