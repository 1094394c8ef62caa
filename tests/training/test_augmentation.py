"""Augmentation: where pixels go, and that draws stay within their ranges."""

from __future__ import annotations

import numpy as np
import torch

from understudy.training.batches.samples import Augmentation, augment
from understudy.training.batches.warp import Draw, Ranges, draw, node_maps, pixel_maps, transform, turn, warp

CPU = torch.device("cpu")


def quiet(size: int = 64, cell: int = 16, *, flip: bool = False, **turned: float) -> Draw:
    """A draw without noise."""
    inner = size // cell - 1
    matrix = turn(size, turned.get("rotation", 0), turned.get("scale", 1), (turned.get("x", 0), turned.get("y", 0)))
    return Draw(size, cell, np.zeros((2, inner, inner)), matrix, flip)


def pictures(count: int = 1, size: int = 64) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0))


def test_without_noise_nothing_moves_except_the_faithful_half_pixel() -> None:
    axis = torch.arange(64.0)
    for faithful, shift in ((False, 0.0), (True, 0.5)):
        maps = pixel_maps([quiet()], CPU, faithful=faithful)[0]
        torch.testing.assert_close(maps[0], (axis + shift).expand(64, 64), atol=1e-4, rtol=0)
        torch.testing.assert_close(maps[1], (axis[:, None] + shift).expand(64, 64), atol=1e-4, rtol=0)
    image = pictures()
    torch.testing.assert_close(warp(image, pixel_maps([quiet()], CPU, faithful=False)), image, atol=1e-4, rtol=0)


def test_faithful_maps_are_each_others_transpose_and_ours_are_not() -> None:
    drawn = draw(96, Ranges(), np.random.default_rng(4))
    x, y = node_maps(drawn, faithful=True)
    np.testing.assert_array_equal(x, y.T)
    x, y = node_maps(drawn, faithful=False)
    assert not np.allclose(x, y.T)


def test_nodes_move_less_than_a_quarter_of_a_cell() -> None:
    for seed in range(20):
        drawn = draw(96, Ranges(), np.random.default_rng(seed))
        still = quiet(96, drawn.cell)
        moved = node_maps(drawn, faithful=False) - node_maps(still, faithful=False)
        assert np.abs(moved).max() <= 0.24 * drawn.cell + 1e-4
        assert not moved[:, 0].any()
        assert not moved[:, :, -1].any()


def test_a_whole_shift_and_a_flip_are_exact() -> None:
    image = pictures()
    moved = transform(image, [quiet(x=0.25)])  # 16 pixels to the right; the edge repeats
    torch.testing.assert_close(moved[..., 16:], image[..., :-16], atol=1e-4, rtol=0)
    torch.testing.assert_close(moved[..., :16], image[..., :1].expand(-1, -1, -1, 16), atol=1e-4, rtol=0)
    black = transform(image, [quiet(x=0.25)], mode="bilinear", border="zeros")
    assert black[..., :15].abs().max() < 1e-4
    torch.testing.assert_close(transform(image, [quiet(flip=True)]), image.flip(3), atol=1e-4, rtol=0)


def test_a_quarter_turn_is_counter_clockwise() -> None:
    image = torch.zeros(1, 1, 64, 64)
    image[0, 0, 32, 50] = 1  # right of the middle
    turned = transform(image, [quiet(rotation=90)])
    assert turned[0, 0].argmax().item() == 14 * 64 + 32  # above it


def test_the_edge_of_a_bent_picture_is_the_pictures() -> None:
    """A bend moves the outermost pixels by up to an eighth of one; black must not come in there, nor where a turned
    picture repeats its edge. The reference lets it."""
    white, masks = torch.ones(1, 3, 64, 64), torch.ones(1, 1, 64, 64)
    for seed, share in ((0, 0.0), (1, 0.0), (2, 1.0)):
        drawn = draw(64, Ranges().times(share), np.random.default_rng(seed))
        torch.testing.assert_close(augment(white, masks, [drawn], Augmentation()).warped, white, atol=1e-5, rtol=0)
        faithful = augment(white, masks, [drawn], Augmentation(faithful=True)).warped
        assert faithful.min() < 0.9


def test_an_unbent_sample_that_is_not_turned_is_the_face_to_its_edge() -> None:
    image, masks = pictures(), torch.ones(1, 1, 64, 64)
    drawn = draw(64, Ranges().times(0), np.random.default_rng(0))
    for faithful in (False, True):
        sample = augment(image, masks, [drawn], Augmentation(random_warp=False, faithful=faithful))
        for part, wanted in ((sample.warped, image), (sample.target, image), (sample.mask, masks)):
            torch.testing.assert_close(part, wanted, atol=1e-4, rtol=0)


def test_each_sample_of_a_batch_has_its_own_draw() -> None:
    image = pictures().expand(3, -1, -1, -1).contiguous()
    chance = np.random.default_rng(0)
    draws = [draw(64, Ranges(flip_share=0.5), chance) for _ in range(3)]
    together = transform(warp(image, pixel_maps(draws, CPU, faithful=True)), draws)
    for number, drawn in enumerate(draws):
        alone = transform(warp(image[:1], pixel_maps([drawn], CPU, faithful=True)), [drawn])
        torch.testing.assert_close(together[number], alone[0], atol=1e-5, rtol=0)
    assert (together[0] - together[1]).abs().max() > 0.05


def test_draws_cover_their_ranges_and_no_more() -> None:
    chance = np.random.default_rng(1)
    draws = [draw(64, Ranges(flip_share=0.4), chance) for _ in range(2000)]
    scales = [np.hypot(*drawn.matrix[0, :2]) for drawn in draws]
    angles = [np.degrees(np.arctan2(drawn.matrix[0, 1], drawn.matrix[0, 0])) for drawn in draws]
    assert 1 / 1.05 <= min(scales) < 0.955
    assert 1.048 < max(scales) <= 1.05
    assert -10 <= min(angles) < -9.9
    assert 9.9 < max(angles) <= 10
    assert 0.35 < np.mean([drawn.flip for drawn in draws]) < 0.45
    assert {drawn.cell for drawn in draws} == {32, 16, 8}
    assert max(np.abs(drawn.noise).max() for drawn in draws) <= 1


def test_a_share_of_the_ranges_moves_faces_that_much_less() -> None:
    """`--random-transform 0.2` must turn, grow and move faces a fifth as far, and 0 not at all."""
    still = draw(96, Ranges().times(0), np.random.default_rng(5))
    np.testing.assert_allclose(still.matrix, np.eye(3)[:2], atol=1e-12)
    for seed in range(20):
        drawn = draw(96, Ranges().times(0.2), np.random.default_rng(seed))
        angle = np.degrees(np.arctan2(drawn.matrix[1, 0], drawn.matrix[0, 0]))
        assert abs(angle) <= 2.0
        middle = drawn.matrix @ np.array([48, 48, 1])
        assert np.abs(middle - 48).max() <= 96 * 0.01 + 1e-6
