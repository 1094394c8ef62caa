"""Cuts in real footage: where there are any, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from understudy.media import open_footage
from understudy.media.shots import ShotFinder

CUTS = {
    "film_ship_man_800x332.webm": [31, 43],
    "man_a_turns_540x960.mp4": [],  # exposure jumps, motion blur
    "composite_two_men_crossing_960x540.mp4": [],
    "three_people_approach_480x270.gif": [],
    "hand_occlusion_man_640x480.mkv": [],
}


@pytest.mark.parametrize("name", CUTS)
def test_cuts_of_a_clip(media: Path, name: str) -> None:
    finder = ShotFinder()
    with open_footage(media / "clips" / name) as footage:
        found = [frame.index for frame in footage.frames() if finder.feed(frame)]
    assert found == CUTS[name]
