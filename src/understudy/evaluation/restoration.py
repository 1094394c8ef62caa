"""How close a restored face is to the truth, and what can be judged of it without the truth.

Pictures are (H, W, 3) RGB float32, 0..1.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy.imaging.types import Image

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_SSIM_WINDOW, _SSIM_SIGMA = (11, 11), 1.5
_SSIM_C1, _SSIM_C2 = 0.01**2, 0.03**2
_GRADIENT_C = 170 / 255**2
"""The constant of Xue et al. 2014 ("Gradient Magnitude Similarity Deviation"), for values of 0..1."""


@dataclass(frozen=True)
class Closeness:
    """How close a picture is to the truth; more is closer. psnr: dB. ssim, gradients: up to 1."""

    psnr: float
    ssim: float
    gradients: float

    def as_json(self) -> dict[str, float]:
        return asdict(self)


def closeness(picture: Image, truth: Image) -> Closeness:
    """PSNR over all channels; SSIM and gradient similarity of the brightness."""
    first, second = luma(picture), luma(truth)
    return Closeness(psnr(picture, truth), ssim(first, second), gradient_similarity(first, second))


def mean_closeness(values: list[Closeness]) -> Closeness:
    """The means of each figure over several pictures."""
    table = np.array([[value.psnr, value.ssim, value.gradients] for value in values], np.float64)
    return Closeness(*(float(mean) for mean in table.mean(0)))


def psnr(picture: Image, truth: Image) -> float:
    """Peak signal to noise ratio in dB, at most 100."""
    error = float(np.mean(np.square(picture - truth, dtype=np.float64)))
    return float(10 * np.log10(1 / max(error, 1e-10)))


def ssim(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Mean structural similarity of two (H, W) pictures (Wang et al. 2004: Gaussian window of 11, sigma 1.5)."""
    mean1, mean2 = _blurred(first), _blurred(second)
    variance1 = _blurred(first * first) - mean1 * mean1
    variance2 = _blurred(second * second) - mean2 * mean2
    covariance = _blurred(first * second) - mean1 * mean2
    above = (2 * mean1 * mean2 + _SSIM_C1) * (2 * covariance + _SSIM_C2)
    below = (mean1 * mean1 + mean2 * mean2 + _SSIM_C1) * (variance1 + variance2 + _SSIM_C2)
    return float(np.mean(above / below))


def gradient_similarity(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Mean similarity of the gradients' magnitudes of two (H, W) pictures (GMS of Xue et al. 2014, Prewitt)."""
    one, two = _gradient(first), _gradient(second)
    return float(np.mean((2 * one * two + _GRADIENT_C) / (one * one + two * two + _GRADIENT_C)))


def luma(picture: Image) -> NDArray[np.float32]:
    """The brightness (H, W) of a picture, weights of BT.601."""
    return np.asarray(picture @ _LUMA, np.float32)


@dataclass(frozen=True)
class Plausibility:
    """What can be judged of a restored face by comparing it with the soft one it was made from.

    faithful: PSNR in dB between both after a blur that leaves only what the soft one knew. detail: energy of the fine
    detail over that of the soft face. overshoot: share of pixels lighter or darker than everything near them in the
    soft face by more than 10 %. noise: grain in smooth places over that of the soft face.
    """

    faithful: float
    detail: float
    overshoot: float
    noise: float


def plausibility(restored: Image, soft: Image, blur_px: float) -> Plausibility:
    """Compare a restored face with the soft one. blur_px: sigma of the blur that removes what was added."""
    new, old = luma(restored), luma(soft)
    coarse = psnr(_coarse(restored, blur_px), _coarse(soft, blur_px))
    reach = 2 * round(2 * blur_px) + 1
    window = np.ones((reach, reach), np.uint8)
    beyond = (new > cv2.dilate(old, window) + 0.1) | (new < cv2.erode(old, window) - 0.1)
    return Plausibility(
        faithful=coarse,
        detail=_detail(new) / max(_detail(old), 1e-9),
        overshoot=float(beyond.mean()),
        noise=_grain(new) / max(_grain(old), 0.5 / 255),
    )


def _blurred(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(cv2.GaussianBlur(picture, _SSIM_WINDOW, _SSIM_SIGMA), np.float32)


def _coarse(picture: Image, blur_px: float) -> Image:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), blur_px), np.float32)


def _gradient(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    kernel = np.array([[1, 0, -1]] * 3, np.float32) / 3
    across, down = cv2.filter2D(picture, -1, kernel), cv2.filter2D(picture, -1, kernel.T)
    return np.asarray(cv2.magnitude(across, down), np.float32)


def _detail(picture: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.mean(np.square(picture - cv2.GaussianBlur(picture, (0, 0), 1.5)))))


def _grain(picture: NDArray[np.float32]) -> float:
    """The standard deviation of fine detail where there is least of it: in the smoothest quarter of the blocks."""
    fine = picture - cv2.GaussianBlur(picture, (0, 0), 1.0)
    energy = cv2.resize(np.square(fine), None, fx=1 / 8, fy=1 / 8, interpolation=cv2.INTER_AREA)
    return float(np.sqrt(np.quantile(energy, 0.25)))
