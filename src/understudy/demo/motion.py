"""What the two performers do: turns, nods, speech, blinks and light as functions of time, from a seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from understudy.demo.drawing import Camera
from understudy.demo.rig import Floats, Gesture

MAX_YAW = np.radians(35.0)
MAX_PITCH = np.radians(13.0)
MAX_ROLL = np.radians(8.0)
WIDEST_MOUTH = 0.48
"""Eye distances between the inner lips at the loudest syllable."""
CLOSED_MOUTH = 0.015


@dataclass(frozen=True, eq=False)
class Script:
    """One performance, all arrays (N,) by frame. loudness: 0..1, the rhythm that the sound follows; tint (N,3)."""

    fps: int
    yaw: Floats
    pitch: Floats
    roll: Floats
    loudness: Floats
    blink: Floats
    light: Floats
    tint: Floats
    sway: Floats
    zoom: Floats

    def __len__(self) -> int:
        return len(self.yaw)

    def gesture(self, index: int) -> Gesture:
        """The pose and expression of one frame."""
        return Gesture(
            yaw=float(self.yaw[index]),
            pitch=float(self.pitch[index]),
            roll=float(self.roll[index]),
            mouth=mouth_gap(float(self.loudness[index])),
            blink=float(self.blink[index]),
            light=float(self.light[index]),
            shift=(float(self.sway[index, 0]), float(self.sway[index, 1])),
        )

    def camera(self, index: int, origin: tuple[float, float], width: int, height: int) -> Camera:
        """A camera held by hand: it breathes about the middle of the frame. origin: canvas point of the top left."""
        zoom = float(self.zoom[index])
        middle = np.array([width, height]) / 2
        drift = self.sway[index, ::-1] * 120
        offset = middle - zoom * (np.array(origin) + middle + drift)
        return Camera(zoom, (float(offset[0]), float(offset[1])))


def mouth_gap(loudness: float) -> float:
    """Gap between the inner lips in eye distances."""
    return CLOSED_MOUTH + (WIDEST_MOUTH - CLOSED_MOUTH) * loudness


def write_script(*, frames: int, fps: int, seed: int) -> Script:
    """A performance of `frames` frames that turns to both sides and speaks all the time. Equal seeds, equal scripts."""
    random = np.random.default_rng(seed)
    time = np.arange(frames) / fps
    turn_secs = 3.6 + 0.6 * random.random()
    turn = _wave(time, turn_secs, random.random())
    slow = _wave(time, 11.0, random.random())
    gain = 1.0 + 0.06 * _wave(time, 4.3, random.random())
    warmth = 0.04 * _wave(time, 6.1, random.random())
    return Script(
        fps=fps,
        yaw=MAX_YAW * np.sin(np.pi / 2 * turn),  # lingers at the sides
        pitch=MAX_PITCH * (0.65 * _wave(time, 2.7, random.random()) + 0.35 * _wave(time, 1.3, random.random())),
        roll=MAX_ROLL * (0.6 * _wave(time, 5.1, random.random()) + 0.4 * slow),
        loudness=_speech(time, random),
        blink=_blinks(time, random),
        light=_wave(time, 3.3, random.random()),
        tint=np.stack([gain * (1 + warmth), gain, gain * (1 - warmth)], axis=1),
        sway=0.025 * np.stack([_wave(time, 3.1, random.random()), _wave(time, 2.3, random.random())], axis=1),
        zoom=1.0 + 0.02 * _wave(time, 7.0, random.random()),
    )


def speak(script: Script, *, rate: int, pitch_hz: float) -> Floats:
    """A voice-like tone in the rhythm of the mouth: mono samples in -1..1, `rate` per second, as long as the script."""
    samples = round(len(script) * rate / script.fps)
    time = np.arange(samples) / rate
    loudness = np.interp(time, np.arange(len(script)) / script.fps, script.loudness)
    phase = 2 * np.pi * np.cumsum(pitch_hz * (1 + 0.03 * np.sin(2 * np.pi * 4.7 * time) + 0.08 * loudness)) / rate
    tone = sum(np.sin(harmonic * phase) / harmonic for harmonic in range(1, 6))
    return np.asarray(0.22 * loudness * tone, np.float64)


def _wave(time: Floats, period: float, phase: float) -> Floats:
    return np.asarray(np.sin(2 * np.pi * (time / period + phase)), np.float64)


def _bump(time: Floats, middle: float, half_width: float) -> Floats:
    return np.asarray(0.5 * (1 + np.cos(np.pi * np.clip((time - middle) / half_width, -1, 1))), np.float64)


def _speech(time: Floats, random: np.random.Generator) -> Floats:
    """Syllables of varying strength, four a second, in phrases with pauses."""
    loudness = np.zeros_like(time)
    at, left_in_phrase = 0.1, 6
    while at < time[-1] + 0.3:
        strength = float(random.choice([0.35, 0.6, 0.85, 1.0]))
        loudness = np.maximum(loudness, strength * _bump(time, at, 0.14 + 0.08 * strength))
        left_in_phrase -= 1
        at += 0.2 + 0.12 * float(random.random()) + (0.45 if left_in_phrase == 0 else 0.0)
        left_in_phrase = left_in_phrase or int(random.integers(4, 9))
    return loudness


def _blinks(time: Floats, random: np.random.Generator) -> Floats:
    shut = np.zeros_like(time)
    at = 0.8
    while at < time[-1] + 0.2:
        shut = np.maximum(shut, _bump(time, at, 0.16))
        at += 1.4 + 1.4 * float(random.random())
    return shut
