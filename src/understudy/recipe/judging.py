"""Values of a recipe judged against what a stage takes, every fault named with its place."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from understudy.options import Options
from understudy.recipe.stage_table import REQUIRED, Stage
from understudy.recipe.variables import Complain

At = tuple[str | int, ...]


def fields_of(model: type[Options]) -> dict[str, str]:
    """Every way of writing an option, `from` and `image-size` among them, and the field that it means."""
    names = {name: name for name in model.model_fields}
    bare = {name.rstrip("_"): name for name in names}
    return {**{name.replace("_", "-"): field for name, field in bare.items()}, **bare, **names}


def judged_options(
    model: type[Options],
    given: Mapping[str, Any],
    at: At,
    complain: Complain,
    *,
    folder: Path,
    known: Sequence[str] = (),
) -> dict[str, Any]:
    """The options by field name, as plain values; an empty text means "not given". known: names that hints know too.

    Paths are made absolute, from the folder of the recipe.
    """
    fields, values, written = fields_of(model), {}, {}
    for key, value in given.items():
        if key not in fields:
            complain((*at, key), unknown("option", key, [*known, *(name.rstrip("_") for name in model.model_fields)]))
        elif value != "":
            values[fields[key]] = _from_folder(model, fields[key], value, folder)
            written[fields[key]] = key
    try:
        made = model(**values)
    except ValidationError as error:
        for item in error.errors():
            named = [str(part) for part in item["loc"] if str(part) in written]
            place = (*at, written[named[0]]) if named else at
            message = item["msg"].removeprefix("Value error, ")
            complain(place, f"{written[named[0]]}: {message} (given: {item['input']!r})" if named else message)
        return {}
    return made.model_dump(mode="json", include=set(values))


def judged_arguments(
    stage: Stage, given: Mapping[str, Any], at: At, complain: Complain, *, folder: Path
) -> dict[str, Any]:
    """The arguments by parameter name, as plain values; those that must be given and are not are complained of."""
    values = {}
    for name, argument in stage.arguments.items():
        parameter = argument.parameter or name
        if name not in given:
            if argument.default is REQUIRED:
                complain(at, f"{name} is missing")
            continue
        adapter = TypeAdapter(argument.kind)
        try:
            value = adapter.validate_python(given[name])
        except ValidationError as error:
            complain((*at, name), f"{name}: {error.errors()[0]['msg']} (given: {given[name]!r})")
            continue
        if isinstance(value, Path):
            value = path_from(folder, value)
        values[parameter] = adapter.dump_python(value, mode="json")
    return values


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """That there is no such thing, and what may have been meant."""
    near = difflib.get_close_matches(name.replace("-", "_"), list(known), 1, 0.6)
    return f"there is no {what} {name!r}" + (f"; {near[0]}?" if near else "")


def _from_folder(model: type[Options], field: str, value: Any, folder: Path) -> Any:
    """A path counts from the folder of the recipe; texts that may be a name or a path do where they have a folder."""
    is_path = "Path" in str(model.model_fields[field].annotation)
    may_be_path = field in ("pretrained", "engine", "pretrain_faces") and isinstance(value, str) and "/" in value
    if isinstance(value, str) and (is_path or may_be_path):
        return str(path_from(folder, value))
    return value


def path_from(folder: Path, path: str | Path) -> Path:
    """An absolute path; one that is not counts from the folder, and `~` is somebody's home where there is one."""
    with contextlib.suppress(RuntimeError):  # nobody of that name has a home
        path = Path(path).expanduser()
    return (folder / path).absolute()
