"""Faces in real footage, against what the manifest says a person sees: a sample of frames of every file."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from understudy.detection import Engine, load_engine
from understudy.media import Frame, open_footage
from understudy.records import Rect

ROOT = Path(os.environ.get("UNDERSTUDY_MEDIA", Path(__file__).resolve().parents[3] / "shared" / "media"))

FIRST_FRAMES = 620
SAMPLES = 16
CROWD = 10  # faces from which on "most of them" is what the manifest asks for
LARGEST_YAW = 60  # beyond it FaceMesh sees no face; see docs/guide/extraction.md


def entries() -> list[dict[str, Any]]:
    manifest = ROOT / "manifest.json"
    listed = json.loads(manifest.read_text(encoding="utf-8"))["files"] if manifest.is_file() else []
    return [item for item in listed if "extract" in item.get("use", ()) and item.get("faces")]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "item" in metafunc.fixturenames:
        metafunc.parametrize("item", entries() or [{"path": "no-footage"}], ids=lambda item: item["path"])


@pytest.fixture(autouse=True)
def _needs_footage(media: Path) -> None:
    """Skips, with the reason, where the footage is not there."""


@functools.cache
def engine() -> Engine:
    return load_engine()


@dataclass
class Tally:
    """Sampled frames of one file: with a face and found, without and clean, and how many faces were too many."""

    seen: int = 0
    found: int = 0
    empty: int = 0
    false: int = 0
    extra: int = 0
    most: int = 0


@functools.cache
def tally_of(path: str) -> Tally:
    item = next(item for item in entries() if item["path"] == path)
    doubt, empty = frames_in(item.get("frames_doubt")), frames_in(item.get("frames_no_face"))
    tally = Tally()
    for frame in sample(ROOT / path, item["frames"] or 1):
        count = len(engine().find(frame.rgb8))
        tally.most = max(tally.most, count)
        tally.extra += max(0, count - item["faces"]["max"])
        if frame.index in empty:
            tally.empty += 1
            tally.false += count > 0
        elif frame.index not in doubt and item["faces"]["frames_with_face"]:
            tally.seen += 1
            tally.found += count > 0
    return tally


def sample(path: Path, count: int) -> Iterator[Frame]:
    step = max(1, min(count, FIRST_FRAMES) // SAMPLES)
    with open_footage(path) as footage:
        for frame in footage.frames():
            if frame.index >= FIRST_FRAMES:
                return
            if frame.index % step == 0:
                yield frame


def frames_in(runs: list[list[int]] | None) -> frozenset[int]:
    return frozenset(number for first, last in runs or [] for number in range(first, last + 1))


def test_faces_are_found_and_none_where_there_is_none(item: dict[str, Any]) -> None:
    tally = tally_of(item["path"])
    assert tally.false == 0
    if item["max_abs_yaw"] <= LARGEST_YAW:
        assert tally.found >= 0.95 * tally.seen
    assert tally.extra <= 0.1 * (tally.seen + tally.empty)
    if item["faces"]["max"] >= CROWD:
        assert tally.most >= 0.9 * item["faces"]["min"]


def test_over_all_files_98_of_100_frontal_frames_and_90_of_all_are_found() -> None:
    frontal, every = Tally(), Tally()
    for item in entries():
        tally = tally_of(item["path"])
        for total in [every, frontal] if item["max_abs_yaw"] <= LARGEST_YAW else [every]:
            total.seen += tally.seen
            total.found += tally.found
            total.empty += tally.empty
            total.false += tally.false
    assert frontal.found >= 0.98 * frontal.seen
    assert every.found >= 0.90 * every.seen
    assert every.false <= 0.01 * every.empty


@pytest.mark.parametrize(
    ("path", "frames", "people"),
    [
        ("clips/man_a_turns_540x960.mp4", range(236, 276), 1),  # ducks to the camera: profile, then bowed and blurred
        ("clips/three_people_approach_480x270.gif", range(41), 3),
        ("clips/two_people_turning_480x270.mp4", range(56), 2),  # both heads tilted by up to 57 degrees
    ],
)
def test_hard_stretches_have_every_face_in_every_frame(path: str, frames: range, people: int) -> None:
    """A bare MediaPipe pipeline finds a face in each of the first two clips' frames; this must find all of them."""
    missed, previous = [], None
    with open_footage(ROOT / path) as footage:
        for frame in footage.frames():
            if frame.index >= frames.stop:
                break
            if frame.index in frames:
                previous = engine().find(frame.rgb8, previous=previous if frame.index % 12 else None)
                missed += [] if len(previous) == people else [frame.index]
    assert missed == []


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_footage_held_sideways_or_upside_down_shows_the_same_faces(quarters: int) -> None:
    with open_footage(ROOT / "clips/two_people_turning_480x270.mp4") as footage:
        frame = next(footage.frames()).rgb8
    upright, turned = engine().find(frame), engine().find(np.ascontiguousarray(np.rot90(frame, quarters)))
    assert len(upright) == len(turned) == 2


def test_landmarks_for_a_rectangle_on_real_footage_are_those_of_the_search() -> None:
    """What an artist draws around a face by hand: a square, a tenth too large, a little off."""
    with open_footage(ROOT / "clips/man_d_lowkey_hand_1920x1080.mp4") as footage:
        rgb8 = next(footage.frames()).rgb8
    (face,) = engine().find(rgb8)
    half, middle = (
        0.55 * face.rect.height,
        np.array([face.rect.left + face.rect.right, face.rect.top + face.rect.bottom]),
    )
    x, y = middle / 2 + 0.04 * face.rect.height
    again = engine().landmarks_in(rgb8, Rect(x - half, y - half, x + half, y + half))
    eyes = np.linalg.norm(face.landmarks[36] - face.landmarks[45])
    assert np.linalg.norm(again.landmarks - face.landmarks, axis=1).mean() < 0.03 * eyes
