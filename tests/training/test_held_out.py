"""A model measured on held-out faces: drawings whose scores are known beforehand."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from shots import small_shot
from understudy.demo.footage import Performer
from understudy.facesets import Face, FaceMeta
from understudy.geometry import affine, transform
from understudy.networks.amp import AmpConfig
from understudy.networks.blocks import Prediction, Reconstruction
from understudy.networks.saehd import SaehdConfig
from understudy.records import Archi, FaceType
from understudy.training.faces.bank import FaceBank
from understudy.training.losses import Objective
from understudy.training.measuring.held_out import HeldOut, Sides, reference_objective
from understudy.training.measuring.scores import MEANINGS, Faces
from understudy.training.saved.new import new_network

SIZE, LEARNED, HELD = 96, 24, 10
REFERENCE = reference_objective(Objective(filter_sizes=(8,)))
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Ready:
    """A face at hand, as a faceset's entry is."""

    name: str
    face: Face

    def read(self) -> Face:
        return self.face


@functools.cache
def banks(performer: Performer) -> tuple[FaceBank, FaceBank]:
    """Faces to learn from, and held-out ones of later frames."""
    shot = small_shot(performer, frames=LEARNED + HELD)
    faces = []
    for index, (frame, landmarks) in enumerate(zip(shot.frames, shot.truth.landmarks, strict=True)):
        matrix = transform(landmarks, 128, FaceType.WHOLE_FACE)
        picture = cv2.warpAffine(frame, matrix, (128, 128), flags=cv2.INTER_CUBIC)
        meta = FaceMeta(FaceType.WHOLE_FACE, affine.apply(matrix, landmarks))
        faces.append(Ready(f"{index:05d}_0.jpg", Face(np.asarray(picture, np.uint8), meta)))
    made = [
        FaceBank.load(part, size=SIZE, face_type=FaceType.FULL, workers=1)
        for part in (faces[:LEARNED], faces[LEARNED:])
    ]
    return made[0], made[1]


def src() -> tuple[FaceBank, FaceBank]:
    return banks(Performer.ASTRONAUT)


def dst() -> tuple[FaceBank, FaceBank]:
    return banks(Performer.ADMIRAL)


@functools.cache
def held_out() -> HeldOut:
    return HeldOut.of(
        Sides(src()[0], dst()[0]), src()[1], dst()[1], run=range(HELD), face_type=FaceType.FULL, device=CPU
    )


class Pretender(nn.Module):
    """Draws both people perfectly, with their true masks, and swaps as told: a share of src's own faces, tinted."""

    def __init__(self, share: float = 0.0, tint: tuple[float, float, float] = (1, 1, 1), shimmer: float = 0.0) -> None:
        super().__init__()
        self.share, self.tint, self.shimmer = share, torch.tensor(tint).view(1, 3, 1, 1), shimmer

    def reconstruct(self, of_src: Tensor, of_dst: Tensor) -> Reconstruction:
        masks = [self.mask_of(faces, pair) for faces, pair in ((of_src, src()), (of_dst, dst()))]
        return Reconstruction(of_src, masks[0], of_dst, masks[1])

    def swap(self, faces: Tensor, morph: float | None = None) -> Prediction:
        other, _ = src()[1].fetch(np.arange(len(faces)) % HELD, CPU)
        drawn = ((1 - self.share) * faces + self.share * other) * self.tint
        drawn = drawn + self.shimmer * (torch.arange(len(faces)) % 2).view(-1, 1, 1, 1)
        whole = torch.ones_like(faces[:, :1])
        return Prediction(drawn.clamp(0, 1), whole, whole)

    @staticmethod
    def mask_of(faces: Tensor, pair: tuple[FaceBank, FaceBank]) -> Tensor:
        """The true mask of each face, found again by its pixels."""
        pictures, masks = (
            torch.cat(parts) for parts in zip(*(bank.fetch(np.arange(len(bank)), CPU) for bank in pair), strict=True)
        )
        return masks[torch.cdist(faces.flatten(1), pictures.flatten(1)).argmin(1)]


@functools.cache
def measured(
    share: float = 0.0, tint: tuple[float, float, float] = (1, 1, 1), shimmer: float = 0.0
) -> dict[str, float]:
    return held_out().measure(Pretender(share, tint, shimmer), REFERENCE, swap=True)


def test_perfect_drawings_have_no_loss_and_agree_wholly() -> None:
    values = measured()
    for name in ("held_src", "held_dst", "train_src", "train_dst"):
        assert values[name] == pytest.approx(0, abs=1e-5)
    for name in ("ssim_src", "ssim_dst", "iou_src", "iou_dst"):
        assert values[name] == pytest.approx(1, abs=1e-4)
    assert set(values) <= set(MEANINGS)


def test_a_swap_that_is_dst_itself_looks_like_dst_and_errs_nowhere() -> None:
    values = measured()
    assert values["likeness"] == pytest.approx(0, abs=0.1)
    for name in ("landmarks", "mouth", "eyes", "pose", "flicker"):
        assert values[name] == pytest.approx(0, abs=1e-6)
    assert (values["seen"], values["likeness_accuracy"]) == (1, 1)


def test_a_swap_that_is_src_looks_like_src_and_has_not_dst_s_expression() -> None:
    values = measured(share=1.0)
    assert values["likeness"] == pytest.approx(1, abs=0.1)
    assert values["landmarks"] > 1
    assert values["pose"] > 1


def test_a_mixture_lies_between() -> None:
    assert 0.1 < measured(share=0.5)["likeness"] < 0.9


def test_likeness_is_not_a_matter_of_colour() -> None:
    tint = (0.6, 0.8, 1.0)
    assert measured(share=1.0, tint=tint)["likeness"] == pytest.approx(1, abs=0.15)
    assert measured(tint=tint)["likeness"] == pytest.approx(0, abs=0.15)


def test_flicker_is_what_the_swap_adds() -> None:
    assert 6 < measured(shimmer=10 / 255)["flicker"] < 10.5


def test_measuring_changes_nothing_and_says_the_same_again() -> None:
    net = new_network(
        "AMP", AmpConfig(size=64, inter_dims=40, ae_dims=16, e_dims=16, d_dims=16, d_mask_dims=16), seed=1
    )
    small = HeldOut.of(Sides(*_tiny()), *_tiny(), face_type=FaceType.FULL, device=CPU)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    torch.manual_seed(3)
    first = small.measure(net, REFERENCE)
    drawn = float(torch.rand(()))
    torch.manual_seed(3)
    assert float(torch.rand(())) == drawn
    assert small.measure(net, REFERENCE) == first
    assert net.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_a_training_step_goes_on_after_an_evaluation() -> None:
    """Filters that losses keep for later must not be made in a way that gradients cannot use."""
    net = new_network(
        "SAEHD", SaehdConfig(size=64, archi=Archi.parse("df"), ae_dims=8, e_dims=8, d_dims=8, d_mask_dims=4), seed=1
    )
    small = HeldOut.of(Sides(*_tiny()), *_tiny(), face_type=FaceType.FULL, device=CPU)
    objective = replace(REFERENCE, filter_sizes=(7,))
    small.measure(net, objective, objective)
    from understudy.training.losses import dssim

    picture = torch.rand((1, 3, 64, 64), requires_grad=True)
    dssim(torch.rand((1, 3, 64, 64)), picture, 7).sum().backward()
    assert picture.grad is not None


def test_without_held_out_faces_training_faces_are_measured_and_called_so() -> None:
    found = HeldOut.of(Sides(src()[0], dst()[0]), None, None, face_type=FaceType.FULL, device=CPU, most=4)
    values = found.measure(Pretender(), REFERENCE)
    assert found.on is Faces.TRAINING
    assert {"train_src", "train_dst"} <= set(values)
    assert not {"held_src", "held_dst"} & set(values)


def test_where_only_dst_holds_faces_out_only_dst_has_a_held_out_loss() -> None:
    found = HeldOut.of(Sides(src()[0], dst()[0]), None, dst()[1], face_type=FaceType.FULL, device=CPU, most=4)
    values = found.measure(Pretender(), REFERENCE)
    assert found.on is Faces.HELD_OUT
    assert "held_dst" in values
    assert "held_src" not in values


def test_one_person_twice_is_refused() -> None:
    """Nobody can say whom a swap of a person with themselves looks like."""
    both = Sides(dst()[0], dst()[0])
    found = HeldOut.of(both, dst()[1], dst()[1], face_type=FaceType.FULL, device=CPU)
    values = found.judge.likeness(dst()[1].pixels[:3, ..., :3].copy())
    assert "likeness" not in values
    assert values["likeness_accuracy"] < 0.8
    assert "told right" in found.judge.refused


def test_with_too_few_unseen_faces_nobody_says_whom_a_swap_looks_like() -> None:
    """And the reason is the number of faces, not that the two could not be told apart."""
    few = [FaceBank(pair[1].pixels[:3]) for pair in (src(), dst())]
    found = HeldOut.of(Sides(src()[0], dst()[0]), few[0], few[1], face_type=FaceType.FULL, device=CPU)
    values = found.judge.likeness(src()[1].pixels[:3, ..., :3].copy())
    assert "likeness" not in values
    assert "likeness_accuracy" in values
    assert found.judge.refused == "too few faces are held out to tell the two people apart: 4 of each are needed"
    nobody = FaceBank(np.zeros((6, SIZE, SIZE, 4), np.uint8))
    found = HeldOut.of(Sides(src()[0], nobody), src()[1], nobody, face_type=FaceType.FULL, device=CPU)
    assert found.judge.likeness(src()[1].pixels[:3, ..., :3].copy()) == {}
    assert found.judge.refused == "there are too few faces to tell the two people apart"


def _tiny() -> tuple[FaceBank, FaceBank]:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 4), dtype=np.uint8)
    return FaceBank(pixels), FaceBank(pixels[::-1].copy())
