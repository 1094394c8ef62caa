"""Whole frames: source samples stay where no face is, in the native pixel format."""

from __future__ import annotations

import av
import numpy as np
import pytest
from faces import HEIGHT, SIZE, WIDTH, Painter, landmarks, plate

from understudy.compositing import ColorTransfer, MergeMode, MergeOptions
from understudy.compositing.render import Swapper, render_frame
from understudy.media import ColourTags, Frame
from understudy.records import FaceType

OPTIONS = MergeOptions(color_transfer_mode=ColorTransfer.NONE)


def swapper() -> Swapper:
    return Swapper(Painter(), SIZE, FaceType.FULL)


def video_frame(pix_fmt: str) -> Frame:
    picture = av.VideoFrame.from_ndarray(plate(), format="rgb24").reformat(format=pix_fmt)
    return Frame(0, "00001.png", picture, tags=ColourTags("tv", "bt709", "bt709", "bt709"))


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv444p", "yuv420p10le"])
def test_planes_outside_the_face_are_those_of_the_source(pix_fmt: str) -> None:
    frame = video_frame(pix_fmt)
    made = render_frame(frame, [landmarks()], swapper(), OPTIONS)
    touched = made.mask > 0
    assert 0.02 < touched.mean() < 0.5
    for before, after in zip(frame.planes(), made.frame.planes(), strict=True):
        down, across = HEIGHT // before.shape[0], WIDTH // before.shape[1]
        blocks = touched.reshape(before.shape[0], down, before.shape[1], across).any(axis=(1, 3))
        np.testing.assert_array_equal(after[~blocks], before[~blocks])
        assert (after[blocks] != before[blocks]).any()


def test_mode_original_is_a_no_op() -> None:
    frame = video_frame("yuv420p")
    made = render_frame(frame, [landmarks()], swapper(), MergeOptions(mode=MergeMode.ORIGINAL))
    assert made.mask.max() == 1
    for before, after in zip(frame.planes(), made.frame.planes(), strict=True):
        np.testing.assert_array_equal(after, before)


def test_a_frame_without_faces_is_the_same_frame() -> None:
    frame = video_frame("yuv420p")
    made = render_frame(frame, [], swapper(), OPTIONS)
    assert made.frame is frame
    assert made.mask.shape == (HEIGHT, WIDTH)
    assert not made.mask.any()


def test_sixteen_bit_pictures_keep_their_depth() -> None:
    deep = plate().astype(np.uint16) * 257 + 91
    made = render_frame(Frame.from_rgb(deep), [landmarks()], swapper(), OPTIONS)
    assert made.frame.rgb16.dtype == np.uint16
    np.testing.assert_array_equal(made.frame.rgb16[made.mask == 0], deep[made.mask == 0])
    inside = made.frame.rgb16[made.mask > 0].astype(int)
    assert (inside % 257 != 0).mean() > 0.5, "the face was quantised to 8 bit"


def test_a_faithful_eight_bit_frame_is_cut_down_to_whole_levels() -> None:
    frame = Frame.from_rgb(plate())
    rounded, cut = (
        render_frame(frame, [landmarks()], swapper(), OPTIONS.but(faithful=faithful)).frame.rgb8.astype(int)
        for faithful in (False, True)
    )
    difference = (rounded - cut)[landmarks().mean(axis=0).astype(int)[1]]
    assert set(np.unique(difference)) <= {0, 1}
