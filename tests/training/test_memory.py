"""Memory is predicted before it is taken, close to what a real step takes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from understudy.errors import IncompatibleModel
from understudy.networks.families import FAMILIES, config_to_plain
from understudy.training.learning.precision import Precision
from understudy.training.memory.peak import MemoryNeed, swap_memory, training_memory
from understudy.training.options import TrainOptions

ROOT = Path(__file__).resolve().parents[2]
DF: dict[str, Any] = {"archi": "df-ud", "ae_dims": 64, "e_dims": 32, "d_dims": 32, "d_mask_dims": 16}
FP32, BF16 = Precision("float32", True, 1), Precision("bfloat16", True, 1)


def need(
    model: str = "saehd",
    *,
    batch: int = 2,
    precision: Precision = FP32,
    device: str = "cpu",
    changes: dict[str, Any] = DF,
    **options: Any,
) -> MemoryNeed:
    family = FAMILIES[model]
    config = {**config_to_plain(family.config()), **changes}
    return training_memory(
        family.model_class, config, TrainOptions.of(**options), precision, batch_size=batch, device=device
    )


def test_what_is_there_before_a_step_is_counted_exactly() -> None:
    """float32 weights; AdaBelief keeps two numbers for each, RMSprop one; 16 bit computes on copies."""
    weights = need().weights
    assert (need().moments, need(adabelief=False).moments) == (2 * weights, weights)
    assert (need().working, need(precision=BF16).working) == (0, weights // 2)
    assert need().total == sum(vars(need()).values())


def test_more_faces_take_more_and_fewer_bits_take_less() -> None:
    one, two, eight = (need(batch=count, device="cuda").step for count in (1, 2, 8))
    assert one <= two < eight
    assert need(batch=8, precision=BF16).step < 0.7 * need(batch=8).step


def test_discriminators_and_styles_are_part_of_it() -> None:
    plain = need(batch=8)
    assert need(batch=8, gan_power=0.1).step > plain.step
    assert need(batch=8, gan_power=0.1).weights > plain.weights
    assert need(batch=8, bg_style_power=1.0).step > plain.step
    assert need(batch=8, true_face_power=0.1).weights > plain.weights


def test_moments_that_are_kept_elsewhere_take_no_room_on_a_card() -> None:
    assert need(device="cuda", models_opt_on_gpu=False).moments == 0
    assert need(device="cuda").moments > 0


@pytest.mark.parametrize("model", ["amp", "quick96"])
def test_every_class_that_trains_can_be_predicted(model: str) -> None:
    assert need(model, changes={}, batch=1).step > 1e6


def test_untrained_weights_have_no_moments() -> None:
    """AMP's inters keep their values for ever."""
    found = need("amp", changes={})
    assert found.moments < 2 * found.weights


def test_the_mask_network_s_training_and_masks_are_predicted() -> None:
    config = config_to_plain(FAMILIES["xseg"].config())
    one, four = (training_memory("XSeg", config, TrainOptions(model="xseg"), FP32, batch_size=n) for n in (1, 4))
    assert four.step > 2 * one.step
    with pytest.raises(IncompatibleModel):
        training_memory("Unknown", config, TrainOptions(), FP32, batch_size=1)
    assert swap_memory("XSeg", config, FP32, batch_size=4).step > swap_memory("XSeg", config, FP32, batch_size=1).step


def test_nothing_is_allocated() -> None:
    """What takes 200 GB is predicted on any machine."""
    large = {"size": 640, "archi": "liae-udt", "ae_dims": 1024, "e_dims": 256, "d_dims": 256, "d_mask_dims": 256}
    assert need(changes=large, batch=16).total > 150e9


@pytest.mark.skipif(sys.platform != "linux", reason="the largest resident size is counted otherwise here")
@pytest.mark.parametrize(
    ("dtype", "options"),
    [
        ("bfloat16", {}),
        ("float32", {"checkpointing": True, "ema_decay": 0.99, "optimiser": "lion"}),
    ],
)
def test_a_real_step_takes_what_was_predicted(dtype: str, options: dict[str, Any]) -> None:
    """In a process of its own, within 15 %."""
    changes = {**DF, "size": 128}
    case = {"model": "saehd", "config": changes, "batch": 4, "dtype": dtype, "options": options}
    command = [sys.executable, "-m", "bench.models", json.dumps(case)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["predicted"] == pytest.approx(found["measured"], rel=0.15)


def test_the_watcher_counts_what_autograd_keeps() -> None:
    """What only the way back still holds is there; what nobody holds is not."""
    from understudy.training.memory.peak import _LiveBytes

    x = torch.empty(1024, device="meta", requires_grad=True)
    with _LiveBytes() as live:
        kept = (x * x).exp()  # exp keeps its result; x·x is gone after it
        assert live.peak == 2 * 4096
        assert live.now == 4096
        del kept
        assert live.now == 0
