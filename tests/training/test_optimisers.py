"""The optimisers' promises: one update whatever the layout, honest dropout, exact resumption, frozen parameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from understudy.errors import CorruptCheckpoint
from understudy.training.optimisers import KINDS as KINDS_BY_NAME
from understudy.training.optimisers import (
    AdaBelief,
    Adam,
    AdamW,
    Lion,
    Optimiser,
    RMSprop,
    lengths,
    optimiser_named,
    parts,
)
from understudy.training.optimisers.dropout import TABLE, Dropout
from understudy.training.options.optimiser import OptimiserChoice

KINDS = (RMSprop, AdaBelief, Adam, AdamW, Lion)
WAYS = ("pieces", "whole", "visiting")
"""As a processor does it; as a graphics card does it; the same with moments that live elsewhere."""

KEPT = 77 / 256


def parameters(seed: int = 0) -> dict[str, nn.Parameter]:
    """A kernel in channels-last memory, a matrix longer than a piece of 1000, a bias, a single number."""
    draw = torch.Generator().manual_seed(seed)
    kernel = torch.randn(8, 4, 3, 3, generator=draw).contiguous(memory_format=torch.channels_last)
    return {
        "kernel": nn.Parameter(kernel),
        "matrix": nn.Parameter(torch.randn(50, 70, generator=draw)),
        "bias": nn.Parameter(torch.randn(5, generator=draw)),
        "factor": nn.Parameter(torch.randn((), generator=draw)),
    }


def made(kind: type[Any], weights: dict[str, nn.Parameter], way: str = "pieces", **settings: Any) -> Optimiser:
    optimiser = kind(weights.items(), **settings)
    assert isinstance(optimiser, Optimiser)
    optimiser.in_pieces, optimiser.moves_state = way == "pieces", way == "visiting"
    return optimiser


def set_gradients(optimiser: Optimiser, seed: int, size: float = 1.0) -> dict[str, Tensor]:
    """Random gradients in plain memory layout; copies of them."""
    draw = torch.Generator().manual_seed(seed)
    working = optimiser.working()
    for name in optimiser.parameters:
        gradient = torch.randn(working[name].shape, generator=draw) * size * optimiser.loss_scale
        working[name].grad = gradient.to(working[name].dtype)
    return {name: grad.clone() for name in optimiser.parameters if (grad := working[name].grad) is not None}


def run(optimiser: Optimiser, steps: range) -> None:
    for step in steps:
        set_gradients(optimiser, step)
        optimiser.step()


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PIECE", 1000)
    monkeypatch.setattr(parts, "VISIT", 500)


def rmsprop(gradients: list[Tensor], lr: float) -> Iterator[Tensor]:
    """What each step adds to a weight, in float64."""
    square = torch.zeros_like(gradients[0])
    for gradient in gradients:
        square = 0.9 * square + 0.1 * gradient**2
        yield -lr * gradient / (square.sqrt() + 1e-2)


def adabelief(gradients: list[Tensor], lr: float) -> Iterator[Tensor]:
    mean, spread = torch.zeros_like(gradients[0]), torch.zeros_like(gradients[0])
    for gradient in gradients:
        mean = 0.9 * mean + 0.1 * gradient
        spread = 0.999 * spread + 0.001 * (gradient - mean) ** 2
        yield -lr * mean / (spread.sqrt() + 1e-2)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("kind", "rule"), [(RMSprop, rmsprop), (AdaBelief, adabelief)])
def test_the_update_rule(kind: type[Any], rule: Callable[..., Iterator[Tensor]], way: str) -> None:
    weights = parameters()
    expected = {name: weight.detach().double() for name, weight in weights.items()}
    optimiser = made(kind, weights, way, lr=0.1, eps=1e-2)
    seen = []
    for step in range(4):
        seen.append(set_gradients(optimiser, step))
        optimiser.step()
        for name, weight in weights.items():
            moved = list(rule([gradients[name].double() for gradients in seen], 0.1))[-1]
            expected[name] += moved
            torch.testing.assert_close(weight.detach().double(), expected[name], rtol=0, atol=2e-6)
            assert weight.grad is None


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("kind", "theirs"), [(Adam, torch.optim.Adam), (AdamW, torch.optim.AdamW)])
def test_adam_and_adamw_are_those_of_torch(kind: type[Any], theirs: type[Any], way: str) -> None:
    """Also for a weight that joins late: its bias correction counts its own updates."""
    weights, same = parameters(), parameters()
    ours = made(kind, weights, way, lr=0.01, weight_decay=0.1)
    decay = {"weight_decay": 0.1} if kind is AdamW else {}
    other = theirs(list(same.values()), lr=0.01, foreach=False, **decay)
    for step in range(6):
        gradients = set_gradients(ours, step)
        if step < 3:
            weights["matrix"].grad = None
        for name, weight in same.items():
            weight.grad = None if step < 3 and name == "matrix" else gradients[name].clone()
        ours.step()
        other.step()
    assert ours.ages == {"kernel": 6, "matrix": 3, "bias": 6, "factor": 6}
    for name, weight in weights.items():
        torch.testing.assert_close(weight, same[name], rtol=1e-5, atol=2e-6, msg=name)


@pytest.mark.parametrize("way", WAYS)
def test_lion_is_the_published_algorithm(way: str) -> None:
    """Chen et al. 2023, algorithm 2, in float64."""
    weights = parameters()
    expected = {name: weight.detach().double() for name, weight in weights.items()}
    momentum = {name: torch.zeros_like(weight) for name, weight in expected.items()}
    lion = made(Lion, weights, way, lr=0.01, weight_decay=0.1)
    for step in range(5):
        gradients = set_gradients(lion, step)
        lion.step()
        for name, gradient in gradients.items():
            update = (0.9 * momentum[name] + 0.1 * gradient.double()).sign()
            expected[name] -= 0.01 * (update + 0.1 * expected[name])
            momentum[name] = 0.99 * momentum[name] + 0.01 * gradient.double()
    for name, weight in weights.items():
        torch.testing.assert_close(weight.detach().double(), expected[name], rtol=0, atol=2e-6, msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_a_dropped_update_leaves_the_weight_as_it_was_to_the_last_bit(kind: type[Any]) -> None:
    """Decay included: an element whose update is dropped has a learning rate of 0 in that step."""
    weights = parameters()
    optimiser = made(kind, weights, lr=0.01, weight_decay=0.1, lr_dropout=0.3)
    before = weights["matrix"].detach().clone()
    run(optimiser, range(1))
    moved = (weights["matrix"] != before).float().mean().item()
    assert moved == pytest.approx(KEPT, abs=0.03)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_the_length_of_long_gradients_is_right_to_a_hundred_thousandth(dtype: torch.dtype) -> None:
    chance = torch.Generator().manual_seed(1)
    gradients = [
        torch.randn(shape, generator=chance).to(dtype) for shape in ((3 * lengths.PIECE + 5,), (64, 3, 3, 7), ())
    ]
    wanted = math.sqrt(sum(float(gradient.double().square().sum()) for gradient in gradients))
    assert float(lengths.length_of(gradients)) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("way", ["pieces", "whole"])
@pytest.mark.parametrize("poison", [math.inf, math.nan])
@pytest.mark.parametrize("kind", KINDS)
def test_guarded_gradients_that_are_no_numbers_leave_weights_and_moments_finite(
    kind: type[Any], poison: float, way: str
) -> None:
    weights = parameters()
    optimiser = made(kind, weights, way, lr=0.1, guarded=True)
    run(optimiser, range(2))
    before = {name: weight.detach().clone() for name, weight in weights.items()}
    set_gradients(optimiser, 2)
    gradient = weights["kernel"].grad
    assert gradient is not None
    gradient[3, 2, 1, 0] = poison
    optimiser.step()
    assert optimiser.length is not None
    assert not optimiser.length.isfinite()
    for name, tensor in [*weights.items(), *moments(optimiser)]:
        assert tensor.isfinite().all(), name
        assert way == "whole" or name not in before or torch.equal(tensor, before[name])
    run(optimiser, range(3, 4))
    assert not torch.equal(weights["bias"], before["bias"])


@pytest.mark.parametrize("way", ["pieces", "whole"])
def test_autoclip_follows_the_publication(way: str) -> None:
    """Seetharaman et al. 2020: a gradient is cut to a percentile of all lengths so far, its own included."""
    optimiser = made(RMSprop, parameters(), way, autoclip=25.0)
    seen: list[float] = []
    square = 0.0
    for step, size in enumerate((1.0, 3.0, 0.5, 8.0, 2.0)):
        given = set_gradients(optimiser, step, size)
        seen.append(math.sqrt(sum(float(gradient.double().square().sum()) for gradient in given.values())))
        optimiser.step()
        limit = float(np.percentile(seen, 25))
        square = 0.9 * square + 0.1 * min(seen[-1], limit) ** 2
        used = sum(float(moment.double().sum()) for _, moment in moments(optimiser))
        assert used == pytest.approx(square, rel=1e-4)
        assert optimiser.length is not None
        assert float(optimiser.length) == pytest.approx(seen[-1], rel=1e-5)


def test_autoclip_remembers_in_order_what_its_window_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lengths, "REMEMBERED", 5)
    one = lengths.LengthHistory(torch.device("cpu"))
    for number in range(8):
        one.note(torch.tensor(float(number)))
    one.note(torch.tensor(math.inf))  # counts as the one before it
    assert one.state().tolist() == [4, 5, 6, 7, 7]
    other = lengths.LengthHistory(torch.device("cpu"))
    other.load(one.state())
    for history in (one, other):
        history.note(torch.tensor(1.0))
    assert other.state().tolist() == one.state().tolist() == [5, 6, 7, 7, 1]
    assert float(other.percentile(50)) == 6


@pytest.mark.parametrize("kind", [RMSprop, AdaBelief, Adam])
def test_moments_that_no_root_can_be_taken_of_begin_anew(kind: type[Any]) -> None:
    """As in some of the reference's own files."""
    optimiser = made(kind, parameters())
    run(optimiser, range(2))
    state = optimiser.state_dict()
    square, first = kind.moment_names[-1], kind.moment_names[0]
    state[f"{square}.matrix"][0, :3] = torch.tensor([-1e-9, math.nan, math.inf])
    (note,) = optimiser.load_state_dict(state)
    assert note == "3 of the saved moments were negative or not finite: they begin anew."
    for name in (square, first):
        assert not optimiser.moments[name]["matrix"][0, :3].any()
        assert optimiser.moments[name]["matrix"][0, 3:].any()
    run(optimiser, range(2, 3))
    assert optimiser.parameters["matrix"].isfinite().all()


def test_a_state_without_ages_counts_from_its_first_step() -> None:
    """As those of before have been saved."""
    optimiser = AdaBelief(parameters().items())
    run(optimiser, range(3))
    state = optimiser.state_dict()
    del state["ages"]
    assert optimiser.load_state_dict(state) == []
    assert optimiser.age == 3
    fresh = Adam(parameters().items())
    fresh.load_state_dict(state)
    assert (fresh.iterations, fresh.age) == (3, 0)


def test_adabeliefs_first_update_is_three_and_a_half_learning_rates() -> None:
    """No bias correction: 0.1 / (√0.001 · 0.9), whatever the gradient."""
    weight = nn.Parameter(torch.zeros(3))
    optimiser = AdaBelief([("weight", weight)], lr=1e-3)
    weight.grad = torch.tensor([5.0, -0.1, 40.0])
    optimiser.step()
    torch.testing.assert_close(weight.detach() / 1e-3, torch.tensor([-3.5136, 3.5136, -3.5136]), rtol=1e-3, atol=0)


@pytest.mark.parametrize("settings", [{}, {"compute": torch.bfloat16}, {"clip_norm": 1.0}, {"lr_period": 3}], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_every_way_of_updating_gives_the_same_weights(kind: type[Any], settings: dict[str, Any]) -> None:
    results = []
    for way in WAYS:
        optimiser = made(kind, parameters(), way, lr=0.1, **settings)
        run(optimiser, range(4))
        results.append(dict(optimiser.working()) | {f"moment {key}": value for key, value in moments(optimiser)})
    tolerance = 1e-5 if settings.get("compute") is None else 2**-7
    for way, other in zip(WAYS[1:], results[1:], strict=True):
        for name, tensor in results[0].items():
            torch.testing.assert_close(tensor, other[name], rtol=tolerance, atol=2e-6, msg=lambda m, w=way: f"{w}: {m}")


def moments(optimiser: Optimiser) -> Iterator[tuple[str, Tensor]]:
    for kind, named in optimiser.moments.items():
        for name, moment in named.items():
            yield f"{kind} {name}", moment


@pytest.mark.parametrize("kind", KINDS)
def test_moments_that_live_elsewhere_change_nothing_at_all(kind: type[Any]) -> None:
    results = []
    for way in ("whole", "visiting"):
        optimiser = made(kind, parameters(), way, lr=0.1, lr_dropout=0.3, clip_norm=1.0, compute=torch.bfloat16)
        run(optimiser, range(3))
        results.append(optimiser)
    for name, weight in results[0].parameters.items():
        assert torch.equal(weight, results[1].parameters[name])
    for (name, moment), (_, other) in zip(moments(results[0]), moments(results[1]), strict=True):
        assert torch.equal(moment, other), name


def test_moments_are_kept_where_they_were_asked_to_be() -> None:
    optimiser = AdaBelief(parameters().items(), state_device=torch.device("meta"))
    assert {moment.device.type for _, moment in moments(optimiser)} == {"meta"}
    assert optimiser.moves_state
    assert not AdaBelief(parameters().items(), state_device=torch.device("cpu")).moves_state


@pytest.mark.parametrize("in_pieces", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_dropout_keeps_77_of_256_updates_and_others_each_time(kind: type[Any], in_pieces: bool) -> None:
    """Between steps, between two tensors and between parts of one, the kept ones have nothing to do with each other."""
    weights = {name: nn.Parameter(torch.zeros(300, 500)) for name in ("one", "two")}
    optimiser = made(kind, weights, "pieces" if in_pieces else "whole", lr=1.0, lr_dropout=0.3, seed=3)
    masks = [dropped(optimiser) for _ in range(2)]
    drawn = [mask for by_name in masks for mask in by_name.values()]
    for mask in drawn:
        assert mask.mean().item() == pytest.approx(KEPT, abs=0.006)  # 5 deviations
    shifted = masks[0]["one"].roll(1000)  # pieces are 1000 long here
    pairs = [(drawn[i], drawn[j]) for i in range(4) for j in range(i)] + [(drawn[0], shifted)]
    for one, other in pairs:
        assert (one * other).mean().item() == pytest.approx(KEPT**2, abs=0.004)
    assert all(moment.abs().min() > 0 for name, moment in moments(optimiser))


def dropped(optimiser: Optimiser) -> dict[str, Tensor]:
    """Take a step; 1 where weights moved by it."""
    before = {name: weight.detach().clone() for name, weight in optimiser.parameters.items()}
    for step, weight in enumerate(optimiser.parameters.values()):
        weight.grad = torch.full_like(weight, 1.0 + step + optimiser.iterations)
    optimiser.step()
    return {
        name: ((weight.detach() - before[name]).abs() > 1e-9).float().flatten()
        for name, weight in optimiser.parameters.items()
    }


def test_dropout_is_as_honest_at_every_place_of_a_random_word() -> None:
    """Bytes come in words of eight; by the eighth draw of a step the two tables lie against each other word by word."""
    dropout = Dropout(torch.device("cpu"), 0.3, seed=0)
    dropout.begin()
    kept = torch.empty(TABLE)
    for _ in range(8):
        dropout.draw("weight", 0, kept)
    shares = kept.view(-1, 8).mean(0)
    torch.testing.assert_close(shares, torch.full((8,), KEPT), rtol=0, atol=0.009)  # 5 deviations


def test_dropout_can_be_switched_while_it_runs() -> None:
    weight = nn.Parameter(torch.zeros(100, 100))
    optimiser = RMSprop([("weight", weight)], lr=1.0)
    assert dropped(optimiser)["weight"].mean() == 1
    optimiser.lr_dropout = 0.3
    assert dropped(optimiser)["weight"].mean().item() == pytest.approx(KEPT, abs=0.03)
    optimiser.lr_dropout = 1.0
    assert dropped(optimiser)["weight"].mean() == 1


@pytest.mark.parametrize("compute", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("way", ["pieces", "whole"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_optimiser_goes_on_bit_for_bit(kind: type[Any], way: str, compute: torch.dtype) -> None:
    settings = {"lr_dropout": 0.3, "lr_period": 4, "compute": compute, "clip_norm": 2.0}
    one = made(kind, parameters(), way, **settings, seed=7)
    run(one, range(3))
    copies = {name: nn.Parameter(weight.detach().clone()) for name, weight in one.parameters.items()}
    other = made(kind, copies, way, **settings, seed=1)
    assert other.load_state_dict(one.state_dict()) == []
    for optimiser in (one, other):
        run(optimiser, range(3, 5))
    for name, weight in one.parameters.items():
        assert torch.equal(weight, copies[name]), name
    assert all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in one.state_dict().items())
    assert other.iterations == 5


def test_a_saved_state_is_a_snapshot_in_plain_layout() -> None:
    """safetensors takes only dense tensors in C order, and training goes on while they are written."""
    optimiser = AdaBelief(parameters().items())
    run(optimiser, range(1))
    state = optimiser.state_dict()
    before = {name: tensor.clone() for name, tensor in state.items()}
    run(optimiser, range(1, 2))
    for name, tensor in state.items():
        assert tensor.is_contiguous()
        assert torch.equal(tensor, before[name]), name


@pytest.mark.parametrize("compute", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("way", WAYS)
def test_working_copies_follow_the_weights(way: str, compute: torch.dtype) -> None:
    weights = parameters()
    optimiser = made(AdaBelief, weights, way, lr=0.1, compute=compute)
    copies = optimiser.working()
    run(optimiser, range(1))
    assert optimiser.working()["bias"] is copies["bias"]
    for name, weight in weights.items():
        assert torch.equal(optimiser.working()[name], weight.to(compute))
        assert optimiser.working()[name].grad is None
        assert weight.dtype is torch.float32
    with torch.no_grad():
        weights["bias"].fill_(3)  # as loading a checkpoint does
    assert torch.equal(optimiser.working()["bias"], torch.full((5,), 3.0, dtype=compute))


@pytest.mark.parametrize("compute", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_what_gets_no_gradient_keeps_its_value_and_its_moments(kind: type[Any], way: str, compute: torch.dtype) -> None:
    weights = parameters()
    optimiser = made(kind, weights, way, lr=0.1, compute=compute)
    run(optimiser, range(1))
    before = {name: value.clone() for name, value in [*weights.items(), *moments(optimiser)]}
    set_gradients(optimiser, 1)
    optimiser.working()["bias"].grad = None  # no part of the loss
    weights["matrix"].requires_grad_(False)  # frozen by name, with a gradient that somebody left
    optimiser.step()
    for name, value in [*weights.items(), *moments(optimiser)]:
        still = name.endswith(("bias", "matrix"))
        assert torch.equal(value, before[name]) == still, name
    assert optimiser.working()["matrix"].grad is None
    assert not optimiser.working()["matrix"].requires_grad
    weights["matrix"].requires_grad_(True)
    run(optimiser, range(2, 3))
    assert not torch.equal(weights["matrix"], before["matrix"])


@pytest.mark.parametrize("compute", [torch.float32, torch.bfloat16])
def test_constants_are_computed_with_and_never_change(compute: torch.dtype) -> None:
    weights, constants = parameters(), {"inter": nn.Parameter(torch.ones(4))}
    optimiser = AdaBelief(weights.items(), constants=constants.items(), compute=compute)
    working = optimiser.working()
    assert working["inter"].dtype is compute
    (working["bias"].sum() * working["inter"].sum()).backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    assert torch.equal(constants["inter"], torch.ones(4))
    assert constants["inter"].grad is None
    assert not any("inter" in name for name in optimiser.state_dict())
    with torch.no_grad():
        constants["inter"].fill_(2)
    assert torch.equal(optimiser.working()["inter"], torch.full((4,), 2, dtype=compute))


def test_a_step_without_any_gradient_only_counts() -> None:
    optimiser = RMSprop(parameters().items(), clip_norm=1.0, lr_dropout=0.3)
    optimiser.step()
    assert optimiser.iterations == 1


@pytest.mark.parametrize("compute", [torch.float32, torch.float16])
@pytest.mark.parametrize("way", ["pieces", "whole"])
def test_clipping_shortens_all_gradients_together(way: str, compute: torch.dtype) -> None:
    """RMSprop's moment shows the gradient that was used: of length 2, whatever it was above that."""
    for size, length in ((3.0, 2.0), (1e-3, None)):
        optimiser = made(RMSprop, parameters(), way, clip_norm=2.0, compute=compute)
        gradients = set_gradients(optimiser, 0, size)
        given = math.sqrt(sum(float(gradient.double().square().sum()) for gradient in gradients.values()))
        given /= optimiser.loss_scale
        optimiser.step()
        used = math.sqrt(sum(float(moment.double().sum()) for _, moment in moments(optimiser)) / 0.1)
        assert used == pytest.approx(length or given, rel=1e-5)


@pytest.mark.parametrize("way", ["pieces", "whole"])
def test_a_long_gradient_is_measured_to_the_last_digits(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Added up in one float32, sixteen million equal squares would miss the sum by far more."""
    monkeypatch.setattr(parts, "PIECE", 1 << 19)
    weight = nn.Parameter(torch.zeros((1 << 24) + 100))
    optimiser = made(RMSprop, {"weight": weight}, way, clip_norm=1.0)
    weight.grad = torch.full_like(weight, 0.1)
    optimiser.step()
    used = math.sqrt(float(optimiser.moments["moment"]["weight"].double().sum()) / 0.1)
    assert used == pytest.approx(1.0, rel=1e-5)


def test_the_cosine_counts_the_step_being_taken() -> None:
    weight = nn.Parameter(torch.zeros(1))
    optimiser = RMSprop([("weight", weight)], lr=1.0, lr_period=4)
    rates = []
    for _ in range(5):
        set_gradients(optimiser, 0)
        optimiser.step()
        rates.append(optimiser.current_lr)
    assert rates == pytest.approx([0.5, 0, 0.5, 1, 0.5])


def test_a_moment_of_another_shape_is_refused_and_changes_nothing() -> None:
    optimiser = RMSprop(parameters().items())
    run(optimiser, range(1))
    before = optimiser.state_dict()
    state = {name: torch.ones_like(tensor) for name, tensor in before.items() if name != "kind"}
    state["moment.bias"] = torch.ones(6)
    with pytest.raises(CorruptCheckpoint, match=r"bias: it is \(6,\) where \(5,\)"):
        optimiser.load_state_dict(state)
    for name, tensor in optimiser.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_switching_kinds_keeps_the_count_and_says_so() -> None:
    one = RMSprop(parameters().items())
    run(one, range(3))
    other = AdaBelief(parameters().items())
    run(other, range(1))
    (note,) = other.load_state_dict(one.state_dict())
    assert "another optimiser (rmsprop)" in note
    assert "AdaBelief starts with fresh ones and counts on from iteration 3" in note
    assert other.iterations == 3
    assert all(not moment.any() for _, moment in moments(other))
    unsaid = {name: tensor for name, tensor in other.state_dict().items() if name != "kind"}
    (note,) = one.load_state_dict(unsaid)
    assert "another optimiser (first, second)" in note


def test_moments_of_another_kind_are_not_taken_for_ones_own_because_they_are_called_the_same() -> None:
    optimiser = AdaBelief(parameters().items())
    run(optimiser, range(2))
    state = optimiser.state_dict()
    adams = state | {"kind": torch.tensor(list(b"adam"), dtype=torch.uint8)}
    (note,) = optimiser.load_state_dict(adams)
    assert "another optimiser (adam)" in note
    assert not any(moment.any() for _, moment in moments(optimiser))
    del state["kind"]  # as an imported one
    assert optimiser.load_state_dict(state) == []
    assert all(torch.equal(moment, state[name.replace(" ", ".")]) for name, moment in moments(optimiser))


def test_missing_moments_start_afresh_and_are_named() -> None:
    optimiser = AdaBelief(parameters().items())
    run(optimiser, range(2))
    state = optimiser.state_dict()
    del state["second.matrix"]
    run(optimiser, range(2, 3))
    (note,) = optimiser.load_state_dict(state)
    assert note == "1 of 8 saved moments are missing and start afresh: second.matrix."
    assert not optimiser.moments["second"]["matrix"].any()
    assert torch.equal(optimiser.moments["first"]["matrix"], state["first.matrix"])
    assert optimiser.iterations == 2


def test_a_state_that_only_counts_is_enough() -> None:
    """As when a model was imported whose optimiser file was missing or of no use."""
    optimiser = AdaBelief(parameters().items())
    (note,) = optimiser.load_state_dict({"iterations": torch.tensor(90000)})
    assert "8 of 8 saved moments are missing" in note
    assert optimiser.iterations == 90000


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (RMSprop, ("moment",)),
        (AdaBelief, ("first", "second")),
        (Adam, ("mean", "square")),
        (AdamW, ("mean", "square")),
        (Lion, ("momentum",)),
    ],
)
def test_names_in_a_saved_state(kind: type[Any], names: tuple[str, ...]) -> None:
    """They are in people's checkpoints and in what imports and exports write: renaming one needs a migration."""
    state = kind(parameters().items()).state_dict()
    of_tensors = {f"{name}.{tensor}" for name in names for tensor in parameters()}
    assert set(state) == of_tensors | {"kind", "iterations", "ages", "generator", "scale"}
    assert state["iterations"].dtype is torch.int64
    assert state["iterations"].shape == ()
    assert state["scale"].dtype is torch.float64


def test_moments_of_parameters_that_are_not_trained_are_left_aside() -> None:
    weights = parameters()
    everything = RMSprop(weights.items())
    run(everything, range(1))
    some = RMSprop([("bias", weights["bias"])])
    assert some.load_state_dict(everything.state_dict()) == []
    assert torch.equal(some.moments["moment"]["bias"], everything.moments["moment"]["bias"])


@pytest.mark.parametrize("poison", [float("inf"), float("-inf"), float("nan")])
@pytest.mark.parametrize("kind", KINDS)
def test_float16_skips_an_overflow_and_lowers_its_scale(kind: type[Any], poison: float) -> None:
    weights = parameters()
    optimiser = made(kind, weights, lr=0.1, compute=torch.float16)
    before, scale = {name: weight.detach().clone() for name, weight in weights.items()}, optimiser.loss_scale
    set_gradients(optimiser, 0)
    gradient = optimiser.working()["kernel"].grad
    assert gradient is not None
    gradient[3, 2, 1, 0] = poison
    optimiser.step()
    assert all(torch.equal(weight, before[name]) for name, weight in weights.items())
    assert all(not moment.any() for _, moment in moments(optimiser))
    assert all(copy.grad is None for copy in optimiser.working().values())
    assert optimiser.loss_scale == scale / 2
    run(optimiser, range(1, 2))
    assert not torch.equal(weights["bias"], before["bias"])


def test_float16_raises_its_scale_after_a_thousand_good_steps_and_never_loses_it() -> None:
    weight = nn.Parameter(torch.zeros(2))
    optimiser = RMSprop([("weight", weight)], compute=torch.float16)
    scale = optimiser.loss_scale
    run(optimiser, range(1000))
    assert optimiser.loss_scale == 2 * scale
    for _ in range(40):
        optimiser.working()["weight"].grad = torch.full((2,), math.nan, dtype=torch.float16)
        optimiser.step()
    assert optimiser.loss_scale == 1


@pytest.mark.parametrize("way", ["pieces", "whole"])
@pytest.mark.parametrize("kind", KINDS)
def test_float16_sees_gradients_that_would_vanish_without_the_scale(kind: type[Any], way: str) -> None:
    """1e-9 is zero in float16; multiplied with the loss, it arrives."""
    weight = nn.Parameter(torch.ones(3))
    optimiser = made(kind, {"weight": weight}, way, compute=torch.float16, lr=0.1, eps=1e-12)
    (optimiser.working()["weight"].float().sum() * 1e-8 * optimiser.loss_scale).backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    assert (weight - 1).abs().min() > 0.05


def test_optimisers_go_by_the_names_of_the_options() -> None:
    assert optimiser_named("rmsprop") is RMSprop
    assert optimiser_named("adabelief") is AdaBelief
    assert {str(choice) for choice in OptimiserChoice} == {"auto", *KINDS_BY_NAME}
