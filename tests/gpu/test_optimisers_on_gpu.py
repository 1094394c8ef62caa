"""Optimisers on a graphics card: the numbers of a processor, moments beside the processor, exact resumption."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from understudy.training.optimisers import AdaBelief, Optimiser, RMSprop, base

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]

KINDS = (RMSprop, AdaBelief)


def made(kind: type[Any], device: str, **settings: Any) -> Optimiser:
    draw = torch.Generator().manual_seed(0)
    shapes = {"kernel": (16, 8, 3, 3), "matrix": (300, 500), "bias": (5,)}
    weights = {name: nn.Parameter(torch.randn(shape, generator=draw).to(device)) for name, shape in shapes.items()}
    optimiser = kind(weights.items(), lr=0.1, **settings)
    assert isinstance(optimiser, Optimiser)
    return optimiser


def run(optimiser: Optimiser, steps: range) -> None:
    for step in steps:
        draw = torch.Generator().manual_seed(step)
        for copy in optimiser.working().values():
            gradient = torch.randn(copy.shape, generator=draw) * optimiser.loss_scale
            copy.grad = gradient.to(copy.device, copy.dtype)
        optimiser.step()


def state_of(optimiser: Optimiser) -> dict[str, Tensor]:
    """Weights and everything saved, on the processor."""
    return {name: tensor.detach().cpu() for name, tensor in (optimiser.parameters | optimiser.state_dict()).items()}


@pytest.mark.parametrize("compute", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", KINDS)
def test_a_graphics_card_takes_the_steps_of_a_processor(kind: type[Any], compute: torch.dtype) -> None:
    settings = {"compute": compute, "clip_norm": 2.0, "lr_period": 5}
    one, other = made(kind, "cpu", **settings), made(kind, "cuda", **settings)
    for optimiser in (one, other):
        run(optimiser, range(4))
    here, there = state_of(one), state_of(other)
    for name in set(here) - {"generator"}:
        torch.testing.assert_close(there[name], here[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_moments_beside_the_processor_change_nothing_at_all(kind: type[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "VISIT", 2000)
    settings = {"compute": torch.bfloat16, "clip_norm": 2.0, "lr_dropout": 0.3}
    one = made(kind, "cuda", **settings)
    other = made(kind, "cuda", **settings, state_device=torch.device("cpu"))
    for optimiser in (one, other):
        run(optimiser, range(4))
    assert all(moment.device.type == "cpu" for named in other.moments.values() for moment in named.values())
    here, there = state_of(one), state_of(other)
    assert all(torch.equal(tensor, there[name]) for name, tensor in here.items())


@pytest.mark.parametrize("state_device", [None, torch.device("cpu")])
@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_run_goes_on_bit_for_bit(kind: type[Any], state_device: torch.device | None) -> None:
    settings = {"compute": torch.bfloat16, "lr_dropout": 0.3, "state_device": state_device}
    one, other = made(kind, "cuda", **settings), made(kind, "cuda", **settings, seed=9)
    run(one, range(3))
    with torch.no_grad():
        for name, weight in one.parameters.items():
            other.parameters[name].copy_(weight)
    assert other.load_state_dict({name: tensor.cpu() for name, tensor in one.state_dict().items()}) == []
    for optimiser in (one, other):
        run(optimiser, range(3, 5))
    here, there = state_of(one), state_of(other)
    assert all(torch.equal(tensor, there[name]) for name, tensor in here.items())


def test_dropout_keeps_its_share_on_the_card() -> None:
    optimiser = made(RMSprop, "cuda", lr_dropout=0.3)
    before = optimiser.parameters["matrix"].detach().clone()
    run(optimiser, range(1))
    moved = (optimiser.parameters["matrix"].detach() != before).float().mean().item()
    assert moved == pytest.approx(77 / 256, abs=0.006)


def test_a_state_from_a_processor_is_taken_over_but_for_its_random_numbers() -> None:
    one, other = made(AdaBelief, "cpu"), made(AdaBelief, "cuda")
    run(one, range(2))
    assert other.load_state_dict(one.state_dict()) == []
    assert torch.equal(other.moments["first"]["bias"].cpu(), one.moments["first"]["bias"])
    assert other.iterations == 2


def test_moments_asked_to_be_on_the_card_they_are_on_do_not_move() -> None:
    assert not made(AdaBelief, "cuda", state_device=torch.device("cuda")).moves_state
