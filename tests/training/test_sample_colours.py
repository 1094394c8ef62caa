"""Colours of dst in src's samples: whose they are, where they are measured, and that chance is in the counters."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from understudy.imaging.colour_transfer import MODES, RANDOM_MODES
from understudy.training.batches.samples import Augmentation, Batch, BatchSource
from understudy.training.faces.bank import FaceBank

SRC, DST = (0.25, 0.3, 0.35), (0.7, 0.55, 0.45)


def faces(tint: tuple[float, ...], *, count: int = 6, size: int = 32, seed: int = 0, whole: bool = False) -> FaceBank:
    """Faces of about one colour inside their masks, and blue around them."""
    rng = np.random.default_rng(seed)
    grain = rng.normal(0, 0.06, (count, 8, 8, 3)).repeat(size // 8, 1).repeat(size // 8, 2)
    pixels = np.zeros((count, size, size, 4 + 3 * whole), np.uint8)
    shown = np.zeros((size, size, 1), bool)
    shown[6:-6, 6:-6] = True
    around = np.array((0.1, 0.1, 0.9)) if tint == DST else np.array((0.5, 0.1, 0.1))
    picture = np.where(shown, np.array(tint), around) + grain
    pixels[..., :3] = np.rint(255 * picture.clip(0, 1))
    pixels[..., 3] = 255 * shown[..., 0]
    if whole:
        pixels[..., 4:] = 255 * np.array((0.2, 0.8, 0.2))  # what lies around the face in its file
        pixels[:, ::2, :, 4:] = 255 * np.array((0.3, 0.6, 0.25))
    return FaceBank(pixels, tuple(f"{number:05d}_0.jpg" for number in range(count)))


def source(mode: str, *, faithful: bool = False, dst: FaceBank | None = None, **more: object) -> BatchSource:
    augmentation = Augmentation(colours_of_dst=mode, faithful=faithful, **more)  # type: ignore[arg-type]
    dst = faces(DST, seed=1) if dst is None else dst
    return BatchSource(faces(SRC), dst, batch_size=3, seed=3, augmentation=augmentation, repeat_every=0)


def colour_of(pictures: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """(3,) the mean inside."""
    return (pictures * masks).sum((0, 2, 3)) / masks.sum()


@pytest.mark.parametrize("mode", MODES)
def test_src_faces_take_on_the_colours_of_dst_faces(mode: str) -> None:
    batch = source(mode).next()
    plain = source("none").next()
    for sample in (batch.src.warped, batch.src.target):
        got, were = (colour_of(pictures, batch.src.mask) for pictures in (sample, plain.src.target))
        apart, still = ((colours - torch.tensor(DST)).norm() for colours in (were, got))
        assert still < (0.65 if mode in RANDOM_MODES else 0.2) * apart
    assert torch.equal(batch.dst.target, plain.dst.target)
    assert torch.equal(batch.dst.warped, plain.dst.warped)
    assert torch.equal(batch.src.mask, plain.src.mask)


@pytest.mark.parametrize("mode", MODES)
def test_input_and_target_have_one_tint_unless_the_reference_would_give_them_two(mode: str) -> None:
    ours, theirs = (source(mode, faithful=faithful, random_warp=False).next().src for faithful in (False, True))
    assert torch.equal(ours.warped, ours.target)
    assert torch.equal(theirs.warped, theirs.target) is (mode not in RANDOM_MODES)


def test_the_reference_takes_the_colours_of_the_whole_picture() -> None:
    """A faithful model is coloured by what lies around the face in its file, whatever the face type."""
    whole = faces(DST, seed=1, whole=True)
    with_whole, without = (source("lct", faithful=True, dst=dst).next().src for dst in (whole, faces(DST, seed=1)))
    green = with_whole.target.mean((0, 2, 3))
    assert green.argmax() == 1
    assert without.target.mean((0, 2, 3)).argmax() != 1
    ours = source("lct", dst=whole).next().src  # who is not faithful looks inside the mask of the crop
    torch.testing.assert_close(colour_of(ours.target, ours.mask), torch.tensor(DST), atol=0.06, rtol=0)


def test_a_face_without_contrast_keeps_its_colours_where_the_reference_would_fail() -> None:
    black = FaceBank(np.zeros((2, 32, 32, 4), np.uint8))
    augmentation = Augmentation(colours_of_dst="rct", faithful=True)
    sample = BatchSource(black, faces(DST), batch_size=2, augmentation=augmentation).next().src
    assert sample.target.isfinite().all()
    assert sample.warped.isfinite().all()


def test_every_dst_face_lends_its_colours_before_any_does_again() -> None:
    """Each dst face has a tint of its own, so what a src face looks like tells whose it took."""
    tints = np.linspace(0.2, 0.8, 6)
    pixels = np.full((6, 32, 32, 4), 255, np.uint8)
    chance = np.random.default_rng(0)
    pixels[..., :3] = np.rint(255 * (tints[:, None, None, None] + chance.normal(0, 0.02, (6, 32, 32, 1))).clip(0, 1))
    batches = source("mkl", dst=FaceBank(pixels), random_warp=False)
    lent = [float(picture.mean()) for _ in range(4) for picture in batches.next().src.target]
    rounds = [sorted(int(np.abs(tints - mean).argmin()) for mean in lent[start : start + 6]) for start in (0, 6)]
    assert rounds == [list(range(6))] * 2


@pytest.mark.parametrize("mode", ["rct", "idt"])
def test_a_resumed_source_gives_the_same_colours(mode: str) -> None:
    one, other = source(mode), source(mode)
    for _ in range(3):
        one.next()
    other.load_state_dict(one.state_dict())
    assert all(same(one.next(), other.next()) for _ in range(3))


def test_turned_on_while_it_runs_is_as_if_it_had_begun_so() -> None:
    live, stopped = source("none"), source("none")
    live.next()
    stopped.next()
    settings = {"batch_size": 3, "repeat_every": 0, "uniform_yaw": False}
    live.configure(augmentation=Augmentation(colours_of_dst="idt"), **settings)  # type: ignore[arg-type]
    begun = source("idt")
    begun.load_state_dict(stopped.state_dict())
    assert same(live.next(), begun.next())


def same(first: Batch, second: Batch) -> bool:
    return all(torch.equal(one, other) for one, other in zip(first.src[:3], second.src[:3], strict=True))
