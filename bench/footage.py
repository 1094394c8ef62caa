"""Reading and writing footage on one core: decoding, RGB views, compositing onto native planes, PNG, shots,
denoising, at 1080p."""

from __future__ import annotations

import dataclasses
import statistics
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from understudy.imaging.files import encode_png
from understudy.media import EncodeOptions, FootageInfo, Frame, VideoWriter, composite_onto, open_footage
from understudy.media.denoise import Denoiser
from understudy.media.shots import ShotFinder

WIDTH, HEIGHT = 1920, 1080
BOX = (660, 240, 1260, 840)


def run(quick: bool) -> dict[str, Any]:
    """Milliseconds per frame of each step, and frames/s of decoding."""
    cv2.setNumThreads(1)
    rounds = 5 if quick else 40
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mp4"
        _write_clip(clip, 30 if quick else 120)
        with open_footage(clip) as footage:
            started = time.perf_counter()
            count = sum(1 for _ in footage.frames())
            decoding = count / (time.perf_counter() - started)
            frame = next(footage.frames(count // 2))
    figures: dict[str, Any] = {"decode_frames_per_sec": round(decoding, 1)}
    draw = np.random.default_rng(0)
    size = (BOX[3] - BOX[1], BOX[2] - BOX[0])
    image = draw.uniform(0, 1, (*size, 3)).astype(np.float32)
    alpha = np.clip(draw.uniform(-0.1, 1.1, size), 0, 1).astype(np.float32)
    rgb8 = frame.rgb8
    finder, denoiser = ShotFinder(), Denoiser(7)
    steps: dict[str, Callable[[], object]] = {
        "rgb8_ms": lambda: _fresh(frame).rgb8,
        "rgb_float_ms": lambda: _fresh(frame).rgb,
        "composite_600px_planes_ms": lambda: composite_onto(frame, image, alpha, BOX).native(),
        "composite_600px_rgb8_ms": lambda: composite_onto(frame, image, alpha, BOX).rgb8,
        "png_ms": lambda: encode_png(rgb8),
        "shots_ms": lambda: finder.feed(rgb8),
        "denoise_ms": lambda: denoiser.clean(rgb8),
    }
    return figures | {name: round(_median_ms(step, rounds), 2) for name, step in steps.items()}


def _fresh(frame: Frame) -> Frame:
    """The frame without the views that were made of it."""
    return dataclasses.replace(frame)


def _median_ms(step: Callable[[], object], rounds: int) -> float:
    taken = []
    for _ in range(rounds):
        started = time.perf_counter()
        step()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken) * 1000


def _write_clip(path: Path, count: int) -> None:
    """Soft moving noise, about as costly to decode as a quiet shot."""
    small = np.random.default_rng(1).uniform(40, 200, (HEIGHT // 24, WIDTH // 24, 3)).astype(np.float32)
    large = np.clip(cv2.resize(small, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC), 0, 255).astype(np.uint8)
    options = EncodeOptions.of(preset="veryfast")
    with VideoWriter(path, FootageInfo.plain(WIDTH, HEIGHT, 25), options=options) as video:
        for index in range(count):
            pixels = np.ascontiguousarray(np.roll(large, 2 * index, axis=1))
            video.write(Frame.from_rgb(pixels, index=index, pts=index, time_base=Fraction(1, 25)))
