"""XSeg: the mask network. It says of every pixel of an aligned face whether it is face, so that hands and hair are not.

    face (B,3,256,256)
      conv01 conv02 ─────────────────── x0 (B,32,256,256) ──────────────────► up0 uconv02 uconv01 ─ out_conv ─ logits
        └ bp0 conv11 conv12 ─────────── x1 (B,64,128,128) ────────────► up1 uconv12 uconv11 ┘
            └ bp1 conv21 conv22 ─────── x2 (B,128,64,64) ───────► up2 uconv22 uconv21 ┘
                └ bp2 conv31..33 ────── x3 (B,256,32,32) ─► up3 uconv33 uconv32 uconv31 ┘
                    └ bp3 conv41..43 ── x4 (B,256,16,16) ► up4 uconv43 uconv42 uconv41 ┘
                        └ bp4 conv51..53 x5 (B,256,8,8) ► up5 uconv53 uconv52 uconv51 ┘
                            └ bp5 ─ (B,256,4,4) ─ dense1 ─ (B,512) ─ dense2 ─ (B,256,4,4) ┘

A block is a convolution, a filter response normalisation (FRN) and a threshold (TLU). bp halves by a fixed blur. Going
up, what was there on the way down is laid beside what came from below; in pretraining zeros lie there instead, so that
the bottleneck has to carry everything.

Submodule names are checkpoint keys and are the tensor paths of the reference's own files (`conv01/frn/eps:0` is
`conv01.frn.eps`). Pictures are RGB, where the reference has BGR; `interop/layout.py` converts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from understudy.errors import InvalidOption
from understudy.networks.blocks import Grow, as_grid, at_least_float32, initialise, seen
from understudy.networks.sizes import EVERY_FACE_TYPE, require_dims, require_size
from understudy.records import FaceType

LEAST_MASK = 0.1
"""Masks below are 0: the reference cuts them off where it reads them."""


@dataclass(frozen=True)
class XSegConfig:
    """The numbers of the reference, of which only the face type is chosen; a test may take smaller ones.

    Raises InvalidOption for numbers of which no network can be built.
    """

    size: int = 256  # side of the square face in pixels, a multiple of 64
    face_type: FaceType = FaceType.WHOLE_FACE
    base_dims: int = 32  # channels at the full size

    FACE_TYPES: ClassVar[tuple[FaceType, ...]] = EVERY_FACE_TYPE

    def __post_init__(self) -> None:
        require_size(self.size, 64)
        require_dims(base_dims=self.base_dims)

    @classmethod
    def rounded(cls, *, face_type: FaceType = FaceType.WHOLE_FACE) -> XSegConfig:
        """The config that a person chose. Raises InvalidOption for a face type that there is not."""
        if face_type not in cls.FACE_TYPES:
            raise InvalidOption(
                f"XSeg models have no face type {face_type}.", hint=f"Choose one of {', '.join(cls.FACE_TYPES)}."
            )
        return cls(face_type=face_type)


class FRN(nn.Module):
    """Filter response normalisation (Singh and Krishnan, CVPR 2020): x by the root of its own mean square.

    (B,C,H,W) → the same. Each picture and channel by itself, over rows and columns; eps is one learned number.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = nn.Parameter(torch.full((1,), 1e-6))

    def forward(self, x: Tensor) -> Tensor:
        power = x.square().mean((2, 3), keepdim=True)
        scale = self.weight.view(-1, 1, 1) * torch.rsqrt(power + self.eps.abs())
        return torch.addcmul(self.bias.view(-1, 1, 1), x, scale)


class TLU(nn.Module):
    """max(x, τ) with a threshold τ for each channel, which follows an FRN, whose mean is not zero."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.tau = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return torch.maximum(x, self.tau.view(-1, 1, 1))


class Block(nn.Module):
    """A convolution, then FRN and TLU, both in float32 whatever the convolution computes in."""

    def __init__(self, inputs: int, outputs: int, *, grow: bool = False) -> None:
        super().__init__()
        self.conv = Grow(inputs, outputs) if grow else nn.Conv2d(inputs, outputs, 3, padding=1)
        self.frn = FRN(outputs)
        self.tlu = TLU(outputs)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        normal: Tensor = self.tlu(self.frn(at_least_float32(y)))
        return normal.to(y.dtype)


class BlurPool(nn.Module):
    """(B,C,h,w) → (B,C,h/2,w/2): a binomial window of `taps` numbers on each axis, at every second pixel.

    Such a window is the mean of two, taken taps − 1 times. Nothing is learned. Beyond the edge there are zeros.
    """

    def __init__(self, taps: int) -> None:
        super().__init__()
        self.taps = taps

    def forward(self, x: Tensor) -> Tensor:
        for padding in (1, 0)[: self.taps - 2]:
            x = F.avg_pool2d(x, 2, stride=1, padding=padding)
        return F.avg_pool2d(x, 2)


class XSeg(nn.Module):
    """The whole mask network.

    generator: draws the initial weights (Glorot uniform, biases zero); None uses torch's global one.
    """

    def __init__(self, config: XSegConfig | None = None, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        config = config or XSegConfig()
        self.config = config
        b, self.grid = config.base_dims, config.size // 64
        self.conv01, self.conv02, self.bp0 = Block(3, b), Block(b, b), BlurPool(4)
        self.conv11, self.conv12, self.bp1 = Block(b, 2 * b), Block(2 * b, 2 * b), BlurPool(3)
        self.conv21, self.conv22, self.bp2 = Block(2 * b, 4 * b), Block(4 * b, 4 * b), BlurPool(2)
        self.conv31, self.conv32, self.conv33 = Block(4 * b, 8 * b), Block(8 * b, 8 * b), Block(8 * b, 8 * b)
        self.bp3 = BlurPool(2)
        self.conv41, self.conv42, self.conv43 = Block(8 * b, 8 * b), Block(8 * b, 8 * b), Block(8 * b, 8 * b)
        self.bp4 = BlurPool(2)
        self.conv51, self.conv52, self.conv53 = Block(8 * b, 8 * b), Block(8 * b, 8 * b), Block(8 * b, 8 * b)
        self.bp5 = BlurPool(2)

        flat = 8 * b * self.grid**2
        self.dense1, self.dense2 = nn.Linear(flat, 512), nn.Linear(512, flat)

        self.up5, self.uconv53 = Block(8 * b, 4 * b, grow=True), Block(12 * b, 8 * b)
        self.uconv52, self.uconv51 = Block(8 * b, 8 * b), Block(8 * b, 8 * b)
        self.up4, self.uconv43 = Block(8 * b, 4 * b, grow=True), Block(12 * b, 8 * b)
        self.uconv42, self.uconv41 = Block(8 * b, 8 * b), Block(8 * b, 8 * b)
        self.up3, self.uconv33 = Block(8 * b, 4 * b, grow=True), Block(12 * b, 8 * b)
        self.uconv32, self.uconv31 = Block(8 * b, 8 * b), Block(8 * b, 8 * b)
        self.up2, self.uconv22, self.uconv21 = Block(8 * b, 4 * b, grow=True), Block(8 * b, 4 * b), Block(4 * b, 4 * b)
        self.up1, self.uconv12, self.uconv11 = Block(4 * b, 2 * b, grow=True), Block(4 * b, 2 * b), Block(2 * b, 2 * b)
        self.up0, self.uconv02, self.uconv01 = Block(2 * b, b, grow=True), Block(2 * b, b), Block(b, b)
        self.out_conv = nn.Conv2d(b, 1, 3, padding=1)
        initialise(self, generator)

    def forward(self, faces: Tensor, *, skips: bool = True) -> Tensor:
        """Faces (B,3,S,S) RGB in 0..1 → logits (B,1,S,S), float32. skips False: zeros in their place (pretraining)."""
        x0 = self.conv02(self.conv01(seen(faces, self.dense1)))
        x1 = self.conv12(self.conv11(self.bp0(x0)))
        x2 = self.conv22(self.conv21(self.bp1(x1)))
        x3 = self.conv33(self.conv32(self.conv31(self.bp2(x2))))
        x4 = self.conv43(self.conv42(self.conv41(self.bp3(x3))))
        x5 = self.conv53(self.conv52(self.conv51(self.bp4(x4))))
        x = self._bottleneck(self.bp5(x5))
        if not skips:
            x0, x1, x2, x3, x4, x5 = map(torch.zeros_like, (x0, x1, x2, x3, x4, x5))
        x = self.uconv51(self.uconv52(self.uconv53(torch.cat([self.up5(x), x5], 1))))
        x = self.uconv41(self.uconv42(self.uconv43(torch.cat([self.up4(x), x4], 1))))
        x = self.uconv31(self.uconv32(self.uconv33(torch.cat([self.up3(x), x3], 1))))
        x = self.uconv21(self.uconv22(torch.cat([self.up2(x), x2], 1)))
        x = self.uconv11(self.uconv12(torch.cat([self.up1(x), x1], 1)))
        x = self.uconv01(self.uconv02(torch.cat([self.up0(x), x0], 1)))
        return at_least_float32(self.out_conv(x))

    def masks(self, faces: Tensor) -> Tensor:
        """Faces (B,3,S,S) RGB in 0..1 → masks (B,1,S,S), float32 in 0..1; what is below 0.1 is 0."""
        masks = torch.sigmoid(self(faces))
        return torch.where(masks < LEAST_MASK, 0.0, masks)

    def _bottleneck(self, x: Tensor) -> Tensor:
        return as_grid(self.dense2(self.dense1(x.flatten(1))), self.grid)
