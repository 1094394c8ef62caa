"""What the swapper families are built from, and what every one of them gives.

    Down   (B,i,2h,2w) → (B,o,h,w)       5×5 convolution, stride 2, activation
    Up     (B,i,h,w)   → (B,o,2h,2w)     3×3 convolution to 4·o channels, activation, depth to space
    Res    (B,c,h,w)   → (B,c,h,w)       act(x + conv(act(conv(x))))
    Grow   (B,i,h,w)   → (B,o,s·h,s·w)   3×3 transposed convolution, in XSeg and the discriminator

The activation is a leaky ReLU, or x·cos(x) where an architecture has the letter c.

Feature maps stay channels-last from end to end: there the rearrangement after each Up copies whole runs of channels,
and the CPU's convolutions take them as they are. Submodule names are checkpoint keys and are the tensor paths of the
reference's own files (`down1/downs_0/conv1/weight:0` is `down1.downs_0.conv1.weight`): renaming one needs a migration.
Every tensor has PyTorch's layout and the reference's channel order; faces are RGB, where the reference has BGR.
`interop/layout.py` converts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Reconstruction(NamedTuple):
    """Both people redrawn as themselves: faces (B,3,S,S) and masks (B,1,S,S), float32 in 0..1, RGB."""

    src_src: Tensor
    src_mask: Tensor
    dst_dst: Tensor
    dst_mask: Tensor


class Prediction(NamedTuple):
    """dst redrawn as src: face (B,3,S,S) RGB, and the masks (B,1,S,S) of src's face and dst's. float32, 0..1."""

    face: Tensor
    mask_swap: Tensor
    mask_dst: Tensor


class Staged(nn.Module):
    """A part of a network whose work is done in stages, each a method of its own.

    each: calls a stage, `each(part, name of the method, *arguments)`. Training may put something in its place that
    makes what happens within a stage twice instead of keeping it.
    """

    each: Callable[..., Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.each = directly


def directly(part: nn.Module, stage: str, *given: Tensor | int) -> Tensor:
    """The stage of a part, as it is."""
    done: Tensor = getattr(part, stage)(*given)
    return done


class Down(nn.Module):
    """Halve the grid with a 5×5 convolution."""

    def __init__(self, inputs: int, outputs: int, *, cosine: bool = False) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 5, stride=2, padding=2)
        self.cosine = cosine

    def forward(self, x: Tensor) -> Tensor:
        return activate(self.conv1(x), 0.1, cosine=self.cosine)


class Up(nn.Module):
    """Double the grid: four times the channels, then each quarter of them to one corner of a 2×2 block."""

    def __init__(self, inputs: int, outputs: int, *, cosine: bool = False) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, 4 * outputs, 3, padding=1)
        self.cosine = cosine

    def forward(self, x: Tensor) -> Tensor:
        return depth_to_space(activate(self.conv1(x), 0.1, cosine=self.cosine))


class Res(nn.Module):
    """Two 3×3 convolutions beside a straight path."""

    def __init__(self, channels: int, *, cosine: bool = False) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.cosine = cosine

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(activate(self.conv1(x), 0.2, cosine=self.cosine))
        return activate(y.add_(x), 0.2, cosine=self.cosine)


class Grow(nn.ConvTranspose2d):
    """(B,i,h,w) → (B,o,s·h,s·w): a 3×3 transposed convolution that grows to exactly the stride's multiple.

    Of the 2h+1 rows that stride 2 gives, the last falls away, and so the last column. PyTorch's own way to an even
    size (`padding=1, output_padding=1`) drops the first ones instead: a picture one pixel off.

    In bfloat16 a processor has no quick way to do that. There it is an ordinary convolution with a 2×2 kernel for each
    corner of a 2×2 block, which is the same sum of products: on one core a doubling of (8,64,64,64) to 16 channels
    takes 7 ms instead of 51. In float32 both take as long, and a graphics card has kernels for both.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 2) -> None:
        super().__init__(inputs, outputs, 3, stride=stride, padding=2 - stride)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        if self.stride[0] == 2 and x.dtype is torch.bfloat16 and x.device.type == "cpu":
            return self._by_corners(x)
        grown: Tensor = super().forward(x)
        return grown[..., : self.stride[0] * x.shape[2], : self.stride[1] * x.shape[3]]

    def _by_corners(self, x: Tensor) -> Tensor:
        """Row 2h is the last tap over row h−1 and the first over row h; row 2h+1 is the middle tap over row h alone."""
        inputs, outputs = self.weight.shape[:2]
        taps = F.pad(self.weight, (0, 1, 0, 1)).view(inputs, outputs, 2, 2, 2, 2).flip(2, 4)  # …, from, to, from, to
        corners = taps.permute(3, 5, 1, 0, 2, 4).reshape(4 * outputs, inputs, 2, 2)
        biases = None if self.bias is None else self.bias.repeat(4)
        kernel = corners.contiguous(memory_format=torch.channels_last)
        return depth_to_space(F.conv2d(F.pad(x, (1, 0, 1, 0)), kernel, biases))


def activate(x: Tensor, slope: float, *, cosine: bool = False, in_place: bool = True) -> Tensor:
    """Leaky ReLU, or x·cos(x), whatever the slope.

    in_place: x is overwritten. Not for a view of something larger, whose gradient would then be written out whole.
    """
    return x * torch.cos(x) if cosine else F.leaky_relu(x, slope, inplace=in_place)


def depth_to_space(x: Tensor) -> Tensor:
    """(B,4C,h,w) → (B,C,2h,2w), channels-last: channel (2i+j)·C+c goes to row 2h+i, column 2w+j.

    This is the reference's order, not pixel_shuffle's. Written on channels-last axes, so that it moves runs of 2C
    numbers and its gradient comes back channels-last too: the other way round costs the backward pass 4 % of the step.
    """
    batch, channels, height, width = x.shape
    corners = x.permute(0, 2, 3, 1).reshape(batch, height, width, 2, 2, channels // 4)
    spread = corners.permute(0, 1, 3, 2, 4, 5).reshape(batch, 2 * height, 2 * width, channels // 4)
    return spread.permute(0, 3, 1, 2)


def head(x: Tensor, convs: Sequence[nn.Conv2d]) -> Tensor:
    """The last doubling, one output convolution for each corner: (B,C,h,w) → logits (B,3,2h,2w).

    convs: the 1×1 one of the even rows and columns, then the 3×3 ones of even/odd, odd/even and odd/odd. They are done
    as one convolution of 12 outputs, which reads x once. The 1×1 kernel is the centre of a 3×3 kernel of zeros; the
    zeros are made here at every call, so no optimiser can train them and the checkpoint keeps the four as they are.
    """
    first, *others = convs
    weight = torch.cat([F.pad(first.weight, (1, 1, 1, 1)), *(conv.weight for conv in others)])
    biases = [conv.bias for conv in convs if conv.bias is not None]
    corners = F.conv2d(x, weight.contiguous(memory_format=torch.channels_last), torch.cat(biases), padding=1)
    return depth_to_space(corners)


def unit_power(code: Tensor) -> Tensor:
    """(B,N) scaled to a mean square of one; float32 inside, so that a sum of 18,432 squares keeps its digits."""
    wide = at_least_float32(code)
    return (wide * torch.rsqrt(wide.square().mean(1, keepdim=True) + 1e-6)).to(code.dtype)


def seen(faces: Tensor, by: nn.Module) -> Tensor:
    """Pictures or codes (B,C,H,W) in the type that the layer `by` computes in, channels-last."""
    weight = by.weight
    assert isinstance(weight, Tensor)
    return faces.to(weight.dtype, memory_format=torch.channels_last)


def at_least_float32(x: Tensor) -> Tensor:
    """x in float32, or as it is where it is wider."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def as_grid(x: Tensor, grid: int) -> Tensor:
    """(B, C·grid²), counted through channels, rows and columns → (B,C,grid,grid), channels-last."""
    return x.view(len(x), -1, grid, grid).contiguous(memory_format=torch.channels_last)


def drawn(*logits: Tensor) -> tuple[Tensor, ...]:
    """Logits as pictures, in float32."""
    return tuple(torch.sigmoid(part.float()) for part in logits)


def initialise(net: nn.Module, generator: torch.Generator | None = None) -> None:
    """Glorot-uniform kernels, fans counted over the kernel area; biases zero."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
