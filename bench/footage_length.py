"""Memory of the footage commands against the length of the footage: peak of a process of its own, 640x360."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from understudy.media import EncodeOptions, FootageInfo, Frame, VideoWriter

STEPS = {
    "frames": "extract_frames(w, Side.DST, FramesOptions.of(format='jpg'))",
    "shots": "find_shots(w, Side.DST, again=True)",
    "denoise": "denoise(w, Side.DST, DenoiseOptions.of(factor=7))",
    "cut": "cut_video(w.dst.video, CutOptions.of(preset='ultrafast', replace=True))",
}
CODE = """
import pathlib, threading, psutil
from understudy.media import CutOptions, DenoiseOptions, FramesOptions
from understudy.records import Side
from understudy.stages.cut_video import cut_video
from understudy.stages.denoise import denoise
from understudy.stages.extract_frames import extract_frames
from understudy.stages.shots import find_shots
from understudy.workspace import Workspace
w = Workspace.open(pathlib.Path({root!r}))
peak, done = [0], threading.Event()
def watch():
    while not done.wait(0.02):
        peak[0] = max(peak[0], psutil.Process().memory_info().rss)
watcher = threading.Thread(target=watch)
watcher.start()
{step}
done.set()
watcher.join()
print(peak[0] >> 20)
"""


def run(quick: bool) -> dict[str, Any]:
    """Peak MiB per command and number of frames."""
    figures: dict[str, Any] = {}
    for count in (200, 1000) if quick else (500, 5000):
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / ".understudy").mkdir()
            _write_clip(Path(folder) / "data_dst.mp4", count)
            for name, step in STEPS.items():
                code = CODE.format(root=folder, step=step)
                done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
                figures[f"{name}_{count}_mib"] = int(done.stdout.split()[-1])
    return figures


def _write_clip(path: Path, count: int) -> None:
    draw = np.random.default_rng(1)
    small = draw.uniform(40, 200, (24, 40, 3)).astype(np.float32)
    large = np.clip(cv2.resize(small, (640, 360), interpolation=cv2.INTER_CUBIC), 0, 255).astype(np.uint8)
    with VideoWriter(path, FootageInfo.plain(640, 360, 25), options=EncodeOptions.of(preset="ultrafast")) as video:
        for index in range(count):
            pixels = np.ascontiguousarray(np.roll(large, 2 * index, axis=1))
            video.write(Frame.from_rgb(pixels, index=index, pts=index, time_base=Fraction(1, 25)))
