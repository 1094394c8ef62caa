"""Histograms of faces and how far they are from each other: the classic likeness of pictures.

The distance of two histograms a and b is Bhattacharyya's, sqrt(1 - Σ sqrt(a_i b_i) / sqrt(Σa Σb)), 0 to 1.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt

from understudy.report import Pace, Report, Stop, never, silent

BINS = 256

Counts = npt.NDArray[np.float32]
Picture8 = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

CHAIN_OF = 20_000
"""Faces that are chained together; of more, each such part is chained by itself."""

_ROUNDING = np.float32(2e-5)  # what float32 may be off in a sum of 256 products that add up to 1: 256 · 2^-24
_ROWS = 512


def colour_histogram(rgb8: Picture8) -> Counts:
    """(3, 256) float32 pixel counts of the channels, B, G and R, of a (H, W, 3) picture."""
    counts = [cv2.calcHist([rgb8], [channel], None, [BINS], [0, BINS]).ravel() for channel in (2, 1, 0)]
    return np.asarray(counts, np.float32)


def grey_histogram(grey: Picture8) -> Counts:
    """(256,) float32 pixel counts of a (H, W) picture."""
    return np.asarray(cv2.calcHist([grey], [0], None, [BINS], [0, BINS]).ravel(), np.float32)


def chain_parts(count: int) -> list[range]:
    """Which of `count` faces are chained together: 20,000 at a time; of very many, twelve parts."""
    size = CHAIN_OF if count // CHAIN_OF <= 12 else int(count / 11.9)
    return [range(start, min(start + size, count)) for start in range(0, count, size)]


def distances_to(one: Counts, others: Counts) -> Doubles:
    """Distances, summed over channels, of one set of histograms (C, 256) to others (n, C, 256); (n,) float64."""
    first, rest = np.asarray(one, np.float64), np.asarray(others, np.float64)
    shared = np.sqrt(rest * first).sum(axis=-1)
    size = np.sqrt(rest.sum(axis=-1) * first.sum(axis=-1))
    return np.asarray(np.sqrt(np.maximum(0.0, 1.0 - shared / np.maximum(size, 1e-300))).sum(axis=-1), np.float64)


def summed_distances(histograms: Counts, *, report: Report = silent, stop: Stop = never) -> Doubles:
    """For each of (n, 256) histograms the sum of its distances to all others; (n,) float64.

    Takes n² time and memory for a few hundred rows at once. Ends early, the rest being 0, when `stop` turns true.
    """
    roots = _roots(histograms)
    found = np.zeros(len(roots))
    pace = Pace("Comparing", len(roots), report, unit="faces")
    for start in range(0, len(roots), _ROWS):
        if stop():
            break
        rows = slice(start, min(start + _ROWS, len(roots)))
        away = np.sqrt(np.maximum(0.0, 1.0 - roots[rows] @ roots.T))
        away[np.arange(len(away)), np.arange(rows.start, rows.stop)] = 0.0
        found[rows] = away.sum(axis=1)
        pace.advance(len(away))
    return found


class ColourDistances:
    """The distances of many colour histograms, as `chains.nearest_chain` asks for them.

    histograms: (n, 3, 256) counts; kept as they are (3 KB per face), beside as much again in square roots.
    """

    def __init__(self, histograms: Counts, roots: Floats | None = None) -> None:
        self._counts = histograms
        self._roots = _roots(histograms).astype(np.float32) if roots is None else roots

    def __len__(self) -> int:
        return len(self._counts)

    def only(self, faces: Indices) -> ColourDistances:
        return ColourDistances(self._counts[faces], self._roots[faces])

    def bounds(self, rows: Indices) -> Floats:
        found = np.zeros((len(rows), len(self)), np.float32)
        for channel in range(self._roots.shape[1]):
            shared = self._roots[rows, channel] @ self._roots[:, channel].T
            np.subtract(np.float32(1) - _ROUNDING, shared, out=shared)
            np.maximum(shared, 0, out=shared)
            found += np.sqrt(shared, out=shared)
        found -= found * np.float32(1e-6)
        return found

    def exact(self, face: int, others: Indices) -> Doubles:
        return distances_to(self._counts[face], self._counts[others])


def in_parts(histograms: Counts) -> Iterator[tuple[range, ColourDistances]]:
    """The parts that are chained by themselves, one at a time."""
    for part in chain_parts(len(histograms)):
        yield part, ColourDistances(histograms[part.start : part.stop])


def _roots(histograms: Counts) -> Doubles:
    """Square roots of shares: a product of two is the sum in the distance."""
    total = np.maximum(histograms.sum(axis=-1, keepdims=True, dtype=np.float64), 1e-300)
    return np.asarray(np.sqrt(histograms / total), np.float64)
