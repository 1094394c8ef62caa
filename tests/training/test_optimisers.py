"""RMSprop's promises: the update rule whatever the layout, honest dropout, exact resumption."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from understudy.errors import CorruptCheckpoint
from understudy.training.optimisers import RMSprop, base


def parameters(seed: int = 0) -> dict[str, nn.Parameter]:
    """A kernel in channels-last memory, a matrix longer than a piece of 1000, a bias."""
    draw = torch.Generator().manual_seed(seed)
    kernel = torch.randn(8, 4, 3, 3, generator=draw).contiguous(memory_format=torch.channels_last)
    return {
        "kernel": nn.Parameter(kernel),
        "matrix": nn.Parameter(torch.randn(50, 70, generator=draw)),
        "bias": nn.Parameter(torch.randn(5, generator=draw)),
    }


def set_gradients(optimiser: RMSprop, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    for weight in optimiser.working().values():
        weight.grad = torch.randn(weight.shape, generator=draw).to(weight.dtype)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "PIECE", 1000)


def test_the_update_rule() -> None:
    weights = parameters()
    before = {name: weight.detach().clone() for name, weight in weights.items()}
    optimiser = RMSprop(weights.items(), lr=0.1, rho=0.9, eps=1e-2)
    set_gradients(optimiser, 1)
    gradients = {name: weight.grad.clone() for name, weight in weights.items() if weight.grad is not None}
    optimiser.step()
    for name, gradient in gradients.items():
        moment = 0.1 * gradient**2
        expected = before[name] - 0.1 * gradient / (moment.sqrt() + 1e-2)
        torch.testing.assert_close(weights[name].detach(), expected)
        torch.testing.assert_close(optimiser.moments["moment"][name], moment)
        assert weights[name].grad is None


@pytest.mark.parametrize("compute", [torch.float32, torch.bfloat16])
def test_a_gpus_way_of_updating_gives_the_same_weights(compute: torch.dtype) -> None:
    results = []
    for in_pieces in (True, False):
        weights = parameters()
        optimiser = RMSprop(weights.items(), lr=0.1, compute=compute, clip_norm=1.0)
        optimiser.in_pieces = in_pieces
        for step in range(3):
            set_gradients(optimiser, step)
            optimiser.step()
        results.append({**weights, **{f"working {name}": copy for name, copy in optimiser.working().items()}})
    for name, tensor in results[0].items():
        torch.testing.assert_close(tensor, results[1][name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("in_pieces", [True, False])
def test_dropout_keeps_77_of_256_updates_and_others_each_time(in_pieces: bool) -> None:
    weight = nn.Parameter(torch.zeros(300, 500))
    optimiser = RMSprop([("weight", weight)], lr=1.0, lr_dropout=0.3, seed=3)
    optimiser.in_pieces = in_pieces
    moved = []
    for _ in range(2):
        before = weight.detach().clone()
        weight.grad = torch.ones_like(weight)
        optimiser.step()
        moved.append((weight.detach() - before).abs() > 1e-9)
    for mask in moved:
        assert mask.float().mean().item() == pytest.approx(77 / 256, abs=0.006)  # 5 deviations
    assert (moved[0] & moved[1]).float().mean().item() == pytest.approx((77 / 256) ** 2, abs=0.005)
    first, second = moved[0].flatten()[:75000], moved[0].flatten()[75000:]
    assert (first & second).float().mean().item() == pytest.approx((77 / 256) ** 2, abs=0.006)
    assert optimiser.moments["moment"]["weight"].min() > 0


@pytest.mark.parametrize("compute", [torch.float32, torch.bfloat16])
def test_a_resumed_optimiser_goes_on_bit_for_bit(compute: torch.dtype) -> None:
    weights = parameters()
    one = RMSprop(weights.items(), lr_dropout=0.3, compute=compute, seed=7)
    for step in range(3):
        set_gradients(one, step)
        one.step()
    copies = {name: nn.Parameter(weight.detach().clone()) for name, weight in weights.items()}
    other = RMSprop(copies.items(), lr_dropout=0.3, compute=compute, seed=1)
    other.load_state_dict(one.state_dict())
    for step in range(3, 5):
        for optimiser in (one, other):
            set_gradients(optimiser, step)
            optimiser.step()
    for name, weight in weights.items():
        assert torch.equal(weight, copies[name])
    assert other.iterations == 5


def test_working_copies_follow_the_weights() -> None:
    weights = parameters()
    optimiser = RMSprop(weights.items(), lr=0.1, compute=torch.bfloat16)
    copies = optimiser.working()
    set_gradients(optimiser, 0)
    optimiser.step()
    assert optimiser.working()["bias"] is copies["bias"]
    for name, weight in weights.items():
        assert torch.equal(optimiser.working()[name], weight.to(torch.bfloat16))
        assert weight.dtype is torch.float32
    with torch.no_grad():
        weights["bias"].fill_(3)  # as loading a checkpoint does
    assert torch.equal(optimiser.working()["bias"], torch.full((5,), 3.0, dtype=torch.bfloat16))


def test_a_moment_of_another_shape_is_refused_and_changes_nothing() -> None:
    optimiser = RMSprop(parameters().items())
    set_gradients(optimiser, 0)
    optimiser.step()
    before = optimiser.state_dict()
    state = {name: torch.ones_like(tensor) for name, tensor in before.items()} | {"moment.bias": torch.ones(6)}
    with pytest.raises(CorruptCheckpoint, match=r"bias: it is \(6,\) where \(5,\)"):
        optimiser.load_state_dict(state)
    for name, tensor in optimiser.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_float16_skips_an_overflow_and_lowers_its_scale() -> None:
    weights = parameters()
    optimiser = RMSprop(weights.items(), lr=0.1, compute=torch.float16)
    before, scale = weights["bias"].detach().clone(), optimiser.loss_scale
    for weight in optimiser.working().values():
        weight.grad = torch.full_like(weight, float("inf"))
    optimiser.step()
    assert torch.equal(weights["bias"], before)
    assert optimiser.loss_scale == scale / 2
    assert optimiser.moments["moment"]["bias"].abs().max() == 0
