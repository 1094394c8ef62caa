"""Samples for the mask network: made ready per second of one core, at the 256 px that it has.

A sample is a labelled face with everything that befalls it. On a processor the network takes far longer for each;
beside a graphics card samples are made ahead by as many threads as there are cores.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import cv2
import numpy as np
from numpy.random import RandomState

from understudy.training.masking.samples import Labelled, sample

SIZE = 256


def run(quick: bool = False) -> dict[str, Any]:
    """Median and mean milliseconds of processor time of a sample, and samples per second of it."""
    cv2.setNumThreads(1)
    faces = [_face(seed) for seed in range(4)]
    rows = [_row(faces, faithful, 40 if quick else 400) for faithful in (False, True)]
    return {"size": SIZE, "rows": rows}


def _row(faces: list[Labelled], faithful: bool, count: int) -> dict[str, Any]:
    chance, spent = RandomState(0), []
    for number in range(count):
        worked = time.process_time()
        sample(faces[number % 4], faces[(number + 1) % 4], chance, faithful=faithful)
        spent.append(1000 * (time.process_time() - worked))
    return {
        "faithful": faithful,
        "median ms": round(statistics.median(spent), 2),
        "mean ms": round(statistics.fmean(spent), 2),
        "samples per second of a core": round(1000 / statistics.fmean(spent), 1),
    }


def _face(seed: int) -> Labelled:
    """A smooth picture with grain, and an ellipse for its mask."""
    chance = np.random.default_rng(seed)
    broad = cv2.resize(chance.random((9, 9, 3), np.float32), (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
    picture = np.clip(broad + chance.normal(0, 0.02, broad.shape), 0, 1).astype(np.float32)
    mask = np.zeros((SIZE, SIZE), np.float32)
    cv2.ellipse(mask, (SIZE // 2, SIZE // 2), (SIZE // 3, SIZE // 2 - 16), 0, 0, 360, (1.0,), -1)
    return Labelled(picture, mask)
