"""One door to the transfers, by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from torch import Tensor

from understudy.imaging.colour_transfer.draws import directions, rotations
from understudy.imaging.colour_transfer.iterative import idt
from understudy.imaging.colour_transfer.linear import lct, mkl
from understudy.imaging.colour_transfer.reinhard import rct
from understudy.imaging.colour_transfer.sliced import sot
from understudy.imaging.colour_transfer.statistics import EVERYWHERE, Where

Mode = Literal["rct", "lct", "mkl", "idt", "sot"]
MODES: tuple[Mode, ...] = get_args(Mode)
RANDOM_MODES: tuple[Mode, ...] = ("idt", "sot")
"""The modes that need seeds."""


def transfer(
    mode: Mode,
    pictures: Tensor,
    references: Tensor,
    where: Where = EVERYWHERE,
    *,
    seeds: Sequence[int] = (),
    faithful: bool = False,
) -> Tensor:
    """`pictures` (B,3,H,W) in the colours of `references` (B,3,h,w), RGB float32 0..1; the result lies in 0..1.

    seeds: for idt and sot, one for each picture, below 2³²; the same seed gives the same colours. faithful: with the
    reference program's habits, for which see each function; sot is the binned form all the same.
    """
    if mode in RANDOM_MODES and len(seeds) != len(pictures):
        raise ValueError(f"{mode} needs a seed for each of {len(pictures)} pictures, not {len(seeds)}")
    match mode:
        case "rct":
            return rct(pictures, references, where, faithful=faithful)
        case "lct":
            return lct(pictures, references, where)
        case "mkl":
            return mkl(pictures, references, where, faithful=faithful)
        case "idt":
            return idt(pictures, references, rotations(seeds), where, faithful=faithful)
        case "sot":
            return sot(pictures, references, directions(seeds), where).clamp(0, 1)
