"""Recall: in how many frames of the test footage the embedded engine finds a face, against what a person sees.

Every frame of every file that the manifest lists for extraction, searched as extraction searches (inside a stretch the
frame before helps). "clips" are the videos as they were shot; other files are damaged or unusual. Frames that the
manifest leaves in doubt count neither way. Footage is looked for where UNDERSTUDY_MEDIA says. About five minutes of one
core.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from understudy.detection import Engine, FoundFace, load_engine
from understudy.errors import MediaError
from understudy.media import open_footage
from understudy.stages.stretches import stretch_length

MEDIA = Path(os.environ.get("UNDERSTUDY_MEDIA", Path(__file__).resolve().parents[2] / "shared" / "media"))
FRONTAL_YAW = 60
"""Clips with faces turned further than this are not "frontal"; the manifest judges yaw to about 10 degrees."""

QUICK_STEP = 12


@dataclass
class Tally:
    """Frames of one file or of several: with a face and found, without and falsely found in; faces above the most."""

    seen: int = 0
    found: int = 0
    empty: int = 0
    false: int = 0
    extra: int = 0
    most: int = 0
    seconds: float = 0.0
    frames: int = 0

    def add(self, other: Tally) -> None:
        for name in ("seen", "found", "empty", "false", "extra", "seconds", "frames"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.most = max(self.most, other.most)


def run(quick: bool = False) -> dict[str, Any]:
    """Totals, and one row per file. quick: every twelfth frame, each searched thoroughly."""
    listed = entries()
    if not listed:
        return {"skipped": "no test footage; set UNDERSTUDY_MEDIA"}
    cv2.setNumThreads(1)
    engine = load_engine()
    tallies = [(item, tally_of(engine, item, step=QUICK_STEP if quick else 1)) for item in listed]
    totals = {name: total([t for item, t in tallies if name in kinds_of(item)]) for name in KINDS}
    return {
        "frames_with_face_found": {name: f"{t.found} of {t.seen}" for name, t in totals.items()},
        "frames_without_face_found": {name: f"{t.false} of {t.empty}" for name, t in totals.items()},
        "faces_beyond_the_most": {name: t.extra for name, t in totals.items()},
        "rows": [row(item, tally) for item, tally in tallies],
    }


KINDS = ("all", "clips", "frontal clips", "profile clips", "occlusion clips")


def kinds_of(item: dict[str, Any]) -> set[str]:
    """Which totals a file counts for."""
    kinds = {"all"}
    if item["path"].startswith("clips/"):
        kinds |= {"clips", "frontal clips" if item["max_abs_yaw"] < FRONTAL_YAW else "profile clips"}
        kinds |= {"occlusion clips"} if item["occlusion"] else set()
    return kinds


def entries() -> list[dict[str, Any]]:
    """The manifest's files with people in them."""
    manifest = MEDIA / "manifest.json"
    listed = json.loads(manifest.read_text(encoding="utf-8"))["files"] if manifest.is_file() else []
    return [item for item in listed if "extract" in item.get("use", ()) and item.get("faces")]


def tally_of(engine: Engine, item: dict[str, Any], *, step: int = 1) -> Tally:
    """Search one file's frames, every `step`th of them."""
    doubt, empty = frames_in(item.get("frames_doubt")), frames_in(item.get("frames_no_face"))
    tally = Tally()
    for index, faces, seconds in searched(engine, MEDIA / item["path"], step):
        tally.frames, tally.seconds = tally.frames + 1, tally.seconds + seconds
        tally.most = max(tally.most, len(faces))
        tally.extra += max(0, len(faces) - item["faces"]["max"])
        if index in empty:
            tally.empty += 1
            tally.false += bool(faces)
        elif index not in doubt and item["faces"]["frames_with_face"]:
            tally.seen += 1
            tally.found += bool(faces)
    return tally


def searched(engine: Engine, path: Path, step: int) -> Iterator[tuple[int, list[FoundFace], float]]:
    """Index, faces and seconds of thread time for each frame looked at."""
    previous: list[FoundFace] | None = None
    with open_footage(path) as footage:
        length = stretch_length(footage)
        for frame in footage.frames():
            if frame.index % step:
                continue
            hint = None if step > 1 or frame.index % length == 0 else previous
            start = time.thread_time()
            try:
                previous = engine.find(frame.rgb8, previous=hint)
            except MediaError:
                previous = None
                continue
            yield frame.index, previous, time.thread_time() - start


def frames_in(runs: list[list[int]] | None) -> frozenset[int]:
    """The frame numbers of a manifest's runs, both ends included."""
    return frozenset(number for first, last in runs or [] for number in range(first, last + 1))


def total(tallies: list[Tally]) -> Tally:
    """The sum over files."""
    result = Tally()
    for tally in tallies:
        result.add(tally)
    return result


def row(item: dict[str, Any], tally: Tally) -> dict[str, Any]:
    """One line of the table."""
    what = [f"yaw {item['max_abs_yaw']}"] if item["max_abs_yaw"] >= FRONTAL_YAW else []
    what += ["occlusion"] if item["occlusion"] else []
    return {
        "file": Path(item["path"]).name,
        "with a face": tally.seen,
        "found": tally.found,
        "recall %": round(100 * tally.found / tally.seen, 1) if tally.seen else "",
        "without": tally.empty,
        "false": tally.false,
        "people": item["faces"]["max"],
        "most found": tally.most,
        "ms a frame": round(1000 * tally.seconds / max(1, tally.frames), 1),
        "hard because of": ", ".join(what),
    }
