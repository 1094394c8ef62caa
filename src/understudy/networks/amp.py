"""AMP: the swapper that can go part of the way; one decoder, and how much of src is a number at the time of drawing.

                                              ┌─ inter_src ─ A (B,I,S/32,S/32) ─┐
    face (B,3,S,S) ─ Encoder ─ code (B,ae) ───┤                                 ├─ some channels of each ─ Decoder ─┐
                                              └─ inter_dst ─ B (B,I,S/32,S/32) ─┘                                  │
                                                                             face (B,3,S,S), mask (B,1,S,S) ───────┘

    dst as itself    B(dst)
    src as itself    A(src) in some channels, B(src) in the others: a random choice at every training step
    a swap           A(dst) in the first trunc(I·morph) channels, B(dst) in the others

So a morph of 0 draws dst and 1 draws src with dst's pose, expression and light. The reference trains only the encoder
and the decoder; both inters keep the random numbers they began with.

Names of tensors, channel order and layouts: `networks/blocks.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from understudy.errors import InvalidOption
from understudy.networks.blocks import (
    Down,
    Prediction,
    Reconstruction,
    Res,
    Staged,
    Up,
    as_grid,
    drawn,
    head,
    initialise,
    seen,
    unit_power,
)
from understudy.networks.sizes import even, require_dims, require_size, within
from understudy.records import FaceType


@dataclass(frozen=True)
class AmpConfig:
    """What cannot change once a model exists. Anything that can be built is allowed; `rounded` is for people.

    Raises InvalidOption for numbers of which no network can be built.
    """

    size: int = 224  # S: side of the square face in pixels, a multiple of 32
    face_type: FaceType = FaceType.WHOLE_FACE
    ae_dims: int = 256  # ae: numbers in a code
    inter_dims: int = 1024  # I: channels that the inters give, among which morphing chooses
    e_dims: int = 64  # e: channels after the encoder's first halving
    d_dims: int = 64  # d: channels of the face branch at its end, halved
    d_mask_dims: int = 22  # m: channels of the mask branch at its end
    morph_factor: float = 0.5  # share of the channels that draw src as itself in training

    FACE_TYPES: ClassVar[tuple[FaceType, ...]] = (FaceType.FULL, FaceType.WHOLE_FACE, FaceType.HEAD)

    def __post_init__(self) -> None:
        require_size(self.size, 32)
        require_dims(ae_dims=self.ae_dims, inter_dims=self.inter_dims, e_dims=self.e_dims)
        require_dims(d_dims=self.d_dims, d_mask_dims=self.d_mask_dims)
        if not 0 <= self.morph_factor <= 1:
            raise InvalidOption(f"morph_factor is {self.morph_factor}; it must be from 0 to 1.")

    @classmethod
    def rounded(
        cls,
        *,
        size: int = 224,
        face_type: FaceType = FaceType.WHOLE_FACE,
        ae_dims: int = 256,
        inter_dims: int = 1024,
        e_dims: int = 64,
        d_dims: int = 64,
        d_mask_dims: int = 22,
        morph_factor: float = 0.5,
    ) -> AmpConfig:
        """The config nearest to what a person typed, rounded as the reference rounds (spec: training, 4).

        Sizes down to a multiple of 32 and into 64..640, dims into their ranges, e_dims, d_dims and d_mask_dims up to
        even numbers, the morph factor into 0.1..0.5. Raises InvalidOption for a face type that AMP does not have.
        """
        if face_type not in cls.FACE_TYPES:
            raise InvalidOption(
                f"AMP models have no face type {face_type}.", hint=f"Choose one of {', '.join(cls.FACE_TYPES)}."
            )
        return cls(
            size=within(size // 32 * 32, 64, 640),
            face_type=face_type,
            ae_dims=within(ae_dims, 32, 1024),
            inter_dims=within(inter_dims, 32, 2048),
            e_dims=even(within(e_dims, 16, 256)),
            d_dims=even(within(d_dims, 16, 256)),
            d_mask_dims=even(within(d_mask_dims, 16, 256)),
            morph_factor=max(0.1, min(0.5, morph_factor)),
        )

    @property
    def src_channels(self) -> int:
        """How many of the `inter_dims` channels draw src as itself in training: trunc(I·morph_factor)."""
        return int(self.inter_dims * self.morph_factor)


class Encoder(Staged):
    """face (B,3,S,S) → code (B,ae)."""

    def __init__(self, e: int, ae: int, grid: int) -> None:
        super().__init__()
        self.down1, self.res1 = Down(3, e), Res(e)
        self.down2, self.down3, self.down4 = Down(e, 2 * e), Down(2 * e, 4 * e), Down(4 * e, 8 * e)
        self.down5, self.res5 = Down(8 * e, 8 * e), Res(8 * e)
        self.dense1 = nn.Linear(8 * e * grid * grid, ae)

    def forward(self, face: Tensor) -> Tensor:
        return self.each(self, "encode", face)

    def encode(self, face: Tensor) -> Tensor:
        x = self.res1(self.down1(face))
        x = self.down4(self.down3(self.down2(x)))
        x = self.res5(self.down5(x))
        code: Tensor = self.dense1(unit_power(x.flatten(1)))
        return code


class Inter(nn.Module):
    """code (B,ae) → (B,I,S/32,S/32), by one linear map."""

    def __init__(self, ae: int, channels: int, grid: int) -> None:
        super().__init__()
        self.grid = grid
        self.dense2 = nn.Linear(ae, grid * grid * channels)

    def forward(self, code: Tensor) -> Tensor:
        return as_grid(self.dense2(code), self.grid)


class Decoder(Staged):
    """(B,I,S/32,S/32) → logits of face (B,3,S,S) and mask (B,1,S,S). The two branches share only their input."""

    def __init__(self, channels: int, d: int, m: int) -> None:
        super().__init__()
        self.upscale0, self.res0 = Up(channels, 8 * d), Res(8 * d)
        self.upscale1, self.res1 = Up(8 * d, 8 * d), Res(8 * d)
        self.upscale2, self.res2 = Up(8 * d, 4 * d), Res(4 * d)
        self.upscale3, self.res3 = Up(4 * d, 2 * d), Res(2 * d)
        self.upscalem0, self.upscalem1 = Up(channels, 8 * m), Up(8 * m, 8 * m)
        self.upscalem2, self.upscalem3 = Up(8 * m, 4 * m), Up(4 * m, 2 * m)
        self.upscalem4 = Up(2 * m, m)
        self.out_conv = nn.Conv2d(2 * d, 3, 1)
        self.out_conv1 = nn.Conv2d(2 * d, 3, 3, padding=1)
        self.out_conv2 = nn.Conv2d(2 * d, 3, 3, padding=1)
        self.out_conv3 = nn.Conv2d(2 * d, 3, 3, padding=1)
        self.out_convm = nn.Conv2d(m, 1, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.draw_face(x), self.draw_mask(x)

    def draw_face(self, x: Tensor) -> Tensor:
        for i in range(4):
            x = self.each(self, "stage", x, i)
        return x

    def draw_mask(self, x: Tensor) -> Tensor:
        return self.each(self, "mask", x)

    def stage(self, x: Tensor, i: int) -> Tensor:
        """One stage of the face, the last one with the face's outputs."""
        x = getattr(self, f"res{i}")(getattr(self, f"upscale{i}")(x))
        return head(x, (self.out_conv, self.out_conv1, self.out_conv2, self.out_conv3)) if i == 3 else x

    def mask(self, x: Tensor) -> Tensor:
        x = self.upscalem1(self.upscalem0(x))
        x = self.upscalem4(self.upscalem3(self.upscalem2(x)))
        mask: Tensor = self.out_convm(x)
        return mask


class Amp(nn.Module):
    """The whole swapper. `reconstruct` is what it learns by, `swap` what it is for.

    generator: draws the initial weights (Glorot uniform, biases zero); None uses torch's global one.
    """

    def __init__(self, config: AmpConfig | None = None, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        config = config or AmpConfig()
        self.config = config
        grid = config.size // 32
        self.encoder = Encoder(config.e_dims, config.ae_dims, grid)
        self.inter_src = Inter(config.ae_dims, config.inter_dims, grid)
        self.inter_dst = Inter(config.ae_dims, config.inter_dims, grid)
        self.decoder = Decoder(config.inter_dims, config.d_dims, config.d_mask_dims)
        initialise(self, generator)

    def forward(self, src: Tensor, dst: Tensor, channels: Tensor | None = None) -> Reconstruction:
        """`reconstruct`, under the name that wrappers and compilers know."""
        return self.reconstruct(src, dst, channels)

    def reconstruct(self, src: Tensor, dst: Tensor, channels: Tensor | None = None) -> Reconstruction:
        """Redraw src (B,3,S,S) and dst (B,3,S,S), RGB in 0..1, each as themselves.

        channels: (B,I,1,1), 1 where src comes from inter_src and 0 where from inter_dst; a random choice of
        `config.src_channels` for each face in training. None: the first ones.
        """
        code = self.encode(torch.cat([src, dst]))
        a, b = self.inter_src(code[: len(src)]), self.inter_dst(code)
        if channels is None:
            channels = self.first_channels(torch.full((), self.config.src_channels, device=a.device))
        chosen = channels.to(a.dtype)
        codes = torch.cat([chosen * a + (1 - chosen) * b[: len(src)], b[len(src) :]])
        faces, masks = drawn(*self.decoder(codes))
        count = len(src)
        return Reconstruction(faces[:count], masks[:count], faces[count:], masks[count:])

    def swap(self, dst: Tensor, morph: float | Tensor | None = None) -> Prediction:
        """Redraw dst (B,3,S,S), RGB in 0..1, as src.

        morph: how far, from 0 (dst itself) to 1 (as far as it goes), or (B,) one for each face; None is 1.
        """
        code = self.encode(dst)
        a, b = self.inter_src(code), self.inter_dst(code)
        swapped = torch.where(self.morphed(1.0 if morph is None else morph, a.device), a, b)
        masks = self.decoder.draw_mask(torch.cat([swapped, b]))
        count = len(dst)
        return Prediction(*drawn(self.decoder.draw_face(swapped), masks[:count], masks[count:]))

    def encode(self, faces: Tensor) -> Tensor:
        """Faces (B,3,S,S) RGB in 0..1 → codes (B,ae), which both inters take."""
        code: Tensor = self.encoder(seen(faces, self.encoder.dense1))
        return code

    def morphed(self, morph: float | Tensor, device: torch.device) -> Tensor:
        """(1 or B, I, 1, 1): whether a channel comes from inter_src, at a morph in 0..1.

        Their number is the float32 product I·morph without its fraction, as the reference counts it.
        """
        share = morph.to(device, torch.float32) if isinstance(morph, Tensor) else torch.full((), morph, device=device)
        return self.first_channels((share.float() * self.config.inter_dims).trunc())

    def first_channels(self, counts: Tensor) -> Tensor:
        """Counts () or (B,) → (1 or B, I, 1, 1): True in the first so many channels."""
        number = torch.arange(self.config.inter_dims, device=counts.device).view(1, -1, 1, 1)
        return number < counts.view(-1, 1, 1, 1)
