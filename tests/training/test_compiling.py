"""Compiled passes learn what plain ones learn, and where nothing can be compiled that is said before the first step."""

from __future__ import annotations

import pytest
import torch

from understudy.errors import InvalidOption
from understudy.networks.saehd import SaehdConfig
from understudy.records import Archi
from understudy.training.batches.samples import Batch, Sample
from understudy.training.learning import compiling
from understudy.training.learning.discriminators import Discriminator, discriminator_networks
from understudy.training.learning.precision import Precision
from understudy.training.learning.step import SwapLearner
from understudy.training.options import TrainOptions
from understudy.training.options.machine import Compiling
from understudy.training.recipes import RECIPES

CPU = torch.device("cpu")


def learner_of(archi: str, **given: float) -> SwapLearner:
    config = SaehdConfig(64, archi=Archi.parse(archi), ae_dims=32, e_dims=16, d_dims=16, d_mask_dims=16)
    options, precision, recipe = TrainOptions(**given), Precision("bfloat16"), RECIPES["saehd"]
    net = recipe.build(config, torch.Generator().manual_seed(0))
    discriminators = {
        name: Discriminator(its, recipe.optimiser(its, options, precision, seed=1))
        for name, its in discriminator_networks(config, options, 0).items()
    }
    optimiser = recipe.optimiser(net, options, precision, seed=0)
    return SwapLearner(net, optimiser, recipe.objective(config, options, False), discriminators)


def batch() -> Batch:
    draw = torch.Generator().manual_seed(4)

    def side() -> Sample:
        faces = torch.rand(2, 3, 64, 64, generator=draw)
        return Sample(faces, faces, (torch.rand(2, 1, 64, 64, generator=draw) > 0.5).float())

    return Batch(side(), side())


def test_compiled_passes_learn_what_plain_ones_learn() -> None:
    """Traced and differentiated ahead, as every compilation is, but run by PyTorch's own kernels: the same numbers."""
    plain, traced = learner_of("df-u"), learner_of("df-u")
    traced.go_by(Compiling.YES, backend="aot_eager")
    for _ in range(2):
        here, there = plain.learn(batch()), traced.learn(batch())
        for name, value in here.items():
            torch.testing.assert_close(there[name], value, rtol=1e-3, atol=1e-5)
    for name, weight in plain.net.state_dict().items():
        torch.testing.assert_close(traced.net.state_dict()[name], weight, rtol=0, atol=2e-4)
    traced.go_by(Compiling.NO)
    assert float(traced.learn(batch())["src"]) == pytest.approx(float(plain.learn(batch())["src"]), rel=1e-3)


def test_graphs_are_for_cuda() -> None:
    with pytest.raises(InvalidOption, match="CUDA"):
        learner_of("df").go_by(Compiling.GRAPHS, backend="aot_eager")


def test_a_missing_compiler_is_said_before_anything_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "/no/such/compiler")
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", (None, "/no/such/compiler"))
    with pytest.raises(InvalidOption, match=r"C\+\+ compiler"):
        compiling.compiled(lambda tensors: tensors, Compiling.YES, CPU)
