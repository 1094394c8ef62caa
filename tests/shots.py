"""Small synthetic shots of known landmarks, for tests of any layer: `from shots import small_shot`.

shot = small_shot()                    # 12 frames, 320x240, one face that turns and speaks
shot.frames[3], shot.truth.landmarks[3]
shot.write_frames(folder); shot.write_video(path)
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from understudy.demo.footage import Performer, Truth, draw_shot


@dataclass(frozen=True, eq=False)
class SmallShot:
    """frames: RGB uint8 (H,W,3), not to be modified. truth: landmarks and pose of each."""

    frames: list[NDArray[np.uint8]]
    truth: Truth
    fps: int

    def write_frames(self, folder: Path) -> list[Path]:
        """Write as 00001.png … and give the paths."""
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"{index + 1:05d}.png" for index in range(len(self.frames))]
        for path, frame in zip(paths, self.frames, strict=True):
            Image.fromarray(frame).save(path, compress_level=1)
        return paths

    def write_video(self, path: Path, *, sound: bool = True) -> Path:
        """Write as H.264, with a short tone when `sound`."""
        height, width = self.frames[0].shape[:2]
        with av.open(str(path), "w") as container:
            picture = container.add_stream("libx264", rate=self.fps, options={"crf": "14", "preset": "veryfast"})
            picture.width, picture.height, picture.pix_fmt = width, height, "yuv420p"
            audio = container.add_stream("aac", rate=44100, layout="mono") if sound else None
            for frame in self.frames:
                container.mux(picture.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(picture.encode(None))
            if audio is not None:
                time = np.arange(44100 * len(self.frames) // self.fps) / 44100
                tone = av.AudioFrame.from_ndarray(
                    np.sin(2 * np.pi * 220 * time).astype(np.float32)[None] * 0.2, format="fltp", layout="mono"
                )
                tone.sample_rate = 44100
                container.mux(audio.encode(tone))
                container.mux(audio.encode(None))
        return path


@functools.cache
def small_shot(
    performer: Performer = Performer.ASTRONAUT,
    *,
    frames: int = 12,
    fps: int = 25,
    size: tuple[int, int] = (320, 240),
    seed: int = 3,
) -> SmallShot:
    """A short performance; the same arguments give the same object within one test process."""
    shot = draw_shot(performer, frames=frames, fps=fps, size=size, seed=seed)
    return SmallShot(list(shot.frames()), shot.truth, fps)
