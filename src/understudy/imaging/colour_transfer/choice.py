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

Mode = Literal["rct", "lct", "mkl", "idt", "sot"]
MODES: tuple[Mode, ...] = get_args(Mode)
RANDOM_MODES: tuple[Mode, ...] = ("idt", "sot")
"""The modes that need seeds."""


def transfer(
    mode: Mode,
    pictures: Tensor,
    references: Tensor,
    *,
    inside: Tensor | None = None,
    inside_references: Tensor | None = None,
    seeds: Sequence[int] = (),
    faithful: bool = False,
) -> Tensor:
    """`pictures` (B,3,H,W) in the colours of `references` (B,3,h,w), RGB float32 0..1; the result lies in 0..1.

    inside, inside_references: (B,1,H,W) and (B,1,h,w) bool, where colours are measured; None: everywhere. All pixels
    are changed. A picture whose mask, or whose reference's, is empty comes back as it is. faithful: with the
    reference program's habits, for which see each function; sot is the binned form all the same. seeds: for idt and
    sot, one for each picture, below 2³²; the same seed gives the same colours.
    """
    if mode in RANDOM_MODES and len(seeds) != len(pictures):
        raise ValueError(f"{mode} needs a seed for each of {len(pictures)} pictures, not {len(seeds)}")
    where = {"inside": inside, "inside_references": inside_references}
    match mode:
        case "rct":
            return rct(pictures, references, **where, faithful=faithful).clamp(0, 1)
        case "lct":
            return lct(pictures, references, **where)
        case "mkl":
            return mkl(pictures, references, **where, faithful=faithful)
        case "idt":
            return idt(pictures, references, rotations(seeds), **where, faithful=faithful)
        case "sot":
            return sot(pictures, references, directions(seeds), **where).clamp(0, 1)
