"""The demo's footage: two public-domain portraits that turn, speak and blink, with the truth of every frame.

    truth = make_demo_footage(folder)              # folder/data_src.mp4, folder/data_dst.mp4, with sound
    shot = draw_shot(Performer.ASTRONAUT, frames=25)   # or frames and truth without any file

The portraits ship inside scikit-image (Eileen Collins, NASA) and matplotlib (Grace Hopper, US Navy); both are works
of the US government in the public domain. Nothing is downloaded. Every picture made from them is altered, and is to
be labelled so wherever it is shown.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from understudy.demo.drawing import Camera, Picture, Stage
from understudy.demo.motion import Script, mouth_gap, speak, write_script
from understudy.demo.rig import Floats, Rig
from understudy.errors import MissingExtra
from understudy.files import writing
from understudy.records import Side
from understudy.report import Report, Stop, never, silent, track

SOUND_RATE = 44100
MARGIN_PX = 12
"""Room around the frame for the camera to move in, for frames 480 px high."""


class Performer(StrEnum):
    """Whose portrait is animated."""

    ASTRONAUT = "astronaut"
    ADMIRAL = "admiral"


FACE_HEIGHTS = {Performer.ASTRONAUT: 0.49, Performer.ADMIRAL: 0.56}
"""Forehead to chin as a part of the frame's height."""

VOICES_HZ = {Performer.ASTRONAUT: 205.0, Performer.ADMIRAL: 165.0}

ROLES = {Side.SRC: Performer.ASTRONAUT, Side.DST: Performer.ADMIRAL}


@dataclass(frozen=True, eq=False)
class Truth:
    """What is known about every frame, (N, …) float64 arrays.

    landmarks: (N,68,2) frame px. mesh: (N,468,2) frame px. yaw, pitch, roll: radians relative to the portrait, which
    looks at the camera; yaw > 0: nose to the left of the picture, pitch > 0: up. mouth_opening: gap between the inner
    lips in distances between the eyes, whatever the pose. blink: 0 open … 1 shut.
    """

    landmarks: Floats
    mesh: Floats
    yaw: Floats
    pitch: Floats
    roll: Floats
    mouth_opening: Floats
    blink: Floats

    def __len__(self) -> int:
        return len(self.yaw)

    def save(self, path: Path) -> None:
        """Write as .npz."""
        with writing(path) as temp, temp.open("wb") as handle:
            np.savez(handle, **vars(self))

    @classmethod
    def load(cls, path: Path) -> Truth:
        with np.load(path, allow_pickle=False) as stored:
            return cls(**{name: stored[name] for name in cls.__dataclass_fields__})


class Shot:
    """One performance ready to be drawn: `truth` of all frames, `frame(index)` and `frames()` as RGB uint8."""

    def __init__(self, stage: Stage, script: Script, origin: tuple[float, float], width: int, height: int) -> None:
        self.script, self.width, self.height = script, width, height
        self._stage, self._origin = stage, origin

    def __len__(self) -> int:
        return len(self.script)

    @property
    def rig(self) -> Rig:
        return self._stage.rig

    def frame(self, index: int) -> Picture:
        """(height, width, 3) uint8 RGB."""
        posed = self._stage.rig.pose(self.script.gesture(index))
        return self._stage.draw(posed, self._camera(index), self.width, self.height, self.script.tint[index])

    def frames(self) -> Iterator[Picture]:
        return (self.frame(index) for index in range(len(self)))

    @functools.cached_property
    def truth(self) -> Truth:
        """What the frames show, without drawing them."""
        from understudy.detection.mesh import landmarks_68

        script = self.script
        meshes = np.stack([self._mesh(index) for index in range(len(self))])
        return Truth(
            landmarks=np.stack([landmarks_68(mesh.astype(np.float32)) for mesh in meshes]),
            mesh=meshes,
            yaw=script.yaw,
            pitch=script.pitch,
            roll=script.roll,
            mouth_opening=np.array([mouth_gap(float(value)) for value in script.loudness]),
            blink=script.blink,
        )

    def _camera(self, index: int) -> Camera:
        return self.script.camera(index, self._origin, self.width, self.height)

    def _mesh(self, index: int) -> Floats:
        posed = self._stage.rig.pose(self.script.gesture(index))
        return self._camera(index).frame_from_canvas(posed.points[:468])


def draw_shot(
    performer: Performer, *, frames: int = 50, fps: int = 25, size: tuple[int, int] = (640, 480), seed: int = 1
) -> Shot:
    """Prepare a performance; nothing is drawn yet. size: width, height. Equal arguments give equal frames.

    Raises MissingExtra when the package that holds the portrait comes without it.
    """
    width, height = size
    portrait, mesh = _portrait(performer)
    scale = FACE_HEIGHTS[performer] * height / float(np.ptp(mesh[:, 1]))
    stage = Stage(_enlarge(portrait, scale), Rig(mesh * scale), has_teeth=performer is Performer.ASTRONAUT)
    room = np.array([stage.atlas.shape[1], stage.height]) - (width, height)
    margin = MARGIN_PX * height / 480
    centre = mesh[:, :2].mean(0) * scale
    corner = np.clip(centre - (0.5 * width, 0.55 * height), margin, np.maximum(room - margin, margin))
    script = write_script(frames=frames, fps=fps, seed=seed)
    return Shot(stage, script, (float(corner[0]), float(corner[1])), width, height)


def make_demo_footage(
    folder: Path,
    *,
    seconds: float = 8.0,
    fps: int = 25,
    size: tuple[int, int] = (640, 480),
    seed: int = 1,
    report: Report = silent,
    stop: Stop = never,
) -> dict[Side, Truth]:
    """Write data_src.mp4 and data_dst.mp4 (H.264, AAC) into `folder`, and give the truth of their frames.

    The truth is also kept as `.understudy/demo/truth_src.npz` and `truth_dst.npz`. What is there already is kept.
    """
    truths = {}
    for number, (side, performer) in enumerate(ROLES.items()):
        shot = draw_shot(performer, frames=round(seconds * fps), fps=fps, size=size, seed=seed + number)
        video, truth = footage_paths(folder, side)
        if not (video.exists() and truth.exists()):
            folder.mkdir(parents=True, exist_ok=True)
            _write_video(video, shot, VOICES_HZ[performer], side, report, stop)
            if stop():
                break
            shot.truth.save(truth)
        truths[side] = Truth.load(truth)
    return truths


def footage_paths(folder: Path, side: Side) -> tuple[Path, Path]:
    """The video of a side and the file of its truth."""
    return folder / f"data_{side}.mp4", folder / ".understudy" / "demo" / f"truth_{side}.npz"


def _write_video(path: Path, shot: Shot, voice_hz: float, side: Side, report: Report, stop: Stop) -> None:
    with writing(path) as temp, av.open(str(temp), "w", format="mp4") as container:
        picture = container.add_stream(
            "libx264", rate=Fraction(shot.script.fps), options={"crf": "16", "preset": "fast"}
        )
        picture.width, picture.height, picture.pix_fmt = shot.width, shot.height, "yuv420p"
        sound = container.add_stream("aac", rate=SOUND_RATE, layout="mono")
        for image in track(shot.frames(), f"Drawing the {side} footage", report, stop, total=len(shot)):
            container.mux(picture.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(picture.encode(None))
        samples = speak(shot.script, rate=SOUND_RATE, pitch_hz=voice_hz).astype(np.float32)
        voice = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        voice.sample_rate = SOUND_RATE
        container.mux(sound.encode(voice))
        container.mux(sound.encode(None))


@functools.cache
def _portrait(performer: Performer) -> tuple[Picture, Floats]:
    """The portrait (H,W,3) RGB and its face mesh (468,3) in its own pixels."""
    from understudy.detection import load_engine

    portrait = _astronaut() if performer is Performer.ASTRONAUT else _admiral()
    mesh = load_engine().find(portrait, max_faces=1)[0].mesh
    assert mesh is not None, "the bundled engine gives a mesh"
    return portrait, mesh.astype(np.float64)


def _astronaut() -> Picture:
    try:
        from skimage import data

        return np.ascontiguousarray(data.astronaut())
    except (ImportError, OSError) as error:
        raise _missing("scikit-image", error) from error


def _admiral() -> Picture:
    from matplotlib import cbook
    from PIL import Image

    try:
        with Image.open(Path(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))) as image:
            return np.array(image.convert("RGB"))
    except OSError as error:
        raise _missing("matplotlib", error) from error


def _missing(package: str, error: Exception) -> MissingExtra:
    return MissingExtra(
        f"The demo's portrait in {package} cannot be read: {error}",
        hint=f"Install the package again, with its data: pip install --force-reinstall {package}",
    )


def _enlarge(portrait: Picture, scale: float) -> Picture:
    """Resample by `scale` and sharpen what enlarging softened."""
    large = cv2.resize(portrait, None, fx=scale, fy=scale, interpolation=cv2.INTER_LANCZOS4)
    if scale <= 1.5:
        return np.ascontiguousarray(large)
    soft = cv2.GaussianBlur(large, (0, 0), 0.7 * scale)
    return np.asarray(cv2.addWeighted(large, 1.5, soft, -0.5, 0), np.uint8)
