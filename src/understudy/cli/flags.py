"""Flags made from an options model, so that an option is declared once.

    @flags(FramesOptions)
    def frames(context: typer.Context, side: Side, options: FramesOptions) -> None: ...

Typer sees one flag per field in place of `options`. A flag that is not typed stays out of the way: the values are the
model's defaults, then the workspace's understudy.toml, then what was typed.
"""

from __future__ import annotations

import functools
import inspect
import operator
import tomllib
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Union

import typer
from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo

from understudy.cli.door import Door
from understudy.errors import InvalidOption
from understudy.options import Options, meta_of

PRESET_FILE = "understudy.toml"

Command = Callable[..., None]


def flags(model: type[Options], *, table: str, bare: str = "") -> Callable[[Command], Command]:
    """Give a command the flags of `model`; it receives the finished record as `options`.

    table: the name of this command's table in understudy.toml. bare: a field that is typed without a flag.
    """

    def decorate(command: Command) -> Command:
        own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "options"]
        made = [_parameter(name, field, bare=name == bare) for name, field in model.model_fields.items()]
        names = [parameter.name for parameter in made]

        @functools.wraps(command)
        def wrapper(**given: Any) -> None:
            typed = {name: value for name in names if (value := given.pop(name)) is not None}
            context: typer.Context = given["context"]
            known = preset(context.obj, table, model)
            command(**given, options=resolve(model, typed, preset=known, command=context.command_path))

        wrapper.__signature__ = inspect.Signature([*own, *made])  # type: ignore[attr-defined]
        wrapper.__annotations__ = {p.name: p.annotation for p in (*own, *made)}
        vars(wrapper).update(options_model=model, options_table=table, options_bare=bare)
        return wrapper

    return decorate


def resolve(
    model: type[Options], typed: Mapping[str, Any], *, preset: Mapping[str, Any], command: str = "understudy"
) -> Options:
    """Defaults, then the preset, then what was typed; typed paths count from the current folder.

    Raises InvalidOption; its message names options as they are typed, its hint the help of the command.
    """
    absolute = {name: value.absolute() if isinstance(value, Path) else value for name, value in typed.items()}
    try:
        return model.of(**{**preset, **absolute})
    except InvalidOption as error:
        where = f" (or [{', '.join(sorted(set(preset) - set(typed)))}] in {PRESET_FILE})" if preset else ""
        raise InvalidOption(error.message + where, hint=f"See: {command} --help") from None


def preset(door: Door, table: str, model: type[Options]) -> dict[str, Any]:
    """The table of the workspace's understudy.toml; names are those of flags or of fields. Raises InvalidOption."""
    path = door.folder / PRESET_FILE
    try:
        with path.open("rb") as file:
            values = tomllib.load(file).get(table, {})
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidOption(f"{PRESET_FILE} is no valid TOML: {error}", hint=f"Mend or remove {path}.") from error
    if not isinstance(values, dict):
        raise InvalidOption(f"[{table}] in {PRESET_FILE} is no table.", hint=f"Mend {path}.")
    fields: dict[str, str] = {flag_name(field)[2:]: field for field in model.model_fields}
    return {fields.get(str(name).replace("_", "-"), str(name)): value for name, value in values.items()}


def flag_name(field: str) -> str:
    """The flag of a field: image_size is --image-size, from_ is --from."""
    return "--" + field.rstrip("_").replace("_", "-")


def _parameter(name: str, field: FieldInfo, *, bare: bool) -> inspect.Parameter:
    """A field as the parameter that Typer reads; None stands for "not given"."""
    kind = plain_type(field)
    annotation, details = _typed(kind, field)
    details |= {"help": help_text(field), "show_default": False}
    if bare:
        details |= {"metavar": name.upper(), "help": f"{details['help']} {details.get('metavar', '').strip('<>')}"}
        info: Any = typer.Argument(**details)
    else:
        flag = flag_name(name)
        meta = meta_of(field)
        declaration = f"{flag}/--no-{flag[2:]}" if kind is bool else flag
        panel = meta.get("group") or "Options"
        info = typer.Option(declaration, rich_help_panel=panel, hidden=bool(meta.get("hidden")), **details)
    optional: Any = operator.getitem(Annotated, (annotation | None, info))  # of values that no type checker can know
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=optional)


def _typed(kind: Any, field: FieldInfo) -> tuple[Any, dict[str, Any]]:
    """The annotation and the details by which Typer reads a value of this type; pydantic judges it afterwards."""
    if isinstance(kind, type) and issubclass(kind, Enum):
        values = [str(member.value) for member in kind]
        return str, {
            "parser": _member_of(kind),
            "metavar": f"<{'|'.join(values)}>",
            "autocompletion": _completion(values),
        }
    if kind in (int, float):
        low, high = limits(field)
        return kind, {"min": low, "max": high}
    if kind in (bool, str, Path):
        return kind, {}
    return (list[str] if typing.get_origin(kind) in (list, tuple) else str), {}


def plain_type(field: FieldInfo) -> Any:
    """The type of a field's value apart from None; unions of several types stay as they are."""
    annotation = field.annotation
    if typing.get_origin(annotation) in (Union, types.UnionType):
        members = [member for member in typing.get_args(annotation) if member is not type(None)]
        return members[0] if len(members) == 1 else annotation
    return annotation


def limits(field: FieldInfo) -> tuple[float | None, float | None]:
    """The smallest and the largest value that a field takes, ends included."""
    low = next((item.ge for item in field.metadata if isinstance(item, Ge)), None)
    high = next((item.le for item in field.metadata if isinstance(item, Le)), None)
    return typing.cast("float | None", low), typing.cast("float | None", high)


def help_text(field: FieldInfo) -> str:
    """The description with unit, default, and limits that Typer does not show. Brackets would read as markup."""
    unit = meta_of(field).get("unit")
    notes = [str(unit)] if unit else []
    notes += [f"more than {item.gt}" for item in field.metadata if isinstance(item, Gt)]
    notes += [f"less than {item.lt}" for item in field.metadata if isinstance(item, Lt)]
    kind = plain_type(field)
    if typing.get_origin(kind) is Literal:
        notes.append("|".join(str(choice) for choice in typing.get_args(kind)))
    default = shown_default(field)
    notes += [f"default {default}"] if default else []
    text = (field.description or "").replace("[", r"\[")
    return f"{text} ({', '.join(notes)})" if notes else text


def shown_default(field: FieldInfo) -> str:
    """The default as it would be typed; empty for none."""
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None:
        return ""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list | tuple):
        return ", ".join(str(item) for item in value)
    return str(value.value if isinstance(value, Enum) else value)


def _member_of(kind: type[Enum]) -> Callable[[Any], Enum]:
    """A parser that takes the values of an enumeration, and the short forms that it knows itself."""

    def parse(text: Any) -> Enum:
        try:
            return kind(text)
        except ValueError:
            known = ", ".join(str(member.value) for member in kind)
            raise typer.BadParameter(f"{text!r} is none of: {known}.") from None

    return parse


def _completion(values: Sequence[str]) -> Callable[[str], list[str]]:
    def complete(incomplete: str) -> list[str]:
        return [value for value in values if value.startswith(incomplete)]

    return complete
