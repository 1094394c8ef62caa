"""A restorer from an ONNX file: a network that takes one picture and gives it back sharper, or larger.

The file says the size and layout of its input; what it cannot say (order of colours, values of black and white) is
given by the caller, and `require_sense` finds out when it was given wrongly.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy.errors import IncompatibleModel
from understudy.imaging.types import Image, as_float
from understudy.networks.onnx_files import OnnxNetwork

OVERLAP = 0.25
"""Share of a tile's side in which it fades into its neighbour."""
_RANGES = {"0..1": (1.0, 0.0), "-1..1": (2.0, -1.0), "0..255": (255.0, 0.0)}
_LEAST_LIKENESS = 0.8
_MOST_SHIFT = 1.5 / 512
_COARSE = 64


class OnnxRestorer:
    """Restores a whole aligned face with the network of an ONNX file. May be called by one thread at a time."""

    def __init__(
        self,
        path: Path,
        *,
        bgr: bool = False,
        value_range: str = "0..1",
        whole: bool = False,
        tile_px: int = 512,
        device: str = "cpu",
    ) -> None:
        """Load the file.

        value_range: "0..1", "-1..1" or "0..255". whole: resize the face to the network's input instead of cutting it
        into tiles; tile_px: side of the tiles of a network that takes any size. Raises as `OnnxNetwork`.
        """
        self.path, self._bgr, self._range, self._whole = path, bgr, value_range, whole
        self._network = OnnxNetwork(path, device=device)
        self._fixed_side = self._network.input.side
        self._tile = self._fixed_side or tile_px
        options = f"{bgr} {value_range} {whole} {self._tile}"
        self.identity = f"{_hash_of(path)} {options}"

    def __call__(self, soft: NDArray[Any]) -> Image:
        """The restored face, (S,S,3) RGB float32 0..1, of the size that came in. soft: the same, or uint8."""
        picture = as_float(soft)
        side = picture.shape[0]
        if self._whole:
            drawn = self._run(_resized(picture, self._tile))
        elif side <= self._tile:
            lacking = self._tile - side if self._fixed_side else -side % 8
            drawn = self._run(np.pad(picture, ((0, lacking), (0, lacking), (0, 0)), "symmetric"))
            scale = drawn.shape[0] / (side + lacking)
            drawn = drawn[: round(side * scale), : round(side * scale)]
        else:
            drawn = self._in_tiles(picture)
        return np.clip(_resized(drawn, side), 0, 1)

    def require_sense(self, faces: list[Image]) -> None:
        """Raise IncompatibleModel when what comes out is not the face that went in, saying what seems to be wrong."""
        for face in faces:
            problem = _problem(face, self(face))
            if problem:
                raise IncompatibleModel(
                    f"{self.path.name} does not give back the face that it is given: {problem[0]}.",
                    hint=problem[1],
                    path=self.path,
                )

    def _in_tiles(self, picture: Image) -> Image:
        """Overlapping tiles, each fading into the next."""
        side, tile = picture.shape[0], self._tile
        total, weights = None, None
        for top in _starts(side, tile):
            for left in _starts(side, tile):
                drawn = self._run(picture[top : top + tile, left : left + tile])
                scale = drawn.shape[0] / tile
                if total is None or weights is None:
                    total = np.zeros((round(side * scale), round(side * scale), 3), np.float32)
                    weights = np.zeros((*total.shape[:2], 1), np.float32)
                fade = _fade(drawn.shape[0])
                at = tuple(slice(round(start * scale), round(start * scale) + len(drawn)) for start in (top, left))
                total[at] += drawn * fade
                weights[at] += fade
        assert total is not None
        assert weights is not None
        return np.asarray(total / weights, np.float32)

    def _run(self, picture: Image) -> Image:
        """One pass of the network: (T,T,3) RGB 0..1 to (kT,kT,3) RGB 0..1."""
        gain, offset = _RANGES[self._range]
        given = picture[..., ::-1] if self._bgr else picture
        values = given * np.float32(gain) + np.float32(offset)
        try:
            found = next(iter(self._network.run(values).values()))
        except IncompatibleModel as error:
            hint = f"Another --model-tile may do. {error.hint}"
            raise IncompatibleModel(error.message, hint=hint, path=self.path) from error
        drawn = self._as_picture(found, picture.shape[0])
        drawn = (drawn - np.float32(offset)) / np.float32(gain)
        return np.ascontiguousarray(drawn[..., ::-1] if self._bgr else drawn)

    def _as_picture(self, found: NDArray[Any], side: int) -> Image:
        picture = found[0] if found.ndim == 4 and found.shape[0] == 1 else found
        if picture.ndim == 3 and picture.shape[0] == 3 and picture.shape[2] != 3:
            picture = picture.transpose(1, 2, 0)
        height, width = picture.shape[:2] if picture.ndim == 3 else (0, 0)
        if picture.ndim != 3 or picture.shape[2] != 3 or height != width or height % side:
            raise IncompatibleModel(
                f"{self.path.name} gives {' x '.join(map(str, found.shape))} for a picture of {side} x {side}; "
                "a restorer gives a picture of the same size or of a whole multiple of it.",
                path=self.path,
            )
        return np.asarray(picture, np.float32)


def _problem(face: Image, drawn: Image) -> tuple[str, str] | None:
    """What is wrong with a drawn face as (what, hint); None when it is the same face."""
    if not np.isfinite(drawn).all():
        return "it gives no numbers", "The file may be damaged, or of half precision that this device cannot compute."
    before, after = _coarse(face), _coarse(drawn)
    likeness = _correlation(before.mean(2), after.mean(2))
    if likeness < -0.5:
        return "light and dark are exchanged", "Another --model-range may do; else the network is made for negatives."
    if likeness < _LEAST_LIKENESS or abs(float(before.mean() - after.mean())) > 0.12:
        return (
            f"it gives another picture (likeness {likeness:.2f}, brightness {before.mean():.2f} → {after.mean():.2f})",
            "Another --model-range may do: 0..1, -1..1 or 0..255.",
        )
    swapped = _correlation(before[..., 0] - before[..., 2], after[..., 2] - after[..., 0])
    if swapped > 0.5 or _tint(before) * _tint(after) < -4e-4:
        return "red and blue are exchanged", "Try the other --model-order: rgb or bgr."
    (across, down), _ = cv2.phaseCorrelate(
        _luma(face), _luma(drawn), cv2.createHanningWindow(face.shape[1::-1], cv2.CV_32F)
    )
    if np.hypot(across, down) > max(0.75, _MOST_SHIFT * face.shape[0]):
        return f"it is shifted by {across:.1f}, {down:.1f} px", "The network's padding is at fault; it cannot be used."
    return None


def _coarse(face: Image) -> Image:
    return np.asarray(cv2.resize(face, (_COARSE, _COARSE), interpolation=cv2.INTER_AREA), np.float32)


def _tint(face: Image) -> float:
    """How much redder than blue a face is."""
    return float((face[..., 0] - face[..., 2]).mean())


def _luma(face: Image) -> NDArray[np.float32]:
    return np.ascontiguousarray(face.mean(2), np.float32)


def _correlation(one: NDArray[Any], other: NDArray[Any]) -> float:
    if one.std() < 1e-3 or other.std() < 1e-3:
        return 1.0 if one.std() < 1e-3 and other.std() < 1e-3 else 0.0
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def _starts(side: int, tile: int) -> list[int]:
    """Where tiles begin along one side: evenly, overlapping at least by OVERLAP, the last one flush with the edge."""
    count = int(np.ceil((side - tile * OVERLAP) / (tile * (1 - OVERLAP))))
    return [round(start) for start in np.linspace(0, side - tile, max(2, count))]


def _fade(side: int) -> NDArray[np.float32]:
    """Weights (side,side,1) that rise from the edges over the overlap; nowhere zero."""
    reach = max(1, round(side * OVERLAP))
    along = np.minimum(np.arange(side) + 1, reach) / reach
    ramp = np.minimum(along, along[::-1]).astype(np.float32)
    return np.asarray(np.outer(ramp, ramp)[..., None], np.float32)


def _resized(picture: Image, side: int) -> Image:
    if picture.shape[0] == side:
        return picture
    how = cv2.INTER_AREA if side < picture.shape[0] else cv2.INTER_LANCZOS4
    return np.asarray(cv2.resize(picture, (side, side), interpolation=how), np.float32)


def _hash_of(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()[:16]
