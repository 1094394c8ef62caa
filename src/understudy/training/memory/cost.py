"""What a network is made of and what it costs: weights, and arithmetic counted on networks without memory.

Networks are built on torch's meta device, where tensors have shapes and no numbers, and their operations are counted as
they are asked for: convolutions and products of matrices, a multiply-add as two, as every GPU's data sheet counts. What
touches each number once (activations, losses, the optimiser) is left out; it is 1 to 3 % of the operations.

    df-ud 128 (ae 128, e 64, d 64, mask 22), batch 4: 354 GFLOP in a training step, 15.7 for one swapped face
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from understudy.networks.families import config_from_plain, family_for


def imagined_network(model_class: str, config: Mapping[str, Any]) -> nn.Module:
    """The network of a `model.json`, as large as life and without memory. Raises IncompatibleModel."""
    family = family_for(model_class)
    return family.bare(config_from_plain(family, config))


def parameters_of(net: nn.Module) -> dict[str, int]:
    """How many numbers each part of a swapper has learned, in the order of the network; "network" of any other."""
    counts: dict[str, int] = {}
    for name, weight in net.named_parameters():
        part = name.partition(".")[0] if hasattr(net, "swap") else "network"
        counts[part] = counts.get(part, 0) + weight.numel()
    return counts


def swap_flops(net: nn.Module, size: int) -> int:
    """Operations to redraw one face (3,S,S), or to draw its mask where that is what the network does."""
    face = torch.zeros(1, 3, size, size, device="meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        draw = getattr(net, "swap", None) or net
        draw(face)
    return int(counter.get_total_flops())


def training_flops(net: nn.Module, size: int) -> int:
    """Operations by which a swapper learns from one face of each person: there and back, without discriminators.

    Of a batch it is so many times as much.
    """
    face = torch.zeros(1, 3, size, size, device="meta")
    with FlopCounterMode(display=False) as counter:
        drawn: tuple[Tensor, ...] = net.reconstruct(face, face)  # type: ignore[operator]
        torch.stack([part.sum() for part in drawn]).sum().backward()  # type: ignore[no-untyped-call]
    return int(counter.get_total_flops())
