"""Merging on one core: frames/s from a decoded 1080p frame in memory to the composited one, and how memory grows.

The face is 400 px from brow to chin, the predictor has 256 px, erode 10, blur 40, mode overlay; the network itself is
left out (a function that blurs stands in for it). Nothing is encoded or written.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from typing import Any

import av
import cv2
import numpy as np
import psutil

from understudy.compositing.options import MergeOptions
from understudy.compositing.render import Swapper, render_frame
from understudy.geometry.alignment import TEMPLATE_51
from understudy.imaging.types import Image, Mask
from understudy.media import ColourTags, Frame
from understudy.records import FaceType
from understudy.stages.ordered import in_order

WIDTH, HEIGHT, FACE_PX, SIZE = 1920, 1080, 400, 256
SETTINGS = {"erode_mask_modifier": 10, "blur_mask_modifier": 40, "mode": "overlay"}
TARGET_FPS = 12.0
TARGET_SLOPE_BYTES = 1024.0


def run(quick: bool = False) -> dict[str, Any]:
    """Frames/s per core for each colour transfer and face type, and bytes per frame that memory grows by."""
    cv2.setNumThreads(1)
    frames = [_frame(index) for index in range(4)]
    repeats = 12 if quick else 60
    rates, cpu_rates = {}, {}
    for face_type in (FaceType.FULL, FaceType.WHOLE_FACE):
        for transfer in ("none", "rct"):
            for faithful in (False, True):
                options = MergeOptions.of(**SETTINGS, color_transfer_mode=transfer, faithful=faithful)
                name = f"overlay, {transfer}, {face_type}{', faithful' if faithful else ''}"
                wall, cpu = _seconds(_renderer(face_type, options), frames, repeats)
                rates[name], cpu_rates[name] = round(1 / wall, 2), round(1 / cpu, 2)
    slope, count = _memory_slope(300 if quick else 5000)
    return {
        "frames_per_second_per_core": rates,
        "frames_per_cpu_second": cpu_rates,
        "target_frames_per_second": TARGET_FPS,
        "memory_bytes_per_frame": round(slope, 1),
        "memory_frames": count,
        "target_bytes_per_frame": TARGET_SLOPE_BYTES,
        "meets_target": min(rates.values()) >= TARGET_FPS and slope < TARGET_SLOPE_BYTES,
    }


def _renderer(face_type: FaceType, options: MergeOptions, *, scale: float = 1.0) -> Callable[[Frame], None]:
    """Redraws the face of a frame and makes its planes. scale: of the frame and the face in it."""
    swapper = Swapper(_stand_in(), SIZE, face_type)
    landmarks = [_landmarks() * scale]

    def render(frame: Frame) -> None:
        made = render_frame(Frame(frame.index, frame.name, frame.picture, tags=frame.tags), landmarks, swapper, options)
        made.frame.planes()

    return render


def _seconds(render: Callable[[Frame], None], frames: list[Frame], repeats: int) -> tuple[float, float]:
    """Median seconds of one frame: by the clock, and of the processor, which other programs disturb less."""
    wall, cpu = [], []
    for index in range(repeats + 2):
        started, worked = time.perf_counter(), time.thread_time()
        render(frames[index % len(frames)])
        wall.append(time.perf_counter() - started)
        cpu.append(time.thread_time() - worked)
    return statistics.median(wall[2:]), statistics.median(cpu[2:])


def _memory_slope(count: int) -> tuple[float, int]:
    """Bytes of resident memory per frame, by a straight line through the second half of `count` frames.

    Small frames, through the queue and the threads that the stage uses, into nothing.
    """
    scale = 1 / 3
    render = _renderer(FaceType.FULL, MergeOptions.of(**SETTINGS, color_transfer_mode="rct"), scale=scale)
    frames = (_frame(index, round(HEIGHT * scale), round(WIDTH * scale)) for index in range(count))
    process, samples = psutil.Process(), []
    for index, _ in enumerate(in_order(frames, render, workers=2, ahead=4)):
        if index % max(1, count // 100) == 0:
            gc.collect()
            samples.append((index, process.memory_info().rss))
    tail = np.array(samples[len(samples) // 2 :], np.float64)
    return float(np.polyfit(tail[:, 0], tail[:, 1], 1)[0]), count


def _frame(index: int, height: int = HEIGHT, width: int = WIDTH) -> Frame:
    """A 4:2:0 frame with content, as a decoder hands it over."""
    rows, columns = np.mgrid[:height, :width]
    red = (rows * 255 // height + index) % 256
    rgb = np.dstack([red, columns * 255 // width, (rows + columns) % 256]).astype(np.uint8)
    picture = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format="yuv420p")
    return Frame(index, f"{index + 1:05d}.png", picture, tags=ColourTags("tv", "bt709", "bt709", "bt709"))


def _landmarks() -> np.ndarray[Any, np.dtype[np.float64]]:
    """68 landmarks in the middle of the frame: the mean face, FACE_PX from its brows to its chin, slightly turned."""
    jaw_angles = np.linspace(np.pi, 0, 17)
    jaw = np.stack([0.49 + 0.58 * np.cos(jaw_angles), 0.25 + 0.95 * np.sin(jaw_angles)], axis=1)
    face = np.concatenate([jaw, TEMPLATE_51]).astype(np.float64)
    face *= FACE_PX / (face[:, 1].max() - face[:, 1].min())
    angle = np.deg2rad(5)
    turned = face @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return turned - turned.mean(axis=0) + (WIDTH / 2, HEIGHT / 2)


def _stand_in() -> Callable[[Image], tuple[Image, Mask, Mask]]:
    """In place of a network: a blurred face and two soft ellipses."""
    masks = [_ellipse(0.5, 0.52, 0.36, 0.44), _ellipse(0.48, 0.5, 0.38, 0.42)]
    return lambda crop: (cv2.blur(crop, (3, 3)), masks[0], masks[1])


def _ellipse(cx: float, cy: float, rx: float, ry: float) -> Mask:
    along = (np.arange(SIZE, dtype=np.float32) + 0.5) / SIZE
    distance = ((along[None, :] - cx) / rx) ** 2 + ((along[:, None] - cy) / ry) ** 2
    return np.clip((1 - distance) * 4, 0, 1).astype(np.float32)
