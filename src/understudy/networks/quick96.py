"""Quick96: the small fixed swapper, one encoder and bottleneck for both people and a decoder for each.

    face (B,3,96,96) ─ Encoder ─ code (B,18432), unit power ─ Inter ─ (B,128,6,6) ─┬─ decoder_src ─ face, mask
                                                                                   └─ decoder_dst ─ face, mask

It is the DF network with the letters u and d (its parts are in `networks/saehd.py`) and numbers that nobody chooses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from understudy.networks.saehd import DF, multiple_of
from understudy.networks.sizes import require_dims, require_size
from understudy.records import Archi, FaceType


@dataclass(frozen=True)
class Quick96Config:
    """The numbers of the reference, which offers no choice; a test may take smaller ones.

    Raises InvalidOption for numbers of which no network can be built.
    """

    size: int = 96  # S: side of the square face in pixels, a multiple of 32
    ae_dims: int = 128  # ae: channels of the bottleneck
    e_dims: int = 64  # e: channels after the encoder's first halving
    d_dims: int = 64  # d: channels of the face branch before its last doubling, halved
    d_mask_dims: int = 16  # m: the same for the mask branch
    face_type: FaceType = FaceType.FULL

    archi: ClassVar[Archi] = Archi.parse("df-ud")

    def __post_init__(self) -> None:
        require_size(self.size, multiple_of(self.archi))
        require_dims(ae_dims=self.ae_dims, e_dims=self.e_dims, d_dims=self.d_dims, d_mask_dims=self.d_mask_dims)


class Quick96(DF):
    """DF of the architecture df-ud at 96 px. `reconstruct` is what it learns by, `swap` what it is for.

    generator: draws the initial weights (Glorot uniform, biases zero); None uses torch's global one.
    """

    config: Quick96Config

    def __init__(self, config: Quick96Config | None = None, *, generator: torch.Generator | None = None) -> None:
        super().__init__(config or Quick96Config(), generator=generator)
