"""Before the first step a training knows whether it fits, and how it can."""

from __future__ import annotations

from typing import Any

import pytest

from understudy.errors import OutOfMemory
from understudy.networks.families import FAMILIES, config_to_plain
from understudy.training.learning.precision import Precision
from understudy.training.memory.memory_plan import MemoryPlan, hardly_matters, plan_memory
from understudy.training.options import TrainOptions

DF: dict[str, Any] = {"archi": "df-ud", "ae_dims": 64, "e_dims": 32, "d_dims": 32, "d_mask_dims": 16}
FP32 = Precision("float32", True, 1)


def plan(free: int | None, *, device: str = "cuda:0", processes: int = 1, **options: Any) -> MemoryPlan:
    config = {**config_to_plain(FAMILIES["saehd"].config()), **DF}
    return plan_memory("SAEHD", config, TrainOptions.of(**options), FP32, device=device, processes=processes, free=free)


def test_what_fits_goes_whole_and_says_what_it_takes() -> None:
    found = plan(2_000_000_000, batch_size=8)
    assert found.pieces == 1
    assert found.need == found.whole
    assert "GB" in found.sentence
    assert plan(1 << 50, batch_size=8).sentence == ""


def test_what_does_not_fit_goes_in_as_few_pieces_as_fit() -> None:
    whole = plan(1 << 50, batch_size=16).whole.total
    half = plan(int(0.8 * whole), batch_size=16)
    assert half.pieces == 2
    assert half.need.total < 0.8 * whole < half.whole.total
    assert "2 pieces" in half.sentence
    assert plan(int(0.55 * whole), batch_size=16).pieces > 2


def test_advice_names_flags_with_what_they_would_save() -> None:
    whole = plan(1 << 50, batch_size=16).whole.total
    advice = dict(plan(int(0.8 * whole), batch_size=16).advice)
    assert {"--no-models-opt-on-gpu", "--precision bf16"} <= set(advice)
    assert all(total < whole for total in advice.values())


def test_what_fits_nohow_is_refused_before_anything_is_allocated() -> None:
    with pytest.raises(OutOfMemory, match="single face") as caught:
        plan(1_000_000, batch_size=4)
    assert "--" in caught.value.hint


def test_processes_of_one_processor_share_its_memory_and_the_batch() -> None:
    alone = plan(1 << 40, device="cpu", batch_size=8)
    shared = plan(1 << 40, device="cpu", batch_size=8, processes=2)
    assert (shared.free, shared.batch_size) == (1 << 39, 4)
    assert shared.need.step < alone.need.step
    sharded = plan(1 << 40, device="cpu", batch_size=8, processes=2, shard=True)
    assert sharded.need.moments == shared.need.moments // 2


def test_small_trainings_are_not_worth_a_plan() -> None:
    assert hardly_matters(50_000, 32, TrainOptions(batch_size=2), 8 << 30)
    assert not hardly_matters(80_000_000, 128, TrainOptions(batch_size=8), 8 << 30)
