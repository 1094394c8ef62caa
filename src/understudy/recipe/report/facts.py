"""Everything that the page says, gathered from the journal and from what the models have written down. Reads only."""

from __future__ import annotations

import contextlib
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from understudy import __version__
from understudy.devices import available, cpu_model, physical_cores
from understudy.errors import UnderstudyError
from understudy.recipe.journal import Entry, Journal, State
from understudy.recipe.plan import Unit
from understudy.recipe.records import Recipe
from understudy.training.history import FILE_NAME as HISTORY
from understudy.training.history import History
from understudy.training.measuring.evaluations import FILE_NAME as EVALUATIONS
from understudy.training.measuring.evaluations import Evaluations
from understudy.training.saved.models import is_model, read_record
from understudy.workspace import Workspace

SHOWN_STATES = {State.DONE: "done", State.RUNNING: "begun", State.PASSED: "passed over"}


@dataclass(frozen=True)
class StepFacts:
    """One unit: how it stands, how long it took, its options as given, what came of it."""

    number: int
    title: str
    state: str
    seconds: float
    about: str = ""
    options: dict[str, str] = field(default_factory=dict)
    outcome: str = ""


@dataclass(frozen=True)
class PhaseFacts:
    """One phase that has begun. first, last: iterations. ended: by what, in words."""

    name: str
    about: str
    first: int
    last: int
    ended: str
    seconds: float
    options: dict[str, str]


@dataclass(frozen=True, eq=False)
class ModelFacts:
    """A model that the recipe trains. previews: (iteration, JPEG file), in order."""

    name: str
    kind: str
    network: str
    phases: list[PhaseFacts]
    history: History
    evaluations: Evaluations
    previews: list[tuple[int, Path]]


@dataclass(frozen=True, eq=False)
class Facts:
    """The whole."""

    title: str
    about: str
    workspace: str
    written: datetime
    is_complete: bool
    steps: list[StepFacts]
    models: list[ModelFacts]
    warnings: list[tuple[str, str]]
    skipped: list[tuple[str, str]]
    variables: dict[str, str]
    text: str
    machine: dict[str, str]


class Discretion:
    """Texts without the folders of this machine, which are nobody's business who gets the page."""

    def __init__(self, workspace: Workspace, recipe: Recipe) -> None:
        self._hidden = [
            (str(folder), name) for folder, name in ((workspace.root, "."), (recipe.folder, "."), (Path.home(), "~"))
        ]

    def __call__(self, text: object) -> str:
        shown = str(text)
        for folder, name in self._hidden:
            if len(folder) > 1:
                shown = shown.replace(folder, name)
        return shown

    def value(self, value: object) -> str:
        """An option's value; of a path its last part."""
        if isinstance(value, bool):
            return "on" if value else "off"
        if isinstance(value, str) and Path(value).is_absolute():
            return Path(value).name
        return ", ".join(map(self.value, value)) if isinstance(value, list | tuple) else self(value)

    def options(self, options: Any) -> dict[str, str]:
        return {name.rstrip("_"): self.value(value) for name, value in options.items()}


def gather(workspace: Workspace, recipe: Recipe, units: Sequence[Unit], journal: Journal) -> Facts:
    """Look everything up."""
    discreet = Discretion(workspace, recipe)
    known = [(unit, journal.entry(unit) if journal.settled(unit) or _begun(journal, unit) else None) for unit in units]
    done = [entry for _, entry in known if entry is not None and entry.state is not State.RUNNING]
    return Facts(
        title=discreet(recipe.title),
        about=" ".join(discreet(recipe.about).split()),
        workspace=workspace.root.name,
        written=datetime.fromtimestamp(time.time(), UTC),
        is_complete=len(done) == len(units),
        steps=[_step(unit, entry, discreet) for unit, entry in known],
        models=_models(workspace, known, journal, discreet),
        warnings=_lines(known, "warnings", discreet),
        skipped=_lines(known, "skipped", discreet),
        variables=discreet.options(recipe.variables),
        text=discreet(recipe.text),
        machine=machine_facts(),
    )


def _begun(journal: Journal, unit: Unit) -> bool:
    entry = journal.entry(unit)
    return entry is not None and entry.state is State.RUNNING


def _step(unit: Unit, entry: Entry | None, discreet: Discretion) -> StepFacts:
    options: dict[str, Any] = {}
    if unit.phase is not None and unit.training is not None:
        options = {**unit.phase.options, **unit.training.typed, "end": unit.phase.end.text}
    elif unit.step is not None:
        options = {**unit.step.arguments, **unit.step.options}
    return StepFacts(
        number=unit.number,
        title=discreet(unit.title),
        state="to do" if entry is None else SHOWN_STATES[entry.state],
        seconds=entry.seconds if entry else 0.0,
        about=unit.phase.about if unit.phase else "",
        options=discreet.options(options),
        outcome=outcome_text(entry.result) if entry else "",
    )


def outcome_text(result: dict[str, Any]) -> str:
    """What came of a step, in few words."""
    words = []
    if "iteration" in result and "ended" in result:
        return f"iteration {result['iteration']:,}"
    for name in ("frames", "faces"):
        if name in result:
            words.append(f"{result[name]:,} {name}")
    if result.get("skipped"):
        words.append(f"{len(result['skipped'])} skipped")
    return ", ".join(words)


def _models(
    workspace: Workspace, known: Sequence[tuple[Unit, Entry | None]], journal: Journal, discreet: Discretion
) -> list[ModelFacts]:
    begun: dict[str, list[tuple[Unit, Entry]]] = {}
    for unit, entry in known:
        if unit.training is not None and entry is not None and entry.state is not State.PASSED:
            begun.setdefault(unit.training.model, []).append((unit, entry))
    return [
        _model(workspace.model(name), rows, journal, discreet)
        for name, rows in begun.items()
        if is_model(workspace.model(name))
    ]


def _model(
    folder: Path, rows: Sequence[tuple[Unit, Entry]], journal: Journal, discreet: Discretion
) -> ModelFacts:  # fmt: skip
    record = read_record(folder)
    history = History.read(folder / HISTORY)
    newest = history.iterations[-1] if len(history) else 0
    phases, previews = [], []
    for unit, entry in rows:
        assert unit.phase is not None
        last = int(entry.result.get("iteration", newest))
        phases.append(
            PhaseFacts(
                name=unit.phase.name,
                about=unit.phase.about,
                first=entry.start or 0,
                last=last,
                ended=ENDINGS.get(str(entry.result.get("ended", "")), "under way"),
                seconds=entry.seconds,
                options=discreet.options(unit.phase.options),
            )
        )
        previews += [(int(iteration), journal.pictures / str(name)) for iteration, name in entry.previews]
    sizes = {name: record.config.get(name) for name in ("size", "archi", "face_type", "ae_dims", "e_dims", "d_dims")}
    network = ", ".join(f"{name} {value}".replace("_", " ") for name, value in sizes.items() if value is not None)
    there = [row for row in dict.fromkeys(previews) if row[1].is_file()]
    return ModelFacts(
        folder.name, record.model_class, network, phases, history, Evaluations.read(folder / EVALUATIONS), there
    )  # fmt: skip


ENDINGS = {
    "target": "after all its iterations",
    "plateau": "at a plateau",
    "minutes": "when its time was up",
    "left out": "left out: it would change nothing",
    "stopped": "stopped",
}


def _lines(
    known: Sequence[tuple[Unit, Entry | None]], which: str, discreet: Discretion
) -> list[tuple[str, str]]:  # fmt: skip
    """(where, what) of every warning or skipped item."""
    lines = []
    for unit, entry in known:
        if entry is None:
            continue
        if which == "warnings":
            rows = [(item, message) for item, message in entry.warnings]
        else:
            rows = [(str(row["item"]), str(row["reason"])) for row in entry.result.get("skipped", [])]
        lines += [
            (discreet(f"{unit.title}: {item}" if item else unit.title), discreet(message)) for item, message in rows
        ]
    return list(dict.fromkeys(lines))


def machine_facts() -> dict[str, str]:
    """What computed all this: names and versions, nothing that tells whose machine it is."""
    import psutil
    import torch

    gpus = [device.name for device in available() if device.kind != "cpu"]
    facts = {
        "understudy": __version__,
        "Python": platform.python_version(),
        "PyTorch": str(torch.__version__),
        "System": f"{platform.system()} {platform.machine()}",
        "Processor": f"{cpu_model()}, {physical_cores()} cores",
        "Memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
    }
    if gpus:
        facts["Graphics"] = ", ".join(gpus)
    with contextlib.suppress(UnderstudyError, AttributeError, RuntimeError):
        facts |= {"CUDA": str(torch.version.cuda)} if torch.version.cuda and gpus else {}
    return facts
