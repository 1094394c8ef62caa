"""Engines: what --accuracy high gains and costs, and milliseconds per frame, for the embedded engine.

Landmark error and trembling on two drawn shots whose truth is known, trembling on two real clips, all in percent of the
distance between the outer eye corners; trembling is the mean second difference over time of what is not movement (on
drawn shots, of the error; on clips, of the landmarks of people who hold still). The two accuracies take turns frame by
frame, so that a busy machine slows both alike. Clips are looked for where UNDERSTUDY_MEDIA says.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy.demo.footage import Performer, draw_shot
from understudy.detection import Engine, FoundFace, load_engine
from understudy.detection.options import Accuracy
from understudy.media import open_footage
from understudy.records import Rect

MEDIA = Path(os.environ.get("UNDERSTUDY_MEDIA", Path(__file__).resolve().parents[2] / "shared" / "media"))
STILL_CLIPS = ("clips/man_a_frontal_blink_540x960.mp4", "clips/grid_lbbc2a.mpg")
STRETCH = 12

Points = NDArray[np.float64]
Picture = NDArray[np.uint8]


def run(quick: bool = False) -> dict[str, Any]:
    """One row per shot or clip and accuracy, and what landmarks for a rectangle take."""
    cv2.setNumThreads(1)
    engines = {accuracy: load_engine(accuracy=accuracy) for accuracy in (Accuracy.FAST, Accuracy.HIGH)}
    count = 25 if quick else 75
    rows = []
    for performer in Performer:
        shot = draw_shot(performer, frames=count)
        rows += compare(f"drawn {performer}", engines, list(shot.frames()), shot.truth.landmarks)
    for clip in STILL_CLIPS if (MEDIA / "manifest.json").is_file() else ():
        rows += compare(Path(clip).name, engines, list(first_frames(MEDIA / clip, count)), None)
    return {"landmarks_in_a_rectangle_ms": in_a_rectangle(engines[Accuracy.FAST]), "rows": rows}


def compare(
    name: str, engines: dict[Accuracy, Engine], frames: list[Picture], truth: Points | None
) -> list[dict[str, Any]]:
    """Both accuracies over the same frames, in turns."""
    found: dict[Accuracy, list[Points]] = {accuracy: [] for accuracy in engines}
    spent: dict[Accuracy, list[float]] = {accuracy: [] for accuracy in engines}
    previous: dict[Accuracy, list[FoundFace] | None] = dict.fromkeys(engines)
    for index, frame in enumerate(frames):
        for accuracy, engine in engines.items():
            start = time.thread_time()
            hint = None if index % STRETCH == 0 else previous[accuracy]
            faces = previous[accuracy] = engine.find(frame, previous=hint)
            spent[accuracy].append(time.thread_time() - start)
            found[accuracy].append(faces[0].landmarks if faces else np.full((68, 2), np.nan))
    return [row(name, accuracy, np.array(found[accuracy]), truth, spent[accuracy]) for accuracy in engines]


def row(name: str, accuracy: Accuracy, found: Points, truth: Points | None, spent: list[float]) -> dict[str, Any]:
    """One line of the table, in percent of the distance between the outer eye corners and milliseconds."""
    scale = float(np.nanmean(np.linalg.norm(found[:, 36] - found[:, 45], axis=1))) / 100
    off = found if truth is None else found - truth
    second = np.linalg.norm(off[2:] - 2 * off[1:-1] + off[:-2], axis=2)
    error = None if truth is None else float(np.nanmean(np.linalg.norm(off, axis=2))) / scale
    return {
        "footage": name,
        "accuracy": str(accuracy),
        "error %": "" if error is None else round(error, 2),
        "trembling %": round(float(np.nanmean(second)) / scale, 3),
        "ms a frame": round(statistics.median(spent) * 1000, 1),
    }


def in_a_rectangle(engine: Engine) -> float:
    """Milliseconds of one core for `landmarks_in` on a frame of 1920x1080."""
    frame = cv2.resize(next(draw_shot(Performer.ASTRONAUT, frames=1).frames()), (1920, 1080))
    (face,) = engine.find(frame, max_faces=1)
    middle = Rect(face.rect.left, face.rect.top, face.rect.right, face.rect.bottom)
    times = []
    for _ in range(15):
        start = time.thread_time()
        engine.landmarks_in(frame, middle)
        times.append(time.thread_time() - start)
    return round(statistics.median(times) * 1000, 1)


def first_frames(path: Path, count: int) -> Iterator[Picture]:
    """The first frames of a clip as RGB."""
    with open_footage(path) as footage:
        for frame in footage.frames():
            if frame.index >= count:
                return
            yield frame.rgb8.copy()
