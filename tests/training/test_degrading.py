"""Sharp faces made soft: every defect does what its name says, and recipes find the softness that was measured."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from understudy.training.enhancing.degrading import (
    Cookbook,
    Pixels,
    Recipe,
    cookbook,
    degrade,
    random_recipe,
    sharpness,
    softness,
)


@pytest.fixture(scope="module")
def face() -> Pixels:
    cut = np.ascontiguousarray(astronaut()[10:210, 125:325])
    return np.asarray(cv2.resize(cut, (256, 256), interpolation=cv2.INTER_CUBIC), np.uint8)


def made(face: Pixels, recipe: Recipe, seed: int = 0) -> Pixels:
    return degrade(face, recipe, np.random.default_rng(seed), scale=0.5)


def test_no_defect_changes_next_to_nothing(face: Pixels) -> None:
    assert np.abs(made(face, Recipe(final_quality=100)).astype(int) - face).mean() < 1


@pytest.mark.parametrize("defect", [{"shrink": 4.0}, {"focus_px": 6.0}, {"blur_px": 3.0}, {"motion_px": 16.0}])
def test_each_blur_softens_and_moves_nothing(face: Pixels, defect: dict[str, float]) -> None:
    soft = made(face, Recipe(**defect))  # type: ignore[arg-type]
    assert soft.shape == face.shape
    assert sharpness(soft) < sharpness(face) - 0.2
    before, after = (cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32) for picture in (face, soft))
    (across, down), _ = cv2.phaseCorrelate(cv2.GaussianBlur(before, (0, 0), 4), cv2.GaussianBlur(after, (0, 0), 4))
    assert np.hypot(across, down) < 0.35


def test_motion_blurs_along_its_direction_only(face: Pixels) -> None:
    across, along = (made(face, Recipe(motion_px=24, motion_degrees=degrees)) for degrees in (0, 90))
    for blurred, axis in ((across, 1), (along, 0)):
        steps = [np.abs(np.diff(picture.astype(float), axis=axis)).mean() for picture in (blurred, face)]
        others = [np.abs(np.diff(picture.astype(float), axis=1 - axis)).mean() for picture in (blurred, face)]
        assert steps[0] / steps[1] < 0.75 * others[0] / others[1]


def test_grain_and_compression_leave_their_traces(face: Pixels) -> None:
    grainy = made(face, Recipe(grain=0.05))
    assert softness(grainy)[3] > softness(face)[3] + 0.5
    pressed = made(face, Recipe(quality=20))
    assert np.abs(pressed.astype(int) - face).mean() > 2


def test_the_same_draws_give_the_same_picture(face: Pixels) -> None:
    recipe = random_recipe(np.random.default_rng(5))
    np.testing.assert_array_equal(made(face, recipe, seed=3), made(face, recipe, seed=3))


def test_softness_does_not_depend_on_the_size_of_the_square(face: Pixels) -> None:
    soft = made(face, Recipe(blur_px=4, final_quality=100))
    larger = np.asarray(cv2.resize(soft, (512, 512), interpolation=cv2.INTER_CUBIC), np.uint8)
    np.testing.assert_allclose(softness(larger)[:3], softness(soft)[:3], atol=0.35)


def test_recipes_that_make_faces_like_the_soft_ones_are_used_most(face: Pixels) -> None:
    """Faces that moved and faces that are grainy, but none that was far away: no recipe may shrink much."""
    rng = np.random.default_rng(1)
    soft = np.array([softness(made(face, Recipe(blur_px=1.5, grain=0.03), seed)) for seed in range(6)])
    book = cookbook([face], soft, rng, count=150)
    drawn = [book.draw(rng) for _ in range(200)]
    outcomes = np.array([softness(made(face, recipe)) for recipe in drawn[:60]])
    blind = np.array([softness(made(face, random_recipe(rng))) for _ in range(60)])
    measured = soft.mean(0)
    assert np.abs(outcomes - measured).mean() < 0.7 * np.abs(blind - measured).mean()
    assert book.shares.sum() == pytest.approx(1)


def test_without_soft_faces_every_recipe_counts_the_same(face: Pixels) -> None:
    book = cookbook([face], np.zeros((0, 4)), np.random.default_rng(0), count=20)
    np.testing.assert_allclose(book.shares, 1 / 20)


def test_a_cookbook_survives_json(face: Pixels) -> None:
    book = cookbook([face], np.zeros((0, 4)), np.random.default_rng(0), count=5)
    again = Cookbook.of(json.loads(json.dumps(book.as_json())))
    np.testing.assert_allclose(again.shares, book.shares)
    assert [recipe.as_json() for recipe in again.recipes] == [recipe.as_json() for recipe in book.recipes]
