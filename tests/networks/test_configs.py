"""Configs take what can be built, name the rule where something cannot, and round as the reference rounds."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from understudy.errors import IncompatibleModel, InvalidOption
from understudy.networks.amp import AmpConfig
from understudy.networks.families import FAMILIES, config_from_plain, config_to_plain, family_for
from understudy.networks.quick96 import Quick96Config
from understudy.networks.saehd import SaehdConfig
from understudy.networks.xseg import XSegConfig
from understudy.records import Archi, FaceType


def test_archis_are_read_in_any_order_and_written_in_one() -> None:
    for count in range(1, 5):
        for letters in itertools.permutations("udtc", count):
            text = "".join(letters)
            archi = Archi.parse(f"LIAE-{text}{text[0]}")
            assert archi == Archi("liae", frozenset(text))
            assert Archi.parse(str(archi)) == archi
    assert str(Archi.parse(" df-tdu ")) == "df-udt"
    assert str(Archi.parse("df")) == "df"
    archi = Archi.parse("liae-dc")
    assert (archi.is_liae, archi.pixel_norm, archi.doubled, archi.deep, archi.cosine) == (
        True,
        False,
        True,
        False,
        True,
    )


@pytest.mark.parametrize("text", ["", "df-", "liae_ud", "dfud", "df-x", "-u", "df-u-d", "saehd"])
def test_other_texts_are_no_archis(text: str) -> None:
    with pytest.raises(InvalidOption, match="df or liae"):
        Archi.parse(text)
    with pytest.raises(InvalidOption, match="df or liae"):
        Archi(text, frozenset())  # type: ignore[arg-type]


def test_the_networks_of_2020_are_refused_by_what_they_are() -> None:
    with pytest.raises(InvalidOption) as caught:
        Archi.parse("dfhd")
    assert "2020" in caught.value.hint


@pytest.mark.parametrize(
    ("archi", "typed", "built"),
    [
        ("df-u", 127, 112),
        ("df-u", 128, 128),
        ("liae", 72, 64),
        ("liae", 10, 64),
        ("df", 2000, 640),
        ("df", -5, 64),
        ("liae-ud", 144, 128),
        ("df-d", 639, 608),
        ("df-t", 144, 128),  # the reference would take 144 and fail
    ],
)
def test_sizes_are_rounded_down_to_what_the_letters_need(archi: str, typed: int, built: int) -> None:
    assert SaehdConfig.rounded(size=typed, archi=archi).size == built


def test_dims_are_rounded_as_the_reference_rounds_them() -> None:
    config = SaehdConfig.rounded(ae_dims=5, e_dims=17, d_dims=255, d_mask_dims=9)
    assert (config.ae_dims, config.e_dims, config.d_dims, config.d_mask_dims) == (32, 18, 256, 16)
    config = SaehdConfig.rounded(ae_dims=4000, e_dims=1000, d_dims=1000, d_mask_dims=1000)
    assert (config.ae_dims, config.e_dims, config.d_dims, config.d_mask_dims) == (1024, 256, 256, 256)
    assert SaehdConfig.rounded(ae_dims=33).ae_dims == 33
    amp = AmpConfig.rounded(size=255, inter_dims=9, morph_factor=0.9, e_dims=15)
    assert (amp.size, amp.inter_dims, amp.morph_factor, amp.e_dims) == (224, 32, 0.5, 16)
    assert AmpConfig.rounded(morph_factor=0.0, inter_dims=5000).src_channels == 204


def test_nothing_typed_gives_the_reference_s_defaults() -> None:
    assert SaehdConfig.rounded() == SaehdConfig()
    assert AmpConfig.rounded() == AmpConfig()


def test_whatever_is_typed_can_be_built() -> None:
    for archi, size, dims in itertools.product(["df", "liae-t", "df-udtc"], range(-40, 700, 37), [-1, 0, 31, 333]):
        rounded = SaehdConfig.rounded(size=size, archi=archi, ae_dims=dims, e_dims=dims, d_dims=dims, d_mask_dims=dims)
        assert rounded == SaehdConfig.rounded(**vars(rounded))
        assert rounded.e_dims % 2 == rounded.d_dims % 2 == rounded.d_mask_dims % 2 == 0


def test_a_rule_that_is_broken_is_named() -> None:
    with pytest.raises(InvalidOption, match=r"144 px .* multiples of 32 with the architecture df-t") as caught:
        SaehdConfig(144, archi=Archi.parse("df-t"))
    assert caught.value.hint == "The nearest are 128 and 160."
    assert SaehdConfig(144, archi=Archi.parse("df-u")).size == 144
    with pytest.raises(InvalidOption, match=r"e_dims is 0"):
        SaehdConfig(e_dims=0)
    with pytest.raises(InvalidOption, match=r"multiples of 32"):
        AmpConfig(size=208)
    with pytest.raises(InvalidOption, match=r"morph_factor is 1\.5"):
        AmpConfig(morph_factor=1.5)
    with pytest.raises(InvalidOption, match=r"inter_dims"):
        AmpConfig(inter_dims=-1)
    with pytest.raises(InvalidOption, match=r"multiples of 64"):
        XSegConfig(size=96)
    with pytest.raises(InvalidOption, match=r"10000000 px"):
        Quick96Config(size=10_000_000)


def test_models_beyond_what_people_may_type_still_load() -> None:
    """Somebody changed the program to train at 1024 px; the network exists and can be built."""
    config = SaehdConfig(1024, archi=Archi.parse("df-ud"), ae_dims=1500, e_dims=300, d_dims=15, d_mask_dims=7)
    family = family_for("SAEHD")
    assert config_from_plain(family, config_to_plain(config)) == config


@pytest.mark.parametrize(
    ("config", "face_type"), [(SaehdConfig, FaceType.MARK_ONLY), (AmpConfig, FaceType.HALF), (AmpConfig, "mf")]
)
def test_face_types_that_a_class_does_not_have(config: Any, face_type: str) -> None:
    with pytest.raises(InvalidOption, match="no face type"):
        config.rounded(face_type=FaceType(face_type))


@pytest.mark.parametrize("name", list(FAMILIES))
def test_a_config_is_kept_as_plain_values(name: str) -> None:
    family = FAMILIES[name]
    assert family_for(family.model_class) is family
    plain = config_to_plain(family.config())
    assert all(isinstance(value, str | int | float) for value in plain.values())
    assert config_from_plain(family, plain) == family.config()


def test_a_config_that_does_not_fit_says_so() -> None:
    family = family_for("saehd")
    plain = config_to_plain(SaehdConfig())
    for change in (
        {"archi": "dfhd"},
        {"size": "128"},
        {"size": 100},
        {"face_type": "nose"},
        {"face_type": "mark_only"},
        {"wings": 2},
        {"e_dims": 0},
    ):
        with pytest.raises(IncompatibleModel, match=r"does not fit the class SAEHD"):
            config_from_plain(family, {**plain, **change})
    for lost in plain:
        with pytest.raises(IncompatibleModel, match=f"it is without {lost}"):
            config_from_plain(family, {key: value for key, value in plain.items() if key != lost})
    with pytest.raises(IncompatibleModel, match=r"with wings, which it does not have"):
        config_from_plain(family, {**plain, "wings": 2})
    with pytest.raises(IncompatibleModel, match=r"SAEHD, AMP, Quick96, XSeg"):
        family_for("H128")
