"""How well two people were redrawn: the losses of one forward pass, unweighted, as one number per sample each.

A loss is named PERSON_KIND. `src_…` and `dst_…` add up to what is reported and kept in the history, as the reference
does it; `rest_…` is minimised too and reported by nobody there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from understudy.training.losses.blocks import (
    blur_out,
    dssim,
    dssim_over,
    gaussian_blur,
    mean_square,
    soft_mask,
    style,
    total_variation,
)
from understudy.training.losses.detail import frequency, gradient, laplacian, multiscale
from understudy.training.losses.objective import Objective

if TYPE_CHECKING:
    from understudy.networks.blocks import Prediction, Reconstruction
    from understudy.training.batches.samples import Batch

Losses = dict[str, Tensor]

DETAIL = {"ms_ssim": multiscale, "frequency": frequency, "gradient": gradient, "laplacian": laplacian}
"""Losses of detail by their name, which is also that of their power in `Objective`."""


class Targets(NamedTuple):
    """What drawings are held against, of both people, src first: (2B,…), float32 in 0..1.

    soft: the mask that pictures are compared in, or in masked training off, outside of which nothing is held.
    inside: the picture as it is compared.
    """

    picture: Tensor
    mask: Tensor
    soft: Tensor
    inside: Tensor
    eyes_mouth: Tensor | None


def targets_of(batch: Batch, objective: Objective) -> Targets:
    """The targets of a batch, made ready once for every loss of a step."""
    picture = torch.cat([batch.src.target, batch.dst.target]).float()
    mask = torch.cat([batch.src.mask, batch.dst.mask]).float()
    if objective.blur_out:
        picture = blur_out(picture, mask)
    soft = gaussian_blur(mask, max(1, mask.shape[-1] // 32)) if objective.bare_blur else soft_mask(mask)
    eyes_mouth = None
    if objective.eyes_mouth:
        assert batch.src.eyes_mouth is not None
        assert batch.dst.eyes_mouth is not None
        eyes_mouth = torch.cat([batch.src.eyes_mouth, batch.dst.eyes_mouth]).float()
    return Targets(picture, mask, soft, picture * soft if objective.masked else picture, eyes_mouth)


def drawn_inside(drawn: Reconstruction, targets: Targets, objective: Objective) -> Tensor:
    """Both people's drawings (2B,3,S,S) as they are compared with `targets.inside`."""
    face = torch.cat([drawn.src_src, drawn.dst_dst])
    return face * targets.soft if objective.masked else face


def drawing_losses(drawn: Reconstruction, inside: Tensor, targets: Targets, objective: Objective) -> Losses:
    """What every class has: structure (DSSIM, 0..1), pixel (mean square) and mask, and where asked for eyes and mouth
    and the losses of detail."""
    drawn_mask = torch.cat([drawn.src_mask, drawn.dst_mask])
    both = {
        "structure": dssim_over(targets.inside, inside, objective.filter_sizes).mean(1),
        "pixel": mean_square(targets.inside - inside),
        "mask": mean_square(targets.mask - drawn_mask),
    }
    if targets.eyes_mouth is not None:
        face = torch.cat([drawn.src_src, drawn.dst_dst])
        both["eyes_mouth"] = ((targets.picture - face) * targets.eyes_mouth).abs().mean((1, 2, 3))
    both |= {kind: loss(targets.inside, inside) for kind, loss in DETAIL.items() if getattr(objective, kind)}
    return {f"{person}_{kind}": part for kind, value in both.items() for person, part in _of_each(value).items()}


def face_style_loss(swapped: Prediction, drawn: Reconstruction) -> Losses:
    """How far the swap's colours are from those of dst as it is drawn, each in its own drawn mask.

    `swapped` should teach the decoder alone; the masks and dst teach nothing.
    """
    wanted = (drawn.dst_dst * drawn.dst_mask).detach()
    return {"src_face_style": style(swapped.face * swapped.mask_swap.detach(), wanted, swapped.face.shape[-1] // 8)}


def background_style_loss(swapped: Prediction, targets: Targets, objective: Objective) -> Losses:
    """How far the swap is from dst's target outside dst's face, or, as the reference slips, outside src's."""
    soft = _of_each(targets.soft)["src" if objective.background_outside_src else "dst"]
    wanted = _of_each(targets.picture)["dst"]
    around = 1 - soft.clamp(0, 1)
    first, second = swapped.face * around, wanted * around
    structure = dssim(second, first, objective.filter_sizes[0]).mean(1)
    return {"src_background_style": structure + mean_square(first - second)}


def src_kept_calm(drawn: Reconstruction, targets: Targets, objective: Objective) -> Losses:
    """Beside a GAN: src's drawing should not be rough, nor drift outside the mask, where no other loss holds it."""
    outside = 1 - _of_each(targets.soft)["src"]
    picture = _of_each(targets.picture)["src"]
    return {
        "rest_src_roughness": total_variation(drawn.src_src, along_channels=objective.roughness_along_channels),
        "rest_src_surroundings": mean_square((drawn.src_src - picture) * outside),
    }


def dst_kept_calm(drawn: Reconstruction, targets: Targets, objective: Objective) -> Losses:
    """AMP: the same for dst's surroundings, in every step."""
    outside = 1 - _of_each(targets.soft)["dst"]
    wanted, around = _of_each(targets.picture)["dst"] * outside, drawn.dst_dst * outside
    return {
        "rest_dst_roughness": total_variation(around, along_channels=objective.roughness_along_channels),
        "rest_dst_surroundings": mean_square(around - wanted),
    }


def weighted_sums(losses: Mapping[str, Tensor], weights: Mapping[str, float]) -> Losses:
    """The weighted sum of each person's losses, and of the `rest`: {"src": (B,), "dst": (B,), …}.

    Everything together is what is minimised.
    """
    sums: Losses = {}
    for name, value in losses.items():
        person, _, kind = name.partition("_")
        term = weights[kind] * value
        sums[person] = sums[person] + term if person in sums else term
    return sums


def _of_each(both: Tensor) -> dict[str, Tensor]:
    """The two halves of something that holds src first and dst behind it."""
    src, dst = both.chunk(2)
    return {"src": src, "dst": dst}
