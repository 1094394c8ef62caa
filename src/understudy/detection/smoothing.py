"""Landmarks over time without their trembling: a symmetric window whose width follows what moves.

    landmarks → where the face is (similarity) and what shape it has → each smoothed → landmarks

A face that holds still is averaged over nine frames, one that turns or speaks over fewer, a blink over none, and a
camera that shakes is followed. Windows reach as far into the future as into the past, so nothing lags; figures are in
docs/guide/extraction.md.

What is smoothed with what follows the rule of intersecting confidence intervals (Goldenshluger & Nemirovski 1997;
Katkovnik 1999): local polynomials over wider and wider windows (Savitzky & Golay 1964) are believed for as long as they
differ from the narrower ones by no more than the noise explains. The noise is measured in the same window, on points
that no expression moves. Instead of choosing one window, belief fades, so that a change of window is no jump.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from understudy.geometry.alignment import ALIGNED_BY, TEMPLATE_33

Points = NDArray[np.float64]
Floats = NDArray[np.float64]

REACH = 4
"""Frames before and after that are looked at."""

STEPS = ((0, 0), (2, 2), (1, 1), (3, 2), (4, 2))
"""(frames to each side, order of the polynomial), from the least smooth estimate to the smoothest."""

TRUST = 4.3
"""By so many standard deviations two estimates may differ at a strength of 1."""

GROUPS: tuple[tuple[slice, float], ...] = (
    (slice(0, 17), 1.3),
    (slice(17, 22), 1.0),
    (slice(22, 27), 1.0),
    (slice(27, 36), 1.0),
    (slice(36, 42), 0.4),
    (slice(42, 48), 0.4),
    (slice(48, 68), 0.8),
)
"""Landmarks that move together, and how much of the trust they get: the jaw trembles most, lids move fastest."""

LIVING = 0.0003
"""So much of what seems noise in a shape, in sides of the unit face square, is the face's own motion."""

TURN_NOISE, SHIFT_NOISE = 2.4, 1.0
"""How much turn and size, and place, tremble at most, over the noise of the shape: so measured on drawn shots and on
footage from a tripod. What moves more is a camera held by hand, which the aligned square must follow.
"""

STILL = np.array([27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 39, 42, 45])
"""The bridge and base of the nose and the corners of the eyes, which tell how much the engine trembles."""

LEAST_NOISE = np.array([0.0005, 0.0001, 0.0001])
"""Of shape, turn and size, and place, in sides of the unit face square: less is not worth telling apart."""

_CENTRE = complex(0.5, 0.5)


def smooth(landmarks: Sequence[Points], at: int, offsets: Sequence[int], *, strength: float = 1.0) -> Points:
    """The smoothed landmarks (68, 2) float64 of one frame, from those of the frames around it.

    landmarks: as found, (68, 2) each, of one face in one shot; offsets: each one's frame counted from the frame that is
    wanted, ascending; frames may be missing. at: which of them is wanted, so offsets[at] is 0. strength: 0 gives back
    what was found; 1 is usual; more smooths faster motion too. Frames beyond REACH do not count.
    """
    near = [number for number, offset in enumerate(offsets) if abs(offset) <= REACH]
    if strength <= 0 or len(near) < 3:
        return np.array(landmarks[at], np.float64)
    stack = np.stack([landmarks[number] for number in near])
    points = stack[..., 0] + 1j * stack[..., 1]
    scales, shifts = _placed(points[:, ALIGNED_BY])
    shapes = (points - shifts[:, None]) / scales[:, None]
    here = near.index(at)
    moves = _moves(scales, shifts, here)
    values = np.concatenate([_columns(shapes), _columns(moves)], axis=1)
    noise = _noises(shapes, moves)
    best = _smoothed(values, tuple(int(offsets[number]) for number in near), noise, strength)
    shape, move = best[:68] + 1j * best[68:136], best[136:138] + 1j * best[138:140]
    scale = scales[here] * move[0]
    shift = shifts[here] + scales[here] * (move[1] - (move[0] - 1) * _CENTRE)
    placed = scale * shape + shift
    return np.stack([placed.real, placed.imag], axis=1)


def _placed(points: NDArray[np.complex128]) -> tuple[NDArray[np.complex128], NDArray[np.complex128]]:
    """Per frame the complex scale and shift that lay the template over (n, 33) landmarks best, by least squares."""
    means = points.mean(axis=1)
    scales = (points - means[:, None]) @ np.conj(_TEMPLATE - _TEMPLATE.mean()) / _SPREAD
    scales = np.where(np.abs(scales) > 1e-9, scales, 1e-9)
    return scales, means - scales * _TEMPLATE.mean()


def _moves(scales: NDArray[np.complex128], shifts: NDArray[np.complex128], here: int) -> NDArray[np.complex128]:
    """(n, 2): turn and growth, and shift of the face's centre, seen from the frame that is wanted, in its unit."""
    turns = scales / scales[here]
    centres = (shifts - shifts[here]) / scales[here] + (turns - 1) * _CENTRE
    return np.stack([turns, centres], axis=1)


def _columns(values: NDArray[np.complex128]) -> Floats:
    return np.concatenate([values.real, values.imag], axis=1)


def _noise(values: NDArray[np.complex128]) -> float:
    """Standard deviation per coordinate of what trembles: the median second difference over time, without frames lost.

    For white noise of variance v the second difference has variance 6 v.
    """
    second = values[2:] - 2 * values[1:-1] + values[:-2]
    return float(np.median(np.sqrt((np.abs(second) ** 2).mean(axis=1) / 2)) / np.sqrt(6))


def _noises(shapes: NDArray[np.complex128], moves: NDArray[np.complex128]) -> Floats:
    """Noise of the shape, of turn and size, and of the place."""
    shape = _noise(shapes[:, STILL])
    of_engine = max(0.0, shape - LIVING)
    turn, place = _noise(moves[:, :1]), _noise(moves[:, 1:])
    measured = (shape, min(turn, TURN_NOISE * of_engine), min(place, SHIFT_NOISE * of_engine))
    noises: Floats = np.maximum(LEAST_NOISE, measured)
    return noises


def _smoothed(values: Floats, offsets: tuple[int, ...], noise: Floats, strength: float) -> Floats:
    """The best estimate of the frame at offset 0 of values (n, 140)."""
    weights, spread = _weights(offsets)
    estimates = weights @ values
    trust = TRUST * strength * _TRUST * noise[_NOISE_OF]
    apart = np.sqrt(np.square(estimates[:, None] - estimates[None]) @ _MEAN_OF)
    ratio = apart / (spread[:, :, None] * trust)
    best: Floats = estimates[0]
    belief = np.ones(len(_TRUST))
    for step in range(1, len(STEPS)):
        worst = ratio[step, :step].max(axis=0)
        belief = belief * np.clip(2 - 4 / 3 * worst, 0, 1)  # full up to 3/4 of the trust, none from 3/2 on
        if not belief.any():
            break
        best = best + belief[_GROUP_OF] * (estimates[step] - best)
    return best


@functools.lru_cache(maxsize=1024)
def _weights(offsets: tuple[int, ...]) -> tuple[Floats, Floats]:
    """Per step the weights of the frames (steps, n); and how far two steps lie apart for noise of 1 (steps, steps)."""
    weights = np.stack([_polynomial(np.array(offsets, np.float64), half, order) for half, order in STEPS])
    spread = np.sqrt(np.square(weights[:, None] - weights[None]).sum(axis=2))
    return weights, np.maximum(spread, 1e-6)


def _polynomial(offsets: Floats, half: int, order: int) -> Floats:
    """Weights that give the value at 0 of the polynomial fitted to the frames within `half`, near ones first."""
    inside = np.abs(offsets) <= half
    near = offsets[inside]
    at_an_end = not (near < 0).any() or not (near > 0).any()
    order = min(order, len(near) - 1, 1 if at_an_end else order)
    importance = np.sqrt(1 - np.square(near / (half + 1)))
    powers = np.vander(near, order + 1, increasing=True)
    weights = np.zeros(len(offsets))
    weights[inside] = np.linalg.pinv(powers * importance[:, None])[0] * importance
    return weights


_TEMPLATE = TEMPLATE_33[:, 0].astype(np.float64) + 1j * TEMPLATE_33[:, 1].astype(np.float64)
_SPREAD = float(np.square(np.abs(_TEMPLATE - _TEMPLATE.mean())).sum())

_TRUST = np.array([*(trust for _, trust in GROUPS), 1.0, 1.0])
_NOISE_OF = np.array([*(0 for _ in GROUPS), 1, 2])
"""Which noise each group has: those of landmarks that of the shape, then turn and size, then place."""


def _groups() -> tuple[NDArray[np.intp], Floats]:
    """Of each of the 140 columns its group; and the matrix (140, groups) that averages columns over their group."""
    of_point = np.zeros(68, np.intp)
    for number, (members, _) in enumerate(GROUPS):
        of_point[members] = number
    turn, place = len(GROUPS), len(GROUPS) + 1
    of_column = np.concatenate([of_point, of_point, [turn, place, turn, place]])
    mean = (of_column[:, None] == np.arange(place + 1)).astype(np.float64)
    return of_column, mean / mean.sum(axis=0)


_GROUP_OF, _MEAN_OF = _groups()
