"""Carrying a recipe out: what is left of it, one unit after the other, each noted before it begins and when it ends."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from understudy.errors import Busy, Interrupted, UsageError
from understudy.files import write_text
from understudy.recipe.footage import bring_footage
from understudy.recipe.journal import Entry, Journal, State
from understudy.recipe.options import RunOptions
from understudy.recipe.plan import FOOTAGE, Unit, find_unit, units_of
from understudy.recipe.reading import load_recipe
from understudy.recipe.records import Recipe
from understudy.recipe.report.writing import write_report
from understudy.recipe.settling import mark_before, was_finished
from understudy.recipe.telling import Teller, telling
from understudy.recipe.variables import parse_settings
from understudy.records import Skipped
from understudy.report import Note, Progress, Report, Stop, never, silent
from understudy.stages.result import StageResult
from understudy.training.commands import Commands
from understudy.workspace import Workspace

STEP = "Recipe"
LOCK = "recipe"


def run_recipe(
    workspace: Workspace,
    recipe: str,
    options: RunOptions | None = None,
    *,
    report: Report = silent,
    stop: Stop = never,
    commands: Commands | None = None,
) -> StageResult:
    """Carry out what is left of a recipe. recipe: the name of one of the package's, or the path of a file.

    A unit that is done is not repeated as long as it and all before it are as they were in the recipe. Stopped or
    killed, the same call goes on. The notes hold `steps`, each with its result, and `report`, the page.
    Raises UsageError, InvalidOption naming every fault, Busy when another recipe runs here, what the stages raise, and
    Interrupted with everything kept.
    """
    options = options or RunOptions()
    return carry_out(
        workspace,
        load_recipe(recipe, parse_settings(options.set_)),
        options,
        report=report,
        stop=stop,
        commands=commands,
    )


def carry_out(
    workspace: Workspace,
    recipe: Recipe,
    options: RunOptions,
    *,
    report: Report = silent,
    stop: Stop = never,
    commands: Commands | None = None,
) -> StageResult:
    """As `run_recipe`, with the recipe as a record."""
    with _alone(workspace):
        journal = Journal.open(workspace, recipe.name) if not options.replace else _anew(workspace, recipe.name)
        run = _Run(workspace, recipe, journal, report, stop, commands)
        return run.over(options)


@contextlib.contextmanager
def _alone(workspace: Workspace) -> Iterator[None]:
    """Hold the workspace's place for a recipe."""
    with contextlib.ExitStack() as place:
        try:
            place.enter_context(workspace.writing(LOCK))
        except Busy as error:
            raise Busy("Another recipe runs in this workspace already.", hint=error.hint, resource=LOCK) from error
        yield


def _anew(workspace: Workspace, name: str) -> Journal:
    """An empty journal, unless a run that began anew was cut off: that one goes on."""
    journal = Journal.open_or_empty(workspace, name)
    if not journal.facts.get("replacing"):
        journal.entries.clear()
        journal.facts["replacing"] = True
    return journal


@dataclass(eq=False)
class _Run:
    """One run of a recipe."""

    workspace: Workspace
    recipe: Recipe
    journal: Journal
    report: Report
    stop: Stop
    commands: Commands | None

    def over(self, options: RunOptions) -> StageResult:
        """Do every unit that is left, and write the page."""
        began = time.perf_counter()
        units = [unit for unit in units_of(self.recipe) if unit.on]
        if not units:
            raise UsageError(
                f"Every step of {self.recipe.title} is off.",
                hint="See its switches with --list, and --set one to true.",
            )
        chosen = self._chosen(units, options)
        self._preflight(chosen)
        self._note_beginning(units, options)
        done = 0
        try:
            for unit in chosen:
                self.report(Progress(STEP, unit.number - 1, len(units), "steps"))
                if self.journal.settled(unit):
                    continue
                if self.stop():
                    raise Interrupted(
                        f"Stopped before {unit.title}; {unit.number - 1} of {len(units)} steps are done.",
                        hint="Run the recipe again, and it goes on from there.",
                    )
                self._do(unit, units)
                done += 1
                if unit.phase is not None:
                    self._write_page(units)
        except BaseException:
            self._write_page(units)
            raise
        self.report(Progress(STEP, chosen[-1].number, len(units), "steps"))
        if not done:
            self.report(
                Note("Everything of this recipe is done. Begin with a step again: --from STEP; anew: --replace.")
            )
        for fact in ("replacing", "from"):
            self.journal.facts.pop(fact, None)
        self.journal.write()
        return self._result(units, self._write_page(units), time.perf_counter() - began)

    def _chosen(self, units: list[Unit], options: RunOptions) -> list[Unit]:
        """The units that this run may do. With `from_`, those before it count as done and those after as not."""
        last = find_unit(units, options.until).number if options.until else len(units)
        first = find_unit(units, options.from_) if options.from_ else units[0]
        if last < first.number:
            raise UsageError(f"{options.until} comes before {options.from_}.", hint="See the order with --list.")
        if options.from_ and self.journal.facts.get("from") != first.id:  # else it was cut off, and goes on
            for unit in units:
                entry = self.journal.entry(unit)
                if unit.number < first.number and not self.journal.settled(unit):
                    self.journal.entries[unit.id] = Entry(unit.key, State.PASSED, began=time.time())
                elif unit.number >= first.number and entry is not None:
                    self.journal.entries[unit.id] = replace(entry, key="", state=State.DONE, start=None)
            self.journal.facts["from"] = first.id
        return [unit for unit in units if unit.number <= last]

    def _preflight(self, units: Sequence[Unit]) -> None:
        """What can be judged here and now of units that come much later."""
        trainings = [unit.training for unit in units if unit.training and not self.journal.settled(unit)]
        for training in {id(one): one for one in trainings}.values():
            from understudy.recipe.phases import require_can_be_made

            self.workspace.model(training.model)
            require_can_be_made(self.workspace, training)

    def _note_beginning(self, units: list[Unit], options: RunOptions) -> None:
        self.journal.facts |= {"title": self.recipe.title, "variables": self.recipe.variables, "run": time.time()}
        self.journal.facts.setdefault("began", time.time())
        self.journal.write()
        write_text(self.journal.folder / "recipe.toml", self.recipe.text)
        left = sum(not self.journal.settled(unit) for unit in units)
        self.report(Note(f"{self.recipe.title}: {left} of {len(units)} steps are left."))

    def _do(self, unit: Unit, units: list[Unit]) -> None:
        """Do one unit from wherever it is."""
        before = self.journal.entry(unit)
        entry = self._begin(unit, before, units)
        self.report(Note(f"{unit.number}/{len(units)} {unit.title}"))
        with telling(self.journal, unit, len(units), self.report, entry.seconds) as teller:
            try:
                result = self._finished_by_another(unit, before) or self._work(unit, entry, teller)
            except UsageError:
                self._as_it_was(unit, before)
                raise
        self.journal.finish(unit, result.as_json(), teller.seconds)

    def _begin(self, unit: Unit, before: Entry | None, units: list[Unit]) -> Entry:
        """Note that the unit is under way, before it changes anything."""
        if before is not None and before.state is State.RUNNING:
            again = before.again or before.key != unit.key
            start = before.start if before.start is not None else self._start(unit)
            entry = replace(before, key=unit.key, again=again, start=start)
        else:
            mark = mark_before(self.workspace, unit)
            entry = Entry(
                unit.key, State.RUNNING, began=time.time(), start=self._start(unit), mark=mark, again=before is not None
            )
            for later in units[unit.number :]:  # a phase that was under way begins where this one leads
                known = self.journal.entry(later)
                if known is not None and known.state is State.RUNNING:
                    self.journal.entries[later.id] = replace(known, start=None, again=True)
        self.journal.put(unit, entry)
        return entry

    def _start(self, unit: Unit) -> int | None:
        if unit.training is None or unit.phase is None:
            return None
        from understudy.recipe.phases import start_of

        return start_of(self.workspace, unit.training, unit.phase)

    def _finished_by_another(self, unit: Unit, before: Entry | None) -> StageResult | None:
        """The result of a unit that a killed process had finished, where running it twice would do harm."""
        if before is None or before.state is not State.RUNNING or before.key != unit.key:
            return None
        if not was_finished(self.workspace, unit, before.mark):
            return None
        return StageResult(notes={"finished_before": True})

    def _work(self, unit: Unit, entry: Entry, teller: Teller) -> StageResult:
        if unit.id == FOOTAGE:
            return bring_footage(
                self.workspace, self.recipe.footage, may_replace=entry.again, report=teller, stop=self.stop
            )
        if unit.phase is not None:
            return self._train(unit, entry, teller)
        return self._stage(unit, entry, teller)

    def _train(self, unit: Unit, entry: Entry, teller: Teller) -> StageResult:
        from understudy.recipe.phases import run_phase

        assert unit.phase is not None
        assert unit.training is not None
        self._copy_first(unit, teller)
        return run_phase(
            self.workspace,
            unit.training,
            unit.phase,
            start=entry.start or 0,
            spent_secs=entry.seconds,
            report=teller,
            stop=self.stop,
            commands=self.commands,
        )

    def _copy_first(self, unit: Unit, teller: Teller) -> None:
        """Keep the model as it is before a phase that may spoil it."""
        assert unit.phase is not None
        assert unit.training is not None
        name, model = unit.phase.copy_as, unit.training.model
        from understudy.training.saved.models import is_model

        if not name or not is_model(self.workspace.model(model)) or is_model(self.workspace.model(name)):
            return
        from understudy.stages.model_copy import copy_model

        copy_model(self.workspace, model, name, report=teller, stop=self.stop)
        teller(Note(f"{name} is a copy of {model} as it was before {unit.phase.name}."))

    def _stage(self, unit: Unit, entry: Entry, teller: Teller) -> StageResult:
        """Call the stage. What stands in the way of a step that was run before moves to the trash: it was its own."""
        step = unit.step
        assert step is not None
        try:
            return self._call(unit, teller)
        except UsageError:
            from understudy.recipe.stage_table import STAGES

            can_replace = "replace" in STAGES[step.stage].names
            if not entry.again or not can_replace or "replace" in {**step.options, **step.arguments}:
                raise
        teller(Note(f"{unit.title}: what the step made before moves to the trash, since the recipe has changed."))
        return self._call(unit, teller, replace_=True)

    def _call(self, unit: Unit, teller: Teller, *, replace_: bool = False) -> StageResult:
        from understudy.recipe.calling import call

        assert unit.step is not None
        return call(
            self.workspace, unit.step, more={"replace": True} if replace_ else {}, report=teller, stop=self.stop
        )

    def _as_it_was(self, unit: Unit, before: Entry | None) -> None:
        """Forget that the unit was begun: it was refused before it changed anything."""
        if before is None:
            del self.journal.entries[unit.id]
        else:
            self.journal.entries[unit.id] = before
        self.journal.write()

    def _write_page(self, units: list[Unit]) -> Path | None:
        """The page; what goes wrong with it never fails the recipe."""
        try:
            return write_report(self.workspace, self.recipe, units, self.journal)
        except Exception as error:
            self.report(Note(f"The report page could not be written: {error}", "warning"))
            return None

    def _result(self, units: list[Unit], page: Path | None, seconds: float) -> StageResult:
        rows = []
        outputs: list[Path] = [page] if page else []
        skipped: list[Skipped] = []
        for unit in units:
            entry = self.journal.entry(unit)
            rows.append(row_of(unit, self.journal))
            if entry is None or not entry.result:
                continue
            skipped += [Skipped(item["item"], item["reason"]) for item in entry.result.get("skipped", [])]
            if unit.step and unit.step.stage in ("merge", "video encode", "model export-dfm", "model export-dfl"):
                outputs += [Path(path) for path in entry.result.get("outputs", [])]
        return StageResult(
            skipped=skipped,
            seconds=seconds,
            outputs=list(dict.fromkeys(outputs)),
            notes={"recipe": self.recipe.name, "steps": rows, "report": str(page) if page else None},
        )


def row_of(unit: Unit, journal: Journal) -> dict[str, Any]:
    """A unit as `--json` shows it."""
    entry = journal.entry(unit)
    state = (
        "off"
        if not unit.on
        else str(entry.state)
        if entry and (journal.settled(unit) or _is_running(entry))
        else "left"
    )
    row: dict[str, Any] = {"number": unit.number, "id": unit.id, "title": unit.title, "state": state}
    if entry is not None:
        row |= {"seconds": round(entry.seconds, 3), "result": entry.result}
    return row


def _is_running(entry: Entry) -> bool:
    return entry.state is State.RUNNING
