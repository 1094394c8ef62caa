"""Quick96: the small fixed swapper, one encoder and bottleneck for both people and a decoder for each.

    face (B,3,S,S) ─ Encoder ─ code (B,N), unit power ─ Inter ─ (B,ae,S/16,S/16) ─┬─ decoder_src ─ face, mask (B,1,S,S)
                                                                                  └─ decoder_dst ─ face, mask

In training each person goes through their own decoder. A swap sends dst through decoder_src, which knows only what
src looks like and so wears dst's pose, expression and light.

Submodule names are checkpoint keys and are the tensor paths of the reference's own files
(`down1/downs_0/conv1/weight:0` is `down1.downs_0.conv1.weight`): renaming one needs a migration. Every tensor has
PyTorch's layout and the reference's channel order; faces are RGB, where the reference has BGR. `interop/layout.py`
converts.

Feature maps stay channels-last from end to end: there the rearrangement after each Up copies whole runs of channels,
and the CPU's convolutions take them as they are.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from understudy.records import FaceType


@dataclass(frozen=True)
class Quick96Config:
    """The numbers of the reference, which offers no choice; a test may take smaller ones."""

    size: int = 96  # S: side of the square face in pixels, a multiple of 32
    ae_dims: int = 128  # ae: channels of the bottleneck
    e_dims: int = 64  # e: channels after the encoder's first halving
    d_dims: int = 64  # d: channels of the face branch before its last doubling, halved
    d_mask_dims: int = 16  # m: the same for the mask branch
    face_type: FaceType = FaceType.FULL


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


class Down(nn.Module):
    """Halve the grid with a 5×5 convolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 5, stride=2, padding=2)

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(self.conv1(x), 0.1, inplace=True)


class Up(nn.Module):
    """Double the grid: four times the channels, then each quarter of them to one corner of a 2×2 block."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, 4 * outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return depth_to_space(F.leaky_relu(self.conv1(x), 0.1, inplace=True))


class Res(nn.Module):
    """Two 3×3 convolutions beside a straight path."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(F.leaky_relu(self.conv1(x), 0.2, inplace=True))
        return F.leaky_relu(y.add_(x), 0.2, inplace=True)


class Encoder(nn.Module):
    """face (B,3,S,S) → code (B, 8e·(S/16)²) of unit mean square."""

    def __init__(self, e: int) -> None:
        super().__init__()
        widths = [3, e, 2 * e, 4 * e, 8 * e]
        downs = ((f"downs_{i}", Down(widths[i], widths[i + 1])) for i in range(4))
        self.down1 = nn.Sequential(OrderedDict(downs))

    def forward(self, face: Tensor) -> Tensor:
        return unit_power(self.down1(face).flatten(1))


class Inter(nn.Module):
    """code (B,N) → (B,ae,S/16,S/16). Nothing but linear maps before its one Up."""

    def __init__(self, code: int, ae: int, grid: int) -> None:
        super().__init__()
        self.grid = grid
        self.dense1 = nn.Linear(code, ae)
        self.dense2 = nn.Linear(ae, grid * grid * ae)
        self.upscale1 = Up(ae, ae)

    def forward(self, code: Tensor) -> Tensor:
        x = self.dense2(self.dense1(code)).unflatten(1, (-1, self.grid, self.grid))
        doubled: Tensor = self.upscale1(x.contiguous(memory_format=torch.channels_last))
        return doubled


class Decoder(nn.Module):
    """(B,ae,S/16,S/16) → logits of face (B,3,S,S) and mask (B,1,S,S). The two branches share only their input."""

    def __init__(self, ae: int, d: int, m: int) -> None:
        super().__init__()
        self.upscale0, self.res0 = Up(ae, 8 * d), Res(8 * d)
        self.upscale1, self.res1 = Up(8 * d, 4 * d), Res(4 * d)
        self.upscale2, self.res2 = Up(4 * d, 2 * d), Res(2 * d)
        self.upscalem0, self.upscalem1 = Up(ae, 8 * m), Up(8 * m, 4 * m)
        self.upscalem2, self.upscalem3 = Up(4 * m, 2 * m), Up(2 * m, m)
        # The last doubling of the face: one convolution for each corner of the 2×2 block.
        self.out_conv = nn.Conv2d(2 * d, 3, 1)
        self.out_conv1 = nn.Conv2d(2 * d, 3, 3, padding=1)
        self.out_conv2 = nn.Conv2d(2 * d, 3, 3, padding=1)
        self.out_conv3 = nn.Conv2d(2 * d, 3, 3, padding=1)
        self.out_convm = nn.Conv2d(m, 1, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.draw_face(x), self.draw_mask(x)

    def draw_face(self, x: Tensor) -> Tensor:
        face = self.res0(self.upscale0(x))
        face = self.res1(self.upscale1(face))
        face = self.res2(self.upscale2(face))
        return depth_to_space(self._corners(face))

    def draw_mask(self, x: Tensor) -> Tensor:
        mask: Tensor = self.out_convm(self.upscalem3(self.upscalem2(self.upscalem1(self.upscalem0(x)))))
        return mask

    def _corners(self, face: Tensor) -> Tensor:
        """The four output convolutions as one of 12 outputs, which reads `face` once.

        The 1×1 kernel is the centre of a 3×3 kernel of zeros; the zeros are made here at every call, so no optimiser
        can train them and the checkpoint keeps the four as they are.
        """
        convs = (self.out_conv1, self.out_conv2, self.out_conv3)
        weight = torch.cat([F.pad(self.out_conv.weight, (1, 1, 1, 1)), *(conv.weight for conv in convs)])
        biases = [conv.bias for conv in (self.out_conv, *convs) if conv.bias is not None]
        return F.conv2d(face, weight.contiguous(memory_format=torch.channels_last), torch.cat(biases), padding=1)


class Quick96(nn.Module):
    """The whole swapper. `reconstruct` is what it learns by, `swap` what it is for.

    generator: draws the initial weights (Glorot uniform, biases zero); None uses torch's global one.
    """

    def __init__(self, config: Quick96Config | None = None, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        config = config or Quick96Config()
        self.config = config
        self.encoder = Encoder(config.e_dims)
        self.inter = Inter(8 * config.e_dims * (config.size // 16) ** 2, config.ae_dims, config.size // 32)
        self.decoder_src = Decoder(config.ae_dims, config.d_dims, config.d_mask_dims)
        self.decoder_dst = Decoder(config.ae_dims, config.d_dims, config.d_mask_dims)
        initialise(self, generator)

    def forward(self, src: Tensor, dst: Tensor) -> Reconstruction:
        """`reconstruct`, under the name that wrappers and compilers know."""
        return self.reconstruct(src, dst)

    def reconstruct(self, src: Tensor, dst: Tensor) -> Reconstruction:
        """Redraw src (B,3,S,S) and dst (B,3,S,S), RGB in 0..1, each as themselves."""
        both = self.inter(self.encoder(self._seen(torch.cat([src, dst]))))
        code_src, code_dst = both.split([len(src), len(dst)])
        return Reconstruction(*_drawn(*self.decoder_src(code_src)), *_drawn(*self.decoder_dst(code_dst)))

    def swap(self, dst: Tensor) -> Prediction:
        """Redraw dst (B,3,S,S), RGB in 0..1, as src."""
        code = self.inter(self.encoder(self._seen(dst)))
        return Prediction(*_drawn(*self.decoder_src(code), self.decoder_dst.draw_mask(code)))

    def _seen(self, faces: Tensor) -> Tensor:
        """Faces in the type and layout that the weights compute in."""
        return faces.to(self.inter.dense1.weight.dtype, memory_format=torch.channels_last)


def depth_to_space(x: Tensor) -> Tensor:
    """(B,4C,h,w) → (B,C,2h,2w), channels-last: channel (2i+j)·C+c goes to row 2h+i, column 2w+j.

    This is the reference's order, not pixel_shuffle's. Written on channels-last axes, so that it moves runs of 2C
    numbers and its gradient comes back channels-last too: the other way round costs the backward pass 4 % of the step.
    """
    batch, channels, height, width = x.shape
    corners = x.permute(0, 2, 3, 1).reshape(batch, height, width, 2, 2, channels // 4)
    spread = corners.permute(0, 1, 3, 2, 4, 5).reshape(batch, 2 * height, 2 * width, channels // 4)
    return spread.permute(0, 3, 1, 2)


def unit_power(code: Tensor) -> Tensor:
    """(B,N) scaled to a mean square of one; float32 inside, so that a sum of 18,432 squares keeps its digits."""
    wide = code.float()
    return (wide * torch.rsqrt(wide.square().mean(1, keepdim=True) + 1e-6)).to(code.dtype)


def initialise(net: nn.Module, generator: torch.Generator | None = None) -> None:
    """Glorot-uniform kernels, fans counted over the kernel area; biases zero."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _drawn(*logits: Tensor) -> tuple[Tensor, ...]:
    """Logits as pictures, in float32."""
    return tuple(torch.sigmoid(part.float()) for part in logits)
