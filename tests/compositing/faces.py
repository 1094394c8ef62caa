"""A plate with one or two faces whose landmarks are known, and stand-ins for a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from understudy.geometry.alignment import TEMPLATE_51
from understudy.imaging.types import Image, Mask

SIZE = 64
HEIGHT, WIDTH = 240, 320

Predict = Callable[[Image], tuple[Image, Mask, Mask]]


def plate(seed: int = 7) -> npt.NDArray[np.uint8]:
    """(240, 320, 3) uint8 with soft content, so that resampling errors stay small."""
    rng = np.random.default_rng(seed)
    coarse = rng.random((12, 16, 3)).astype(np.float32)
    soft = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    return np.clip(soft * 200 + 20, 0, 255).astype(np.uint8)


def landmarks(x: float = 160, y: float = 120, height: float = 80, degrees: float = 8) -> npt.NDArray[np.float64]:
    """68 landmarks of an upright face around (x, y), `height` px from brow to chin, turned in the plane."""
    angles = np.linspace(np.pi, 0, 17)
    jaw = np.stack([0.49 + 0.58 * np.cos(angles), 0.25 + 0.95 * np.sin(angles)], axis=1)
    face = np.concatenate([jaw, TEMPLATE_51]).astype(np.float64)
    face *= height / np.ptp(face[:, 1])
    turn = np.deg2rad(degrees)
    turned = face @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    return turned - turned.mean(axis=0) + (x, y)


def soft_ellipse(side: int = SIZE, rx: float = 0.36, ry: float = 0.42, steepness: float = 4.0) -> Mask:
    along = (np.arange(side, dtype=np.float32) + 0.5) / side - 0.5
    distance = (along[None, :] / rx) ** 2 + (along[:, None] / ry) ** 2
    return np.clip((1 - distance) * steepness, 0, 1).astype(np.float32)


@dataclass
class Painter:
    """A network that draws one colour; colour None gives its input back. crops: what it was shown."""

    colour: tuple[float, float, float] | None = (0.9, 0.1, 0.2)
    mask: Mask | None = None

    def __post_init__(self) -> None:
        self.crops: list[Image] = []

    def __call__(self, crop: Image) -> tuple[Image, Mask, Mask]:
        self.crops.append(crop)
        face = crop if self.colour is None else np.broadcast_to(np.float32(self.colour), crop.shape)
        mask = soft_ellipse(len(crop)) if self.mask is None else self.mask
        return face, mask, mask
