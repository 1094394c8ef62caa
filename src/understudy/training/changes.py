"""Options changed while a model trains: what was typed, checked against their ranges, locks and each other."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from pydantic.fields import FieldInfo

from understudy.errors import InvalidOption
from understudy.networks.families import Config
from understudy.options import limits_of, meta_of
from understudy.training.options import CONFIG_OPTIONS, TrainOptions, flag_of
from understudy.training.requirements import require_options_that_fit

LOCKED: Mapping[str, str] = {
    **dict.fromkeys(CONFIG_OPTIONS, "a trained network keeps the architecture that it was made with"),
    "model": "a model keeps its class",
    "pretrained": "it says what a new model begins with",
    "initial_weights": "it says what a new model begins with",
    "seed": "everything drawn since the first iteration follows from it",
    "device": "networks and samples lie there; stop the training and train again with --device",
}
"""Why an option cannot change while training runs. Others that cannot are read only when training begins."""


def changed(options: TrainOptions, given: Mapping[str, Any], fixed: Mapping[str, Any], config: Config) -> TrainOptions:
    """Options with some of them changed; values may be text, as typed.

    fixed: those that the model leaves no choice of. Raises InvalidOption, with the reason, and changes nothing then.
    """
    if not given:
        raise InvalidOption("No option was given.", hint="Such as: set gan_power=0.1 save_minutes=15")
    values: dict[str, Any] = {}
    for typed, value in given.items():
        name = _known(typed)
        values[name] = None if _is_none(value, TrainOptions.model_fields[name]) else value
    after = _validated(options, values)
    for name in values:
        if name in fixed and getattr(after, name) != fixed[name]:
            raise InvalidOption(f"{name} cannot change: models like this one always train with {fixed[name]}.")
    require_options_that_fit(config, after)
    return after


def _known(typed: str) -> str:
    """The option that was typed, as `gan_power`, `gan-power` or `--gan-power`, if it may change now."""
    name = typed.removeprefix("--").replace("-", "_")
    field = TrainOptions.model_fields.get(name)
    if field is None:
        close = difflib.get_close_matches(name, TrainOptions.model_fields, n=3)
        raise InvalidOption(
            f"There is no option {typed!r}.",
            hint=f"Was it {' or '.join(close)}?" if close else "See: understudy train --help",
        )
    if not meta_of(field).get("live"):
        why = LOCKED.get(name, f"it is read when training begins; stop it and train again with {flag_of(name)}")
        raise InvalidOption(f"{name} cannot change while the model trains: {why}.")
    return name


def _validated(options: TrainOptions, values: Mapping[str, Any]) -> TrainOptions:
    before = {name: getattr(options, name) for name in TrainOptions.model_fields}
    try:
        return TrainOptions.of(**{**before, **values})
    except InvalidOption as error:
        ranges = [f"{name}: {span}" for name in values if (span := limits_of(TrainOptions.model_fields[name]))]
        raise InvalidOption(error.message, hint="; ".join(ranges) or error.hint) from None


def _is_none(value: Any, field: FieldInfo) -> bool:
    """Whether a value stands for "not given", which options have whose default that is."""
    return field.default is None and value in (None, "", "none", "auto")
