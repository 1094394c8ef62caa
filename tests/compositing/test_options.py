"""The settings have the names, ranges and defaults that users of the field know."""

from __future__ import annotations

import subprocess
import sys

import pytest

from understudy.compositing import ColorTransfer, MaskMode, MergeMode, MergeOptions
from understudy.compositing.compose import MODES
from understudy.compositing.mask import MASKS
from understudy.compositing.transfers import BY_NAME
from understudy.errors import InvalidOption


def test_defaults_are_the_interactive_ones() -> None:
    options = MergeOptions()
    assert options.mode == "overlay"
    assert options.mask_mode == "learned-prd*learned-dst"
    assert options.color_transfer_mode == "rct"
    assert (options.erode_mask_modifier, options.blur_mask_modifier, options.output_face_scale) == (0, 0, 0)


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [("erode_mask_modifier", -400, 400), ("blur_mask_modifier", 0, 400), ("output_face_scale", -50, 50)],
)
def test_ranges(name: str, least: int, most: int) -> None:
    for value in (least, most):
        assert getattr(MergeOptions.of(**{name: value}), name) == value
    for value in (least - 1, most + 1):
        with pytest.raises(InvalidOption, match=name):
            MergeOptions.of(**{name: value})


def test_every_choice_has_its_function() -> None:
    """A new mode, mask or transfer is an entry in a table; none may be forgotten."""
    assert set(MODES) == set(MergeMode)
    assert set(MASKS) == set(MaskMode)
    assert set(ColorTransfer) - {ColorTransfer.NONE} <= set(BY_NAME)


def test_the_look_is_everything_but_the_machine() -> None:
    here, there = MergeOptions(workers=1, device="cpu", replace=True), MergeOptions(workers=7)
    assert here.look == there.look
    assert here.look != MergeOptions(blur_mask_modifier=1).look


def test_options_load_without_pictures_or_networks() -> None:
    code = "import sys, understudy.compositing.options; print([m for m in ('cv2', 'torch', 'av') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
