"""The mask network has the sizes that trained files have, and its parts do what their docstrings say."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from understudy.networks.blocks import Grow
from understudy.networks.xseg import FRN, LEAST_MASK, Block, BlurPool, XSeg, XSegConfig

SMALL = XSegConfig(size=64, base_dims=4)


def small_net(seed: int = 0) -> XSeg:
    return XSeg(SMALL, generator=torch.Generator().manual_seed(seed))


def faces(count: int = 2) -> Tensor:
    return torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def test_it_has_the_published_number_of_weights() -> None:
    with torch.device("meta"):
        net = XSeg()
        logits = net(torch.empty(1, 3, 256, 256))
    assert sum(weight.numel() for weight in net.parameters()) == 17_569_317
    assert len(net.state_dict()) == 222
    assert logits.shape == (1, 1, 256, 256)


def test_it_begins_as_the_reference_begins() -> None:
    net = small_net()
    assert torch.equal(net.conv01.frn.weight, torch.ones(4))
    assert float(net.conv01.frn.eps.detach()) == pytest.approx(1e-6)
    assert not net.conv01.frn.bias.any()
    assert not net.conv01.tlu.tau.any()


def test_without_skips_everything_goes_through_the_bottleneck() -> None:
    net = small_net()
    with torch.no_grad():
        net.dense2.weight.zero_()
    with torch.inference_mode():
        assert (net(faces())[0] - net(faces())[1]).abs().max() > 1e-4
        blind = net(faces(), skips=False)
    torch.testing.assert_close(blind[0], blind[1])


def test_masks_are_cut_off_where_they_are_faint() -> None:
    net = small_net()
    with torch.inference_mode():
        masks, shares = net.masks(faces()), torch.sigmoid(net(faces()))
    assert masks.dtype is torch.float32
    assert not ((masks > 0) & (masks < LEAST_MASK)).any()
    torch.testing.assert_close(masks[masks > 0], shares[shares >= LEAST_MASK])


def test_a_blur_pool_is_a_binomial_window_at_every_second_pixel() -> None:
    for taps, row in {2: [1.0, 1.0], 3: [1.0, 2.0, 1.0], 4: [1.0, 3.0, 3.0, 1.0]}.items():
        window = torch.outer(torch.tensor(row), torch.tensor(row)) / sum(row) ** 2
        x = torch.rand(2, 3, 8, 8)
        before, after = (taps - 1) // 2, taps // 2
        padded = F.pad(x, (before, after, before, after))
        wanted = F.conv2d(padded, window.expand(3, 1, -1, -1), stride=2, groups=3)
        torch.testing.assert_close(BlurPool(taps)(x), wanted)


def test_a_normalised_feature_has_a_mean_square_of_one() -> None:
    x = 50 * torch.randn(2, 4, 16, 16)
    torch.testing.assert_close(FRN(4)(x).square().mean((2, 3)), torch.ones(2, 4))


def test_the_sign_of_eps_does_not_matter() -> None:
    """It is learned, and used through its absolute value."""
    norm, x = FRN(4), torch.rand(2, 4, 8, 8)
    with torch.no_grad():
        norm.eps.fill_(0.5)
        positive = norm(x)
        norm.eps.fill_(-0.5)
    torch.testing.assert_close(norm(x), positive)


def test_large_numbers_do_not_overflow_in_float16() -> None:
    """The square of 300 is beyond float16; normalising computes in float32."""
    block = Block(2, 4).to(torch.float16)
    with torch.inference_mode():
        found = block(torch.full((1, 2, 8, 8), 3e4, dtype=torch.float16))
    assert found.dtype is torch.float16
    assert torch.isfinite(found).all()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 0.1), (torch.float16, 0.02)])
def test_in_narrow_numbers_it_finds_nearly_the_same(dtype: torch.dtype, tolerance: float) -> None:
    net = small_net()
    with torch.inference_mode():
        wide = net.masks(faces())
        narrow = net.to(dtype).masks(faces())
    assert narrow.dtype is torch.float32
    assert (narrow - wide).abs().mean() < tolerance


def test_a_compiler_takes_it_whole() -> None:
    net = small_net()
    with torch.no_grad():
        compiled = torch.compile(net, fullgraph=True, backend="eager")
        torch.testing.assert_close(compiled(faces(), skips=False), net(faces(), skips=False))


def test_growing_keeps_the_first_rows_of_the_full_result() -> None:
    x = torch.rand(2, 3, 5, 7)
    for stride in (1, 2):
        grow = Grow(3, 4, stride)
        full = F.conv_transpose2d(x, grow.weight, grow.bias, stride=stride)
        start = 2 - stride
        rows, columns = stride * 5, stride * 7
        torch.testing.assert_close(grow(x), full[..., start : start + rows, start : start + columns])
