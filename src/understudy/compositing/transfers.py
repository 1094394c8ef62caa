"""The colour transfers that a merge can ask for, as one table of functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from understudy.compositing.options import ColorTransfer
from understudy.imaging import colour
from understudy.imaging.types import Image, Mask

Transfer = Callable[[Image, Image, Mask, Mask], Image]
"""(face, dst face, mask on the face, mask on the dst face) → face with the colours of the dst face."""


def _keep(face: Image, dst_face: Image, mask: Mask, mask_on_dst: Mask) -> Image:
    return face


def _rct(face: Image, dst_face: Image, mask: Mask, mask_on_dst: Mask) -> Image:
    return colour.rct(face, dst_face, inside=mask > 0, inside_onto=mask_on_dst > 0)


def _rct_with_quirks(face: Image, dst_face: Image, mask: Mask, mask_on_dst: Mask) -> Image:
    return colour.rct_counting_outside_as_black(face, dst_face, mask=mask, mask_onto=mask)


TRANSFERS: Mapping[ColorTransfer, Transfer] = {ColorTransfer.NONE: _keep, ColorTransfer.RCT: _rct}

TRANSFERS_WITH_QUIRKS: Mapping[ColorTransfer, Transfer] = {
    ColorTransfer.NONE: _keep,
    ColorTransfer.RCT: _rct_with_quirks,
}
