"""How sharp a face is: the measures by which the classic sorts order.

CPBD counts the edges whose blur nobody would notice (N. D. Narvekar and L. J. Karam, "A No-Reference Image Blur Metric
Based on the Cumulative Probability of Blur Detection", IEEE Transactions on Image Processing 20, 2011), on the face
inside its hull. Only the part of the picture around the hull is looked at: outside all is black and has no edges.
"""

from __future__ import annotations

import functools

import cv2
import numpy as np
import numpy.typing as npt

from understudy.facesets import FaceMeta
from understudy.masks.hull import face_hull

Picture8 = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.int64]

BLOCK = 64
"""Edges are judged in squares of this side; what is left over at the right and the bottom is not."""

_LEAST_EDGES = 0.002 * BLOCK * BLOCK
_WIDEST = 100
_LOW_CONTRAST, _BETA = 50, 3.6
_JUST_NOTICED = (3.0, 5.0)  # width of an edge, at high and low contrast
_UNNOTICED = 63  # per cent
_REACH = 8  # how far outside of the hull filters see it: Canny's blur 4, its gradient and comparison 2, and spare


def blur_score(rgb8: Picture8, meta: FaceMeta) -> float:
    """Share of the face's edges that look sharp, 0..1, of a (H, W, 3) picture; 0 where it has no edges or is blurred.

    0 also for pictures below 64 pixels, which have no whole block.
    """
    return cpbd(masked_grey(rgb8, meta))


def motion_blur_score(rgb8: Picture8, meta: FaceMeta) -> float:
    """Variance of the Laplacian of the face inside its hull, over an aperture of 11 pixels; 0 to about 1e13."""
    part, _, _ = _masked(rgb8, meta)
    if not part.size:
        return 0.0
    changes = cv2.Laplacian(part, cv2.CV_64F, ksize=11).ravel()
    mean = changes.sum() / rgb8.size  # next to nothing, so that the difference of squares loses no digits
    return float(np.dot(changes, changes) / rgb8.size - mean * mean)


def masked_grey(rgb8: Picture8, meta: FaceMeta) -> Picture8:
    """The brightness of a face inside its hull, (H, W) uint8, 0 outside."""
    part, rows, columns = _masked(rgb8, meta)
    grey = np.zeros(rgb8.shape[:2], np.uint8)
    if part.size:
        grey[rows, columns] = cv2.cvtColor(part, cv2.COLOR_RGB2GRAY)
    return grey


def _masked(rgb8: Picture8, meta: FaceMeta) -> tuple[Picture8, slice, slice]:
    """The part of a picture around its hull, black outside of it, and where it lies.

    The hull always reaches its full height above the brows here, whatever a face says of its own.
    """
    mask = face_hull(meta.landmarks, rgb8.shape[0], rgb8.shape[1]).astype(np.uint8)
    rows, columns = _around(mask)
    return rgb8[rows, columns] * mask[rows, columns, None], rows, columns


def cpbd(grey: Picture8) -> float:
    """The sharpness of a (H, W) uint8 picture of which all that is not looked at is 0; 0..1."""
    height, width = grey.shape
    rows, columns = _around(grey)
    if height < BLOCK or width < BLOCK or rows.stop == rows.start:
        return 0.0
    part = grey[rows, columns]
    ys, xs, widths = _edge_widths(part, pixels=height * width)
    ys, xs = ys + rows.start, xs + columns.start
    blocks_down, blocks_across = height // BLOCK, width // BLOCK
    block_y, block_x = ys // BLOCK, xs // BLOCK
    whole = (block_y < blocks_down) & (block_x < blocks_across) & (widths > 0)
    block_y, block_x, widths = block_y[whole], block_x[whole], widths[whole]
    if not len(widths):
        return 0.0
    used = _textured_blocks(part, rows.start, columns.start, (blocks_down, blocks_across))
    counted = used[block_y, block_x]
    low = _low_contrast_blocks(grey)[block_y, block_x]
    noticed = np.rint(100 * _probabilities()[low[counted].astype(np.int64), widths[counted]])
    return float((noticed <= _UNNOTICED).sum() / len(noticed)) if len(noticed) else 0.0


def _around(grey: Picture8) -> tuple[slice, slice]:
    """Rows and columns that hold all of the picture that is not black, and as much around it as filters see."""
    left, top, width, height = cv2.boundingRect(grey)
    if width == 0:
        return slice(0, 0), slice(0, 0)
    return (
        slice(max(top - _REACH, 0), min(top + height + _REACH, grey.shape[0])),
        slice(max(left - _REACH, 0), min(left + width + _REACH, grey.shape[1])),
    )


def _edge_widths(grey: Picture8, *, pixels: int) -> tuple[Indices, Indices, Indices]:
    """Rows, columns and widths of the vertical edges. pixels: of the picture that `grey` is cut from."""
    ys, xs = np.nonzero(_edges(grey, pixels=pixels))
    height, width = grey.shape
    inner = (ys > 0) & (ys < height - 1) & (xs > 0) & (xs < width - 1)
    ys, xs = ys[inner], xs[inner]
    values = grey.astype(np.int16)
    across, down = values[ys, xs + 1] - values[ys, xs - 1], values[ys + 1, xs] - values[ys - 1, xs]
    # The angle is 0 where the brightness rises to the right or, with nothing across, in any case.
    angles = np.where(across != 0, np.degrees(np.arctan2(down.astype(np.float64), across.astype(np.float64))), 0.0)
    eighths = np.rint(angles / 45)
    if not _has_direction(values):
        return ys[:0], xs[:0], xs[:0]
    widths = np.zeros(len(ys), np.int64)
    rising = np.diff(values, axis=1) > 0
    falling = np.diff(values, axis=1) < 0
    for chosen, slope in ((eighths == 0, rising), (np.abs(eighths) == 4, falling)):
        widths[chosen] = _slope_lengths(slope, ys[chosen], xs[chosen])
    return ys, xs, widths


def _edges(grey: Picture8, *, pixels: int) -> Flags:
    """Where the change from left to right is strong, and stronger than on both sides or than above and below."""
    change = cv2.Sobel(grey, cv2.CV_16S, 1, 0, ksize=3, borderType=cv2.BORDER_REFLECT).astype(np.float64) / 8
    strength = change * change
    strength[strength <= 2 * np.sqrt(strength.sum() / pixels)] = 0
    padded = np.pad(strength, 1)
    middle = padded[1:-1, 1:-1]
    beside = np.maximum(padded[1:-1, :-2], padded[1:-1, 2:])
    above = np.maximum(padded[:-2, 1:-1], padded[2:, 1:-1])
    return (middle > beside) | (middle > above)


def _has_direction(values: npt.NDArray[np.int16]) -> bool:
    """Whether any pixel's brightness changes otherwise than plainly from left to right."""
    across, down = np.gradient(values.astype(np.float32), axis=1), np.gradient(values.astype(np.float32), axis=0)
    return bool(((across < 0) | ((across != 0) & (down != 0))).any())


def _slope_lengths(slope: Flags, ys: Indices, xs: Indices) -> Indices:
    """How far the slope goes on to both sides of pixels, 1 on each side at least. slope: (H, W - 1), between pixels."""
    padded = np.pad(slope, ((0, 0), (_WIDEST + 2, _WIDEST + 2)))
    stride = padded.shape[1]
    flat = padded.ravel()
    at = ys * stride + xs + _WIDEST + 2
    return _run(flat, at - 2, -1) + _run(flat, at + 1, 1) + 2


def _run(flat: Flags, starts: Indices, direction: int) -> Indices:
    """How many flags in a row are set from each start on, at most 100."""
    lengths = np.zeros(len(starts), np.int64)
    going, at = np.arange(len(starts)), starts
    for _ in range(_WIDEST):
        on = flat[at]
        going, at = going[on], at[on] + direction
        if not len(going):
            break
        lengths[going] += 1
    return lengths


def _textured_blocks(part: Picture8, top: int, left: int, shape: tuple[int, int]) -> Flags:
    """Which blocks of the whole picture have enough of Canny's edges. part: of the picture, from (top, left) on."""
    from skimage.feature import canny

    ys, xs = np.nonzero(canny(part.astype(np.float64)))
    block_y, block_x = (ys + top) // BLOCK, (xs + left) // BLOCK
    whole = (block_y < shape[0]) & (block_x < shape[1])
    counts = np.zeros(shape, np.int64)
    np.add.at(counts, (block_y[whole], block_x[whole]), 1)
    return counts > _LEAST_EDGES


def _low_contrast_blocks(grey: Picture8) -> Flags:
    down, across = grey.shape[0] // BLOCK, grey.shape[1] // BLOCK
    blocks = grey[: down * BLOCK, : across * BLOCK].reshape(down, BLOCK, across, BLOCK)
    return np.asarray(np.ptp(blocks, axis=(1, 3)) <= _LOW_CONTRAST)


@functools.cache
def _probabilities() -> Floats:
    """(2, widths) that the blur of an edge is noticed, at high and at low contrast, by the edge's width."""
    widths = np.arange(2 * _WIDEST + 3, dtype=np.float64)
    return np.array([1 - np.exp(-((widths / just) ** _BETA)) for just in _JUST_NOTICED])
