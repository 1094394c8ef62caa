"""Quick96 has the sizes that trained files have, and its parts do what its docstrings say."""

from __future__ import annotations

import torch

from understudy.networks import FAMILIES
from understudy.networks.blocks import depth_to_space
from understudy.networks.quick96 import Quick96, Quick96Config

SMALL = Quick96Config(size=32, ae_dims=8, e_dims=4, d_dims=4, d_mask_dims=2)


def small_net(seed: int = 0) -> Quick96:
    return Quick96(SMALL, generator=torch.Generator().manual_seed(seed))


def test_it_has_the_published_number_of_weights() -> None:
    with torch.device("meta"):
        net = FAMILIES["quick96"].build()
    counts = {name: sum(weight.numel() for weight in part.parameters()) for name, part in net.named_children()}
    assert counts == {
        "encoder": 4_306_560,
        "inter": 3_098_368,
        "decoder_src": 15_444_701,
        "decoder_dst": 15_444_701,
    }


def test_the_corners_of_depth_to_space() -> None:
    """Channel (2i+j)·C+c goes to row 2h+i, column 2w+j."""
    x = torch.arange(2 * 12 * 3 * 4.0).reshape(2, 12, 3, 4)
    out = depth_to_space(x)
    assert out.shape == (2, 3, 6, 8)
    for i in range(2):
        for j in range(2):
            start = (2 * i + j) * 3
            torch.testing.assert_close(out[:, :, i::2, j::2], x[:, start : start + 3], rtol=0, atol=0)


def test_the_same_generator_gives_the_same_network() -> None:
    first, second, other = small_net(5).state_dict(), small_net(5).state_dict(), small_net(6).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["inter.dense1.weight"], other["inter.dense1.weight"])


def test_in_bfloat16_it_draws_nearly_the_same() -> None:
    net = small_net()
    face = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        wide = net.swap(face)
        narrow = net.to(torch.bfloat16).swap(face)
    assert narrow.face.dtype is torch.float32
    torch.testing.assert_close(narrow.face, wide.face, rtol=0, atol=0.01)


def test_the_padding_of_the_one_by_one_head_takes_no_gradient() -> None:
    """The fused output convolution widens a 1×1 kernel; only its centre may learn."""
    net = small_net()
    face = torch.rand(1, 3, 32, 32)
    net.reconstruct(face, face).src_src.sum().backward()
    kernel = net.decoder_src.out_conv.weight
    assert kernel.shape[-2:] == (1, 1)
    assert kernel.grad is not None
    assert kernel.grad.shape == kernel.shape
    assert kernel.grad.abs().sum() > 0
