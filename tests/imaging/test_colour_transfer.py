"""Colour transfer: what is matched, where it is measured, and what happens at the edges of sense."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from understudy.imaging.colour_transfer import (
    MODES,
    RANDOM_MODES,
    Mode,
    Where,
    lab_from_rgb,
    rct,
    rgb_from_lab,
    transfer,
)
from understudy.imaging.colour_transfer.draws import directions, rotations
from understudy.imaging.colour_transfer.faithful_iterative import faithful_idt, faithful_idt_by_formula
from understudy.imaging.colour_transfer.histograms import Sampled, interpolated, interpolated_by_search
from understudy.imaging.colour_transfer.lab import (
    lab_by_formula,
    lab_by_table,
    rgb_by_formula,
    stretched,
    stretched_by_formula,
)
from understudy.imaging.colour_transfer.sliced import sorted_sot, sot
from understudy.imaging.colour_transfer.smoothing import bilateral, windowed_gaussian
from understudy.imaging.colour_transfer.statistics import moments, moments_by_formula

LEVEL = 1 / 255
Pair = tuple[Tensor, Tensor]


def smooth(seed: int, size: int = 48, batch: int = 2) -> Tensor:
    """Pictures with broad shapes and a little grain."""
    chance = torch.Generator().manual_seed(seed)
    broad = torch.rand(batch, 3, 5, 5, generator=chance)
    picture = torch.nn.functional.interpolate(broad, size=(size, size), mode="bicubic", align_corners=True)
    return (picture + 0.03 * torch.randn(picture.shape, generator=chance)).clamp(0, 1)


@pytest.fixture(scope="module")
def pair() -> Pair:
    tint = torch.tensor([1.0, 0.8, 0.6])[:, None, None]
    return 0.25 + 0.3 * smooth(1), 0.35 + 0.4 * smooth(2) * tint


def run(mode: Mode, pictures: Tensor, references: Tensor, where: Where = Where(), **form: bool) -> Tensor:
    seeds = range(len(pictures)) if mode in RANDOM_MODES else ()
    return transfer(mode, pictures, references, where, seeds=list(seeds), **form)


def block(size: int = 48, batch: int = 2) -> Tensor:
    mask = torch.zeros(batch, 1, size, size, dtype=torch.bool)
    mask[..., size // 4 : -size // 4, size // 4 : -size // 4] = True
    return mask


def covariance(picture: Tensor) -> Tensor:
    return torch.cov(picture.flatten(1))


def test_rct_gives_means_and_deviations_of_lab(pair: Pair) -> None:
    got, wanted = (moments(lab_from_rgb(images)) for images in (rct(*pair), pair[1]))
    torch.testing.assert_close(got.mean, wanted.mean, atol=0.2, rtol=0)
    torch.testing.assert_close(got.deviation, wanted.deviation, atol=0.1, rtol=0.05)


@pytest.mark.parametrize("mode", ["lct", "mkl"])
def test_lct_and_mkl_give_mean_and_covariance(pair: Pair, mode: Mode) -> None:
    for got, wanted in zip(run(mode, *pair), pair[1], strict=True):
        torch.testing.assert_close(got.mean((1, 2)), wanted.mean((1, 2)), atol=2e-3, rtol=0)
        torch.testing.assert_close(covariance(got), covariance(wanted), atol=2e-4, rtol=0.05)


@pytest.mark.parametrize("mode", ["idt", "sot"])
@pytest.mark.parametrize("faithful", [False, True])
def test_idt_and_sot_bring_the_colours_closer(pair: Pair, mode: Mode, faithful: bool) -> None:
    """Both stop on the way: idt after two thirds, sot keeps detail."""
    apart, still = (
        (moments(images).mean - moments(pair[1]).mean).abs().mean()
        for images in (pair[0], run(mode, *pair, faithful=faithful))
    )
    assert still < 0.5 * apart


def test_the_faithful_idt_of_a_processor_is_that_of_other_devices(pair: Pair) -> None:
    """Also with a reference of another shape, a flat channel, and pictures whose channels lie side by side."""
    pictures = pair[0].permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    references = pair[1][:, :, :40, ::2].clone()
    references[:, 2] = 0.5
    turns = rotations([3, 4])
    given = pictures.clone()
    found, expected = (form(pictures, references, turns) for form in (faithful_idt, faithful_idt_by_formula))
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)
    assert torch.equal(pictures, given)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("faithful", [False, True])
def test_a_picture_onto_itself_stays(pair: Pair, mode: Mode, faithful: bool) -> None:
    changed = run(mode, pair[0], pair[0], faithful=faithful)
    allowed = 0.2 if mode == "idt" and faithful else 3e-3  # the reference's idt pulls the end of each axis to 0
    torch.testing.assert_close(changed, pair[0], atol=allowed, rtol=0)


@pytest.mark.parametrize("mode", MODES)
def test_every_picture_of_a_batch_is_on_its_own(pair: Pair, mode: Mode) -> None:
    together = run(mode, *pair)
    seeds = [1] if mode in RANDOM_MODES else []
    alone = transfer(mode, pair[0][1:], pair[1][1:], seeds=seeds)
    torch.testing.assert_close(together[1:], alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("mode", MODES)
def test_references_may_have_another_size(pair: Pair, mode: Mode) -> None:
    small = torch.nn.functional.avg_pool2d(pair[1], 2)
    assert (run(mode, pair[0], small) - run(mode, *pair)).abs().mean() < 2 * LEVEL


@pytest.mark.parametrize("mode", MODES)
def test_outside_the_mask_nothing_is_measured(pair: Pair, mode: Mode) -> None:
    """Whatever lies outside, the inside comes out the same; sot alone smooths over the border."""
    inside = block()
    painted, painted_onto = (torch.where(inside, images, value) for images, value in zip(pair, (0.9, 0.1), strict=True))
    plain, changed = (run(mode, *images, Where(inside, inside)) for images in (pair, (painted, painted_onto)))
    allowed = {"idt": 12 * LEVEL, "sot": 40 * LEVEL}.get(mode, 1e-4)  # idt's bins span the colours outside too
    off = ((changed - plain).abs() * inside).mean()
    assert ((changed - plain).abs() * inside).max() < allowed
    assert off < LEVEL or mode == "sot"
    assert ((run(mode, painted, painted_onto) - plain).abs() * inside).mean() > 3 * off


def test_the_reference_lets_the_outside_count(pair: Pair) -> None:
    """The quirk that a faithful merge keeps: a mask pulls the statistics towards black."""
    inside = block()
    clean, quirky = (rct(*pair, Where(inside, inside), faithful=faithful) for faithful in (False, True))
    assert ((clean - quirky).abs() * inside).max() > 0.02


@pytest.mark.parametrize("mode", MODES)
def test_a_flat_picture_stays_finite_and_nearly_flat(pair: Pair, mode: Mode) -> None:
    """Rounding noise must not be blown up into the contrast of the reference."""
    noise = LEVEL * (torch.rand(2, 3, 48, 48, generator=torch.Generator().manual_seed(0)) - 0.5)
    for flat in (torch.full((2, 3, 48, 48), 0.5), torch.zeros(2, 3, 48, 48)):
        result = run(mode, flat, pair[1])
        assert result.isfinite().all()
        assert result.std((2, 3)).max() < 0.01
        apart, still = ((pair[1] - images).mean((2, 3)).norm(dim=1) for images in (flat, result))
        assert (still <= 0.8 * apart + 2 * LEVEL).all()
    if mode == "mkl":
        assert run(mode, torch.full_like(noise, 0.5) + noise, pair[1]).std((2, 3)).max() < 0.1


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("empty", [0, 1])
def test_an_empty_mask_changes_nothing(pair: Pair, mode: Mode, empty: int) -> None:
    masks = [block(), block()]
    masks[empty][0] = False
    result = run(mode, *pair, Where(*masks))
    assert torch.equal(result[0], pair[0][0])
    assert not torch.equal(result[1], pair[0][1])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("faithful", [False, True])
def test_the_result_is_a_picture(pair: Pair, mode: Mode, faithful: bool) -> None:
    result = run(mode, pair[0], (pair[1] * 4 - 1).clamp(0, 1), faithful=faithful)
    assert result.min() >= 0
    assert result.max() <= 1


@pytest.mark.parametrize("mode", RANDOM_MODES)
def test_chance_is_the_seed_alone(pair: Pair, mode: Mode) -> None:
    first, again, other = (transfer(mode, *pair, seeds=seeds) for seeds in ([5, 6], [5, 6], [6, 5]))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    with pytest.raises(ValueError, match="seed"):
        transfer(mode, *pair, seeds=[1])


def test_draws_are_rotations_and_directions() -> None:
    turns = rotations([3, 4])
    torch.testing.assert_close(turns @ turns.mT, torch.eye(3).expand(2, 20, 3, 3), atol=1e-6, rtol=0)
    lengths = directions([3, 4]).norm(dim=-1)
    torch.testing.assert_close(lengths, torch.ones(2, 10, 5), atol=1e-6, rtol=0)
    assert directions(range(40)).mean((0, 1, 2)).abs().max() < 0.06


@pytest.mark.parametrize("seed", range(3))
def test_the_binned_transport_is_within_a_level_of_the_sorted_one(seed: int) -> None:
    pictures, references = smooth(seed, 128), smooth(seed + 50, 128)
    exact, fast = (form(pictures, references, directions([seed, seed + 9])) for form in (sorted_sot, sot))
    assert (exact - fast).abs().max() <= LEVEL


def test_the_window_of_the_gaussian_is_that_of_the_bilateral_filter() -> None:
    """With values that lie close together the two are one."""
    change = 0.05 * smooth(7, 64)
    torch.testing.assert_close(windowed_gaussian(change, 16.0), bilateral(change, 16.0, 5.0), atol=1e-4, rtol=0)
    for side in (3, 20):  # smaller than the window
        small = 0.05 * smooth(8, side)
        assert windowed_gaussian(small, 16.0).shape == small.shape


def test_lab_is_that_of_opencv() -> None:
    """Both ways there and the way back, here and as other devices do them."""
    chance = torch.Generator().manual_seed(2)
    noise = torch.rand(2, 3, 64, 64, generator=chance)
    eight_bit = (noise * 255).round() / 255
    for pictures in (noise, eight_bit):
        rows = pictures.permute(0, 2, 3, 1).reshape(128, 64, 3).numpy()
        of_opencv = torch.from_numpy(cv2.cvtColor(rows, cv2.COLOR_RGB2Lab)).view(2, 64, 64, 3).permute(0, 3, 1, 2)
        assert torch.equal(lab_from_rgb(pictures, tabled=True), of_opencv)
        close(lab_by_table(pictures), of_opencv, (0.0062, 0.0157, 0.0157))
        close(lab_by_formula(pictures), of_opencv, (0.3, 0.7, 0.5))
        close(lab_by_formula(pictures), lab_from_rgb(pictures), (0.005, 0.04, 0.02))
        for lab in (of_opencv, of_opencv * 1.3):
            torch.testing.assert_close(rgb_by_formula(lab), rgb_from_lab(lab), atol=1e-4, rtol=0)
    torch.testing.assert_close(rgb_from_lab(lab_from_rgb(noise)), noise, atol=5e-4, rtol=0)


def close(ours: Tensor, theirs: Tensor, allowed: tuple[float, float, float]) -> None:
    assert ((ours - theirs).abs().amax((0, 2, 3)) <= torch.tensor(allowed)).all()


def test_mean_and_deviation_are_those_of_numpy(pair: Pair) -> None:
    inside = block()
    got = moments(pair[0], inside)
    picked = pair[0][1][:, inside[1, 0]].numpy()
    np.testing.assert_allclose(got.mean[1].flatten(), picked.mean(1), atol=1e-5)
    np.testing.assert_allclose(got.deviation[1].flatten(), picked.std(1), atol=1e-5)


def test_other_devices_measure_and_stretch_as_a_processor_does(pair: Pair) -> None:
    empty = block()
    empty[0] = False
    for inside in (None, block(), empty):
        for here, there in zip(moments(pair[0], inside), moments_by_formula(pair[0], inside), strict=True):
            torch.testing.assert_close(here, there, atol=1e-6, rtol=1e-5)
    lab = lab_from_rgb(pair[0])
    gain, shift = torch.full((2, 3, 1, 1), 3.0), torch.tensor([[-40.0, 20, -90], [10, 0, 5]])[..., None, None]
    torch.testing.assert_close(stretched(lab, gain, shift), stretched_by_formula(lab, gain, shift), atol=1e-4, rtol=0)


def test_between_points_it_goes_on_other_devices_as_on_a_processor() -> None:
    chance = torch.Generator().manual_seed(4)
    steps, queries = (
        torch.rand(2, 3, 40, generator=chance).double(),
        torch.rand(2, 3, 30, generator=chance).double() * 24 - 2,
    )
    xs = torch.where(steps < 0.3, 0, steps).cumsum(-1)  # some stand still
    ys = steps.flip(-1).cumsum(-1)
    for asked in (queries, xs):
        torch.testing.assert_close(interpolated(asked, xs, ys), interpolated_by_search(asked, xs, ys))


def test_measured_pixels_lie_inside_and_are_spread_evenly() -> None:
    inside = block()
    inside[0, :, :20] = False
    (places,) = (found.index for found in [Sampled.of(torch.zeros(2, 3, 48, 48), inside, 100)])
    assert places is not None
    assert inside.flatten(1).gather(1, places).all()
    ranks = inside.flatten(1).cumsum(1).gather(1, places)
    assert (ranks.diff(dim=1) >= inside.flatten(1).sum(1, keepdim=True) // 100).all()
    assert not Sampled.of(torch.zeros(2, 3, 48, 48), inside & False, 100).pick(torch.zeros(2, 3, 48 * 48)).any()


def test_on_real_faces_the_binned_transport_is_within_a_level_too(media: Path) -> None:
    faces = [still(path) for path in sorted((media / "stills").glob("*_woman_*.jpg"))[:2]]
    faces += [still(path) for path in sorted((media / "stills").glob("*_man_*.jpg"))[:2]]
    pictures = torch.stack(faces)
    for shift in (1, 2):
        drawn = directions(range(len(faces)))
        exact, fast = (form(pictures, pictures.roll(shift, 0), drawn) for form in (sorted_sot, sot))
        assert (exact - fast).abs().max() <= LEVEL


def still(path: Path) -> Tensor:
    """The middle of a photo, (3,128,128)."""
    photo = cv2.imread(str(path))
    assert photo is not None
    side = min(photo.shape[:2])
    top, left = (photo.shape[0] - side) // 2, (photo.shape[1] - side) // 2
    small = cv2.resize(photo[top : top + side, left : left + side], (128, 128), interpolation=cv2.INTER_AREA)
    return torch.from_numpy(small[..., ::-1].copy()).permute(2, 0, 1).float() / 255
