"""A step learns, gives the same bits from the same seed, and in bfloat16 learns what it learns in float32."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from understudy.networks.quick96 import Quick96, Quick96Config
from understudy.training.batches.samples import BatchSource, FaceBank
from understudy.training.learning.learner import prepare
from understudy.training.learning.precision import Precision
from understudy.training.learning.step import SwapLearner
from understudy.training.optimisers import RMSprop
from understudy.training.options import TrainOptions
from understudy.training.recipes import quick96_objective

SMALL = Quick96Config(size=32, ae_dims=16, e_dims=8, d_dims=8, d_mask_dims=4)


def faces(seed: int) -> FaceBank:
    """Four faces of soft blobs, which a small network can learn."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:32, 0:32]
    disc = 255 * ((x - 16) ** 2 + (y - 16) ** 2 < 144)
    crops = []
    for _ in range(4):
        centre = rng.uniform(8, 24, (3, 2))
        soft = [255 * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 60) for cx, cy in centre]
        crops.append(np.stack([*soft, disc], 2).astype(np.uint8))
    return FaceBank(np.stack(crops))


class Run:
    """A short training run."""

    def __init__(self, dtype: str = "float32", seed: int = 0) -> None:
        self.precision = Precision(dtype, True, 0)
        self.net = Quick96(SMALL, generator=torch.Generator().manual_seed(seed))
        prepare(self.net, self.precision, torch.device("cpu"))
        self.optimiser = RMSprop(
            self.net.named_parameters(), lr=1e-3, lr_dropout=0.3, compute=self.precision.torch_dtype, seed=seed
        )
        self.learner = SwapLearner(self.net, self.optimiser, quick96_objective(SMALL, TrainOptions(), False))
        self.batches = BatchSource(faces(1), faces(2), batch_size=4, seed=seed)

    def steps(self, count: int) -> list[float]:
        """Losses of src and dst together."""
        found = []
        for _ in range(count):
            values = self.learner.learn(self.batches.next())
            found.append(float(values["src"] + values["dst"]))
        return found

    def resumed(self) -> Run:
        """Another run that takes over what this one would save."""
        other = Run(self.precision.dtype, seed=77)
        other.net.load_state_dict({name: tensor.clone() for name, tensor in self.net.state_dict().items()})
        other.optimiser.load_state_dict(self.optimiser.state_dict())
        other.batches.load_state_dict(self.batches.state_dict())
        return other


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_same_seed_gives_the_same_bits_and_so_does_a_resumed_run(dtype: str) -> None:
    one, other = Run(dtype), Run(dtype)
    assert one.steps(3) == other.steps(3)
    other = other.resumed()
    assert one.steps(4) == other.steps(4)
    for name, tensor in one.net.state_dict().items():
        assert torch.equal(tensor, other.net.state_dict()[name]), name
    assert Run(dtype, seed=1).steps(1) != Run(dtype).steps(1)


def test_bfloat16_learns_what_float32_learns() -> None:
    """Same draws, so the two curves differ by rounding alone; they part by less than two seeds do."""
    wide, narrow, elsewhere = (np.array(run.steps(60)) for run in (Run(), Run("bfloat16"), Run(seed=5)))
    assert wide[-15:].mean() < 0.6 * wide[:3].mean()
    rounding = abs(wide[-15:].mean() - narrow[-15:].mean()) / wide[-15:].mean()
    assert rounding < 0.1
    assert np.abs(wide - narrow).mean() < np.abs(wide - elsewhere).mean()


def test_the_values_are_losses_by_name() -> None:
    run = Run()
    values = run.learner.learn(run.batches.next())
    parts = {f"{who}_{what}" for who in ("src", "dst") for what in ("structure", "pixel", "mask")}
    assert set(values) == {"src", "dst"} | parts
    weighted = sum(10 * values[f"src_{what}"] for what in ("structure", "pixel", "mask"))
    torch.testing.assert_close(values["src"], weighted)
    assert not any(value.requires_grad for value in values.values())
