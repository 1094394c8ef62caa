"""What a compositor must be able to rely on, whatever the settings."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from faces import HEIGHT, SIZE, WIDTH, Painter, landmarks, plate, soft_ellipse
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.compositing import ColorTransfer, MaskMode, MergeMode, MergeOptions
from understudy.compositing.compose import Composite, compose, compose_faces
from understudy.imaging.types import as_float
from understudy.records import FaceType

NONE = ColorTransfer.NONE

any_options = st.builds(
    MergeOptions,
    mode=st.sampled_from(MergeMode),
    mask_mode=st.sampled_from(MaskMode),
    color_transfer_mode=st.sampled_from(ColorTransfer),
    erode_mask_modifier=st.integers(-60, 120),
    blur_mask_modifier=st.integers(0, 200),
    output_face_scale=st.integers(-50, 50),
    faithful=st.booleans(),
)
anywhere = st.builds(
    landmarks, st.integers(-60, 380), st.integers(-60, 300), st.integers(20, 300), st.integers(-180, 180)
)


@given(any_options, anywhere, st.sampled_from([np.uint8, np.uint16, np.float32]))
@settings(max_examples=80, deadline=None)
def test_outside_the_cover_the_plate_is_untouched(
    options: MergeOptions, where: np.ndarray, kind: type[np.generic]
) -> None:
    """Also with the face partly or wholly out of the frame, upside down, tiny or huge, at any bit depth."""
    picture = as_depth(plate(), kind)
    before = picture.copy()
    result = compose(picture, where, Painter(), SIZE, FaceType.FULL, options)
    np.testing.assert_array_equal(picture, before, err_msg="the plate itself was written to")
    full = result.on(picture)
    outside = np.ones((HEIGHT, WIDTH), bool)
    outside[result.box.slices] = result.cover == 0
    np.testing.assert_array_equal(full[outside], as_float(picture)[outside])
    assert np.isfinite(full).all()
    for part in (result.image, result.alpha, result.cover):
        assert part.dtype == np.float32
        assert part.size == 0 or (part.min() >= 0 and part.max() <= 1 + 1e-6)


@pytest.mark.parametrize("face_type", [FaceType.HALF, FaceType.MID_FULL, FaceType.FULL, FaceType.WHOLE_FACE])
@pytest.mark.parametrize("mode", [MergeMode.OVERLAY, MergeMode.RAW_RGB])
def test_a_perfect_prediction_gives_the_plate_back(face_type: FaceType, mode: MergeMode) -> None:
    picture = plate()
    options = MergeOptions(mode=mode, color_transfer_mode=NONE, blur_mask_modifier=20)
    result = compose(picture, landmarks(), Painter(colour=None), 128, face_type, options)
    assert result.cover.max() > 0.9
    inner = result.cover > 0
    assert np.abs(result.image - as_float(picture)[result.box.slices])[inner].mean() < 0.003
    assert np.abs(result.image - as_float(picture)[result.box.slices]).max() < 0.04


def test_a_perfect_prediction_survives_its_colour_transfer() -> None:
    picture = plate()
    result = compose(picture, landmarks(), Painter(colour=None), 128, FaceType.FULL, MergeOptions())
    assert np.abs(result.image - as_float(picture)[result.box.slices]).max() < 0.05


def test_original_shows_the_plate_and_still_makes_the_mask() -> None:
    picture = plate()
    result = compose(picture, landmarks(), Painter(), SIZE, FaceType.FULL, MergeOptions(mode=MergeMode.ORIGINAL))
    assert result.is_plate
    assert result.alpha.max() == 1
    np.testing.assert_array_equal(result.on(picture), as_float(picture))


def test_raw_rgb_lays_the_whole_square() -> None:
    colour = (0.9, 0.1, 0.2)
    options = MergeOptions(mode=MergeMode.RAW_RGB)
    result = compose(plate(), landmarks(), Painter(colour), SIZE, FaceType.FULL, options)
    inside = result.cover == 1
    assert inside.sum() > 3 * (result.alpha > 0.5).sum() / 2
    np.testing.assert_allclose(result.image[inside], np.broadcast_to(colour, (inside.sum(), 3)), atol=1e-5)


def test_overlay_shows_the_face_where_the_mask_is_one() -> None:
    colour = (0.9, 0.1, 0.2)
    result = overlay(Painter(colour))
    inside = result.alpha == 1
    assert inside.any()
    np.testing.assert_allclose(result.image[inside], np.broadcast_to(colour, (inside.sum(), 3)), atol=1e-5)


def test_no_dark_rim_where_the_mask_reaches_the_border_of_the_square() -> None:
    """The reference pastes the square on black, and its edge pixels darken; ours repeat."""
    white, grey = Painter((1.0, 1.0, 1.0)), np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    full = {"mask_mode": MaskMode.FULL, "color_transfer_mode": NONE}
    ours = compose(grey, landmarks(), white, SIZE, FaceType.FULL, MergeOptions.of(**full, faithful=False))
    theirs = compose(grey, landmarks(), white, SIZE, FaceType.FULL, MergeOptions.of(**full, faithful=True))
    assert ours.image.min() > 128 / 255 - 1e-6
    assert theirs.image.min() < ours.image.min()


def test_erode_shrinks_and_grow_grows() -> None:
    areas = [overlay(erode_mask_modifier=erode).alpha.sum() for erode in (-40, -10, 0, 5, 20, 60)]
    assert areas == sorted(areas, reverse=True)
    assert areas[0] > areas[-1] * 1.5


def test_blur_softens_the_edge_and_ends_within_the_square() -> None:
    full = {"mask_mode": MaskMode.FULL}
    hard, soft = overlay(**full), overlay(**full, blur_mask_modifier=60)
    assert between(soft) > 5 * between(hard)
    for edge in (soft.alpha[0], soft.alpha[-1], soft.alpha[:, 0], soft.alpha[:, -1]):
        assert edge.max() < 0.05


def test_face_scale_changes_the_size_of_what_is_pasted_not_of_what_is_seen() -> None:
    painters = [Painter() for _ in range(3)]
    results = [overlay(painter, output_face_scale=scale) for painter, scale in zip(painters, (-30, 0, 30), strict=True)]
    np.testing.assert_array_equal(painters[0].crops[0], painters[2].crops[0])
    widths = [result.box.width for result in results]
    assert widths[0] > widths[1] > widths[2]


def test_mask_modes_do_what_they_say() -> None:
    prd, dst = soft_ellipse(rx=0.30), soft_ellipse(ry=0.25)
    sums = {}
    for mode in MaskMode:
        options = MergeOptions(mask_mode=mode, color_transfer_mode=NONE)
        painted = compose(plate(), landmarks(), lambda crop: (crop, prd, dst), SIZE, FaceType.FULL, options)
        sums[mode] = painted.alpha.sum()
    assert sums[MaskMode.LEARNED_PRD_TIMES_DST] < min(sums[MaskMode.LEARNED_PRD], sums[MaskMode.LEARNED_DST])
    assert sums[MaskMode.LEARNED_PRD_PLUS_DST] > max(sums[MaskMode.LEARNED_PRD], sums[MaskMode.LEARNED_DST])
    assert sums[MaskMode.FULL] == max(sums.values())
    assert 0 < sums[MaskMode.DST] < sums[MaskMode.FULL]


def test_rct_brings_the_face_into_the_colours_of_the_plate() -> None:
    rng = np.random.default_rng(2)
    dull = plate() // 3
    drawn = np.clip(rng.random((SIZE, SIZE, 3)) * 0.2 + (0.7, 0.75, 0.9), 0, 1).astype(np.float32)
    masks = soft_ellipse(), soft_ellipse()

    def mean_of(transfer: ColorTransfer) -> float:
        options = MergeOptions(color_transfer_mode=transfer)
        result = compose(dull, landmarks(), lambda crop: (drawn, *masks), SIZE, FaceType.FULL, options)
        return float(result.image[result.alpha > 0.9].mean())

    around = float(as_float(dull)[80:160, 120:200].mean())
    assert abs(mean_of(ColorTransfer.RCT) - around) < 0.08 < abs(mean_of(NONE) - around)


def test_each_face_is_seen_as_it_is_on_the_plate() -> None:
    """Two overlapping faces: the second must not see what was painted over the first."""
    painter = Painter()
    faces = [landmarks(140), landmarks(180)]
    compose_faces(plate(), faces, painter, SIZE, FaceType.FULL, MergeOptions())
    alone = Painter()
    compose(plate(), faces[1], alone, SIZE, FaceType.FULL, MergeOptions())
    np.testing.assert_array_equal(painter.crops[1], alone.crops[0])


def test_later_faces_lie_over_earlier_ones() -> None:
    colours = itertools.cycle([(1.0, 0.0, 0.0), (0.0, 0.0, 1.0)])

    def paint(crop: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return np.broadcast_to(np.float32(next(colours)), crop.shape), soft_ellipse(), soft_ellipse()

    options = MergeOptions(color_transfer_mode=NONE)
    result = compose_faces(plate(), [landmarks(), landmarks()], paint, SIZE, FaceType.FULL, options)
    inside = overlay().alpha == 1
    np.testing.assert_allclose(result.image[inside], np.broadcast_to((0, 0, 1.0), (inside.sum(), 3)), atol=1e-5)


def test_a_second_face_is_laid_at_full_strength() -> None:
    """The reference lays it over the plate and that over the frame, so that its soft edge fades twice."""
    faces = [landmarks(60, 60, 50), landmarks(240, 170, 60)]
    ours, theirs, alone = (
        compose_faces(plate(), which, Painter(), SIZE, FaceType.FULL, options)
        for which, options in (
            (faces, MergeOptions(color_transfer_mode=NONE, faithful=False)),
            (faces, MergeOptions(color_transfer_mode=NONE, faithful=True)),
            (faces[1:], MergeOptions(color_transfer_mode=NONE)),
        )
    )
    part = alone.box.slices
    np.testing.assert_allclose(ours.on(plate())[part], alone.image, atol=1e-6)
    assert np.abs(theirs.on(plate())[part] - alone.image).max() > 0.05


def test_no_faces_no_change() -> None:
    result = compose_faces(plate(), [], Painter(), SIZE, FaceType.FULL)
    assert result.box.empty
    np.testing.assert_array_equal(result.on(plate()), as_float(plate()))
    assert not result.mask_of(HEIGHT, WIDTH).any()


def test_a_face_too_small_to_see_is_left_alone() -> None:
    options = MergeOptions(color_transfer_mode=NONE)
    result = compose(plate(), landmarks(height=4), Painter(), SIZE, FaceType.HALF, options)
    assert result.is_plate
    assert not result.alpha.any()


def test_landmarks_in_one_point_are_refused() -> None:
    with pytest.raises(ValueError, match="face"):
        compose(plate(), np.full((68, 2), 50.0), Painter(), SIZE, FaceType.FULL)


@pytest.mark.parametrize("kind", [np.uint16, np.float32])
def test_bit_depth_does_not_change_the_picture(kind: type[np.generic]) -> None:
    shallow = overlay()
    deep = compose(as_depth(plate(), kind), landmarks(), Painter(), SIZE, FaceType.FULL, plain())
    np.testing.assert_allclose(deep.image, shallow.image, atol=1e-5)


def test_the_coarse_feather_does_not_show() -> None:
    """Fast and exact masks give the same frame within one 8-bit step."""
    settings = {"color_transfer_mode": NONE, "erode_mask_modifier": 10, "blur_mask_modifier": 60}
    fast, exact = (
        compose(plate(), landmarks(), Painter(), SIZE, FaceType.FULL, MergeOptions.of(**settings, faithful=faithful))
        for faithful in (False, True)
    )
    assert np.abs(fast.on(plate()) - exact.on(plate())).max() < 1.2 / 255


def overlay(painter: Painter | None = None, **changes: object) -> Composite:
    return compose(plate(), landmarks(), painter or Painter(), SIZE, FaceType.FULL, plain(**changes))


def plain(**changes: object) -> MergeOptions:
    return MergeOptions.of(**{"color_transfer_mode": NONE, **changes})


def between(result: Composite) -> int:
    return int(((result.alpha > 0.1) & (result.alpha < 0.9)).sum())


def as_depth(picture: np.ndarray, kind: type[np.generic]) -> np.ndarray:
    if kind is np.uint8:
        return picture
    return picture.astype(np.uint16) * 257 if kind is np.uint16 else as_float(picture)
