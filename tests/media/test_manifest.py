"""Every file that the manifest of the test footage lists ends in one of the outcomes that it accepts."""

from __future__ import annotations

import functools
import json
import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from understudy.errors import MediaError
from understudy.media import Frame, FrameSource, open_footage, probe

ROOT = Path(os.environ.get("UNDERSTUDY_MEDIA", Path(__file__).resolve().parents[3] / "shared" / "media"))


def entries() -> list[dict[str, Any]]:
    manifest = ROOT / "manifest.json"
    return json.loads(manifest.read_text(encoding="utf-8"))["files"] if manifest.is_file() else []


def is_readable(item: dict[str, Any]) -> bool:
    return item["accept"] != ["error"]


CHOICES = {
    "item": lambda item: True,
    "readable": is_readable,
    "video": lambda item: item["kind"] == "video" and is_readable(item),
    "still": lambda item: item["kind"] == "image" and is_readable(item) and item.get("mode") is not None,
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test per listed file of the kind that the test asks for by the name of its argument."""
    for name, choose in CHOICES.items():
        if name in metafunc.fixturenames:
            listed = [item for item in entries() if choose(item)] or [{"path": "no-footage"}]
            metafunc.parametrize(name, listed, ids=lambda item: item["path"])


@pytest.fixture(autouse=True)
def _needs_footage(media: Path) -> None:
    """Skips, with the reason, where the footage is not there."""


@functools.lru_cache(maxsize=256)
def outcome_of(path: Path) -> tuple[str, FrameSource | None, list[Frame]]:
    """ok, partial or error; the frames without their pixels, so that memory stays small."""
    try:
        with open_footage(path) as footage:
            frames = []
            for frame in footage.frames():
                assert frame.rgb8.shape == (frame.height, frame.width, 3)
                frames.append(Frame(frame.index, frame.name, np.zeros((1, 1, 3), np.uint8), frame.pts, frame.time_base,
                                    damaged=frame.damaged))  # fmt: skip
    except MediaError:
        return "error", None, []
    return ("partial" if footage.skipped else "ok"), footage, frames


def expand(runs: list[list[int]]) -> list[int]:
    return [number for first, last in runs for number in range(first, last + 1)]


def test_the_outcome_is_an_accepted_one(media: Path, item: dict[str, Any]) -> None:
    """What must be readable is, what must be refused is, and what was lost is named frame by frame."""
    outcome, footage, frames = outcome_of(media / item["path"])
    assert outcome in item["accept"]
    if footage is None:
        return
    assert len(frames) == item["frames"]
    lost = {item.item for item in footage.skipped}
    if item["kind"] == "video" and outcome == "partial":
        damaged = expand(item["damaged_frames"])
        assert [frame.index for frame in frames if frame.damaged] == damaged
        assert lost == {f"{index + 1:05d}.png" for index in damaged + expand(item["missing_frames"])}
    if item["kind"] == "image_sequence":
        assert [int(Path(frame.name).stem.split(".")[-1]) for frame in frames] == item["numbers"]
        assert all(any(str(number) in name for name in lost) for number in item["missing_numbers"])
        assert [frame.index for frame in frames] == [number - item["numbers"][0] for number in item["numbers"]]


def test_probe_tells_the_facts(media: Path, readable: dict[str, Any]) -> None:
    """Size, rate, count, depth, turn, tags and tracks are those that FFmpeg's tools agree on."""
    item = readable
    info = probe(media / item["path"]).as_json()
    names = ["width", "height", "rotation", "bit_depth", "frames", "interlaced", "sample_aspect"]
    if item["kind"] == "video":
        names += ["fps", "vfr", "pix_fmt", "codec", "timecode"]
        names += ["color_range", "color_space", "color_transfer", "color_primaries"]
        assert info["start_time_s"] == pytest.approx(item["start_time_s"], abs=1e-6)
        assert info["duration_s"] == pytest.approx(item["duration_s"], abs=1e-3)
    if "mirrored" in item:
        names.append("mirrored")
    assert {name: info[name] for name in names} == {name: item[name] for name in names}


def test_probe_tells_the_tracks(media: Path, video: dict[str, Any]) -> None:
    """Codec, channels, rate, language, default and start of every sound track."""
    found = probe(media / video["path"]).as_json()["audio"]
    facts = ["codec", "channels", "rate", "language", "default"]
    assert [[track[f] for f in facts] for track in found] == [[track[f] for f in facts] for track in video["audio"]]
    starts = [track["start_time_s"] for track in video["audio"]]
    assert [track["start_time_s"] for track in found] == pytest.approx(starts, abs=1e-3)


def test_probe_refuses_what_cannot_be_read(media: Path, item: dict[str, Any]) -> None:
    """Looking at a broken file says what is wrong with it, as opening it does."""
    if is_readable(item):
        assert probe(media / item["path"]).width > 0
        return
    with pytest.raises(MediaError) as refusal:
        probe(media / item["path"])
    assert refusal.value.hint


def test_every_frame_has_its_exact_time(media: Path, video: dict[str, Any]) -> None:
    """Times equal the listed ones, or equal steps from the start, to the tick."""
    _, _, frames = outcome_of(media / video["path"])
    times = [frame.time for frame in frames]
    if "pts" in video:
        listed = json.loads((media / video["pts"]).read_text(encoding="utf-8"))
        assert times == [Fraction(*pair) for pair in listed]
        return
    rate = Fraction(video["fps"])
    assert times == [times[0] + index / rate for index in range(len(frames))]


def test_pictures_of_one_photograph_look_alike(media: Path, still: dict[str, Any]) -> None:
    """Whatever the depth, palette, turn or channels: the same colours, and a matte only where there is one."""
    alike = [other for other in entries() if other.get("mode") == "RGB16" and other["codec"] == "png"]
    with open_footage(media / still["path"]) as footage:
        frame = next(footage.frames())
    assert (frame.matte is not None) == still["alpha"]
    if still["mode"] in ("L", "L16"):
        assert np.ptp(frame.rgb, axis=2).max() == 0
    same_shape = abs(still["width"] / still["height"] - alike[0]["width"] / alike[0]["height"]) < 0.04
    if frame.damaged or not same_shape or not still["path"].startswith("nasty/") or still["width"] > 1000:
        return
    with open_footage(media / alike[0]["path"]) as footage:
        expected = next(footage.frames()).rgb.mean(axis=(0, 1))
    if still["mode"] in ("L", "L16"):
        expected = np.full(3, expected @ [0.299, 0.587, 0.114])
    np.testing.assert_allclose(frame.rgb.mean(axis=(0, 1)), expected, atol=0.015)
