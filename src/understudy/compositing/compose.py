"""Laying predicted faces over the plate: arrays in, arrays out; no files, clock, device or globals.

    plate ─ crop ─ predict ─ mask ─ colour ─ paste ─ Layer ─┐
    plate ─ crop ─ predict ─ mask ─ colour ─ paste ─ Layer ─┴─ over the plate ─ Composite

All work is limited to the boxes of the faces; pixels that no face covers come back bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import numpy.typing as npt

from understudy.compositing import quirks
from understudy.compositing.layers import Layer, over, union
from understudy.compositing.mask import FAINTEST, MASKS, FaceMasks, on_grid, shaped, without_faint
from understudy.compositing.options import MergeMode, MergeOptions
from understudy.compositing.placement import Placement
from understudy.compositing.transfers import in_colours_of
from understudy.geometry import affine
from understudy.imaging.types import AnyPlate, Box, Image, Mask, as_float
from understudy.imaging.warp import Border, box_of, gather, resize
from understudy.masks.hull import face_hull
from understudy.records import FaceType

Landmarks = npt.NDArray[np.floating]
"""(68, 2) in pixels of the plate."""

Predict = Callable[[Image], tuple[Image, Mask, Mask]]
"""One face (S, S, 3) RGB 0..1 → (new face (S, S, 3), mask drawn with it (S, S), mask of the dst face (S, S))."""

Sample = Callable[..., Image]
"""`imaging.warp.gather` or its namesake with OpenCV 4's rounding."""


@dataclass(frozen=True, eq=False)
class Composite:
    """The finished picture inside `box` of the plate; outside the box the plate stands.

    image: (h, w, 3) float32. alpha: (h, w), the merge mask as it is written beside the frame. cover: (h, w), how much
    of the image is not the plate; where it is 0 the image equals the plate bit for bit. cover differs from alpha where
    the mode does not use the mask (original, raw-rgb).
    """

    image: Image
    alpha: Mask
    cover: Mask
    box: Box

    @property
    def is_plate(self) -> bool:
        """Whether the plate was left as it is."""
        return not self.cover.any()

    def on(self, plate: AnyPlate) -> Image:
        """The whole frame as float32, (H, W, 3)."""
        frame = as_float(plate).copy()
        frame[self.box.slices] = self.image
        return frame

    def mask_of(self, height: int, width: int) -> Mask:
        """The merge mask of the whole frame, (H, W)."""
        mask = np.zeros((height, width), np.float32)
        mask[self.box.slices] = self.alpha
        return mask


@dataclass(frozen=True, eq=False)
class Drawn:
    """What the network made of one crop, clipped to 0..1, beside the crop itself; all (S, S, …)."""

    crop: Image
    face: Image
    mask_prd: Mask
    mask_dst: Mask


@dataclass(frozen=True, eq=False)
class Scene:
    """Everything that a mode may use to make its layer."""

    plate: AnyPlate
    placement: Placement
    drawn: Drawn
    grid: Mask
    alpha: Mask
    box: Box
    options: MergeOptions
    sample: Sample


def compose(
    plate: AnyPlate,
    landmarks: Landmarks,
    predict: Predict,
    size: int,
    face_type: FaceType,
    options: MergeOptions | None = None,
) -> Composite:
    """Redraw one face of the plate.

    plate: (H, W, 3) RGB, uint8, uint16 or float32 0..1; not modified. landmarks: (68, 2) in its pixels. size,
    face_type: the square that `predict` expects. Raises ValueError for landmarks that do not span a face.
    """
    return compose_faces(plate, [landmarks], predict, size, face_type, options)


def compose_faces(
    plate: AnyPlate,
    faces: Sequence[Landmarks],
    predict: Predict,
    size: int,
    face_type: FaceType,
    options: MergeOptions | None = None,
) -> Composite:
    """Redraw every face of the plate, later ones over earlier ones; with no faces the box is empty.

    Each face is seen by the network as it is on the plate, untouched by its neighbours.
    """
    options = options or MergeOptions()
    layers = [draw(plate, landmarks, predict, size, face_type, options) for landmarks in faces]
    box = reduce(Box.joined, (layer.box for layer in layers), Box(0, 0, 0, 0))
    image = as_float(plate[box.slices]).copy()
    cover, alpha = np.zeros((2, box.height, box.width), np.float32)
    for number, layer in enumerate(layers):
        where = layer.box.inside(box).slices
        if options.keeps_quirks and number > 0:
            image[where] = quirks.blended_twice(image[where], as_float(plate[layer.box.slices]), layer)
        else:
            image[where] = over(image[where], layer)
        cover[where] = union(cover[where], layer.cover)
        join = quirks.added if options.keeps_quirks else union
        alpha[where] = join(alpha[where], layer.alpha)
    return Composite(image, alpha, cover, box)


def draw(
    plate: AnyPlate, landmarks: Landmarks, predict: Predict, size: int, face_type: FaceType, options: MergeOptions
) -> Layer:
    """What one face adds to the plate: the recipe of a merge, one step per line."""
    placement = Placement.of(landmarks, size, face_type, options.output_face_scale)
    sample = quirks.gather_on_32nds if options.keeps_quirks else gather
    drawn = _drawn(crop_face(plate, placement, sample), predict)
    masks = FaceMasks(drawn.mask_prd, drawn.mask_dst, hull=lambda: crop_hull(plate, landmarks, placement, sample))
    grid = on_grid(MASKS[options.mask_mode](masks), placement.grid_size)
    if options.mode is not MergeMode.RAW_RGB:
        erode, blur = options.erode_mask_modifier, options.blur_mask_modifier
        grid = shaped(grid, erode=erode, blur=blur, coarsely=not options.keeps_quirks)
    alpha, box = place_mask(grid, placement, plate.shape[0], plate.shape[1], sample)
    return MODES[options.mode](Scene(plate, placement, drawn, grid, alpha, box, options, sample))


def crop_face(plate: AnyPlate, placement: Placement, sample: Sample = gather) -> Image:
    """The square that the network sees, (S, S, 3) float32 0..1; black where it leaves the frame."""
    box = placement.crop_box(*plate.shape[:2])
    if box.empty:
        return np.zeros((placement.size, placement.size, 3), np.float32)
    frame_from_crop = affine.invert(placement.crop_from_frame)
    crop = sample(as_float(plate[box.slices]), frame_from_crop, placement.square, corner=box[:2])
    return np.clip(crop, 0, 1, out=crop)


def crop_hull(plate: AnyPlate, landmarks: Landmarks, placement: Placement, sample: Sample = gather) -> Mask:
    """The hull of the dst landmarks in the square that the network sees, (S, S) 0..1."""
    box = placement.crop_box(*plate.shape[:2])
    if box.empty:
        return np.zeros((placement.size, placement.size), np.float32)
    hull = np.ascontiguousarray(face_hull(np.asarray(landmarks, np.float64), box.bottom, box.right)[box.slices])
    mask = sample(hull, affine.invert(placement.crop_from_frame), placement.square, corner=box[:2])
    return np.clip(mask, 0, 1, out=mask)


def place_mask(grid: Mask, placement: Placement, height: int, width: int, sample: Sample = gather) -> tuple[Mask, Box]:
    """The mask, of the grid's size or coarser, in a frame of that size, and the box of all of it that is not 0."""
    side = len(grid)
    box = placement.frame_box_of_mask(box_of(grid), side, height, width)
    if box.empty:
        return np.zeros((0, 0), np.float32), Box(0, 0, 0, 0)
    alpha = sample(grid, placement.mask_from_frame(side), box, smooth=side < placement.grid_size)
    alpha = without_faint(np.clip(alpha, 0, 1, out=alpha))
    used = box_of(alpha)
    return np.ascontiguousarray(alpha[used.slices]), used.moved(box.left, box.top)


def _drawn(crop: Image, predict: Predict) -> Drawn:
    face, mask_prd, mask_dst = predict(crop)
    return Drawn(crop, *(np.clip(part, 0, 1, dtype=np.float32) for part in (face, mask_prd, mask_dst)))


def _show_plate(scene: Scene) -> Layer:
    """Mode original: nothing is laid over the plate, the mask is still made."""
    return Layer(as_float(scene.plate[scene.box.slices]), np.zeros_like(scene.alpha), scene.alpha, scene.box)


def _lay_over(scene: Scene) -> Layer:
    """Mode overlay: the face, in the colours of the plate, through the mask."""
    if _is_too_small(scene.alpha):
        shown = _show_plate(scene)
        return shown if scene.options.keeps_quirks else Layer(shown.picture, shown.cover, shown.cover, shown.box)
    face = _in_plate_colours(scene)
    return Layer(_pasted(face, scene, scene.box), scene.alpha, scene.alpha, scene.box)


def _lay_raw(scene: Scene) -> Layer:
    """Mode raw-rgb: the whole square as the network drew it, the mask only beside it."""
    box = scene.placement.paste_box(*scene.plate.shape[:2]).joined(scene.box)
    square = scene.sample(np.ones_like(scene.drawn.mask_prd), scene.placement.paste_from_frame, box)
    alpha = np.zeros((box.height, box.width), np.float32)
    alpha[scene.box.inside(box).slices] = scene.alpha
    if scene.options.keeps_quirks:
        face = scene.sample(scene.drawn.face, scene.placement.paste_from_frame, box, border=quirks.BORDER)
        return quirks.through_ringing_square(as_float(scene.plate[box.slices]), face, square, alpha, box)
    return Layer(_pasted(scene.drawn.face, scene, box), np.clip(square, 0, 1), alpha, box)


MODES: Mapping[MergeMode, Callable[[Scene], Layer]] = {
    MergeMode.ORIGINAL: _show_plate,
    MergeMode.OVERLAY: _lay_over,
    MergeMode.RAW_RGB: _lay_raw,
}


def _in_plate_colours(scene: Scene) -> Image:
    """The new face after the colour transfer that the options ask for."""
    drawn, placement, options = scene.drawn, scene.placement, scene.options
    mask = resize(scene.grid, placement.size, smooth=len(scene.grid) < placement.grid_size)
    if options.keeps_quirks:
        mask = on_crop = quirks.positive_to_one(mask)
    else:
        mask = (mask >= FAINTEST).astype(np.float32)
        on_crop = _mask_on_crop(mask, placement)
    how = options.color_transfer_mode
    return in_colours_of(drawn.face, drawn.crop, how, mask=mask, mask_on_dst=on_crop, faithful=options.keeps_quirks)


def _mask_on_crop(mask: Mask, placement: Placement) -> Mask:
    """A mask of the pasted square as it lies on the crop; they differ when the output face scale is not 0."""
    if np.array_equal(placement.crop_from_frame, placement.paste_from_frame):
        return mask
    paste_from_crop = affine.compose(placement.paste_from_frame, affine.invert(placement.crop_from_frame))
    moved = gather(mask, paste_from_crop, placement.square)
    return (moved >= 0.5).astype(np.float32)


def _pasted(face: Image, scene: Scene, box: Box) -> Image:
    """The face resampled into a box of the frame, clipped to 0..1."""
    border = quirks.BORDER if scene.options.keeps_quirks else Border.REPEAT
    picture = scene.sample(face, scene.placement.paste_from_frame, box, border=border)
    return np.clip(picture, 0, 1, out=picture)


def _is_too_small(alpha: Mask) -> bool:
    """Whether what the mask shows well is not even 5 pixels wide and high: then nothing is laid over the plate."""
    seen = box_of(alpha >= 0.1)
    return seen.empty or min(seen.width, seen.height) - 1 < 4
