"""One declaration per option: flag, JSON schema, web form and reference page all come from it.

class FrameOptions(Options):
    fps: float = option(0, "Frames per second to keep; 0 keeps every frame.", group="Frames", unit="frames/s", ge=0)
"""

from __future__ import annotations

import types
import typing
from enum import Enum
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError
from pydantic.fields import FieldInfo

from understudy.errors import InvalidOption

META_KEY = "understudy"
"""The schema key under which group, unit, step and live are kept."""

OptionsT = TypeVar("OptionsT", bound="Options")


class Options(BaseModel):
    """A frozen record of settings that refuses unknown names."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    @classmethod
    def of(cls: type[OptionsT], **values: Any) -> OptionsT:
        """Build from keyword values, with our error instead of pydantic's.

        Raises InvalidOption naming every option at fault.
        """
        try:
            return cls(**values)
        except ValidationError as error:
            raise InvalidOption(_readable(error), hint="See docs/reference/options.md for the ranges.") from None

    def but(self: OptionsT, **values: Any) -> OptionsT:
        """A copy with some values changed, validated again."""
        return type(self).of(**{**self.model_dump(), **values})


def option(
    default: Any,
    help: str,  # noqa: A002 - the word every reader expects
    *,
    group: str,
    unit: str = "",
    step: float | None = None,
    live: bool = False,
    hidden: bool = False,
    **limits: Any,
) -> Any:
    """Declare an option. `live`: may change while the stage runs. `limits` are pydantic's, such as ge and le."""
    meta: dict[str, JsonValue] = {"group": group, "unit": unit, "step": step, "live": live, "hidden": hidden}
    return Field(default, description=help, json_schema_extra={META_KEY: meta}, **limits)


def meta_of(field: FieldInfo) -> dict[str, Any]:
    """The group, unit, step, live and hidden entries that `option()` stored with a field."""
    extra = field.json_schema_extra
    found = extra.get(META_KEY, {}) if isinstance(extra, dict) else {}
    return dict(found) if isinstance(found, dict) else {}


def limits_of(field: FieldInfo) -> str:
    """What a value may be, for a person: `0 to 5`, `more than 0`, `n, y or cpu`, `on or off`; empty for anything."""
    annotation = field.annotation
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        annotation = next(member for member in typing.get_args(annotation) if member is not type(None))
    if annotation is bool:
        return "on or off"
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        *most, last = [str(member.value) for member in annotation]
        return f"{', '.join(most)} or {last}" if most else last
    words = {"ge": "{} or more", "gt": "more than {}", "le": "at most {}", "lt": "less than {}"}
    ends = {key: getattr(item, key) for item in field.metadata for key in words if getattr(item, key, None) is not None}
    if {"ge", "le"} <= set(ends):
        return f"{ends['ge']:g} to {ends['le']:g}"
    return ", ".join(words[key].format(f"{end:g}") for key, end in ends.items())


def _readable(error: ValidationError) -> str:
    parts = []
    for item in error.errors():
        # an underscore at the end only keeps a name apart from a word of Python's; nobody types it
        name, message = ".".join(str(part) for part in item["loc"]).rstrip("_"), item["msg"]
        message = message.removeprefix("Value error, ")
        # what concerns no single option speaks of several, and of nothing but their names
        parts.append(f"{name}: {message} (given: {item.get('input')!r})" if name else message)
    return "; ".join(parts)
