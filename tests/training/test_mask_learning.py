"""The mask network's step: its loss, pretraining without skips, the same update in pieces, and how it is measured."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from understudy.networks.xseg import XSeg, XSegConfig
from understudy.training.faces.bank import FaceBank
from understudy.training.learning.precision import Precision
from understudy.training.losses import dssim
from understudy.training.masking.held_masks import HeldMasks
from understudy.training.masking.learner import MaskBatch, MaskLearner
from understudy.training.masking.objective import MaskObjective, grey_loss
from understudy.training.masking.previews import MaskPreviewFaces, in_green, mask_previews
from understudy.training.measuring.scores import Faces
from understudy.training.options import LrDropout, TrainOptions
from understudy.training.options.xseg import XSegTrainOptions
from understudy.training.recipes import recipe_for

SMALL = XSegConfig(size=64, base_dims=4)
RECIPE = recipe_for("xseg")
CPU = torch.device("cpu")


def batch(count: int = 4, seed: int = 0) -> MaskBatch:
    draw = torch.Generator().manual_seed(seed)
    seen = torch.rand(count, 3, 64, 64, generator=draw)
    return MaskBatch(seen, (seen.mean(1, keepdim=True) > 0.5).float())


def learner(**given: object) -> MaskLearner:
    options = TrainOptions.of(**{"model": "xseg", "adabelief": False, "lr_dropout": "y", **given})
    net = XSeg(SMALL, generator=torch.Generator().manual_seed(0))
    made = MaskLearner(
        net, RECIPE.optimiser(net, options, Precision(), seed=0), RECIPE.objective(SMALL, options, False)
    )
    RECIPE.configure(made, options)
    return made


def test_the_loss_is_the_cross_entropy_of_each_pixel() -> None:
    trained = learner()
    with torch.no_grad():
        logits = trained.net(batch().seen)
    values = trained.learn(batch())
    expected = F.binary_cross_entropy_with_logits(logits, batch().target)
    assert float(values["loss"]) == pytest.approx(float(expected), rel=1e-5)
    assert trained.sample_losses["loss"].shape == (4,)


def test_pretraining_draws_in_grey_through_the_bottleneck_alone() -> None:
    trained = learner(pretrain=True)
    seen = batch().seen
    grey = seen.mean(1, keepdim=True)
    with torch.no_grad():
        drawn = trained.net(seen, skips=False).sigmoid()
    value = float(trained.learn(MaskBatch(seen, grey))["loss"])
    expected = 5 * dssim(grey, drawn, 5).mean() + 5 * dssim(grey, drawn, 2).mean() + 10 * (grey - drawn).square().mean()
    assert value == pytest.approx(float(expected), rel=1e-4)


def test_pretraining_compares_at_22_and_11_pixels_of_256() -> None:
    one, two = (torch.rand(1, 1, 256, 256, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2))
    structure = 5 * dssim(one, two, 22).mean() + 5 * dssim(one, two, 11).mean()
    found = grey_loss(torch.logit(two), one)
    assert float(found) == pytest.approx(float(structure + 10 * (one - two).square().mean()), rel=1e-4)


def test_a_batch_in_pieces_teaches_the_same() -> None:
    whole, parts = learner(), learner(accumulate=2)
    for one in (whole, parts):
        one.learn(batch())
    for ours, theirs in zip(whole.net.parameters(), parts.net.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=2e-5)


def test_rates_are_the_reference_s() -> None:
    options = TrainOptions.of(**{**TrainOptions().model_dump(), "model": "xseg", **RECIPE.defaults})
    rates = RECIPE.rates(options)
    assert (rates.kind, rates.lr, rates.dropout, rates.period, rates.clip_norm) == ("rmsprop", 1e-4, 0.3, 0, 0)
    assert RECIPE.rates(options.but(pretrain=True).in_force) == rates, "pretraining changes nothing about them"
    assert RECIPE.rates(options.but(lr_dropout=LrDropout.OFF, optimiser="adam")).kind == "adam"


def test_what_was_not_given_is_left_to_the_last_run() -> None:
    options = XSegTrainOptions.of(batch_size=8, restart=True).as_training()
    assert options.model_dump(mode="json") == {"batch_size": 8, "model": "xseg"}
    for batch_size in (1, 17):
        with pytest.raises(Exception, match="batch_size"):
            XSegTrainOptions.of(batch_size=batch_size)


def test_held_out_masks_are_measured_beside_training_ones() -> None:
    crops = np.zeros((6, 64, 64, 4), np.uint8)
    crops[:, 16:48, 16:48] = 255
    bank, nothing = FaceBank(crops, tuple("abcdef")), FaceBank(np.zeros((0, 64, 64, 4), np.uint8))
    held = HeldMasks.of([bank, nothing], [FaceBank(crops[:2]), None], device=CPU)
    assert held.on is Faces.HELD_OUT
    net = Bright()
    values = held.measure(net, MaskObjective())
    assert set(values) == {"held_src", "iou_src", "train_src"}
    assert values["iou_src"] == pytest.approx(1)
    assert values["held_src"] == pytest.approx(float(F.softplus(torch.tensor(-10.0))), rel=1e-2)
    assert net.training
    alone = HeldMasks.of([bank, nothing], [None, None], device=CPU).measure(net, MaskObjective())
    assert set(alone) == {"iou_src", "train_src"}


class Bright(torch.nn.Module):
    """Takes what is bright for face."""

    def forward(self, faces: torch.Tensor) -> torch.Tensor:
        return 20 * faces.mean(1, keepdim=True) - 10


def test_previews_are_green_where_there_is_no_face() -> None:
    seen, target = batch(2)
    assert torch.equal(in_green(seen, torch.ones_like(target)), seen)
    outside = in_green(seen, torch.zeros_like(target))
    torch.testing.assert_close(outside[:, 1], (seen[:, 1] + 1) / 2)
    torch.testing.assert_close(outside[:, 0], seen[:, 0] / 2)
    net = XSeg(SMALL, generator=torch.Generator().manual_seed(0))
    sheets = mask_previews(net, MaskPreviewFaces(batch(2), {"dst": seen[:1]}))
    assert {name: sheet.shape for name, sheet in sheets.items()} == {
        "XSeg training faces": (128, 192, 3),
        "XSeg dst faces": (64, 192, 3),
    }
    grey = mask_previews(net, MaskPreviewFaces(batch(2), pretraining=True))
    assert {name: sheet.shape for name, sheet in grey.items()} == {"XSeg training faces": (128, 128, 3)}
