"""Colour transfer: what is matched, where it is measured, and what happens at the edges of sense."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from understudy.imaging import colour
from understudy.imaging.types import Image


@pytest.fixture(scope="module")
def pair() -> tuple[Image, Image]:
    rng = np.random.default_rng(3)
    base = rng.random((24, 24, 3)).astype(np.float32)
    return 0.25 + 0.3 * base, 0.35 + 0.4 * base[::-1] * np.float32([1.0, 0.8, 0.6])


def test_means_and_deviations_become_those_of_the_other(pair: tuple[Image, Image]) -> None:
    image, onto = pair
    got = colour.lab_statistics(colour.rgb_to_lab(colour.rct(image, onto)))
    wanted = colour.lab_statistics(colour.rgb_to_lab(onto))
    np.testing.assert_allclose(got.mean, wanted.mean, atol=0.2)
    np.testing.assert_allclose(got.deviation, wanted.deviation, rtol=0.05)


def test_a_picture_onto_itself_stays(pair: tuple[Image, Image]) -> None:
    np.testing.assert_allclose(colour.rct(pair[0], pair[0]), pair[0], atol=2e-3)


def test_outside_the_mask_nothing_is_measured(pair: tuple[Image, Image]) -> None:
    """Whatever lies outside, the inside comes out the same."""
    image, onto = pair
    inside = np.zeros((24, 24), bool)
    inside[6:18, 6:18] = True
    plain = colour.rct(image, onto, inside=inside, inside_onto=inside)
    painted, painted_onto = image.copy(), onto.copy()
    painted[~inside] = 0.9
    painted_onto[~inside] = (0.0, 1.0, 0.3)
    changed = colour.rct(painted, painted_onto, inside=inside, inside_onto=inside)
    np.testing.assert_allclose(changed[inside], plain[inside], atol=1e-5)


def test_the_reference_lets_the_outside_count(pair: tuple[Image, Image]) -> None:
    """The quirk that a faithful merge keeps: a mask pulls the statistics towards black."""
    image, onto = pair
    mask = np.zeros((24, 24), np.float32)
    mask[6:18, 6:18] = 1
    clean = colour.rct(image, onto, inside=mask > 0, inside_onto=mask > 0)
    quirky = colour.rct_counting_outside_as_black(image, onto, mask=mask, mask_onto=mask)
    assert np.abs(clean - quirky)[6:18, 6:18].max() > 0.02


def test_a_flat_face_is_shifted_and_stays_finite(pair: tuple[Image, Image]) -> None:
    flat = np.full((24, 24, 3), 0.5, np.float32)
    result = colour.rct(flat, pair[1])
    assert np.isfinite(result).all()
    assert np.ptp(result, axis=(0, 1)).max() < 1e-3
    np.testing.assert_allclose(result.mean(axis=(0, 1)), pair[1].mean(axis=(0, 1)), atol=0.05)


def test_an_empty_mask_changes_nothing(pair: tuple[Image, Image]) -> None:
    none = np.zeros((24, 24), bool)
    np.testing.assert_array_equal(colour.rct(*pair, inside=none, inside_onto=none), pair[0])


def test_the_result_is_a_picture(pair: tuple[Image, Image]) -> None:
    wild = np.clip(pair[1] * 4 - 1, 0, 1)
    result = colour.rct(pair[0], wild)
    assert result.min() >= 0
    assert result.max() <= 1


def test_golden_rct(golden: Path) -> None:
    """The reference's rct, with and without masks and on another size; the Lab tables differ by OpenCV's version."""
    facts = golden / "color" / "color_transfer.json"
    if not facts.is_file():
        pytest.skip("this golden set has no colour transfers")
    assert json.loads(facts.read_text())["arrays"]
    with np.load(facts.with_suffix(".npz")) as arrays:
        image, onto, small = (rgb(arrays[name]) for name in ("src_u8", "trg_u8", "trg_other_size_u8"))
        mask, mask_onto = arrays["mask_target"][..., 0], arrays["mask_source"][..., 0]
        ours = {
            "ct_rct": colour.rct_counting_outside_as_black(image, onto),
            "rct_othersize": colour.rct_counting_outside_as_black(image, small),
            "rct_masked": colour.rct_counting_outside_as_black(image, onto, mask=mask, mask_onto=mask_onto),
        }
        for name, got in ours.items():
            np.testing.assert_allclose(np.clip(got, 0, 1), arrays[name][..., ::-1], atol=5e-4, err_msg=name)


def rgb(bgr8: np.ndarray) -> Image:
    return np.ascontiguousarray(bgr8[..., ::-1], np.float32) / 255
