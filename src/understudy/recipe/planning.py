"""The plan of a recipe in a workspace: what is done, what is left, and how long that may take. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from understudy.recipe.journal import Entry, Journal, State
from understudy.recipe.plan import Unit, find_unit, units_of
from understudy.recipe.records import Recipe
from understudy.training.saved.models import newest_iteration
from understudy.workspace import Workspace


@dataclass(frozen=True)
class PlannedUnit:
    """One unit of a plan. state: off, done, passed, running (begun and not ended), changed, left.

    seconds: that it took, or has taken so far. estimate: seconds that are still to come; None where nobody knows.
    """

    unit: Unit
    state: str
    seconds: float = 0.0
    estimate: float | None = None
    result: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        body: dict[str, Any] = {
            "number": self.unit.number,
            "id": self.unit.id,
            "title": self.unit.title,
            "state": self.state,
            "seconds": round(self.seconds, 3),
        }
        if self.unit.phase is not None:
            body["end"] = self.unit.phase.end.text
        if self.estimate is not None:
            body["estimate"] = round(self.estimate, 1)
        return {**body, "result": self.result} if self.result else body


def plan_of(workspace: Workspace, recipe: Recipe, *, from_: str = "", until: str = "") -> list[PlannedUnit]:
    """Every unit with how it stands. With `from_` and `until`, as a run with these would begin.

    Raises UsageError for a step that there is not, WorkspaceError for a journal that cannot be read.
    """
    journal = Journal.open(workspace, recipe.name)
    units = units_of(recipe)
    first = find_unit(units, from_) if from_ else None
    last = find_unit(units, until).number if until else len(units)
    planned, changed = [], False
    for unit in units:
        state = _state(journal, unit, last) if first is None else _state_from(journal, unit, first, last)
        if state == "left" and unit.on and journal.entry(unit) is not None:
            state = "changed"
        if changed and state == "done":  # cannot be: the key holds those before it
            state = "changed"
        changed = changed or state == "changed"
        planned.append(_planned(workspace, journal, units, unit, state))
    return planned


def _state(journal: Journal, unit: Unit, last: int) -> str:
    entry = journal.entry(unit)
    if not unit.on:
        return "off"
    if unit.number > last:
        return "not now"
    if entry is not None and journal.settled(unit):
        return str(entry.state)
    return "running" if entry is not None and entry.state is State.RUNNING else "left"


def _state_from(journal: Journal, unit: Unit, first: Unit, last: int) -> str:
    """As a run that begins with `first` takes it; one that was cut off goes on."""
    state = _state(journal, unit, last)
    if state in ("off", "not now") or journal.facts.get("from") == first.id:
        return state
    if unit.number >= first.number:
        return "left"
    return state if journal.settled(unit) else str(State.PASSED)


def _planned(workspace: Workspace, journal: Journal, units: Sequence[Unit], unit: Unit, state: str) -> PlannedUnit:
    entry = journal.entry(unit)
    seconds = entry.seconds if entry else 0.0
    result = entry.result if entry and state == "done" else {}
    estimate = None
    if state in ("left", "changed", "running"):
        estimate = _training_left(workspace, journal, units, unit) if unit.phase else _as_before(entry, state)
    return PlannedUnit(unit, state, seconds, estimate, result)


def _as_before(entry: Entry | None, state: str) -> float | None:
    """What a step took the last time, where it ran to its end."""
    return entry.seconds if entry is not None and entry.result and state != "running" else None


def _training_left(workspace: Workspace, journal: Journal, units: Sequence[Unit], unit: Unit) -> float | None:
    """What is left of a phase at the pace of the model's last one; its end by time where that is all there is."""
    assert unit.phase is not None
    assert unit.training is not None
    end, entry = unit.phase.end, journal.entry(unit)
    ways = []
    if end.minutes:
        ways.append(end.minutes * 60 - (entry.seconds if entry and entry.state is State.RUNNING else 0.0))
    rate = _rate(journal, units, unit.training.model)
    if end.iterations and rate:
        done = 0
        if entry is not None and entry.state is State.RUNNING and entry.start is not None:
            at = newest_iteration(workspace.model(unit.training.model)) or 0
            done = min(end.iterations, max(0, at - entry.start))
        ways.append((end.iterations - done) / rate)
    return max(0.0, min(ways)) if ways else None


def _rate(journal: Journal, units: Sequence[Unit], model: str) -> float | None:
    """Iterations a second of the last phase of this model that says so."""
    known = [
        (entry.ended, entry.result["rate"])
        for unit in units
        if unit.training and unit.training.model == model and (entry := journal.entry(unit)) and "rate" in entry.result
    ]
    return float(max(known)[1]) if known else None
