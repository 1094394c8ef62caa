"""The config of a model from the options that people type: made for a new one, compared with that of an old one."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from understudy.errors import InvalidOption, UsageError
from understudy.networks.families import Config
from understudy.networks.quick96 import Quick96Config
from understudy.networks.saehd import SaehdConfig, multiple_of
from understudy.networks.xseg import XSegConfig
from understudy.records import Archi
from understudy.report import Note, Report, silent
from understudy.training.options import CONFIG_OPTIONS, TrainOptions, flag_of
from understudy.training.recipes import config_from_plain, recipe_for
from understudy.training.saved.models import ModelRecord


def new_config(typed: TrainOptions, report: Report = silent) -> Config:
    """The config of a new model of the class `typed.model`. Numbers are rounded as the reference rounds, with a note.

    Raises InvalidOption for an option that the class does not have and for a value that it cannot have.
    """
    recipe, asked = recipe_for(typed.model), _asked(typed)
    surplus = [name for name in asked if _field(name) not in _choices(recipe.config)]
    if surplus:
        raise InvalidOption(
            f"{recipe.model_class} models have no {_flags(surplus)}.",
            hint=f"They have {_flags(choices_of(recipe.config))}."
            if choices_of(recipe.config)
            else "All of them are the same network, of 96 px.",
        )
    if not asked:
        return recipe.config()  # type: ignore[no-any-return]
    config: Config = recipe.config.rounded(**{_field(name): value for name, value in asked.items()})
    for name, value in asked.items():
        taken = getattr(config, _field(name))
        if taken != (Archi.parse(value) if name == "archi" else value):
            report(Note(f"{flag_of(name)} {value} becomes {taken}: {_rule(name, config)}.", "warning"))
    return config


def _rule(name: str, config: Config) -> str:
    """Why an option's value was rounded."""
    if name == "resolution":
        multiple = multiple_of(config.archi) if isinstance(config, SaehdConfig) else 32  # AMP
        return f"here it is a multiple of {multiple}"
    return "it is an even number" if name.endswith("_dims") else "that is the nearest there is"


def require_same_config(record: ModelRecord, typed: TrainOptions) -> None:
    """Raise UsageError when an option asks for another network than the model has."""
    recipe = recipe_for(record.model_class)
    config = config_from_plain(recipe, record.config)
    own_class = record.model_class.lower()
    for name, value in _asked(typed).items():
        has = getattr(config, _field(name), None)
        if (Archi.parse(value) if name == "archi" else value) != has:
            raise UsageError(
                f"{flag_of(name)} {value} cannot be: this model has {'none' if has is None else has}, and a trained "
                "network keeps the architecture that it was made with.",
                hint=f"Leave {flag_of(name)} out, or start another: understudy train OTHER --model {own_class}",
            )


def _asked(typed: TrainOptions) -> dict[str, Any]:
    """The options of the architecture that were given."""
    given = {name: getattr(typed, name) for name in CONFIG_OPTIONS if name in typed.model_fields_set}
    return {name: value for name, value in given.items() if value is not None}


def _field(option: str) -> str:
    """The field of a config that an option sets."""
    return "size" if option == "resolution" else option


def _choices(config: type[Any]) -> set[str]:
    """The fields of a config that people choose; Quick96 has none, XSeg one."""
    if config is XSegConfig:
        return {"face_type"}
    return set() if config is Quick96Config else {field.name for field in fields(config)}


def choices_of(config: type[Any]) -> list[str]:
    """The options of the architecture that a class of models has, by its config."""
    return [name for name in CONFIG_OPTIONS if _field(name) in _choices(config)]


def _flags(names: list[str]) -> str:
    return ", ".join(flag_of(name) for name in names)
