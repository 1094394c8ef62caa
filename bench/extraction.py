"""Extraction: frames/s from decoding to the written aligned JPEG, with tracks and smoothing, and milliseconds of one
core for each part of a frame.

Two clips of real footage with one face, crops of 512 px. The rate is of the stage itself, over all cores that it may
use and without start-up; the parts are timed in one thread. Footage is looked for where UNDERSTUDY_MEDIA says.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import statistics
import tempfile
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2

from understudy.detection import ExtractOptions, FoundFace, load_engine
from understudy.detection.cutting import cut_face
from understudy.detection.smoothing import REACH, smooth
from understudy.detection.tracking import Sight, Tracker, look_of
from understudy.facesets import FaceMeta, encode_jpeg, write_face
from understudy.media import Frame, open_footage
from understudy.media.shots import ShotFinder
from understudy.records import FaceType, Side
from understudy.stages.extract import extract
from understudy.workspace import Workspace

MEDIA = Path(os.environ.get("UNDERSTUDY_MEDIA", Path(__file__).resolve().parents[2] / "shared" / "media"))
CLIPS = {"clips/man_a_turns_540x960.mp4": 60.0, "clips/man_d_lowkey_hand_1920x1080.mp4": 30.0}
"""Frames/s to reach on two cores."""

SIZE, QUALITY = 512, 90


def run(quick: bool = False) -> dict[str, Any]:
    """Per clip: frames/s of the stage with its target, and mean milliseconds of one core per frame by part."""
    if not (MEDIA / "manifest.json").is_file():
        return {"skipped": "no test footage; set UNDERSTUDY_MEDIA"}
    clips = {Path(name).name: _clip(MEDIA / name, target, quick) for name, target in CLIPS.items()}
    return {"clips": clips, "cores": os.cpu_count(), "crop_px": SIZE}


def _clip(path: Path, target: float, quick: bool) -> dict[str, Any]:
    rates = [_stage_rate(path) for _ in range(1 if quick else 3)]
    parts = _parts(path, 36 if quick else 200)
    return {
        "frames_per_second": round(statistics.median(rates), 1),
        "target_frames_per_second": target,
        "milliseconds_per_frame": {name: round(value, 2) for name, value in parts.items()},
        "milliseconds_per_frame_sum": round(sum(parts.values()), 2),
    }


def _stage_rate(path: Path) -> float:
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace.create(Path(folder))
        shutil.copyfile(path, workspace.root / f"data_src{path.suffix}")
        result = extract(workspace, Side.SRC, ExtractOptions.of(image_size=SIZE, jpeg_quality=QUALITY))
        return result.rate or 0.0


def _parts(path: Path, count: int) -> dict[str, float]:
    """Milliseconds of thread time per frame; of decoding wall time, since the decoder has threads of its own."""
    watch = Stopwatch()
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    engine, previous, done = load_engine(), None, 0
    shots, tracker, last = ShotFinder(), Tracker(), deque[FoundFace](maxlen=2 * REACH + 1)
    with tempfile.TemporaryDirectory() as folder, open_footage(path) as footage:
        frames = footage.frames()
        while done < count:
            with watch("decode", time.perf_counter):
                frame = next(frames, None)
            if frame is None:
                break
            with watch("convert"):
                rgb8 = frame.rgb8
            with watch("find"):
                previous = engine.find(rgb8, previous=None if done % 12 == 0 else previous)
            with watch("shots"):
                is_cut = shots.feed(frame)
            with watch("tracks"):
                sights = [Sight(face.landmarks, look_of(rgb8, face.landmarks)) for face in previous]
                tracker.follow(frame.index, sights, new_shot=is_cut)
            last.extend(previous[:1])
            with watch("smooth"):
                if len(last) == last.maxlen:
                    smooth([face.landmarks for face in last], REACH, range(-REACH, REACH + 1))
            for face in previous:
                _write(watch, frame, face, Path(folder))
            done += 1
    cv2.setNumThreads(threads)
    return {name: seconds / max(1, done) * 1000 for name, seconds in watch.spent.items()}


def _write(watch: Stopwatch, frame: Frame, face: FoundFace, folder: Path) -> None:
    with watch("align"):
        cut = cut_face(frame.rgb8, face, size=SIZE, face_type=FaceType.WHOLE_FACE)
    if cut is None:
        return
    with watch("encode"):
        jpeg = encode_jpeg(cut.rgb8, QUALITY)
    with watch("write"):
        matrix = cut.face_from_frame
        meta = FaceMeta(FaceType.WHOLE_FACE, cut.landmarks, frame.name, face.rect, face.landmarks, matrix)
        write_face(folder / f"{frame.index}.jpg", jpeg, meta)


class Stopwatch:
    """Adds up what is spent in blocks of each name, in seconds."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = defaultdict(float)

    @contextlib.contextmanager
    def __call__(self, name: str, clock: Callable[[], float] = time.thread_time) -> Iterator[None]:
        start = clock()
        yield
        self.spent[name] += clock() - start
