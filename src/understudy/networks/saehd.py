"""SAEHD: the swapper that people train most, in two wirings, DF and LIAE, with letters that change the parts.

    DF     face (B,3,S,S) ─ Encoder ─ code (B,N) ─ Inter ─ (B,ae,g,g) ─┬─ decoder_src ─ face (B,3,S,S), mask (B,1,S,S)
                                                                       └─ decoder_dst ─ face, mask

    LIAE                             ┌─ inter_AB ─ a (B,2ae,g,g) ─┐      src: decoder([a, a])
           face ─ Encoder ─ code ────┤                            ├─     dst: decoder([b, a])
                                     └─ inter_B ── b (B,2ae,g,g) ─┘      dst as src: decoder([a, a])

In training each person goes through their own decoder (DF), or their own inter: b has seen only dst, a both (LIAE).
A swap draws dst's code by what knows only src, and so wears dst's pose, expression and light.

    letter   Encoder                             Inter           Decoder
    —        four Downs, N = 8e·(S/16)²          S/16 → g = S/8  three stages, g → S
    u        code scaled to unit power
    d                                            S/32 → g = S/16 the face's four output convolutions double it once more
    t        five Downs, two Res, N = 8e·(S/32)² no Up, g halves four stages
    c        x·cos(x) for leaky ReLU             the same        the same

Names of tensors, channel order and layouts: `networks/blocks.py`.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from itertools import pairwise
from typing import ClassVar, Protocol

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
from understudy.networks.sizes import EVERY_FACE_TYPE, even, require_dims, require_size, within
from understudy.records import Archi, FaceType


class Numbers(Protocol):
    """What a DF or LIAE network is built from; `SaehdConfig` and `Quick96Config` are."""

    @property
    def size(self) -> int: ...
    @property
    def archi(self) -> Archi: ...
    @property
    def ae_dims(self) -> int: ...
    @property
    def e_dims(self) -> int: ...
    @property
    def d_dims(self) -> int: ...
    @property
    def d_mask_dims(self) -> int: ...


@dataclass(frozen=True)
class SaehdConfig:
    """What cannot change once a model exists. Anything that can be built is allowed; `rounded` is for people.

    Raises InvalidOption for numbers of which no network can be built.
    """

    size: int = 128  # S: side of the square face in pixels, a multiple of 16, with the letters d or t of 32
    face_type: FaceType = FaceType.FULL
    archi: Archi = field(default_factory=lambda: Archi.parse("liae-ud"))
    ae_dims: int = 256  # ae: channels of the bottleneck
    e_dims: int = 64  # e: channels after the encoder's first halving
    d_dims: int = 64  # d: channels of the face branch at its end, halved
    d_mask_dims: int = 22  # m: the same for the mask branch

    FACE_TYPES: ClassVar[tuple[FaceType, ...]] = EVERY_FACE_TYPE

    def __post_init__(self) -> None:
        require_size(self.size, multiple_of(self.archi), f"with the architecture {self.archi}")
        require_dims(ae_dims=self.ae_dims, e_dims=self.e_dims, d_dims=self.d_dims, d_mask_dims=self.d_mask_dims)

    @classmethod
    def rounded(
        cls,
        *,
        size: int = 128,
        face_type: FaceType = FaceType.FULL,
        archi: Archi | str = "liae-ud",
        ae_dims: int = 256,
        e_dims: int = 64,
        d_dims: int = 64,
        d_mask_dims: int = 22,
    ) -> SaehdConfig:
        """The config nearest to what a person typed, rounded as the reference rounds (spec: training, 3).

        Sizes down to the multiple and into 64..640, dims into their ranges and, all but ae_dims, up to even numbers.
        The reference lets t without d have multiples of 16, of which it then cannot build the network; here they are
        of 32. Raises InvalidOption for an architecture or face type that there is not.
        """
        chosen = Archi.parse(archi) if isinstance(archi, str) else archi
        if face_type not in cls.FACE_TYPES:
            raise InvalidOption(
                f"SAEHD models have no face type {face_type}.",
                hint=f"Choose one of {', '.join(cls.FACE_TYPES)}.",
            )
        multiple = multiple_of(chosen)
        return cls(
            size=within(size // multiple * multiple, 64, 640),
            face_type=face_type,
            archi=chosen,
            ae_dims=within(ae_dims, 32, 1024),
            e_dims=even(within(e_dims, 16, 256)),
            d_dims=even(within(d_dims, 16, 256)),
            d_mask_dims=even(within(d_mask_dims, 16, 256)),
        )


def multiple_of(archi: Archi) -> int:
    """What the side of a face must be a multiple of, in pixels."""
    return 32 if archi.doubled or archi.deep else 16


class Encoder(Staged):
    """face (B,3,S,S) → code (B, 8e·(S/16)²)."""

    def __init__(self, e: int, archi: Archi) -> None:
        super().__init__()
        widths = pairwise([3, e, 2 * e, 4 * e, 8 * e])
        downs = ((f"downs_{i}", Down(*width, cosine=archi.cosine)) for i, width in enumerate(widths))
        self.down1 = nn.Sequential(OrderedDict(downs))
        self.pixel_norm = archi.pixel_norm

    def forward(self, face: Tensor) -> Tensor:
        return self.each(self, "encode", face)

    def encode(self, face: Tensor) -> Tensor:
        code = self.down1(face).flatten(1)
        return unit_power(code) if self.pixel_norm else code


class DeepEncoder(Staged):
    """face (B,3,S,S) → code (B, 8e·(S/32)²): the encoder of letter t."""

    def __init__(self, e: int, archi: Archi) -> None:
        super().__init__()
        cosine = archi.cosine
        self.down1, self.res1 = Down(3, e, cosine=cosine), Res(e, cosine=cosine)
        self.down2 = Down(e, 2 * e, cosine=cosine)
        self.down3 = Down(2 * e, 4 * e, cosine=cosine)
        self.down4 = Down(4 * e, 8 * e, cosine=cosine)
        self.down5, self.res5 = Down(8 * e, 8 * e, cosine=cosine), Res(8 * e, cosine=cosine)
        self.pixel_norm = archi.pixel_norm

    def forward(self, face: Tensor) -> Tensor:
        return self.each(self, "encode", face)

    def encode(self, face: Tensor) -> Tensor:
        x = self.res1(self.down1(face))
        x = self.down4(self.down3(self.down2(x)))
        code = self.res5(self.down5(x)).flatten(1)
        return unit_power(code) if self.pixel_norm else code


class Inter(nn.Module):
    """code (B,N) → (B,out,g,g). Nothing but linear maps, and without letter t one Up."""

    def __init__(self, code: int, ae: int, outputs: int, grid: int, archi: Archi) -> None:
        super().__init__()
        self.grid = grid
        self.dense1 = nn.Linear(code, ae)
        self.dense2 = nn.Linear(ae, grid * grid * outputs)
        self.upscale1 = None if archi.deep else Up(outputs, outputs, cosine=archi.cosine)

    def forward(self, code: Tensor) -> Tensor:
        x = as_grid(self.dense2(self.dense1(code)), self.grid)
        if self.upscale1 is not None:
            x = self.upscale1(x)
        return x


class Decoder(Staged):
    """(B,in,g,g) → logits of face (B,3,S,S) and mask (B,1,S,S). The two branches share only their input.

    One stage is an Up and a Res for the face, an Up alone for the mask: 8d, 4d, 2d channels, with letter t 8d, 8d, 4d,
    2d. With letter d the face's output convolutions double its grid, and the mask has one Up more, to m channels.
    """

    def __init__(self, inputs: int, d: int, m: int, archi: Archi) -> None:
        super().__init__()
        widths = [8, 8, 4, 2] if archi.deep else [8, 4, 2]
        self.stages, self.doubled = len(widths), archi.doubled
        for i, (wide, narrow) in enumerate(pairwise([inputs, *(width * d for width in widths)])):
            self.add_module(f"upscale{i}", Up(wide, narrow, cosine=archi.cosine))
            self.add_module(f"res{i}", Res(narrow, cosine=archi.cosine))
        mask_widths = [inputs, *(width * m for width in widths), *([m] if archi.doubled else [])]
        self.mask_stages = len(mask_widths) - 1
        for i, (wide, narrow) in enumerate(pairwise(mask_widths)):
            self.add_module(f"upscalem{i}", Up(wide, narrow, cosine=archi.cosine))
        self.out_conv = nn.Conv2d(2 * d, 3, 1)
        if archi.doubled:
            self.out_conv1 = nn.Conv2d(2 * d, 3, 3, padding=1)
            self.out_conv2 = nn.Conv2d(2 * d, 3, 3, padding=1)
            self.out_conv3 = nn.Conv2d(2 * d, 3, 3, padding=1)
        self.out_convm = nn.Conv2d(mask_widths[-1], 1, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.draw_face(x), self.draw_mask(x)

    def draw_face(self, x: Tensor) -> Tensor:
        for i in range(self.stages):
            x = self.each(self, "stage", x, i)
        return x

    def draw_mask(self, x: Tensor) -> Tensor:
        return self.each(self, "mask", x)

    def stage(self, x: Tensor, i: int) -> Tensor:
        """One stage of the face, the last one with the face's outputs."""
        x = getattr(self, f"res{i}")(getattr(self, f"upscale{i}")(x))
        if i < self.stages - 1:
            return x
        if self.doubled:
            return head(x, (self.out_conv, self.out_conv1, self.out_conv2, self.out_conv3))
        face: Tensor = self.out_conv(x)
        return face

    def mask(self, x: Tensor) -> Tensor:
        for i in range(self.mask_stages):
            x = getattr(self, f"upscalem{i}")(x)
        mask: Tensor = self.out_convm(x)
        return mask


class DF(nn.Module):
    """One encoder and one inter for both people, and a decoder for each.

    `reconstruct` is what it learns by, `swap` what it is for; both go through `code`, and `draw` and `draw_swap` go on
    from there, for a caller who needs the codes too.

    generator: draws the initial weights (Glorot uniform, biases zero); None uses torch's global one.
    """

    def __init__(self, config: Numbers | None = None, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        config = config or SaehdConfig(archi=Archi.parse("df-ud"))
        if config.archi.is_liae:
            raise InvalidOption(f"DF networks are not built for the architecture {config.archi}.")
        self.config = config
        archi, ae, d, m = config.archi, config.ae_dims, config.d_dims, config.d_mask_dims
        self.encoder = _encoder(config)
        self.inter = Inter(code_length(config), ae, ae, dense_grid(config), archi)
        self.decoder_src = Decoder(ae, d, m, archi)
        self.decoder_dst = Decoder(ae, d, m, archi)
        initialise(self, generator)

    def forward(self, src: Tensor, dst: Tensor) -> Reconstruction:
        """`reconstruct`, under the name that wrappers and compilers know."""
        return self.reconstruct(src, dst)

    def reconstruct(self, src: Tensor, dst: Tensor) -> Reconstruction:
        """Redraw src (B,3,S,S) and dst (B,3,S,S), RGB in 0..1, each as themselves."""
        codes = self.code(torch.cat([src, dst]))
        return self.draw(codes[: len(src)], codes[len(src) :])

    def swap(self, dst: Tensor, morph: float | None = None) -> Prediction:
        """Redraw dst (B,3,S,S), RGB in 0..1, as src. morph: nothing to a network of this kind."""
        return self.draw_swap(self.code(dst))

    def code(self, faces: Tensor) -> Tensor:
        """Faces (B,3,S,S) RGB in 0..1 → codes (B,ae,g,g), which the decoders and the code discriminator take."""
        codes: Tensor = self.inter(self.encoder(seen(faces, self.inter.dense1)))
        return codes

    def draw(self, code_src: Tensor, code_dst: Tensor) -> Reconstruction:
        """Each code (B,ae,g,g) by its own decoder."""
        return Reconstruction(*drawn(*self.decoder_src(code_src), *self.decoder_dst(code_dst)))

    def draw_swap(self, code_dst: Tensor) -> Prediction:
        """dst's code (B,ae,g,g) by src's decoder, and dst's own mask."""
        return Prediction(*drawn(*self.decoder_src(code_dst), self.decoder_dst.draw_mask(code_dst)))


class LIAE(nn.Module):
    """One encoder and one decoder for both people; inter_B is dst's alone, inter_AB both people's.

    `reconstruct` is what it learns by, `swap` what it is for. generator: as in `DF`.
    """

    def __init__(self, config: Numbers | None = None, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        config = config or SaehdConfig()
        if not config.archi.is_liae:
            raise InvalidOption(f"LIAE networks are not built for the architecture {config.archi}.")
        self.config = config
        archi, ae = config.archi, config.ae_dims
        self.encoder = _encoder(config)
        self.inter_AB = Inter(code_length(config), ae, 2 * ae, dense_grid(config), archi)
        self.inter_B = Inter(code_length(config), ae, 2 * ae, dense_grid(config), archi)
        self.decoder = Decoder(4 * ae, config.d_dims, config.d_mask_dims, archi)
        initialise(self, generator)

    def forward(self, src: Tensor, dst: Tensor) -> Reconstruction:
        """`reconstruct`, under the name that wrappers and compilers know."""
        return self.reconstruct(src, dst)

    def reconstruct(self, src: Tensor, dst: Tensor) -> Reconstruction:
        """Redraw src (B,3,S,S) and dst (B,3,S,S), RGB in 0..1, each as themselves."""
        code = self.encode(torch.cat([src, dst]))
        a = self.inter_AB(code)
        return self.draw(a[: len(src)], a[len(src) :], self.inter_B(code[len(src) :]))

    def swap(self, dst: Tensor, morph: float | None = None) -> Prediction:
        """Redraw dst (B,3,S,S), RGB in 0..1, as src. morph: nothing to a network of this kind."""
        code = self.encode(dst)
        return self.draw_swap(self.inter_AB(code), self.inter_B(code))

    def encode(self, faces: Tensor) -> Tensor:
        """Faces (B,3,S,S) RGB in 0..1 → codes (B,N), which both inters take."""
        codes: Tensor = self.encoder(seen(faces, self.inter_AB.dense1))
        return codes

    def draw(self, a_src: Tensor, a_dst: Tensor, b_dst: Tensor) -> Reconstruction:
        """What the inters make of src and dst, each (B,2ae,g,g), by the decoder, both people in one go."""
        codes = torch.cat([torch.cat([a_src, a_src], 1), torch.cat([b_dst, a_dst], 1)])
        faces, masks = drawn(*self.decoder(codes))
        count = len(a_src)
        return Reconstruction(faces[:count], masks[:count], faces[count:], masks[count:])

    def draw_swap(self, a_dst: Tensor, b_dst: Tensor) -> Prediction:
        """dst's code with a in the place of b, and dst's own mask. Each (B,2ae,g,g)."""
        swapped = torch.cat([a_dst, a_dst], 1)
        masks = self.decoder.draw_mask(torch.cat([swapped, torch.cat([b_dst, a_dst], 1)]))
        count = len(a_dst)
        return Prediction(*drawn(self.decoder.draw_face(swapped), masks[:count], masks[count:]))


def saehd_network(config: SaehdConfig | None = None, *, generator: torch.Generator | None = None) -> DF | LIAE:
    """The network of a config, DF or LIAE as its architecture says, with initial weights drawn by `generator`."""
    config = config or SaehdConfig()
    return LIAE(config, generator=generator) if config.archi.is_liae else DF(config, generator=generator)


def code_length(config: Numbers) -> int:
    """N: how many numbers the encoder makes of a face."""
    return 8 * config.e_dims * (config.size // (32 if config.archi.deep else 16)) ** 2


def dense_grid(config: Numbers) -> int:
    """Side of the grid that an inter's dense layers fill."""
    return config.size // (32 if config.archi.doubled else 16)


def code_grid(config: Numbers) -> int:
    """g: side of the grid that an inter gives and a decoder and the code discriminator take."""
    return dense_grid(config) * (1 if config.archi.deep else 2)


def _encoder(config: Numbers) -> Encoder | DeepEncoder:
    kind = DeepEncoder if config.archi.deep else Encoder
    return kind(config.e_dims, config.archi)
