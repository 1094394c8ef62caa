"""A transposed convolution in bfloat16, which a processor does by corners, is the one that PyTorch does in float32."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from understudy.networks.blocks import Grow


@pytest.mark.parametrize(("stride", "side"), [(2, 4), (2, 5), (1, 5)])
def test_by_corners_and_as_pytorch_does_it(stride: int, side: int) -> None:
    grow = Grow(3, 5, stride).bfloat16()
    faces = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1)).bfloat16()
    wanted_gradient = torch.randn(
        2, 5, stride * side, stride * side, generator=torch.Generator().manual_seed(2)
    ).bfloat16()
    assert grow.bias is not None
    with torch.no_grad():
        grow.bias.normal_(generator=torch.Generator().manual_seed(3))

    def gradients(grown: Tensor, *leaves: Tensor) -> list[Tensor]:
        return [grown, *torch.autograd.grad(grown, leaves, wanted_gradient.to(grown.dtype))]

    seen = faces.clone().requires_grad_()
    ours = gradients(grow(seen), seen, grow.weight, grow.bias)
    wide = [part.detach().float().requires_grad_() for part in (faces, grow.weight, grow.bias)]
    grown = F.conv_transpose2d(*wide, stride=stride, padding=2 - stride)[..., : stride * side, : stride * side]
    for mine, theirs in zip(ours, gradients(grown, *wide), strict=True):
        assert mine.shape == theirs.shape
        assert (mine.float() - theirs).abs().max() < 0.02 * theirs.abs().max()
