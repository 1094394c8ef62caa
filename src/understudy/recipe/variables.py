"""Variables of a recipe: `"{model}-before-gan"` in any text of it, and conditions such as `when = "gan and not df"`.

A text that is nothing but one variable becomes its value, a number or a switch; in a longer text it is spelled out.
`{{` and `}}` stand for the brackets themselves.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from understudy.errors import InvalidOption

Complain = Callable[[tuple[str | int, ...], str], None]
"""Takes the place of a fault and what is wrong there."""

LONGEST = 10_000
"""Letters that a text may have in which variables are replaced: each may hold another twice, and so on."""

_USE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}")
_WHOLE = re.compile(r"\{([^{}]*)\}")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


def substituted(value: Any, known: Mapping[str, Any], complain: Complain, at: tuple[str | int, ...] = ()) -> Any:
    """The value with every variable in its texts replaced, at any depth. Unknown ones are complained of and stay."""
    if isinstance(value, dict):
        return {name: substituted(inner, known, complain, (*at, name)) for name, inner in value.items()}
    if isinstance(value, list):
        return [substituted(inner, known, complain, (*at, index)) for index, inner in enumerate(value)]
    if not isinstance(value, str):
        return value
    whole = _WHOLE.fullmatch(value)
    if whole and whole[1] in known:
        return known[whole[1]]

    def spelled(use: re.Match[str]) -> str:
        if use[0] in ("{{", "}}"):
            return use[0][0]
        if use[1] not in known:
            complain(at, f"there is no variable {use[0]}; there are: {', '.join(known) or 'none'}")
            return use[0]
        return str(known[use[1]])

    spelled_out = _USE.sub(spelled, value)
    if len(spelled_out) > LONGEST and spelled_out != value:
        complain(at, f"with its variables replaced it has {len(spelled_out):,} letters; it may have {LONGEST:,}")
        return value
    return spelled_out


def resolved(declared: Mapping[str, Any], given: Mapping[str, Any], complain: Complain) -> dict[str, Any]:
    """The variables with what was given laid over what the recipe declares; each may use those above it.

    A value that was given must be of the kind that the declared one is.
    """
    values: dict[str, Any] = {}
    for name, default in declared.items():
        place = ("variables", name)
        if not _NAME.fullmatch(name):
            complain(place, f"{name!r} cannot be the name of a variable: letters, digits and _ only")
        value = substituted(default, values, complain, place)
        if name in given:
            try:
                value = like(given[name], value)
            except ValueError as error:
                complain(place, f"the variable {name} {error}")
        values[name] = value
    for name in given:
        if name not in declared:
            complain((), f"there is no variable {name} to set; there are: {', '.join(declared) or 'none'}")
    return values


def like(given: Any, default: Any) -> Any:
    """A given value as the kind of the default; an empty text, which stands for "not given", is of every kind.

    Raises ValueError with the end of a sentence.
    """
    if given == "":
        return given
    if isinstance(default, bool):
        if not isinstance(given, bool):
            raise ValueError(f"is true or false, not {given!r}")
    elif isinstance(default, int | float):
        if isinstance(given, bool) or not isinstance(given, int | float):
            raise ValueError(f"is a number, not {given!r}")
        if isinstance(default, int) and not isinstance(given, int) and not given.is_integer():
            raise ValueError(f"is a whole number, not {given!r}")
        try:
            return type(default)(given)
        except OverflowError:
            raise ValueError("is a number that is too large") from None
    elif isinstance(default, str):
        return str(given)
    elif not isinstance(given, type(default)):
        raise ValueError(f"is a {type(default).__name__}, not {given!r}")
    return given


def parse_settings(texts: Iterable[str]) -> dict[str, Any]:
    """`["gan=true", "model=hello"]` as values: what TOML reads as one, else the text. Raises InvalidOption."""
    values = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not _NAME.fullmatch(name.strip()):
            raise InvalidOption(f"--set {text} is no NAME=VALUE.", hint="For example: --set model=hello --set gan=true")
        try:
            values[name.strip()] = tomllib.loads(f"value = {value}")["value"]
        except (ValueError, RecursionError):  # TOMLDecodeError is a ValueError
            values[name.strip()] = value.strip()
    return values


def holds(condition: Any, known: Mapping[str, Any]) -> bool:
    """Whether a step is wanted: true, false, or names of switches with `not` and `and`. Raises ValueError."""
    if isinstance(condition, bool):
        return condition
    if not isinstance(condition, str):
        raise ValueError(f"when is a switch or a text such as 'gan and not df', not {condition!r}")
    for part in re.split(r"\s+and\s+", condition.strip()):
        negated = part.startswith("not ")
        name = part.removeprefix("not ").strip()
        if not isinstance(known.get(name), bool):
            switches = ", ".join(key for key, value in known.items() if isinstance(value, bool))
            raise ValueError(f"when asks for {name!r}, which is no switch among the variables ({switches or 'none'})")
        if known[name] == negated:
            return False
    return True
