"""Making a sharp face as soft as the soft faces of the same faceset are.

A soft face was seen small, out of focus or moving; its pixels got grain, were compressed with the footage, and were
enlarged to the aligned square. A `Recipe` is one such history. Recipes are drawn at random, each is tried on sharp
faces, and those whose outcome measures like the faceset's own soft faces are used most.

Pictures are (H, W, 3) uint8 RGB; every function gives the same result for the same draws.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy.imaging.types import as_float

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]

MEASURES = 4
_OCTAVES_PX = (0.7, 1.4, 2.8, 5.6)
"""Sigmas at 512 px between which the bands of `softness` lie."""
_FINEST_SCALE = 0.5
_LOOKED_AT = 0.6
"""Share of the aligned square's side that is measured: the face, not what is around it."""
_SHRINKERS = (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4)
_ENLARGERS = (cv2.INTER_CUBIC, cv2.INTER_LANCZOS4, cv2.INTER_LINEAR)


@dataclass(frozen=True)
class Recipe:
    """How a face became soft. Lengths are pixels of an aligned square of 512.

    shrink: aligned pixels per pixel of the footage. focus_px: radius of a disk. blur_px: sigma of a Gaussian.
    motion_px, motion_degrees: length and direction of a movement during the exposure. grain: standard deviation of
    noise, of 1, in the footage's pixels. quality: of the footage's compression as JPEG. shrinker, enlarger: filters.
    final_quality: JPEG quality of the face file.
    """

    shrink: float = 1.0
    focus_px: float = 0.0
    blur_px: float = 0.0
    motion_px: float = 0.0
    motion_degrees: float = 0.0
    grain: float = 0.0
    quality: int = 100
    shrinker: int = cv2.INTER_AREA
    enlarger: int = cv2.INTER_CUBIC
    final_quality: int = 95

    def as_json(self) -> dict[str, Any]:
        """Plain values, exact; `Recipe.of` reads them back."""
        return asdict(self)

    @classmethod
    def of(cls, stored: dict[str, Any]) -> Recipe:
        """Build from `as_json`'s values; those a newer version added are left out."""
        return cls(**{field.name: stored[field.name] for field in fields(cls) if field.name in stored})


@dataclass(frozen=True, eq=False)
class Cookbook:
    """Recipes with how often each is to be used; the shares add up to 1."""

    recipes: tuple[Recipe, ...]
    shares: Floats

    def draw(self, rng: np.random.Generator) -> Recipe:
        return self.recipes[int(rng.choice(len(self.recipes), p=self.shares))]

    def as_json(self) -> dict[str, Any]:
        return {"recipes": [recipe.as_json() for recipe in self.recipes], "shares": [float(s) for s in self.shares]}

    @classmethod
    def of(cls, stored: dict[str, Any]) -> Cookbook:
        shares = np.asarray(stored["shares"], np.float64)
        return cls(tuple(Recipe.of(recipe) for recipe in stored["recipes"]), shares / shares.sum())


def random_recipe(rng: np.random.Generator) -> Recipe:
    """Any history that a face may have had: each defect is likely, none is certain."""
    kind = rng.choice(3, p=(0.45, 0.25, 0.3))
    return Recipe(
        shrink=float(np.exp(rng.uniform(0, np.log(7)))),
        focus_px=float(rng.uniform(1, 7)) if kind == 1 else 0.0,
        blur_px=float(rng.uniform(0.3, 3.5)) if rng.random() < 0.6 else 0.0,
        motion_px=float(rng.uniform(3, 22)) if kind == 2 else 0.0,
        motion_degrees=float(rng.uniform(0, 180)),
        grain=float(np.exp(rng.uniform(np.log(0.002), np.log(0.05)))) if rng.random() < 0.7 else 0.0,
        quality=int(rng.integers(30, 100)) if rng.random() < 0.8 else 100,
        shrinker=int(_SHRINKERS[rng.integers(len(_SHRINKERS))]),
        enlarger=int(_ENLARGERS[rng.integers(len(_ENLARGERS))]),
        final_quality=int(rng.integers(88, 101)),
    )


def degrade(sharp: Pixels, recipe: Recipe, rng: np.random.Generator, *, scale: float = 1.0) -> Pixels:
    """`sharp` after the recipe's history. scale: side of the aligned square over 512. rng draws grain and offset."""
    height, width = sharp.shape[:2]
    picture: NDArray[Any] = as_float(sharp)
    if recipe.motion_px * scale > 1:
        picture = cv2.filter2D(picture, -1, _motion_kernel(recipe.motion_px * scale, recipe.motion_degrees))
    if recipe.focus_px * scale > 0.5:
        picture = cv2.filter2D(picture, -1, _disk_kernel(recipe.focus_px * scale))
    if recipe.blur_px * scale > 0.2:
        picture = cv2.GaussianBlur(picture, (0, 0), recipe.blur_px * scale)
    shrink = max(1.0, recipe.shrink * scale)
    small = (max(8, round(width / shrink)), max(8, round(height / shrink)))
    if small != (width, height):
        if recipe.shrinker != cv2.INTER_AREA and shrink > 1.5:  # the other filters look at single pixels
            picture = cv2.GaussianBlur(picture, (0, 0), 0.3 * shrink)
        picture = cv2.resize(picture, small, interpolation=recipe.shrinker)
    if recipe.grain > 0:
        picture = picture + rng.normal(0, recipe.grain, picture.shape).astype(np.float32)
    seen = _in_8_bits(picture)
    if recipe.quality < 100:
        seen = _through_jpeg(seen, recipe.quality)
    if small != (width, height):
        seen = _in_8_bits(cv2.resize(as_float(seen), (width, height), interpolation=recipe.enlarger))
    return _through_jpeg(seen, recipe.final_quality)


def softness(face: Pixels) -> Floats:
    """What tells a sharp face from a soft one: (4,) logarithms of the energy of three octaves of detail and of grain.

    Measured in the middle of a whole aligned face of any side; lengths count in shares of it, from 256 px on.
    """
    grey = cv2.cvtColor(_middle(face), cv2.COLOR_RGB2GRAY).astype(np.float32)
    finest = max(max(face.shape[:2]) / 512, _FINEST_SCALE)  # below it octaves would lie between pixels
    levels = [cv2.GaussianBlur(grey, (0, 0), sigma * finest) for sigma in _OCTAVES_PX]
    bands = [np.std(fine - coarse) for fine, coarse in itertools.pairwise(levels)]
    fine = np.square(grey - levels[0])
    blocks = cv2.resize(fine, None, fx=1 / 8, fy=1 / 8, interpolation=cv2.INTER_AREA)
    return np.log(np.maximum([*bands, np.sqrt(np.quantile(blocks, 0.25))], 0.02))


def sharpness(face: Pixels) -> float:
    """One number of `softness`: the logarithm of the detail in its two finest octaves; more is sharper."""
    return float(softness(face)[:2].mean())


def cookbook(
    sharp: Sequence[Pixels], soft: Floats, rng: np.random.Generator, *, count: int = 300, freely: float = 0.2
) -> Cookbook:
    """Random recipes, used in the measure in which they make `sharp` faces like the soft ones.

    sharp: whole aligned faces to try recipes on. soft: (N,4) of `softness`; with fewer than 4 every recipe counts the
    same. freely: share of draws that ignore the measurements, so that a face unlike the others finds a restorer too.
    """
    recipes = [random_recipe(rng) for _ in range(count)]
    if len(soft) < MEASURES:
        return Cookbook(tuple(recipes), np.full(count, 1 / count))
    made = np.array([_outcome(sharp[int(rng.integers(len(sharp)))], recipe, rng) for recipe in recipes])
    reach = np.maximum(0.6 * soft.std(0), 0.15)
    distance = np.square((made[:, None] - soft[None]) / reach).sum(2)
    nearest = distance.min()
    # as seen from each soft face, so that one kind of softness that few recipes hit is not left out
    fit = np.exp(-(distance - np.minimum(distance.min(0), nearest + 50)) / 2)
    fit = (fit / np.maximum(fit.sum(0), 1e-12)).sum(1)
    shares = (1 - freely) * fit / fit.sum() + freely / count
    return Cookbook(tuple(recipes), shares / shares.sum())


def _outcome(face: Pixels, recipe: Recipe, rng: np.random.Generator) -> Floats:
    return softness(degrade(face, recipe, rng, scale=max(face.shape[:2]) / 512))


def _middle(face: Pixels) -> Pixels:
    height, width = face.shape[:2]
    top, left = round(height * (1 - _LOOKED_AT) / 2), round(width * (1 - _LOOKED_AT) / 2)
    return face[top : height - top, left : width - left]


def _motion_kernel(length_px: float, degrees: float) -> NDArray[np.float32]:
    """A line of that length through the middle of a square, sum 1."""
    reach = int(np.ceil(length_px / 2)) + 1
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    half = length_px / 2 * np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))])
    for share in np.linspace(-1, 1, max(3, 4 * round(length_px))):
        x, y = reach + share * half
        left, top = int(np.floor(x)), int(np.floor(y))
        right_share, low_share = x - left, y - top
        kernel[top, left] += (1 - right_share) * (1 - low_share)
        kernel[top, left + 1] += right_share * (1 - low_share)
        kernel[top + 1, left] += (1 - right_share) * low_share
        kernel[top + 1, left + 1] += right_share * low_share
    return np.asarray(kernel / kernel.sum(), np.float32)


def _disk_kernel(radius_px: float) -> NDArray[np.float32]:
    """A lens out of focus: a disk with an edge of one pixel, sum 1."""
    reach = int(np.ceil(radius_px)) + 1
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    kernel = np.clip(radius_px + 0.5 - np.hypot(x, y), 0, 1).astype(np.float32)
    return np.asarray(kernel / kernel.sum(), np.float32)


def _in_8_bits(picture: NDArray[Any]) -> Pixels:
    return np.asarray(np.rint(np.clip(picture, 0, 1) * 255), np.uint8)


def _through_jpeg(picture: Pixels, quality: int) -> Pixels:
    done, data = cv2.imencode(
        ".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, int(quality)]
    )
    assert done
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)
