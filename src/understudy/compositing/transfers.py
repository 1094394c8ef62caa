"""The colour transfers that a merge can ask for: pictures and masks as it has them, to `imaging.colour_transfer`."""

from __future__ import annotations

import numpy as np
import torch

from understudy.compositing.options import ColorTransfer
from understudy.imaging.colour_transfer import EVERYWHERE, MODES, RANDOM_MODES, Mode, Where, transfer
from understudy.imaging.types import Image, Mask

BY_NAME: dict[str, Mode] = {mode: mode for mode in MODES}


SEED = 1234
"""idt turns colours the same way in every frame, so that what does not change in the plate does not flicker. Any number
would do; this is the one that the stored merges of the reference were made with."""


def in_colours_of(
    face: Image, dst_face: Image, mode: ColorTransfer, *, mask: Mask, mask_on_dst: Mask, faithful: bool = False
) -> Image:
    """`face` (H,W,3) in the colours of `dst_face`, both RGB 0..1; measured inside the masks, each (H,W) on its picture.

    faithful: as the reference, which has masks for rct alone.
    """
    if mode is ColorTransfer.NONE:
        return face
    name = BY_NAME[mode]
    masked = name == "rct" or not faithful
    where = Where(_inside(mask), _inside(mask_on_dst)) if masked else EVERYWHERE
    seeds = [SEED] if name in RANDOM_MODES else []
    changed = transfer(name, _batch(face), _batch(dst_face), where, seeds=seeds, faithful=faithful)
    return np.ascontiguousarray(changed[0].permute(1, 2, 0).numpy())


def _batch(picture: Image) -> torch.Tensor:
    """A batch of one, (1,3,H,W)."""
    return torch.from_numpy(picture).permute(2, 0, 1)[None]


def _inside(mask: Mask) -> torch.Tensor:
    return torch.from_numpy(mask >= 0.5)[None, None]
