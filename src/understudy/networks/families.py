"""The network families, by the name that people type: what each is built from, and how its config is kept.

family = family_for("SAEHD")                    # the class in a model.json, in any case
config = config_from_plain(family, stored)      # {"archi": "liae-ud", "face_type": "full_face", …} → SaehdConfig
net = family.build(config, generator=generator)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

import torch
from torch import nn

from understudy.errors import IncompatibleModel, InvalidOption
from understudy.networks.amp import Amp, AmpConfig
from understudy.networks.quick96 import Quick96, Quick96Config
from understudy.networks.saehd import DF, LIAE, SaehdConfig, saehd_network
from understudy.networks.xseg import XSeg, XSegConfig
from understudy.records import Archi, FaceType

Config: TypeAlias = SaehdConfig | AmpConfig | Quick96Config | XSegConfig
Swapper: TypeAlias = DF | LIAE | Amp
"""Quick96 is a DF."""


@dataclass(frozen=True)
class Family:
    """One class of networks.

    model_class: its name in `model.json`. config: its numbers, with their defaults. build: `build(config, generator=…)`
    gives the network with initial weights. can_swap: whether it redraws faces, or draws masks. untrained: parts that
    keep the random numbers they began with.
    """

    model_class: str
    config: type[Any]
    build: Callable[..., Any]
    can_swap: bool = True
    untrained: tuple[str, ...] = ()

    def bare(self, config: Any) -> nn.Module:
        """The network of a config without memory for its weights: on torch's device meta."""
        with torch.device("meta"):
            net = self.build(config)
        assert isinstance(net, nn.Module)
        return net


FAMILIES: dict[str, Family] = {
    "saehd": Family("SAEHD", SaehdConfig, saehd_network),
    "amp": Family("AMP", AmpConfig, Amp, untrained=("inter_src", "inter_dst")),
    "quick96": Family("Quick96", Quick96Config, Quick96),
    "xseg": Family("XSeg", XSegConfig, XSeg, can_swap=False),
}


def family_for(model_class: str) -> Family:
    """The family of a class, by its name in `model.json` or on the command line. Raises IncompatibleModel."""
    found = FAMILIES.get(model_class.lower())
    if found is None:
        known = ", ".join(family.model_class for family in FAMILIES.values())
        raise IncompatibleModel(f"Models of the class {model_class} are not known here; these are: {known}.")
    return found


def config_to_plain(config: Any) -> dict[str, Any]:
    """A config as `model.json` holds it: face type and architecture as text."""
    values = {field.name: getattr(config, field.name) for field in fields(config)}
    return {name: str(value) if isinstance(value, FaceType | Archi) else value for name, value in values.items()}


def config_from_plain(family: Family, stored: Mapping[str, Any]) -> Any:
    """The config in a `model.json`. Raises IncompatibleModel when it does not fit its class."""
    known = sorted(field.name for field in fields(family.config))
    try:
        _require_fields(stored, known)
        values = {**stored, "face_type": FaceType(stored["face_type"])}
        if values["face_type"] is FaceType.MARK_ONLY:
            raise ValueError("faces of the type mark_only are whole frames, which no network draws")
        if "archi" in known:
            values["archi"] = Archi.parse(str(stored["archi"]))
        return family.config(**values)
    except (ValueError, TypeError, InvalidOption) as error:
        raise IncompatibleModel(
            f"The config in model.json does not fit the class {family.model_class}: {error}",
            hint=f"It has the fields {', '.join(known)}; restore model.json from a copy.",
        ) from error


def _require_fields(stored: Mapping[str, Any], known: Sequence[str]) -> None:
    """Raise ValueError naming fields that are missing or unknown."""
    missing = [name for name in known if name not in stored]
    surplus = [name for name in stored if name not in known]
    if missing or surplus:
        told = [f"without {', '.join(missing)}"] if missing else []
        told += [f"with {', '.join(surplus)}, which it does not have"] if surplus else []
        raise ValueError(f"it is {' and '.join(told)}.")
