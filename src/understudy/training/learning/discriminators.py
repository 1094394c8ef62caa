"""Discriminators, which learn beside a swapper: is this picture real (GAN), whose code is this (true face)?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from understudy.errors import InvalidOption
from understudy.networks.code_discriminator import CodeDiscriminator
from understudy.networks.families import Config
from understudy.networks.patch_discriminator import UnetPatchDiscriminator, fits, fitting_patch_size
from understudy.networks.saehd import SaehdConfig, code_grid
from understudy.records import CODE_DISCRIMINATOR, GAN
from understudy.training.optimisers import Optimiser
from understudy.training.options import TrainOptions

SALTS = {GAN: 1, CODE_DISCRIMINATOR: 2}
"""Added to a session's seed, so that no two of its networks and optimisers draw the same numbers."""


@dataclass(eq=False)
class Discriminator:
    """A discriminator with the optimiser by which it learns."""

    net: nn.Module
    optimiser: Optimiser

    def logits(self, seen: Tensor, *, learning: bool) -> tuple[Tensor, ...]:
        """Maps of logits (B,1,h,w), float32, of pictures or codes (B,C,H,W). Without `learning` its weights get no
        gradient, only what it has seen."""
        tensors = self.optimiser.working()
        if not learning:
            tensors = {name: tensor.detach() for name, tensor in tensors.items()}
        given = functional_call(self.net, tensors, (seen,))
        return given if isinstance(given, tuple) else (given,)


def discriminator_networks(config: Config, options: TrainOptions, seed: int) -> dict[str, nn.Module]:
    """The discriminators that these options want, by name, with initial weights."""
    networks: dict[str, nn.Module] = {}
    if options.gan_power:
        generator = torch.Generator().manual_seed(seed + SALTS[GAN])
        networks[GAN] = UnetPatchDiscriminator(patch_size(config, options), options.gan_dims, generator=generator)
    if options.true_face_power and isinstance(config, SaehdConfig):
        generator = torch.Generator().manual_seed(seed + SALTS[CODE_DISCRIMINATOR])
        networks[CODE_DISCRIMINATOR] = CodeDiscriminator(config.ae_dims, code_grid(config), generator=generator)
    return networks


def discriminator_sizes(config: Config, options: TrainOptions) -> dict[str, tuple[int, ...]]:
    """The discriminators that these options want, by name, each with the numbers that make it another network."""
    sizes: dict[str, tuple[int, ...]] = {}
    if options.gan_power:
        sizes[GAN] = (patch_size(config, options), options.gan_dims)
    if options.true_face_power and isinstance(config, SaehdConfig):
        sizes[CODE_DISCRIMINATOR] = ()
    return sizes


def patch_size(config: Config, options: TrainOptions) -> int:
    """The patch size asked for, or the nearest to an eighth of the resolution that this resolution can have."""
    return options.gan_patch_size or fitting_patch_size(max(3, config.size // 8), config.size)


def require_patch_that_fits(config: Config, options: TrainOptions) -> None:
    """Raise InvalidOption for a patch size that the resolution cannot have: its network would halve odd numbers."""
    asked = options.gan_patch_size
    if options.gan_power and asked is not None and not fits(asked, config.size):
        raise InvalidOption(
            f"The resolution {config.size} cannot have the GAN patch size {asked}.",
            hint=f"The nearest that it can have: --gan-patch-size {fitting_patch_size(asked, config.size)}.",
        )
