"""Ways through a network that one training step takes, as modules: `functional_call` gives them the tensors to use.

A network computes here on other tensors than its own: working copies in bfloat16, detached ones where it should not
learn. Each pass goes through the encoder once, for both people together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from understudy.networks.amp import Amp
from understudy.networks.blocks import Prediction, Reconstruction, drawn
from understudy.networks.saehd import LIAE
from understudy.training.learning.compiling import compiled
from understudy.training.options.machine import Compiling


class Redrawn(NamedTuple):
    """What a step looks at. codes: those that the pictures were drawn from. swapped: dst as src, where a loss wants it;
    restyled: the same picture, by which only the decoder learns."""

    drawn: Reconstruction
    codes: tuple[Tensor, ...] = ()
    swapped: Prediction | None = None
    restyled: Prediction | None = None


class Pass(nn.Module):
    """A way through `net`, whose tensors are `net.NAME` here."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net: Any = net
        self._call: Callable[..., Any] = self._functional

    def take(self, tensors: Mapping[str, Tensor], *given: object) -> Any:
        """Call it with other tensors in the place of the network's own, by their names in the network."""
        return self._call({f"net.{name}": tensor for name, tensor in tensors.items()}, *given)

    def go_by(self, how: Compiling, device: torch.device, *, backend: str = "inductor") -> None:
        """Compute from now on as `compiling.compiled` does. Raises InvalidOption where that cannot be."""
        self._call = compiled(self._functional, how, device, backend=backend)

    def _functional(self, tensors: Mapping[str, Tensor], *given: object) -> Any:
        return functional_call(self, dict(tensors), given)


class DFPass(Pass):
    """Both people by their own decoders, and dst by src's."""

    def forward(self, src: Tensor, dst: Tensor, swap: bool = False, restyle: bool = False) -> Redrawn:
        of_src, of_dst = self.net.code(torch.cat([src, dst])).split([len(src), len(dst)])
        return Redrawn(
            self.net.draw(of_src, of_dst),
            (of_src, of_dst),
            self.net.draw_swap(of_dst) if swap else None,
            self.net.draw_swap(of_dst.detach()) if restyle else None,
        )


class LIAEPass(Pass):
    """Both people by the one decoder, and dst without what is dst's alone."""

    def forward(self, src: Tensor, dst: Tensor, swap: bool = False, restyle: bool = False) -> Redrawn:
        code = self.net.encode(torch.cat([src, dst]))
        a_src, a_dst = self.net.inter_AB(code).split([len(src), len(dst)])
        b_dst = self.net.inter_B(code[len(src) :])
        return Redrawn(
            self.net.draw(a_src, a_dst, b_dst),
            (a_src, a_dst, b_dst),
            self.net.draw_swap(a_dst, b_dst) if swap else None,
            self.net.draw_swap(a_dst.detach(), b_dst.detach()) if restyle else None,
        )


class AmpPass(Pass):
    """src with random channels from dst's inter, dst with its own."""

    def forward(self, src: Tensor, dst: Tensor, channels: Tensor) -> Redrawn:
        return Redrawn(self.net.reconstruct(src, dst, channels))


class CodePass(Pass):
    """DF: faces (B,3,S,S) to codes (B,ae,g,g)."""

    def forward(self, faces: Tensor) -> Tensor:
        codes: Tensor = self.net.code(faces)
        return codes


class SrcFacePass(Pass):
    """DF and LIAE: src's face (B,3,S,S) alone, without masks and without dst."""

    def forward(self, src: Tensor) -> Tensor:
        if isinstance(self.net, LIAE):
            code = self.net.inter_AB(self.net.encode(src))
            logits = self.net.decoder.draw_face(torch.cat([code, code], 1))
        else:
            logits = self.net.decoder_src.draw_face(self.net.code(src))
        (face,) = drawn(logits)
        return face


def pass_through(net: nn.Module) -> Pass:
    """The way that a step takes through a network of this kind."""
    if isinstance(net, Amp):
        return AmpPass(net)
    return LIAEPass(net) if isinstance(net, LIAE) else DFPass(net)


def random_channels(count: int, channels: int, ones: int, chance: np.random.Generator) -> Tensor:
    """(count,channels,1,1) float32 of zeros and exactly `ones` ones in random places of each row."""
    row = (np.arange(channels) < ones).astype(np.float32)
    return torch.from_numpy(chance.permuted(np.tile(row, (count, 1)), axis=1))[:, :, None, None]
