"""What a network is made of and what it costs."""

from __future__ import annotations

import pytest
import torch

from understudy.networks.families import FAMILIES, config_to_plain
from understudy.networks.saehd import SaehdConfig
from understudy.records import Archi
from understudy.training.memory.cost import imagined_network, parameters_of, swap_flops, training_flops
from understudy.training.saved.new import new_network

DF_UD = SaehdConfig(size=128, archi=Archi.parse("df-ud"), ae_dims=128, e_dims=64, d_dims=64, d_mask_dims=22)


def test_a_step_of_df_ud_128_is_354_gflop() -> None:
    """The figure that the training targets are stated in, for a batch of 4."""
    net = imagined_network("SAEHD", config_to_plain(DF_UD))
    assert 4 * training_flops(net, 128) / 1e9 == pytest.approx(354, rel=0.01)


def test_a_convolution_counts_two_for_a_multiply_and_add() -> None:
    """Counted by hand for the first layer: 5·5·3·16 products for each of 32·32 places."""
    from understudy.networks.blocks import Down

    with torch.device("meta"):
        layer = Down(3, 16)
    assert swap_flops(layer, 64) == 2 * 5 * 5 * 3 * 16 * 32 * 32


def test_learning_costs_more_than_twice_the_drawing_of_both() -> None:
    net = imagined_network("SAEHD", config_to_plain(DF_UD))
    assert 4 < training_flops(net, 128) / swap_flops(net, 128) < 8


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_every_class_can_be_counted_without_its_memory(name: str) -> None:
    family = FAMILIES[name]
    net = imagined_network(family.model_class, config_to_plain(family.config()))
    assert all(weight.is_meta for weight in net.parameters())
    counts = parameters_of(net)
    assert sum(counts.values()) == sum(weight.numel() for weight in net.parameters())
    assert swap_flops(net, family.config().size) > 1e9
    if family.can_swap:
        assert next(iter(counts)) == "encoder"
        assert training_flops(net, family.config().size) > 1e9
    else:
        assert set(counts) == {"network"}


def test_parameters_are_those_of_a_real_network() -> None:
    real = new_network("SAEHD", DF_UD)
    assert parameters_of(real) == parameters_of(imagined_network("SAEHD", config_to_plain(DF_UD)))
    assert list(parameters_of(real)) == ["encoder", "inter", "decoder_src", "decoder_dst"]
