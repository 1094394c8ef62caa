"""Options of the reference, turned into ours and back: `data.dat` ↔ config and training options.

    reference                               ours
    resolution, face_type, archi, …_dims    config, which cannot change: size, face_type, archi, …
    everything else that is known           training options of the same names, held to their ranges
    whatever is not known                   kept in the model's reference record, for the way back

An option's value is the model's own where it has one, else that of the class's default options, else the one that is
built in; `None` counts as not given (spec: weights, 8 and 9).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from understudy.errors import IncompatibleModel, UnderstudyError
from understudy.geometry.face_types import SHORT_NAMES
from understudy.records import Archi, FaceType

Values = dict[str, Any]


@dataclass(frozen=True)
class OurOptions:
    """Options of the reference in our terms. notes: what had to be changed or is not known here, sentence by sentence.

    config: as `model.json` holds it. training: plain values by the names of training options.
    """

    config: Values
    training: Values
    notes: list[str]


@dataclass(frozen=True)
class Known:
    """One option of the reference. ours: its name in our config, "" for a training option. plain: our value of theirs.

    theirs: the inverse of `plain`, in plain Python. from_defaults: whether the class's default options are asked.
    """

    default: Any
    plain: Callable[[Any], Any]
    ours: str = ""
    theirs: Callable[[Any], Any] = lambda value: value
    from_defaults: bool = True


def to_ours(model_class: str, options: Mapping[str, Any], defaults: Mapping[str, Any] | None = None) -> OurOptions:
    """Config and training options of a model of the reference.

    options: as in `data.dat`. defaults: those of `CLASS_default_options.dat`, for what `options` lacks.
    Raises IncompatibleModel for a value of the architecture that makes no sense; one of training is a note.
    """
    known = known_options(model_class)
    given, notes = _upgraded(model_class, options)
    config = dict(FIXED_CONFIG.get(model_class, {}))
    training: Values = {}
    for name, option in known.items():
        value, is_guess = _value(name, option, given, defaults or {})
        if is_guess and option.ours:
            notes.append(f"The options do not say {name}; {value} is assumed.")
        try:
            ours = option.plain(value)
        except (ValueError, TypeError, OverflowError, UnderstudyError) as error:
            if option.ours:
                raise IncompatibleModel(
                    f"The option {name} of this model is {_shown(value)}, which makes no network.",
                    hint=getattr(error, "hint", "") or "Its data.dat is damaged, or of a program that is not known.",
                    option=name,
                ) from error
            notes.append(f"The option {name} is {_shown(value)}, which makes no sense here; it stays at its default.")
            continue
        if option.ours:
            config[option.ours] = ours
        elif name in given or name in (defaults or {}):
            training[name] = ours
            if _differs(ours, value):
                notes.append(f"The option {name} is {_shown(value)}, out of its range; {ours} is used.")
    unknown = [name for name in options if name not in known and name not in UPGRADED.get(model_class, ())]
    if unknown:
        notes.append(f"Not known here, and kept for the way back: {listed(unknown)}.")
    return OurOptions(config, training, notes)


def to_theirs(
    model_class: str,
    config: Mapping[str, Any],
    training: Mapping[str, Any],
    kept: Mapping[str, Any] | None = None,
) -> Values:
    """The reference's options of a model: the inverse of `to_ours`.

    kept: the options of the file that it was imported from. What still means the same keeps its value, its type and its
    place; what has changed takes the type that it had; what is new comes behind it, as plain Python.
    """
    before = dict(kept or {})
    meant = _meaning(model_class, before)
    made: Values = dict(before)
    for name, option in known_options(model_class).items():
        source, key = (config, option.ours) if option.ours else (training, name)
        ours = source.get(key)
        if ours is None:
            if name not in before and not option.ours:
                made[name] = _default(name, option, config)
            continue
        if name in before and name in meant and _same(meant[name], ours):
            continue
        made[name] = _typed_like(before.get(name), option.theirs(ours))
    return made


def listed(names: Iterable[Any], most: int = 8) -> str:
    """Names out of a file, for a sentence: not too many, and nothing that a terminal could stumble over."""
    shown = [str(name).encode("ascii", "backslashreplace").decode()[:40] for name in names]
    more = f" and {len(shown) - most} more" if len(shown) > most else ""
    return ", ".join(shown[:most]) + more


def known_options(model_class: str) -> Mapping[str, Known]:
    """The options of a class, in the reference's order. Raises IncompatibleModel for another class."""
    try:
        return OPTIONS[model_class]
    except KeyError:
        raise IncompatibleModel(
            f"Models of the class {model_class} are not known; these are: {', '.join(OPTIONS)}."
        ) from None


def _value(name: str, option: Known, given: Values, defaults: Mapping[str, Any]) -> tuple[Any, bool]:
    """The value that counts, and whether the model's own options do not say it."""
    if given.get(name) is not None:
        return given[name], False
    if option.from_defaults and defaults.get(name) is not None:
        return defaults[name], True
    return option.default, True


def _default(name: str, option: Known, config: Mapping[str, Any]) -> Any:
    return max(3, int(config["size"]) // 8) if name == "gan_patch_size" and "size" in config else option.default


def _upgraded(model_class: str, options: Mapping[str, Any]) -> tuple[Values, list[str]]:
    """Options of an older version by today's names."""
    given, notes = {str(name): value for name, value in options.items()}, []
    old = UPGRADED.get(model_class, ())
    if "random_flip" in old and given.get("random_flip") is not None:
        missing = [name for name in ("random_src_flip", "random_dst_flip") if given.get(name) is None]
        given.update(dict.fromkeys(missing, given["random_flip"]))
        if missing:
            notes.append(f"The old option random_flip stands for {' and '.join(missing)}.")
    if "eyes_prio" in old and "eyes_prio" in given:
        notes.append("The old option eyes_prio is not used any more; eyes_mouth_prio is another one.")
    return given, notes


def _meaning(model_class: str, before: Values) -> Values:
    """What `to_ours` makes of every option that was kept, by the reference's names."""
    given, _ = _upgraded(model_class, before)
    meant: Values = {}
    for name, option in known_options(model_class).items():
        value, _ = _value(name, option, given, {})
        try:
            meant[name] = option.plain(value)
        except (ValueError, TypeError, OverflowError, UnderstudyError):
            continue
    return meant


def _same(one: Any, other: Any) -> bool:
    are_numbers = _is_number(one) and _is_number(other)
    return (are_numbers or type(one) is type(other)) and bool(one == other)


def _differs(ours: Any, theirs: Any) -> bool:
    """Whether a number or a word had to be changed to be an option of ours."""
    if isinstance(theirs, np.generic):
        theirs = theirs.item()
    if isinstance(ours, bool) or isinstance(theirs, bool):
        return False
    return ours != theirs if _is_number(theirs) else False


def _typed_like(before: Any, value: Any) -> Any:
    """`value` in the type of `before` where that can hold it, else as it is."""
    if isinstance(before, np.generic) and isinstance(value, bool | int | float):
        made = before.dtype.type(value)
        return made if made == value or isinstance(value, float) else value
    if type(before) is float and _is_number(value):
        return float(value)
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    text = repr(value.item() if isinstance(value, np.generic) else value)
    return text if len(text) <= 60 else f"{text[:57]}…"


# -- values


def _plain_number(value: Any) -> Any:
    """A finite number of Python's, from one of NumPy's too. Raises ValueError for anything else."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("no number")
    return value


def _whole(low: int, high: int | None = None) -> Callable[[Any], int]:
    """A whole number, held to its range."""

    def plain(value: Any) -> int:
        number = int(_plain_number(value))
        return max(low, number if high is None else min(number, high))

    return plain


def _positive(value: Any) -> int:
    """A dimension of the network: taken as it is, since the weights decide whether it fits."""
    number = _plain_number(value)
    if number != int(number) or not 1 <= number <= 2**20:
        raise ValueError("no dimension")
    return int(number)


def _real(low: float, high: float) -> Callable[[Any], float]:
    return lambda value: min(max(float(_plain_number(value)), low), high)


def _morph_factor(value: Any) -> float:
    number = float(_plain_number(value))
    if not 0 <= number <= 1:
        raise ValueError("no share")
    return number


def _truth(value: Any) -> bool:
    if isinstance(value, np.generic):
        value = value.item()
    if value in ("y", "n"):
        return bool(value == "y")
    if not isinstance(value, bool | int):
        raise ValueError("neither yes nor no")
    return bool(value)


def _word(*words: str) -> Callable[[Any], str]:
    def plain(value: Any) -> str:
        word = str(value).lower()
        if word not in words:
            raise ValueError("no such word")
        return word

    return plain


def _dropout(value: Any) -> str:
    """`y`, `n` or `cpu`; older models say yes or no."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool):
        return "y" if value else "n"
    return _word("n", "y", "cpu")(value)


def _face_type(value: Any) -> str:
    """Our name of a face type, of their short one; a model has one of those that people type."""
    face_type = FaceType(str(value))
    if face_type not in SHORT_NAMES.values():
        raise ValueError("no face type of a model")
    return str(face_type)


def _short_face_type(value: str) -> str:
    return next(short for short, face_type in SHORT_NAMES.items() if face_type == value)


def _archi(value: Any) -> str:
    return str(Archi.parse(str(value)))


# -- what is known

_YES, _NO = Known(True, _truth), Known(False, _truth)
_FLIPS = {"random_src_flip": _NO, "random_dst_flip": _YES}
_COMMON = {
    "autobackup_hour": Known(0, _whole(0, 24)),
    "write_preview_history": _NO,
    "target_iter": Known(0, _whole(0)),
    **_FLIPS,
    "batch_size": Known(8, _whole(1, 512)),
    "gan_power": Known(0.0, _real(0.0, 5.0)),
}


def _gan(size: int) -> dict[str, Known]:
    return {"gan_patch_size": Known(size // 8, _whole(3, 640)), "gan_dims": Known(16, _whole(4, 512))}


def _network(size: int, face_type: str) -> dict[str, Known]:
    return {
        "resolution": Known(size, _positive, "size"),
        "face_type": Known(face_type, _face_type, "face_type", _short_face_type),
        "models_opt_on_gpu": _YES,
    }


def _dims(*names: str) -> dict[str, Known]:
    defaults = {"ae_dims": 256, "inter_dims": 1024, "e_dims": 64, "d_dims": 64, "d_mask_dims": 22}
    return {name: Known(defaults[name], _positive, name) for name in names}


OPTIONS: dict[str, dict[str, Known]] = {
    "SAEHD": {
        **_network(128, "f"),
        "archi": Known("liae-ud", _archi, "archi"),
        **_dims("ae_dims", "e_dims", "d_dims", "d_mask_dims"),
        "masked_training": _YES,
        "eyes_mouth_prio": _NO,
        "uniform_yaw": _NO,
        "blur_out_mask": _NO,
        "adabelief": _YES,
        "lr_dropout": Known("n", _dropout),
        "random_warp": _YES,
        "random_hsv_power": Known(0.0, _real(0.0, 0.3)),
        "true_face_power": Known(0.0, _real(0.0, 1.0)),
        "face_style_power": Known(0.0, _real(0.0, 100.0)),
        "bg_style_power": Known(0.0, _real(0.0, 100.0)),
        "ct_mode": Known("none", _word("none", "rct", "lct", "mkl", "idt", "sot")),
        "clipgrad": _NO,
        "pretrain": _NO,
        **_COMMON,
        **_gan(128),
    },
    "AMP": {
        **_network(224, "wf"),
        **_dims("ae_dims", "inter_dims", "e_dims", "d_dims", "d_mask_dims"),
        "morph_factor": Known(0.5, _morph_factor, "morph_factor", from_defaults=False),
        "uniform_yaw": _NO,
        "blur_out_mask": _NO,
        "lr_dropout": Known("n", _dropout),
        "random_warp": _YES,
        "ct_mode": Known("none", _word("none", "rct", "lct", "mkl", "idt", "sot")),
        "clipgrad": _NO,
        **_COMMON,
        **_gan(224),
    },
    "Quick96": {"batch_size": Known(4, _whole(1, 512))},
    "XSeg": {
        "face_type": Known("wf", _face_type, "face_type", _short_face_type),
        "pretrain": _NO,
        "batch_size": Known(4, _whole(1, 512)),
    },
}
"""Every option of each class, in the reference's order (spec: weights, 7; training, 2 to 5)."""

FIXED_CONFIG: dict[str, Values] = {"XSeg": {"size": 256}}
"""What the config of a class says beside its options."""

UPGRADED: dict[str, tuple[str, ...]] = {"SAEHD": ("random_flip", "eyes_prio"), "AMP": ("random_flip",)}
"""Options of older versions that are understood."""
