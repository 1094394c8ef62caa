"""What a session does with its held-out faces: measure, write down, draw, keep the best saved state, see a plateau."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from torch import nn

from understudy.errors import WorkspaceError
from understudy.report import Metrics, Note, Preview, Report, silent
from understudy.training.measuring.evaluation_curve import CURVE_NAME, draw_evaluations
from understudy.training.measuring.evaluations import FILE_NAME, Evaluations
from understudy.training.measuring.plateau import at_plateau, course_of
from understudy.training.measuring.scores import Faces, Scores
from understudy.training.previews.preview import training_going_on
from understudy.training.saved.best import keep_if_best

if TYPE_CHECKING:
    from understudy.training.options import TrainOptions
    from understudy.training.session import Session

SWAP_EVERY = 4
"""The swap, which takes longer, is measured in every so many evaluations, and in the first two."""


DRAWN_AT = 0.1
"""The curves, which take longer to draw than many evaluations, are drawn when there are so much more of them."""


class Measured(Protocol):
    """Faces that a model is measured on, the same ones for a whole run. refused: why a part is not measured."""

    @property
    def on(self) -> Faces: ...

    @property
    def refused(self) -> str: ...

    def measure(self, net: nn.Module, reference: Any, objective: Any = None, *, swap: bool = False) -> dict[str, float]:
        """Numbers by the names of `scores.MEANINGS`. reference: the objective that never changes; objective: the one
        that it is trained by now; swap: with what takes longer."""
        ...

    def held_losses(self, net: nn.Module, reference: Any) -> dict[str, float]:
        """The losses on held-out faces alone, by which saved states compare: less than half the work."""
        ...


@dataclass(eq=False)
class Evaluator:
    """The evaluations of one run. `Evaluator.open` makes it; `Session` asks it.

    reference: the objective that never changes. faces: stands for the held-out faces: `best` compares only within them.
    """

    folder: Path
    held_out: Measured
    evaluations: Evaluations
    reference: Any
    faces: str
    _measured: tuple[int, float] = (-1, math.inf)
    _drawn: int = 0
    _ended: tuple[int, TrainOptions | None, bool] = field(default=(-1, None, False))

    @classmethod
    def open(cls, folder: Path, held_out: Measured, reference: Any, *, faces: str, until: int) -> Evaluator:
        """Go on after iteration `until`; what was measured after it is measured again."""
        return cls(folder, held_out, Evaluations.open(folder / FILE_NAME, until=until), reference, faces)

    def due(self, iteration: int, options: TrainOptions) -> bool:
        """Whether the model is measured after this iteration, which it is once."""
        every = options.evaluate_every
        newest = self.evaluations.newest
        return every > 0 and iteration % every == 0 and (newest is None or newest.iteration < iteration)

    def evaluate(self, session: Session, iteration: int, report: Report = silent) -> Scores | None:
        """Measure, write it down, draw the curves and report; None where a loss is no finite number."""
        turn = iteration // max(1, session.options.evaluate_every)
        swap = turn <= 2 or turn % SWAP_EVERY == 0
        scores = self._scores(session, iteration, swap=swap, report=report)
        self._measured = (iteration, math.inf if scores is None else scores.loss)
        if scores is None:
            return None
        self.evaluations.append(scores)
        report(Metrics(iteration, told(scores)))
        if len(self.evaluations) >= (1 + DRAWN_AT) * self._drawn:
            self.draw(iteration, report)
        return scores

    def draw(self, iteration: int, report: Report = silent) -> None:
        """Draw the curves of all evaluations, unless that was done."""
        if len(self.evaluations) == self._drawn:
            return
        self._drawn = len(self.evaluations)
        with training_going_on(report):
            report(Preview("Evaluation", draw_evaluations(self.evaluations, self.folder / CURVE_NAME), iteration))

    def keep_best(self, session: Session, generation: Path, report: Report = silent) -> None:
        """Keep a state that was just saved as the best one, if it is; where faces are held out and looked at."""
        if self.held_out.on is not Faces.HELD_OUT or not session.options.evaluate_every:
            return
        loss = self._held_loss(session, int(generation.name))
        try:
            if math.isfinite(loss) and keep_if_best(self.folder, generation, loss, self.faces):
                report(Note(f"The best state so far: held-out loss {loss:.4f}.", "debug", item=generation.name))
        except WorkspaceError as error:  # the state itself is saved
            report(Note(f"The best state could not be kept beside the newest: {error.message}", "warning"))

    def go_back(self, until: int) -> None:
        """Forget everything after iteration `until`: it is measured again."""
        self.evaluations = Evaluations.open(self.folder / FILE_NAME, until=until)
        self._measured, self._ended = (-1, math.inf), (-1, None, False)

    def at_plateau(self, options: TrainOptions) -> bool:
        """Whether nothing gets better any more."""
        if options.plateau == 0 or options.evaluate_every == 0:
            return False
        count = len(self.evaluations)
        if self._ended[0] != count or self._ended[1] is not options:
            course = course_of(options.stored())
            self._ended = (count, options, at_plateau(self.evaluations, course, options.plateau))
        return self._ended[2]

    def _held_loss(self, session: Session, iteration: int) -> float:
        """What saved states compare by, of this iteration, measured once; no finite number where a loss is none."""
        if self._measured[0] != iteration:
            values = self.held_out.held_losses(session.net_to_measure(), self.reference)
            scores = Scores.from_json(Scores(iteration, values).as_json())
            self._measured = (iteration, math.inf if scores is None else scores.loss)
        return self._measured[1]

    def _scores(
        self, session: Session, iteration: int, *, swap: bool = False, report: Report = silent
    ) -> Scores | None:
        net = session.net_to_measure()
        before = self.held_out.refused
        values = self.held_out.measure(net, self.reference, session.learner.objective if swap else None, swap=swap)
        if self.held_out.refused and not before:
            report(Note(f"Likeness is not measured: {self.held_out.refused}."))
        scores = Scores(iteration, values, self.held_out.on, course_of(session.options.stored()))
        return Scores.from_json(scores.as_json())


def told(scores: Scores) -> dict[str, float]:
    """An evaluation as it is reported: every number, with `held_out`, the loss that `best` goes by, and the gap."""
    body = {"held_out": scores.loss} if scores.on is Faces.HELD_OUT else {}
    if scores.gap is not None:
        body["gap"] = scores.gap
    return {**body, **scores.values}
