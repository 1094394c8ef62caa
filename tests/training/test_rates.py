"""How far steps go: what options make of a class's own rates, and how a rate changes on the way."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from understudy.errors import InvalidOption
from understudy.training.learning.rates import FLOOR, Rates, require_end_for_schedule
from understudy.training.optimisers import Adam
from understudy.training.options import TrainOptions
from understudy.training.recipes import recipe_for


def rates(model_class: str = "saehd", **options: Any) -> Rates:
    return recipe_for(model_class).rates(TrainOptions.of(**options))


@pytest.mark.parametrize(
    ("model_class", "options", "expected"),
    [
        ("saehd", {}, ("adabelief", 5e-5, 1.0, 0)),
        ("saehd", {"adabelief": False}, ("rmsprop", 5e-5, 1.0, 0)),
        ("saehd", {"lr_dropout": "y", "optimiser": "adamw"}, ("adamw", 5e-5, 0.3, 500)),
        ("saehd", {"optimiser": "lion"}, ("lion", 1e-5, 1.0, 0)),
        ("saehd", {"optimiser": "lion", "learning_rate": 3e-4}, ("lion", 3e-4, 1.0, 0)),
        ("amp", {}, ("adabelief", 5e-5, 1.0, 0)),
        ("quick96", {"adabelief": False}, ("rmsprop", 2e-4, 0.3, 0)),
        ("quick96", {"adabelief": False, "optimiser": "adam"}, ("adam", 2e-4, 0.3, 0)),
    ],
)
def test_a_class_has_its_own_rates_and_options_change_them(
    model_class: str, options: dict[str, Any], expected: tuple[object, ...]
) -> None:
    found = rates(model_class, **options)
    assert (found.kind, found.lr, found.dropout, found.period) == pytest.approx(expected)


def test_a_warm_up_counts_from_fresh_moments() -> None:
    found = rates(learning_rate=1.0, lr_warmup=4)
    assert [found.lr_at(1000 + age, age) for age in range(6)] == [0.25, 0.5, 0.75, 1, 1, 1]


def test_the_cosine_falls_from_its_beginning_to_the_target_and_stays() -> None:
    found = rates(learning_rate=1.0, lr_schedule="cosine", lr_from=100, target_iter=300)
    at = [found.lr_at(iteration, 9) for iteration in (0, 100, 150, 200, 300, 400)]
    assert at == pytest.approx([1, 1, 1 - (1 - FLOOR) * (1 - 0.5**0.5) / 2, (1 + FLOOR) / 2, FLOOR, FLOOR])


def test_the_tail_stays_and_falls_straight_over_the_last_fifth() -> None:
    found = rates(learning_rate=1.0, lr_schedule="tail", target_iter=100)
    at = [found.lr_at(iteration, 9) for iteration in (0, 80, 90, 100, 120)]
    assert at == pytest.approx([1, 1, (1 + FLOOR) / 2, FLOOR, FLOOR])


@pytest.mark.parametrize(
    "options", [{"lr_schedule": "cosine"}, {"lr_schedule": "tail", "target_iter": 50, "lr_from": 50}]
)
def test_a_rate_that_falls_needs_somewhere_to_fall_to(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidOption, match="falls towards a target") as caught:
        require_end_for_schedule(TrainOptions.of(**options))
    assert "--target-iter" in caught.value.hint
    require_end_for_schedule(TrainOptions.of(lr_schedule="cosine", target_iter=100, lr_from=50))


def test_an_optimiser_is_tuned_to_the_iteration() -> None:
    found = rates(
        learning_rate=1.0,
        lr_schedule="tail",
        target_iter=100,
        weight_decay=0.1,
        clipgrad=True,
        autoclip=10.0,
        guard=True,
    )
    optimiser = Adam([("weight", nn.Parameter(torch.zeros(1)))])
    found.tune(optimiser, 90)
    assert optimiser.lr == pytest.approx((1 + FLOOR) / 2)
    assert (optimiser.weight_decay, optimiser.clip_norm, optimiser.autoclip) == (0.1, 1.0, 10.0)
    assert optimiser.guarded


def test_who_goes_on_more_calmly_goes_half_as_far_each_time() -> None:
    found = rates(learning_rate=1.0)
    assert found.calmed(0) == found
    assert (found.calmed(3).lr, found.calmed(3).clip_norm) == (0.125, 1.0)
