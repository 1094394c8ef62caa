"""Deciding how far a restorer is to be trusted, by sharp faces that it has not learned from.

Made soft in the ways of the faces it is for, they tell whether it comes nearer to the truth than the soft face itself
(which is what Lanczos gives, since an aligned soft face *is* an enlarged small one). `Trust` turns that into how much
of the difference is used, by how soft a face is: none where nothing is gained.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.evaluation.restoration import Closeness, closeness, mean_closeness, plausibility
from understudy.imaging.types import Image, as_float
from understudy.training.enhancing.degrading import Cookbook, Floats, Pixels, degrade, sharpness

Pair = tuple[Pixels, Image]
"""A soft face as a file would hold it, and the truth."""

Restore = Callable[[Pixels], Image]
"""Anything that restores a whole face: (S,S,3) uint8 to float32 0..1 of the same size."""

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Shares of the predicted difference that `judge` tries."""
SOFTNESS_CLASSES = 3


@dataclass(frozen=True)
class Trust:
    """How much of the difference is used for a face of some sharpness.

    sharpness: of the middle of each class of faces, rising. strength: 0..1, of each class. faithful, overshoot, noise:
    limits of `evaluation.restoration.plausibility` that good results kept.
    """

    sharpness: tuple[float, ...] = (0.0,)
    strength: tuple[float, ...] = (0.0,)
    faithful: float = 0.0
    overshoot: float = 1.0
    noise: float = 1e9

    def strength_for(self, value: float) -> float:
        """The strength for a face of that `degrading.sharpness`."""
        return float(np.interp(value, self.sharpness, self.strength))

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Trust:
        limits = (float(stored[name]) for name in ("faithful", "overshoot", "noise"))
        return cls(tuple(stored["sharpness"]), tuple(stored["strength"]), *limits)


@dataclass(frozen=True)
class Verdict:
    """What the held-out faces say. soft: of the degraded faces as they are; restored: with the trusted strength."""

    soft: Closeness
    restored: Closeness
    faces: int

    @property
    def gain_db(self) -> float:
        return self.restored.psnr - self.soft.psnr

    def as_json(self) -> dict[str, Any]:
        return {"soft": self.soft.as_json(), "restored": self.restored.as_json(), "faces": self.faces}

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Verdict:
        return cls(Closeness(**stored["soft"]), Closeness(**stored["restored"]), int(stored["faces"]))


def blended(soft: Pixels, drawn: Image, strength: float) -> Image:
    """The soft face with that share of what the restorer adds; float32 0..1."""
    before = as_float(soft)
    return np.asarray(np.clip(before + np.float32(strength) * (drawn - before), 0, 1), np.float32)


def judge(
    restorer: Restore, held_out: Sequence[Pixels], recipes: Cookbook, *, seed: int = 0, count: int = 32
) -> tuple[Trust, Verdict]:
    """How far a restorer is to be trusted, by softness, and what it gains with that; from `held_out` sharp faces.

    Half of the made pairs choose the strengths; the other half give the verdict. A class of softness in which PSNR,
    SSIM or the gradients lose gets no strength.
    """
    pairs = degraded(held_out, recipes, np.random.default_rng([seed, 77]), count)
    drawn = [restorer(soft) for soft, _ in pairs]
    levels = np.array([sharpness(soft) for soft, _ in pairs])
    table = [
        [closeness(blended(soft, made, strength), truth) for strength in STRENGTHS]
        for (soft, truth), made in zip(pairs, drawn, strict=True)
    ]
    choosing, judging = range(0, len(pairs), 2), range(1, len(pairs), 2)
    middles, strengths = _classes(levels, table, list(choosing))
    trust = Trust(tuple(middles), tuple(strengths))
    trust = _with_limits(trust, pairs, drawn, levels)
    before, after = [], []
    for index in judging or choosing:
        soft, truth = pairs[index]
        before.append(table[index][0])
        after.append(closeness(blended(soft, drawn[index], trust.strength_for(levels[index])), truth))
    verdict = Verdict(mean_closeness(before), mean_closeness(after), len(before))
    if not _is_no_worse(verdict.restored, verdict.soft):
        verdict = Verdict(verdict.soft, verdict.soft, verdict.faces)
        trust = Trust(trust.sharpness, tuple(0.0 for _ in trust.strength))
    return trust, verdict


def degraded(
    faces: Sequence[Pixels] | NDArray[np.uint8], recipes: Cookbook, rng: np.random.Generator, count: int
) -> list[Pair]:
    """`count` degraded faces, each with the truth: every held-out face in turn."""
    made: list[Pair] = []
    for number in range(count):
        face = np.asarray(faces[number % len(faces)])
        soft = degrade(face, recipes.draw(rng), rng, scale=face.shape[0] / 512)
        made.append((soft, as_float(face)))
    return made


def _classes(levels: Floats, table: list[list[Closeness]], chosen: list[int]) -> tuple[list[float], list[float]]:
    """The middle of each class of softness and the best strength in it that loses nothing."""
    ordered = sorted(chosen, key=lambda index: levels[index])
    groups = [group for group in np.array_split(ordered, min(SOFTNESS_CLASSES, len(ordered))) if len(group)]
    middles, strengths = [], []
    for group in groups:
        means = [mean_closeness([table[index][column] for index in group]) for column in range(len(STRENGTHS))]
        allowed = [column for column, mean in enumerate(means) if _is_no_worse(mean, means[0])]
        best = max(allowed, key=lambda column: means[column].psnr)
        middles.append(float(np.median(levels[group])))
        strengths.append(STRENGTHS[best])
    return middles, strengths


def _is_no_worse(one: Closeness, other: Closeness) -> bool:
    return one.psnr >= other.psnr and one.ssim >= other.ssim and one.gradients >= other.gradients


def _with_limits(trust: Trust, pairs: list[Pair], drawn: list[Image], levels: Floats) -> Trust:
    """The limits that results on held-out faces kept, with some room: what a good result looks like."""
    found = []
    for (soft, _), made, level in zip(pairs, drawn, levels, strict=True):
        strength = trust.strength_for(level)
        found.append(plausibility(blended(soft, made, strength), as_float(soft), blur_of(made)))
    return Trust(
        trust.sharpness,
        trust.strength,
        faithful=min(value.faithful for value in found) - 2.0,
        overshoot=1.5 * max(value.overshoot for value in found) + 0.005,
        noise=1.5 * max(1.0, max(value.noise for value in found)),
    )


def blur_of(face: NDArray[Any]) -> float:
    """The sigma, px, of the blur under which a soft face and its restored one look the same."""
    return 10.0 * float(face.shape[0]) / 512
