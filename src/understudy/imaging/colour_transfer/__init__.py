"""The colours of one picture given to another, in batches, on any device.

    transfer("rct", pictures (B,3,H,W), references (B,3,h,w)) → (B,3,H,W), RGB float32

| mode | what is matched | module |
|---|---|---|
| rct | mean and deviation of L, a and b | reinhard |
| lct, mkl | mean and covariance of R, G and B | linear |
| idt | distributions along random axes, 20 steps that go two thirds of the way | iterative, faithful_iterative |
| sot | distributions along random axes, then smoothed: broad light and tint, no detail | sliced |
| mix | L by lct, a and b by sot, in 8 bit | mixed |

Every function is pure: what chance decides comes in as seeds, one for each picture of the batch. `faithful` asks for
the reference program's form with its habits; without it there are guards for flat channels.
"""

from __future__ import annotations

from understudy.imaging.colour_transfer.choice import MODES, RANDOM_MODES, Mode, transfer
from understudy.imaging.colour_transfer.iterative import idt
from understudy.imaging.colour_transfer.lab import lab_from_rgb, rgb_from_lab
from understudy.imaging.colour_transfer.linear import lct, mkl
from understudy.imaging.colour_transfer.matching import match_histograms
from understudy.imaging.colour_transfer.mixed import mix
from understudy.imaging.colour_transfer.reinhard import rct
from understudy.imaging.colour_transfer.sliced import sot
from understudy.imaging.colour_transfer.statistics import EVERYWHERE, Where

__all__ = [
    "EVERYWHERE",
    "MODES",
    "RANDOM_MODES",
    "Mode",
    "Where",
    "idt",
    "lab_from_rgb",
    "lct",
    "match_histograms",
    "mix",
    "mkl",
    "rct",
    "rgb_from_lab",
    "sot",
    "transfer",
]
