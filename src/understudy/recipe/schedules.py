"""The training of a recipe: phases with their options and ends, from a step, from `[train]`, or from another file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from understudy.errors import InvalidOption, UnderstudyError, UsageError
from understudy.recipe.judging import At, fields_of, judged_options, unknown
from understudy.recipe.records import PATIENCE, End, Phase, Training
from understudy.recipe.toml_text import read_toml
from understudy.training.options import CONFIG_OPTIONS, TrainOptions
from understudy.workspace import Workspace

if TYPE_CHECKING:
    from understudy.recipe.reading import Reader

FOR_NEW = ("model", "pretrained", "initial_weights", *CONFIG_OPTIONS)
"""Options that only a model takes that is still to be made: they stand in `[train.new]`."""

OF_THE_END = ("target_iter", "plateau")
"""Options that `end` says."""

PHASE_OWN = ("name", "about", "when", "end", "copy_as")
END_KEYS = ("iterations", "plateau", "minutes")

MOST_ITERATIONS = 1_000_000_000
MOST_PACE = 1000


def read_training(reader: Reader, model: str, table: Mapping[str, Any], options: dict[str, Any], at: At) -> Training:
    """The phases of a step that trains: its own, those of the `schedule` that it names, or those of `[train]`."""
    if not model:
        reader.complain(at, "name is missing: which model is trained")
    else:
        _judge_name(reader, model, (*at, "name"))
    if "phase" not in table and "schedule" not in table and "train" in reader.raw:
        base = _course(reader, model, reader.table(reader.raw["train"], ("train",)), ("train",))
    elif "schedule" in table:
        base = _elsewhere(reader, model, reader.text_of(table, "schedule", at), at)
    else:
        return _course(reader, model, {**options, **_own(table)}, at)
    extra = _course(reader, model, {**options, **_own(table)}, at, needs_phases=False)
    return Training(
        model,
        _paced(base.phases, _pace(reader, table, at)),
        new={**base.new, **extra.new},
        common={**base.common, **extra.common},
    )


def _own(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: table[key] for key in ("new", "phase", "pace") if key in table}


def _course(reader: Reader, model: str, table: Mapping[str, Any], at: At, *, needs_phases: bool = True) -> Training:
    """A training from one table: `new`, `phase`, `pace`, and options that all phases share."""
    given = dict(table)
    new = reader.table(given.pop("new", {}), (*at, "new"))
    phases = reader.tables(given.pop("phase", []), (*at, "phase"))
    given.pop("pace", None)
    if needs_phases and not phases:
        reader.complain(at, 'a training has phases: [[train.phase]] or [[step.phase]], or schedule = "default"')
    read = tuple(_phase(reader, phase, (*at, "phase", index)) for index, phase in enumerate(phases))
    _refuse_same_names(reader, read, at)
    return Training(
        model,
        _paced(read, _pace(reader, table, at) if needs_phases else 1.0),
        new=_options(reader, new, (*at, "new"), new=True),
        common=_options(reader, given, at),
    )


def _elsewhere(reader: Reader, model: str, name: str, at: At) -> Training:
    """The training of another recipe: one of the package's by name, or a file beside this one."""
    from understudy.recipe.reading import load_recipe, shipped

    where = name if name in shipped() else reader.path(name)
    if where in reader.within:
        reader.complain((*at, "schedule"), f"the schedule {name} would take its phases from itself")
        return Training(model, ())
    try:
        declared = declared_variables(where)
        settings = {key: value for key, value in reader.variables.items() if key in declared}
        settings |= {"model": model} if "model" in declared else {}
        recipe = load_recipe(where, settings, model=model, within=reader.within)
    except UnderstudyError as error:
        reader.complain((*at, "schedule"), f"the schedule {name}: {error.message}")
        return Training(model, ())
    found = next((step.training for step in recipe.steps if step.training), None)
    if found is None:
        reader.complain((*at, "schedule"), f"{name} trains nothing")
        return Training(model, ())
    return Training(model, found.phases, found.new, found.common)


def declared_variables(name: Any) -> dict[str, Any]:
    """The variables that a recipe declares, as they stand in it. Raises UsageError, InvalidOption."""
    from understudy.recipe.reading import find_recipe

    path = find_recipe(name)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidOption(f"{path.name} is no text in UTF-8: {error.reason}.", hint=f"Mend {path}.") from error
    found = read_toml(text, path.name).get("variables", {})
    return found if isinstance(found, dict) else {}


def _phase(reader: Reader, table: Mapping[str, Any], at: At) -> Phase:
    name = reader.text_of(table, "name", at)
    if not name:
        reader.complain(at, "a phase has a name")
    given = {key: value for key, value in table.items() if key not in PHASE_OWN}
    if "end" not in table:
        reader.complain(at, 'a phase has an end: end = 20000, end = "plateau", end = { minutes = 90 }')
    copy_as = reader.text_of(table, "copy_as", at)
    if copy_as:
        _judge_name(reader, copy_as, (*at, "copy_as"))
    return Phase(
        name=name,
        options=_options(reader, given, at),
        end=_end(reader, table.get("end", 1), (*at, "end")),
        about=reader.text_of(table, "about", at),
        copy_as=copy_as,
        on=reader.wanted(table, at),
        line=reader.line(at),
    )


def _options(reader: Reader, given: Mapping[str, Any], at: At, *, new: bool = False) -> dict[str, Any]:
    """Training options of one table; those that belong elsewhere are complained of."""
    fields = fields_of(TrainOptions)
    kept = {}
    for key, value in given.items():
        field = fields.get(key, key)
        if field in OF_THE_END:
            reader.complain((*at, key), f'{key} is what the end of a phase says: end = 20000, end = "plateau"')
        elif new and field in fields.values() and field not in FOR_NEW:
            reader.complain((*at, key), f"{key} is for every model: it stands in [train] or in a phase, not in new")
        elif not new and field in FOR_NEW:
            reader.complain((*at, key), f"{key} is for a new model only: it stands in [train.new]")
        else:
            kept[key] = value
    known = [name for name in TrainOptions.model_fields if name not in OF_THE_END]
    return judged_options(TrainOptions, kept, at, reader.complain, folder=reader.folder, known=known)


def _end(reader: Reader, value: Any, at: At) -> End:
    """`20000`, `"plateau"`, or a table of iterations, plateau and minutes, of which the first ends the phase."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = {"iterations": value}
    elif value == "plateau":
        value = {"plateau": PATIENCE}
    if not isinstance(value, dict) or not value:
        reader.complain(at, f'end is a number of iterations, "plateau", or a table of these, not {value!r}')
        return End()
    numbers = {}
    for key, number in value.items():
        if key not in END_KEYS:
            reader.complain((*at, key), unknown("end", key, END_KEYS))
        elif not _is_number(number, MOST_ITERATIONS):
            reader.complain((*at, key), f"{key} is a number above 0 and up to {MOST_ITERATIONS:,}, not {number!r}")
        elif key != "minutes" and not float(number).is_integer():
            reader.complain((*at, key), f"{key} is a whole number, not {number!r}")
        else:
            numbers[key] = number
    return End(int(numbers.get("iterations", 0)), int(numbers.get("plateau", 0)), float(numbers.get("minutes", 0.0)))


def _pace(reader: Reader, table: Mapping[str, Any], at: At) -> float:
    value = table.get("pace", 1.0)
    if not _is_number(value, MOST_PACE):
        reader.complain((*at, "pace"), f"pace is a number above 0 and up to {MOST_PACE}, not {value!r}")
        return 1.0
    return float(value)


def _is_number(value: Any, most: float) -> bool:
    """Whether this is a number above 0, and neither more than `most` nor none at all."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= most


def _judge_name(reader: Reader, name: str, at: At) -> None:
    """Complain of a name that no model can have."""
    try:
        Workspace(reader.folder).model(name)
    except UsageError as error:
        reader.complain(at, error.message)


def _paced(phases: tuple[Phase, ...], pace: float) -> tuple[Phase, ...]:
    """The phases with their iterations multiplied."""
    if pace == 1.0:
        return phases
    return tuple(
        replace(phase, end=replace(phase.end, iterations=max(1, round(phase.end.iterations * pace))))
        if phase.end.iterations
        else phase
        for phase in phases
    )


def _refuse_same_names(reader: Reader, phases: tuple[Phase, ...], at: At) -> None:
    seen: set[str] = set()
    for index, phase in enumerate(phases):
        if phase.name and phase.name in seen:
            reader.complain((*at, "phase", index, "name"), f"two phases are called {phase.name!r}")
        seen.add(phase.name)
