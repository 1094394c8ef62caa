"""A network made ready to draw draws what it drew before."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from understudy.networks.amp import Amp, AmpConfig
from understudy.networks.inference import PackedConv, can_pack, prepared
from understudy.networks.quick96 import Quick96, Quick96Config
from understudy.networks.saehd import SaehdConfig, saehd_network
from understudy.networks.xseg import XSeg, XSegConfig
from understudy.records import Archi

DIMS = {"ae_dims": 16, "e_dims": 16, "d_dims": 16, "d_mask_dims": 8}


def saehd(archi: str, size: int = 64) -> nn.Module:
    config = SaehdConfig(size=size, archi=Archi.parse(archi), **DIMS)
    return saehd_network(config, generator=torch.Generator().manual_seed(3))


NETWORKS = {
    **{archi: saehd(archi) for archi in ("df", "df-ud", "df-t", "df-udtc", "liae", "liae-ud", "liae-udt", "liae-c")},
    "df of 80 px": saehd("df", 80),
    "quick96": Quick96(Quick96Config(64, **DIMS), generator=torch.Generator().manual_seed(3)),
    "amp": Amp(AmpConfig(size=64, inter_dims=24, **DIMS), generator=torch.Generator().manual_seed(3)),
}


def drawn_by(net: nn.Module, faces: torch.Tensor) -> list[torch.Tensor]:
    with torch.inference_mode():
        return list(net.swap(faces))  # type: ignore[operator]


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_prepared_network_draws_what_it_drew(name: str, count: int) -> None:
    net = copy.deepcopy(NETWORKS[name])
    faces = torch.rand(count, 3, net.config.size, net.config.size, generator=torch.Generator().manual_seed(1))
    before = drawn_by(net, faces)
    for expected, found in zip(before, drawn_by(prepared(net), faces), strict=True):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("name", NETWORKS)
def test_in_bfloat16_it_draws_nearly_that(name: str) -> None:
    net = copy.deepcopy(NETWORKS[name])
    faces = torch.rand(2, 3, net.config.size, net.config.size, generator=torch.Generator().manual_seed(1))
    before = drawn_by(net, faces)
    for expected, found in zip(before, drawn_by(prepared(net, dtype=torch.bfloat16), faces), strict=True):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, expected, rtol=0, atol=0.02)


def test_the_mask_network_too() -> None:
    net = XSeg(XSegConfig(size=64, base_dims=8), generator=torch.Generator().manual_seed(3))
    faces = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        before = net(faces)
        torch.testing.assert_close(prepared(net)(faces), before, rtol=0, atol=1e-4)


@pytest.mark.skipif(not can_pack(torch.float32), reason="this build of PyTorch has no oneDNN")
def test_no_second_copy_of_the_weights_stays() -> None:
    """The largest models fill half of a machine's memory once."""
    net = prepared(saehd("df-ud"))
    assert any(isinstance(module, PackedConv) for module in net.modules())
    left = sum(weight.numel() for weight in net.parameters())
    assert left < 0.05 * sum(weight.numel() for weight in saehd("df-ud").parameters())
