"""From a TOML text to a recipe: read, variables replaced, and judged as a whole before anything starts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from understudy.errors import InvalidOption, UsageError
from understudy.recipe.judging import At, judged_arguments, judged_options, path_from, unknown
from understudy.recipe.records import Recipe, Step
from understudy.recipe.schedules import read_training
from understudy.recipe.stage_table import STAGES, TRAIN
from understudy.recipe.toml_lines import line_of, lines_of
from understudy.recipe.toml_text import read_toml
from understudy.recipe.variables import holds, resolved, substituted

SHIPPED = Path(__file__).with_name("shipped")
TOP = ("name", "title", "about", "workspace", "footage", "variables", "step", "train")
OWN = ("run", "id", "when", "about")
"""Keys of a step that are the recipe's own."""
OF_TRAININGS = ("phase", "schedule", "new", "pace")
"""Keys that only a step that trains has."""
_FOLDER_NAME = re.compile(r"[^\W_][\w .-]{0,80}(?<![. ])")


def shipped() -> dict[str, Path]:
    """The recipes that come with the package, by name."""
    return {path.stem: path for path in sorted(SHIPPED.glob("*.toml"))}


def find_recipe(name: str | Path) -> Path:
    """The file of a recipe that was named, one of the package's or a path. Raises UsageError."""
    known = shipped()
    if str(name) in known:
        return known[str(name)]
    path = Path(name).absolute()
    if path.is_file():
        return path
    names = ", ".join(known)
    raise UsageError(f"There is no recipe {path.name}.", hint=f"Name a file, or one of: {names}. Looked at {path}")


def load_recipe(
    name: str | Path, settings: Mapping[str, Any] | None = None, *, model: str = "", within: Sequence[Path] = ()
) -> Recipe:
    """Read a recipe and judge all of it. settings: variables with other values than the file's. model: what a file of
    phases alone trains, where it does not say. within: the recipes that take their phases from this one, the first one
    first.

    Raises UsageError when there is none, and InvalidOption that names every fault with its line.
    """
    path = find_recipe(name)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidOption(f"{path.name} is no text in UTF-8: {error.reason}.", hint=f"Mend {path}.") from error
    folder = Path.cwd() if path.parent == SHIPPED else path.parent
    return parse_recipe(text, file=path.name, folder=folder, settings=settings, model=model, within=[*within, path])


def parse_recipe(
    text: str,
    *,
    file: str = "recipe.toml",
    folder: Path | None = None,
    settings: Mapping[str, Any] | None = None,
    model: str = "",
    within: Sequence[Path] = (),
) -> Recipe:
    """A recipe from its text. file: what messages call it. folder: where its paths count from. within: its file, after
    those that take their phases from it. The rest is as `load_recipe` takes it."""
    reader = Reader(text, file, folder or Path.cwd(), settings or {}, model=model, within=within)
    recipe = reader.recipe()
    reader.require_sound()
    return recipe


class Reader:
    """Reads one text and gathers what is wrong with it."""

    def __init__(
        self,
        text: str,
        file: str,
        folder: Path,
        settings: Mapping[str, Any],
        *,
        model: str = "",
        within: Sequence[Path] = (),
    ) -> None:
        self.text, self.file, self.folder, self.model, self.within = text, file, folder, model, within
        raw = read_toml(text, file)
        self._lines = lines_of(text)
        self.faults: list[tuple[int, str]] = []
        declared = self.table(raw.pop("variables", {}), ("variables",))
        self.variables = resolved(declared, settings, self.complain)
        self.raw: dict[str, Any] = substituted(raw, self.variables, self.complain)

    def complain(self, at: At, message: str) -> None:
        """Note a fault."""
        self.faults.append((self.line(at), message))

    def line(self, at: At) -> int:
        return line_of(self._lines, at)

    def require_sound(self) -> None:
        """Raise InvalidOption with everything that was complained of."""
        if not self.faults:
            return
        faults = [f"  line {line}: {message}" for line, message in sorted(dict.fromkeys(self.faults))]
        count = "one fault" if len(faults) == 1 else f"{len(faults)} faults"
        raise InvalidOption(
            "\n".join([f"{self.file} has {count}; nothing was started:", *faults]),
            hint="Stages, options and values are those of the commands: docs/guide/recipes.md, understudy --help",
        )

    def recipe(self) -> Recipe:
        for key in self.raw:
            if key not in TOP:
                self.complain((key,), unknown("key", key, TOP))
        given = self.text_of(self.raw, "name", (), Path(self.file).stem)
        name = given if _FOLDER_NAME.fullmatch(given) else re.sub(r"[^\w.-]+", "-", given).strip(".-_ ") or "recipe"
        if "name" in self.raw and name != given:
            self.complain(("name",), f"{given!r} cannot be the name of a folder")
        workspace = self.text_of(self.raw, "workspace", ())
        return Recipe(
            name=name,
            title=self.text_of(self.raw, "title", (), given),
            about=self.text_of(self.raw, "about", ()).strip(),
            steps=self._steps(),
            text=self.text,
            folder=self.folder,
            workspace=self.path(workspace) if workspace else None,
            footage=self._footage(),
            variables=self.variables,
        )

    def path(self, text: str) -> Path:
        """A path of the recipe, which counts from its folder."""
        return path_from(self.folder, text)

    def table(self, value: Any, at: At) -> dict[str, Any]:
        """The value if it is a table, else nothing and a fault."""
        if isinstance(value, dict):
            return value
        self.complain(at, f"{at[-1]} is no table")
        return {}

    def tables(self, value: Any, at: At) -> list[dict[str, Any]]:
        """The value if it is a list of tables, else nothing and a fault."""
        if isinstance(value, list) and all(isinstance(item, dict) for item in value):
            return value
        self.complain(at, f"{at[-1]} is written [[{'.'.join(str(part) for part in at if isinstance(part, str))}]]")
        return []

    def text_of(self, table: Mapping[str, Any], key: str, at: At, default: str = "") -> str:
        """A text, or the default; anything else is a fault."""
        value = table.get(key, default)
        if isinstance(value, str):
            return value
        self.complain((*at, key), f"{key} is a text, not {value!r}")
        return default

    def wanted(self, table: Mapping[str, Any], at: At) -> bool:
        """Whether `when` wants a step or a phase."""
        try:
            return holds(table.get("when", True), self.variables)
        except ValueError as error:
            self.complain((*at, "when"), str(error))
            return True

    def _footage(self) -> dict[str, Path]:
        found = {}
        for side, text in self.table(self.raw.get("footage", {}), ("footage",)).items():
            if side not in ("src", "dst"):
                self.complain(("footage", side), unknown("side", side, ("src", "dst")))
            elif not isinstance(text, str):
                self.complain(("footage", side), f"{side} is the path of a video, not {text!r}")
            elif text and not self.path(text).is_file():
                self.complain(("footage", side), f"there is no file {text}")
            elif text:
                found[side] = self.path(text)
        return found

    def _steps(self) -> tuple[Step, ...]:
        tables = self.tables(self.raw.get("step", []), ("step",))
        places: list[At] = [("step", index) for index in range(len(tables))]
        if not tables and "train" in self.raw:  # a schedule alone
            tables, places = [{"run": TRAIN, "name": str(self.variables.get("model", self.model))}], [("train",)]
        elif "train" in self.raw and all(table.get("run") != TRAIN for table in tables):
            self.complain(("train", "phase"), '[train] is for nothing: no step has run = "train"')
        if not tables:
            self.complain((), "there is no [[step]] and no [train] in it")
        steps: list[Step] = []
        for table, at in zip(tables, places, strict=True):
            step = self._step(table, at, {step.id for step in steps})
            steps += [step] if step else []
        return tuple(steps)

    def _step(self, table: dict[str, Any], at: At, taken: set[str]) -> Step | None:
        run = self.text_of(table, "run", at)
        stage = STAGES.get(run)
        if stage is None:
            self.complain((*at, "run") if run else at, unknown("stage", run, STAGES) if run else "run is missing")
            return None
        own = (*OWN, *OF_TRAININGS) if run == TRAIN else OWN
        for key in set(table) & set(OF_TRAININGS) - set(stage.arguments) if run != TRAIN else ():
            self.complain((*at, key), f"{key} is for steps that train")
            del table[key]
        given = {key: value for key, value in table.items() if key not in own}
        arguments = judged_arguments(stage, given, at, self.complain, folder=self.folder)
        options = {key: value for key, value in given.items() if key not in stage.arguments}
        training = None
        if run == TRAIN:
            training = read_training(self, str(arguments.get("name", "")), table, options, at)
            options = {}
        elif stage.options:
            options = judged_options(
                stage.options, options, at, self.complain, folder=self.folder, known=list(stage.arguments)
            )
        else:
            for key in options:
                self.complain((*at, key), unknown("option", key, stage.names))
        shown = {name: argument.default for name, argument in stage.arguments.items()} | given
        return Step(
            id=_free(self.text_of(table, "id", at) or _id_of(run, arguments), taken),
            stage=run,
            title=stage.title.format_map(_Shown(shown)),
            arguments=arguments,
            options=options,
            training=training,
            on=self.wanted(table, at),
            line=self.line(at),
        )


class _Shown(dict[str, Any]):
    """What titles are made of; what is missing was complained of elsewhere."""

    def __missing__(self, key: str) -> str:
        return "?"


def _id_of(run: str, arguments: Mapping[str, Any]) -> str:
    """Such as faceset-extract-src, merge-hello."""
    own = next((str(arguments[name]) for name in ("side", "name", "new") if name in arguments), "")
    return re.sub(r"[^\w-]+", "-", f"{run} {own}".strip())


def _free(wanted: str, taken: set[str]) -> str:
    number, name = 2, wanted
    while name in taken:
        name, number = f"{wanted}-{number}", number + 1
    return name
