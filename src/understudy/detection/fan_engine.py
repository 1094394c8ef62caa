"""S3FD and FAN: the networks of the reference program and of face-alignment, from the user's own weight files.

`engines add` and `engines fetch` (stages/engines.py) turn the published files into safetensors in the user data
folder; only those are read here. The two programs call the networks a little differently; `Variant` says how.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy.detection.options import Accuracy
from understudy.detection.pictures import Square
from understudy.detection.two_step import (
    Box,
    Image8,
    Landmarks,
    Look,
    TwoStepEngine,
    cut_window,
    look_square,
    peaks,
)
from understudy.errors import IncompatibleModel, MissingEngine
from understudy.files import user_data_folder
from understudy.geometry.landmarks import MIRROR
from understudy.records import Rect

if TYPE_CHECKING:
    import torch
    from torch import nn

SCORE_BEFORE, SCORE = 0.05, 0.5
"""Boxes below the first are not looked at; those below the second are dropped once overlapping ones are sorted out."""

OVERLAP = 0.3
"""Boxes that overlap a better one by more than this (intersection over union, sides one pixel longer) are dropped."""

MEANS = (104.0, 117.0, 123.0)
LONGEST_SIDE, SMALLEST_SIDE = 640, 64
CHIN = 0.1
"""Boxes grow downwards by this part of their height, so that they reach the chin."""

BATCH = 16
"""Faces or pictures that go through a network at once."""


@dataclass(frozen=True)
class Variant:
    """How one program calls these networks.

    detector, landmarker: names of the weight files. bgr: the detector's weights expect BGR. smallest: sides in pixels
    of boxes that count. chin: whether boxes are grown downwards. up: how far the landmarker's window lies above the
    middle of the box, over its height. mirrored: --accuracy high also looks at the mirrored face, instead of a second
    pass.
    """

    detector: str
    landmarker: str
    bgr: bool
    smallest: float
    chin: float
    up: float
    mirrored: bool


VARIANTS = {
    "s3fd-fan": Variant("s3fd", "2dfan", bgr=False, smallest=40, chin=CHIN, up=0.0, mirrored=False),
    "s3fd-3dfan": Variant("s3fd", "3dfan", bgr=False, smallest=40, chin=CHIN, up=0.0, mirrored=False),
    "face-alignment": Variant("s3fd", "2dfan", bgr=True, smallest=0, chin=0.0, up=0.12, mirrored=True),
}
FOLDERS = {"s3fd-fan": "s3fd-fan", "s3fd-3dfan": "s3fd-fan", "face-alignment": "face-alignment"}
"""Which folder of the user data holds an engine's weights."""


def engine_folder(name: str) -> Path:
    """Where the weights of the engine `name` lie."""
    return user_data_folder() / "engines" / FOLDERS.get(name, name)


def load_fan_engine(name: str, *, device: str = "cpu", accuracy: Accuracy = Accuracy.HIGH) -> TwoStepEngine:
    """One of VARIANTS on a device that torch knows. Raises MissingEngine when its weights are not there.

    Engines of one process and device share their networks.
    """
    from understudy.devices import device_named

    variant, where = VARIANTS[name], device_named(device).torch
    folder = engine_folder(name)
    paths = [folder / f"{part}.safetensors" for part in (variant.detector, variant.landmarker)]
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise MissingEngine(
            f"The engine {name} lacks its weights: {', '.join(missing)}.",
            hint=f"`understudy engines list` says where they come from; `understudy engines fetch {name}` or "
            f"`understudy engines add FILE` puts them into {folder}",
            name=name,
        )
    detector, landmarker = (_shared(path, str(where), path.stat().st_mtime_ns) for path in paths)
    is_high = accuracy == Accuracy.HIGH
    return TwoStepEngine(
        S3fdDetector(detector, where, variant),
        FanLandmarker(landmarker, where, up=variant.up, mirrored=is_high and variant.mirrored),
        accuracy=Accuracy.FAST if variant.mirrored else accuracy,
    )


class S3fdDetector:
    """S3FD over whole pictures, those of one size together. See `two_step.Detector`."""

    def __init__(self, net: nn.Module, device: torch.device, variant: Variant) -> None:
        self._net, self._device, self._variant = net, device, variant

    def detect(self, pictures: Sequence[Image8]) -> list[list[Box]]:
        found: list[list[Box]] = []
        for _, group in groupby(pictures, key=lambda picture: picture.shape):
            same = list(group)
            for start in range(0, len(same), BATCH):
                found += self._detect(same[start : start + BATCH])
        return found

    def _detect(self, pictures: Sequence[Image8]) -> list[list[Box]]:
        import torch

        from understudy.networks.s3fd import boxes

        height, width = pictures[0].shape[:2]
        factor = reduction(width, height)
        size = (int(width / factor), int(height / factor))
        small = np.stack([cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR) for picture in pictures])
        with torch.inference_mode():
            batch = torch.from_numpy(small).to(self._device).permute(0, 3, 1, 2).float()
            batch = batch.flip(1) if self._variant.bgr else batch
            batch = batch - torch.tensor(MEANS, device=self._device).view(1, 3, 1, 1)
            decoded = [found.double().cpu().numpy() for found in boxes(self._net(batch), SCORE_BEFORE)]
        return [self._boxes(found, factor) for found in decoded]

    def _boxes(self, found: NDArray[np.float64], factor: float) -> list[Box]:
        found = found[np.isfinite(found).all(axis=1)]  # what foreign weights may answer
        kept = [found[index] for index in without_overlaps(found, OVERLAP) if found[index, 4] >= SCORE]
        boxes = []
        for *corners, score in kept:
            left, top, right, bottom = np.trunc(corners) * factor
            if min(right - left, bottom - top) < self._variant.smallest:
                continue
            bottom += self._variant.chin * (bottom - top)
            boxes.append(Box(Rect(*(float(v) for v in np.trunc([left, top, right, bottom]))), float(score)))
        return sorted(boxes, key=lambda box: -box.rect.area)


class FanLandmarker:
    """FAN over windows of pictures, in batches. See `two_step.Landmarker`; sure is the mean height of the peaks."""

    def __init__(self, net: nn.Module, device: torch.device, *, up: float = 0.0, mirrored: bool = False) -> None:
        self._net, self._device, self._up, self._mirrored = net, device, up, mirrored

    def landmarks(self, looks: Sequence[Look]) -> list[tuple[Landmarks, float]]:
        found: list[tuple[Landmarks, float]] = []
        for start in range(0, len(looks), BATCH):
            found += self._landmarks(looks[start : start + BATCH])
        return found

    def _landmarks(self, looks: Sequence[Look]) -> list[tuple[Landmarks, float]]:
        windows = [window_of(look, up=self._up) for look in looks]
        crops = np.stack([cut_window(look.picture, w, 256) for look, w in zip(looks, windows, strict=True)])
        points, heights = peaks(self._heat(crops))
        placed = [window.to_frame(local) for window, local in zip(windows, points, strict=True)]
        return [(place, float(np.clip(height.mean(), 0, 1))) for place, height in zip(placed, heights, strict=True)]

    def _heat(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        import torch

        with torch.inference_mode():
            batch = torch.from_numpy(crops).to(self._device).permute(0, 3, 1, 2).float() / 255
            heat = self._net(batch)
            if self._mirrored:
                heat = (heat + self._net(batch.flip(3))[:, MIRROR.tolist()].flip(3)) / 2
            found: NDArray[np.float32] = heat.float().cpu().numpy()
        return found


def window_of(look: Look, *, up: float) -> Square:
    """Where FAN looks, turned with the head and shifted as the look asks."""
    upright = look_square(look.rect, up=up)
    x, y = look.shift
    return Square(upright.x + x, upright.y + y, upright.side, look.turn)


def reduction(width: int, height: int) -> float:
    """By how much S3FD's picture is smaller than the frame: its longer side is 640, or half of a smaller frame's."""
    longest = max(width, height)
    target = LONGEST_SIDE if longest >= 2 * LONGEST_SIDE else longest / 2
    return longest / max(SMALLEST_SIDE, target)


def without_overlaps(boxes: NDArray[np.float64], threshold: float) -> list[int]:
    """Indices of the boxes (n, 5) that no better one overlaps by more than `threshold`, best first."""
    areas = (boxes[:, 2] - boxes[:, 0] + 1) * (boxes[:, 3] - boxes[:, 1] + 1)
    order, kept = boxes[:, 4].argsort()[::-1], []
    while order.size:
        best, rest = order[0], order[1:]
        kept.append(int(best))
        low = np.maximum(boxes[best, :2], boxes[rest, :2])
        high = np.minimum(boxes[best, 2:4], boxes[rest, 2:4])
        common = np.prod(np.maximum(0.0, high - low + 1), axis=1)
        order = rest[common / (areas[best] + areas[rest] - common) <= threshold]
    return kept


_loading = threading.Lock()


def _shared(path: Path, device: str, changed: int) -> nn.Module:
    """The network in a file, loaded once per process and device."""
    with _loading:
        return _load(path, device, changed)


@functools.lru_cache(maxsize=6)
def _load(path: Path, device: str, changed: int) -> nn.Module:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    net = network_of(path.stem)
    try:
        put_weights(net, load_file(path))
    except (OSError, IncompatibleModel, SafetensorError) as error:
        raise IncompatibleModel(
            f"{path.name} holds no weights of its network: {error}",
            hint="Bring the published file in again: understudy engines add FILE",
            path=path,
        ) from error
    return net.to(device).eval()


def put_weights(net: nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """Fill a network. Raises IncompatibleModel when a tensor is missing, surplus or of another shape."""
    wanted = weights_of(net)
    unfit = sorted(set(wanted) ^ set(tensors)) or [n for n in wanted if wanted[n].shape != tensors[n].shape]
    if unfit:
        raise IncompatibleModel(
            f"{len(unfit)} of {len(wanted)} tensors do not fit, {unfit[0]} first.",
            hint="The file is of another network or was not copied whole.",
            tensors=unfit,
        )
    import torch

    counters = {name: torch.zeros((), dtype=torch.long) for name in net.state_dict() if name not in wanted}
    net.load_state_dict({**counters, **{name: value.float() for name, value in tensors.items()}}, assign=True)


def weights_of(net: nn.Module) -> dict[str, torch.Tensor]:
    """The tensors of a network that a weight file holds: all but the counters of batch normalisation."""
    return {name: value for name, value in net.state_dict().items() if not name.endswith("num_batches_tracked")}


def network_of(part: str) -> nn.Module:
    """The network that weights of the name `s3fd`, `2dfan` or `3dfan` belong to, without any weights yet."""
    import torch

    with torch.device("meta"):
        if part == "s3fd":
            from understudy.networks.s3fd import S3FD

            return S3FD()
        from understudy.networks.fan import FAN

        return FAN()
