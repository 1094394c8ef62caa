"""Previews of the mask network: what is not face is green.

    XSeg training faces       by the label · the mask that was found · by that mask
    XSeg src faces, dst faces       the face · the mask that was found · by that mask

In pretraining only the first: the face, and the grey that was drawn of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from understudy.networks.xseg import XSeg
from understudy.training.masking.learner import MaskBatch
from understudy.training.previews.preview import Sheets, sheet


@dataclass(frozen=True, eq=False)
class MaskPreviewFaces:
    """training: samples as the network learns from them. sides: faces as they are, (N,3,S,S), by side."""

    training: MaskBatch
    sides: Mapping[str, Tensor] = field(default_factory=dict)
    pretraining: bool = False


def mask_previews(net: XSeg, faces: MaskPreviewFaces) -> Sheets:
    """Each sheet (rows·S, 2 or 3·S, 3) RGB. Draws no random numbers."""
    seen, target = faces.training
    drawn = _drawn(net, seen, skips=not faces.pretraining)
    if faces.pretraining:
        return {"XSeg training faces": sheet([seen, _rgb(drawn)])}
    sheets = {"XSeg training faces": sheet([in_green(seen, target), _rgb(drawn), in_green(seen, drawn)])}
    for side, pictures in faces.sides.items():
        found = _drawn(net, pictures, skips=True)
        sheets[f"XSeg {side} faces"] = sheet([pictures, _rgb(found), in_green(pictures, found)])
    return sheets


def in_green(pictures: Tensor, masks: Tensor) -> Tensor:
    """Pictures (B,3,S,S) with what lies outside of masks (B,1,S,S) half green."""
    green = pictures.new_tensor([0, 1, 0]).view(1, 3, 1, 1)
    return pictures * masks + (pictures + green) / 2 * (1 - masks)


def _drawn(net: XSeg, pictures: Tensor, *, skips: bool) -> Tensor:
    with torch.inference_mode():
        drawn: Tensor = net(pictures, skips=skips).float().sigmoid()
    return drawn


def _rgb(masks: Tensor) -> Tensor:
    return masks.expand(-1, 3, -1, -1)
