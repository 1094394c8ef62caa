"""SSIM and mask agreement, against scikit-image and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from understudy.evaluation.redrawn import luma, mask_iou, ssim


def pictures(count: int = 3, size: int = 48, seed: int = 0) -> torch.Tensor:
    coarse = torch.rand((count, 3, size // 4, size // 4), generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, size=size, mode="bilinear")


def test_similarity_is_that_of_scikit_image() -> None:
    first = pictures()
    second = (first + 0.1 * torch.randn(first.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 1)
    expected = [
        structural_similarity(
            luma(one[None])[0, 0].numpy(),
            luma(two[None])[0, 0].numpy(),
            data_range=1.0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        for one, two in zip(first, second, strict=True)
    ]
    np.testing.assert_allclose(ssim(first, second).numpy(), expected, atol=2e-5)


def test_equal_pictures_are_alike_and_more_noise_is_less_alike() -> None:
    first = pictures()
    noise = torch.randn(first.shape, generator=torch.Generator().manual_seed(1))
    assert ssim(first, first) == pytest.approx(torch.ones(3))
    little, much = (ssim(first, (first + power * noise).clamp(0, 1)).mean() for power in (0.03, 0.2))
    assert much < little < 1


def test_only_what_lies_in_the_mask_counts() -> None:
    first = pictures()
    second = first.clone()
    second[:, :, :, 24:] = 0.5
    left = torch.zeros((3, 1, 48, 48))
    left[..., :12] = 1
    assert ssim(first, second, left) == pytest.approx(torch.ones(3), abs=1e-5)
    assert float(ssim(first, second, 1 - left).max()) < 0.95
    assert ssim(first, second, torch.zeros_like(left)) == pytest.approx(torch.ones(3))


def test_masks_agree_by_the_area_they_share() -> None:
    one, two = torch.zeros((4, 1, 8, 8)), torch.zeros((4, 1, 8, 8))
    one[0, 0, :4], two[0, 0, :4] = 1, 1  # equal
    one[1, 0, :4], two[1, 0, 2:6] = 1, 1  # 16 of 48 pixels
    one[2, 0, :4], two[2, 0, 4:] = 1, 1  # apart
    assert mask_iou(one, two).tolist() == pytest.approx([1, 1 / 3, 0, 1])


def test_half_a_mask_is_none() -> None:
    soft = torch.full((1, 1, 4, 4), 0.4)
    assert mask_iou(soft, torch.ones_like(soft)).tolist() == [0]
