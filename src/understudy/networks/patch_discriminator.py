"""The patch discriminator (GAN): a U-net that says of patches, and of every pixel, whether a face is a photograph.

    face (B,3,S,S) ─ in_conv ─ convs_0 ─ … ─ convs_{n-1} ─┬─ center_out ─ center (B,1,S/2^k,S/2^k)
                        │         │                │      └─ center_conv ┐
                        │         │                └──► [ · , upconvs_0 ]┘
                        │         └──► [ · , upconvs_{n-1} ] …                 k: how many strides are 2
                        └── beside ───────┘  out_conv ─ full (B,1,S,S)

How many convolutions there are and which of them halve the grid follows from the patch size: `strides_for`.

Submodule names are checkpoint keys and are the tensor paths of the reference's own files (`convs_0/weight:0` is
`convs_0.weight`); upconvs_0 is the deepest. Faces are RGB, where the reference has BGR; `interop/layout.py` converts.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import torch
from torch import Tensor, nn

from understudy.errors import InvalidOption
from understudy.networks.blocks import Grow, activate, initialise, seen
from understudy.networks.sizes import within

LEAST_PATCH, LARGEST_PATCH = 3, 640
MOST_LAYERS = 9
MOST_CHANNELS = 512


class UnetPatchDiscriminator(nn.Module):
    """Logits of real against drawn, once for patches and once for pixels.

    patch_size: side of what one number of the low map sees, in px. base: channels at the full size. generator: draws
    the initial weights (Glorot uniform, biases zero); None uses torch's global one.
    """

    def __init__(self, patch_size: int, base: int = 16, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.strides = strides_for(patch_size)
        layers = len(self.strides)
        widths = [min(base << level, MOST_CHANNELS) for level in range(layers + 1)]
        for i, (wide, narrow) in enumerate(pairwise(widths)):
            self.add_module(f"convs_{i}", nn.Conv2d(wide, narrow, 3, stride=self.strides[i], padding=1))
        for level in reversed(range(layers)):
            inputs = widths[-1] if level == layers - 1 else 2 * widths[level + 1]
            self.add_module(f"upconvs_{layers - 1 - level}", Grow(inputs, widths[level], self.strides[level]))
        self.in_conv = nn.Conv2d(3, widths[0], 1)
        self.out_conv = nn.Conv2d(2 * widths[0], 1, 1)
        self.center_out = nn.Conv2d(widths[-1], 1, 1)
        self.center_conv = nn.Conv2d(widths[-1], widths[-1], 1)
        initialise(self, generator)

    def forward(self, faces: Tensor) -> tuple[Tensor, Tensor]:
        """Faces (B,3,S,S) RGB in 0..1 → logits (center (B,1,s,s), full (B,1,S,S)), float32, s = S / 2^k.

        S must be a multiple of 2^k, k being how many of `strides` are 2 (`fits`).
        """
        layers = len(self.strides)
        x = activate(self.in_conv(seen(faces, self.in_conv)), 0.2)
        beside = []
        for i in range(layers):
            beside.append(x)
            x = activate(getattr(self, f"convs_{i}")(x), 0.2)
        center: Tensor = self.center_out(x).float()
        x = activate(self.center_conv(x), 0.2)
        for i in range(layers):
            x = torch.cat([beside.pop(), activate(getattr(self, f"upconvs_{i}")(x), 0.2, in_place=False)], 1)
        full: Tensor = self.out_conv(x).float()
        return center, full


@cache
def strides_for(patch_size: int) -> tuple[int, ...]:
    """Strides of the convolutions whose receptive field is nearest to the patch size in px, the first layer first.

    Raises InvalidOption outside 3..640.
    """
    if not LEAST_PATCH <= patch_size <= LARGEST_PATCH:
        raise InvalidOption(f"A GAN patch size is from {LEAST_PATCH} to {LARGEST_PATCH} px, not {patch_size}.")
    by_field = _strides_by_field()
    return by_field[min(sorted(by_field), key=lambda field: abs(field - patch_size))]


def fits(patch_size: int, size: int) -> bool:
    """Whether a discriminator of that patch size can be laid over faces of `size` px: all halvings come out even."""
    return size % (1 << strides_for(patch_size).count(2)) == 0


def fitting_patch_size(patch_size: int, size: int) -> int:
    """The patch size nearest to the wanted one that fits faces of `size` px; of two equally near the smaller.

    Of the sizes a model may have, 496, 528, 560, 592 and 624 px do not take the patch size of an eighth that would be
    the default. Raises InvalidOption where nothing fits: faces of an odd size.
    """
    wanted = within(patch_size, LEAST_PATCH, LARGEST_PATCH)
    every = sorted(range(LEAST_PATCH, LARGEST_PATCH + 1), key=lambda patch: (abs(patch - wanted), patch))
    found = next((patch for patch in every if fits(patch, size)), None)
    if found is None:
        raise InvalidOption(f"No patch discriminator fits faces of {size} px.", hint="Their size must be even.")
    return found


@cache
def _strides_by_field() -> dict[int, tuple[int, ...]]:
    """For each receptive field in px the strides that are taken: fewest layers, then the largest sum, then the first.

    The first convolution always halves; the candidates come in the order of the reference, which decides ties.
    """
    chosen: dict[int, tuple[int, ...]] = {}
    for layers in range(1, MOST_LAYERS + 1):
        for bits in reversed(range(2 ** (layers - 1))):
            strides = (2, *(2 if bits >> i & 1 else 1 for i in range(layers - 1)))
            known = chosen.get(_receptive_field(strides))
            if known is None or (len(known) == layers and sum(strides) > sum(known)):
                chosen[_receptive_field(strides)] = strides
    return chosen


def _receptive_field(strides: tuple[int, ...]) -> int:
    """Side in px of what one number sees after 3×3 convolutions of these strides; the last one's does not matter."""
    field, step = 3, strides[0]
    for stride in strides[1:]:
        field += 2 * step
        step *= stride
    return field
