"""What a recipe comes to, in order: one unit for each stage and for each phase of a training, with a key.

The key of a unit is made of all that decides what comes out of it: its own stage and options, and the key of the unit
before it. So a change of the recipe changes the keys of the unit that it concerns and of all that follow, and of no
other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from understudy.errors import UsageError
from understudy.recipe.records import Phase, Recipe, Step, Training, digest, of_the_result
from understudy.recipe.stage_table import TRAIN

FOOTAGE = "footage"
"""The unit that brings the videos into the workspace."""


@dataclass(frozen=True)
class Unit:
    """One thing that is done and then is done. number: from 1 among those that are on; 0: it is off."""

    id: str
    title: str
    key: str
    number: int = 0
    step: Step | None = None
    phase: Phase | None = None

    @property
    def on(self) -> bool:
        return self.number > 0

    @property
    def training(self) -> Training | None:
        return self.step.training if self.step else None


def units_of(recipe: Recipe) -> list[Unit]:
    """Every unit of a recipe, also those that are off, which have no influence on the keys of others."""
    units: list[Unit] = []
    key = digest("recipe")
    number = 0

    def add(
        id_: str, title: str, on: bool, *parts: object, step: Step | None = None, phase: Phase | None = None
    ) -> None:
        nonlocal key, number
        own = digest(key, *parts)
        if on:
            key, number = own, number + 1
        units.append(Unit(id_, title, own, number if on else 0, step, phase))

    if recipe.footage:
        add(FOOTAGE, "Footage", True, FOOTAGE, {side: _identity(path) for side, path in recipe.footage.items()})
    for step in recipe.steps:
        if step.training is None:
            add(step.id, step.title, step.on, step.stage, step.arguments, of_the_result(step.options), step=step)
            continue
        for phase in step.training.phases:
            on = step.on and phase.on
            title = f"{step.training.model}: {phase.name}"
            add(f"{step.id}/{phase.name}", title, on, *_phase_parts(step.training, phase), step=step, phase=phase)
    return units


def _phase_parts(training: Training, phase: Phase) -> tuple[object, ...]:
    options = {**training.common, **phase.options, **training.typed}
    others = [name for name in of_the_result(dict.fromkeys(training.named)) if name not in options]
    end = (phase.end.iterations, phase.end.plateau, phase.end.minutes)
    return (TRAIN, training.model, of_the_result(options), others, of_the_result(training.new), end)


def _identity(path: Path) -> list[object]:
    """What changes when a file is another one; nothing of it when it is not there."""
    try:
        status = path.stat()
    except OSError:
        return [str(path)]
    return [str(path), status.st_size, status.st_mtime_ns]


def find_unit(units: Sequence[Unit], name: str) -> Unit:
    """The unit that a person named: by its id, its last part, or the beginning of its id where only one begins so.

    Raises UsageError.
    """
    found = next(filter(None, ([unit for unit in units if unit.on and fits(unit, name)] for fits in _FITTING)), [])
    if len(found) == 1 or (found and found[0].step is not None and found[0].step.id == name):
        return found[0]
    known = ", ".join(unit.id for unit in units if unit.on)
    what = "no step" if not found else "more than one step"
    raise UsageError(f"There is {what} {name!r} in this recipe.", hint=f"Its steps: {known}")


_FITTING: tuple[Callable[[Unit, str], bool], ...] = (
    lambda unit, name: unit.id == name,
    lambda unit, name: unit.id.rpartition("/")[2] == name,
    lambda unit, name: unit.step is not None and unit.step.id == name,
    lambda unit, name: unit.id.startswith(name),
)
"""Ways in which a name fits a unit, the closest first."""
