"""Options of the reference as ours, and back with the types that they had."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from made_models import OPTIONS
from understudy.errors import IncompatibleModel
from understudy.interop.reference_options import known_options, to_ours, to_theirs
from understudy.training.options import CONFIG_OPTIONS, TrainOptions


def typed(options: dict[str, Any]) -> list[tuple[str, type, Any]]:
    return [(name, type(value), value) for name, value in options.items()]


@pytest.mark.parametrize("model_class", list(OPTIONS))
def test_what_has_not_changed_goes_back_as_it_was(model_class: str) -> None:
    options = OPTIONS[model_class]
    ours = to_ours(model_class, options)
    assert typed(to_theirs(model_class, ours.config, ours.training, options))[: len(options)] == typed(options)


@pytest.mark.parametrize("model_class", list(OPTIONS))
def test_every_training_option_is_one_of_ours(model_class: str) -> None:
    """A model that comes in must train: names and values are those of the training options."""
    ours = to_ours(model_class, {name: option.default for name, option in known_options(model_class).items()})
    names = {name: value for name, value in ours.training.items() if name not in ("pretrain",)}
    missing = names.keys() - TrainOptions.model_fields.keys() - {"uniform_yaw", "random_hsv_power", "ct_mode"}
    assert not missing
    TrainOptions.of(**{name: value for name, value in names.items() if name in TrainOptions.model_fields})
    assert not names.keys() & set(CONFIG_OPTIONS)


def test_what_has_changed_takes_the_type_that_it_had() -> None:
    kept = {"batch_size": np.int32(4), "gan_power": np.float64(0.1), "random_hsv_power": 0.0, "clipgrad": False}
    ours = to_ours("SAEHD", kept)
    now = {**ours.training, "batch_size": 8, "gan_power": 0.25, "random_hsv_power": 0.1, "clipgrad": True}
    theirs = to_theirs("SAEHD", ours.config, now, kept)
    assert typed(theirs)[:4] == [
        ("batch_size", np.int32, 8),
        ("gan_power", np.float64, 0.25),
        ("random_hsv_power", float, 0.1),
        ("clipgrad", bool, True),
    ]


def test_a_value_out_of_range_is_held_to_it_and_goes_back_as_it_was() -> None:
    kept = {"gan_power": np.float64(7.0), "batch_size": 0, "lr_dropout": True, "target_iter": -1}
    ours = to_ours("SAEHD", kept)
    assert [ours.training[name] for name in kept] == [5.0, 1, "y", 0]
    assert len([note for note in ours.notes if "out of its range" in note]) == 3
    assert typed(to_theirs("SAEHD", ours.config, ours.training, kept))[:4] == typed(kept)


def test_the_models_own_value_goes_before_the_default_options() -> None:
    found = to_ours("AMP", {"ae_dims": 8}, {"ae_dims": 16, "e_dims": 32, "morph_factor": 0.2, "batch_size": 3})
    assert (found.config["ae_dims"], found.config["e_dims"], found.config["d_dims"]) == (8, 32, 64)
    assert found.config["morph_factor"] == 0.5, "the reference never asks the file for it"
    assert found.training["batch_size"] == 3


def test_none_is_not_given() -> None:
    assert to_ours("SAEHD", {"batch_size": None}, {"batch_size": 3}).training["batch_size"] == 3


@pytest.mark.parametrize("archi", ["DF-TU", "df-ut", "df-utut"])
def test_letters_come_in_any_order_and_case(archi: str) -> None:
    ours = to_ours("SAEHD", {"archi": archi})
    assert ours.config["archi"] == "df-ut"
    assert to_theirs("SAEHD", ours.config, ours.training, {"archi": archi})["archi"] == archi


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("archi", "dfhd"),
        ("archi", 3),
        ("resolution", "big"),
        ("resolution", np.nan),
        ("ae_dims", -3),
        ("e_dims", 2**40),
        ("d_dims", True),
        ("face_type", "full_face_no_align"),
        ("face_type", [1]),
    ],
)
def test_an_architecture_that_makes_no_sense_is_refused(name: str, value: Any) -> None:
    with pytest.raises(IncompatibleModel, match=f"The option {name}"):
        to_ours("SAEHD", {name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [("batch_size", "many"), ("gan_power", np.inf), ("ct_mode", "other"), ("adabelief", 0.5), ("lr_dropout", [1])],
)
def test_a_training_option_that_makes_no_sense_stays_at_its_default(name: str, value: Any) -> None:
    ours = to_ours("SAEHD", {name: value})
    assert name not in ours.training
    assert any(name in note for note in ours.notes)
    assert to_theirs("SAEHD", ours.config, ours.training, {name: value})[name] == value


def test_a_model_of_ours_gets_whatever_the_reference_needs() -> None:
    theirs = to_theirs("SAEHD", {"size": 96, "face_type": "head", "archi": "liae-ud", "ae_dims": 8}, {"gan_power": 0.1})
    assert list(theirs) == [name for name in known_options("SAEHD") if name in theirs]
    assert (theirs["resolution"], theirs["face_type"], theirs["gan_patch_size"]) == (96, "head", 12)
    assert all(type(value) in (int, float, str, bool) for value in theirs.values())


def test_other_classes_are_refused() -> None:
    with pytest.raises(IncompatibleModel, match="SAEHD"):
        to_ours("H64", {})
