"""A training step on a graphics card: the numbers of a processor, float32 that is float32, compiled passes, graphs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from understudy.networks.saehd import SaehdConfig
from understudy.records import Archi
from understudy.training.batches.samples import Batch, Sample
from understudy.training.learning.discriminators import Discriminator, discriminator_networks
from understudy.training.learning.learner import prepare
from understudy.training.learning.precision import Precision
from understudy.training.learning.step import SwapLearner
from understudy.training.options import TrainOptions
from understudy.training.options.machine import Compiling
from understudy.training.recipes import RECIPES

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]


def learner_of(device: str, dtype: str = "float32", archi: str = "df-ud", **given: Any) -> SwapLearner:
    config = SaehdConfig(64, archi=Archi.parse(archi), ae_dims=32, e_dims=16, d_dims=16, d_mask_dims=16)
    options, precision, recipe = TrainOptions(**given), Precision(dtype), RECIPES["saehd"]
    net = recipe.build(config, torch.Generator().manual_seed(0))
    discriminators = discriminator_networks(config, options, 0)
    for network in (net, *discriminators.values()):
        prepare(network, precision, torch.device(device))
    discriminators = {
        name: Discriminator(its, recipe.optimiser(its, options, precision, seed=1))
        for name, its in discriminators.items()
    }
    learner = SwapLearner(
        net, recipe.optimiser(net, options, precision, seed=0), recipe.objective(config, options, False), discriminators
    )
    recipe.configure(learner, options)
    return learner


def batch(device: str) -> Batch:
    draw = torch.Generator().manual_seed(4)

    def side() -> Sample:
        faces = torch.rand(4, 3, 64, 64, generator=draw)
        mask = (torch.rand(4, 1, 64, 64, generator=draw) > 0.5).float()
        return Sample(*(part.to(device) for part in (faces, faces, mask, mask)))

    return Batch(side(), side())


def weights(learner: SwapLearner) -> dict[str, Tensor]:
    return {name: tensor.cpu() for name, tensor in learner.net.state_dict().items()}


EVERYTHING = {
    "gan_power": 0.1,
    "true_face_power": 0.01,
    "bg_style_power": 1.0,
    "face_style_power": 1.0,
    "eyes_mouth_prio": True,
    "blur_out_mask": True,
    "ms_ssim_power": 0.1,
    "frequency_power": 0.1,
    "gradient_power": 0.1,
    "laplacian_power": 0.1,
}


@pytest.mark.parametrize("archi", ["df-ud", "liae-udt"])
def test_a_graphics_card_learns_what_a_processor_learns(archi: str) -> None:
    here, there = learner_of("cpu", archi=archi, **EVERYTHING), learner_of("cuda", archi=archi, **EVERYTHING)
    for _ in range(2):
        wanted, found = here.learn(batch("cpu")), there.learn(batch("cuda"))
        for name, value in wanted.items():
            torch.testing.assert_close(found[name].cpu(), value, rtol=1e-3, atol=1e-5)


def test_float32_is_float32() -> None:
    """TF32 would be off by a thousandth."""
    prepare(torch.nn.Conv2d(1, 1, 1), Precision(), torch.device("cuda"))
    draw = torch.Generator().manual_seed(0)
    picture, kernel = torch.randn(1, 64, 32, 32, generator=draw), torch.randn(64, 64, 3, 3, generator=draw)
    exact = torch.nn.functional.conv2d(picture.double(), kernel.double(), padding=1)
    found = torch.nn.functional.conv2d(picture.cuda(), kernel.cuda(), padding=1).cpu().double()
    assert (found - exact).abs().max() < 1e-5 * exact.abs().max()
    product = (picture[0].flatten(1).cuda() @ picture[0].flatten(1).cuda().mT).cpu().double()
    exact = picture[0].flatten(1).double() @ picture[0].flatten(1).double().mT
    assert (product - exact).abs().max() < 1e-5 * exact.abs().max()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_same_seed_gives_the_same_bits(dtype: str) -> None:
    one, other = (learner_of("cuda", dtype, gan_power=0.1) for _ in range(2))
    for _ in range(3):
        one.learn(batch("cuda"))
        other.learn(batch("cuda"))
    assert all(torch.equal(tensor, weights(other)[name]) for name, tensor in weights(one).items())


@pytest.mark.parametrize("how", [Compiling.YES, Compiling.GRAPHS])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_compiled_and_recorded_passes_learn_the_same(dtype: str, how: Compiling) -> None:
    pytest.importorskip("triton")
    plain = learner_of("cuda", dtype, gan_power=0.1)
    made = learner_of("cuda", dtype, gan_power=0.1, compile=how)
    for _ in range(4):
        wanted, found = plain.learn(batch("cuda")), made.learn(batch("cuda"))
        tolerance = 2e-3 if dtype == "float32" else 2e-2
        for name, value in wanted.items():
            torch.testing.assert_close(found[name], value, rtol=tolerance, atol=1e-3)
