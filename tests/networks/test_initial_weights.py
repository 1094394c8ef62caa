"""Initial weights: what He's buy is that a signal keeps its strength through every layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from understudy.networks.initial import SLOPE, draw_he_weights
from understudy.networks.saehd import DF, SaehdConfig
from understudy.records import Archi


def test_twenty_layers_keep_the_strength_of_what_goes_through_them() -> None:
    layers = [part for _ in range(20) for part in (nn.Linear(512, 512, bias=False), nn.LeakyReLU(SLOPE))]
    net = nn.Sequential(*layers)
    given = torch.randn(64, 512, generator=torch.Generator().manual_seed(0))
    draw_he_weights(net, torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert 0.5 < float(_strength(net(given)) / _strength(given)) < 2


def test_the_same_seed_gives_the_same_weights_and_biases_stay() -> None:
    config = SaehdConfig(size=64, archi=Archi.parse("df"), ae_dims=32, e_dims=16, d_dims=16, d_mask_dims=16)
    first, second = (DF(config, generator=torch.Generator().manual_seed(0)) for _ in range(2))
    before = {name: tensor.clone() for name, tensor in first.state_dict().items()}
    for net in (first, second):
        draw_he_weights(net, torch.Generator().manual_seed(7))
    after, again = first.state_dict(), second.state_dict()
    for name, tensor in before.items():
        assert torch.equal(after[name], again[name])
        assert torch.equal(after[name], tensor) == name.endswith("bias"), name


def _strength(values: Tensor) -> Tensor:
    return values.square().mean().sqrt()
