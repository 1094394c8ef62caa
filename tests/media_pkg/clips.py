"""Small clips made for tests: moving gradients of any pixel format, with times and sound as wanted."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from understudy.media.planes import layout_of, new_frame, planes_of


def picture(index: int, width: int = 64, height: int = 48, name: str = "yuv420p") -> av.VideoFrame:
    """A diagonal gradient that moves with `index`, within the nominal range of the format."""
    made = new_frame(width, height, name)
    layout = layout_of(name)
    assert layout is not None
    for i, plane in enumerate(planes_of(made)):
        rows, columns = np.mgrid[0 : plane.shape[0], 0 : plane.shape[1]]
        levels = (rows * 3 + columns * 2 + index * 7 + 40 * i) % 120 / 255 + 0.25
        plane[...] = (levels if plane.ndim == 2 else levels[..., None]) * layout.peak
    return made


def write_clip(
    path: Path,
    times: list[int],
    *,
    time_base: Fraction = Fraction(1, 25),
    name: str = "yuv420p",
    size: tuple[int, int] = (64, 48),
    codec: str = "ffv1",
    rotation: int = 0,
    sound_from: Fraction | None = None,
    sound: str = "aac",
    tags: tuple[int, int, int, int] = (1, 1, 1, 1),
) -> None:
    """A lossless clip whose frames are shown at `times`, with a tone that starts at `sound_from` seconds."""
    settings = {"qp": "0", "preset": "ultrafast"} if codec == "libx264" else {}
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=1 / time_base, options=settings)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = *size, name
        stream.codec_context.time_base = stream.time_base = time_base
        context = stream.codec_context
        context.color_range, context.colorspace, context.color_trc, context.color_primaries = tags
        if rotation:
            stream.set_display_rotation(rotation)
        track = container.add_stream(sound, rate=48000) if sound_from is not None else None
        if isinstance(track, av.AudioStream):
            track.codec_context.layout = "mono"
        for index, time in enumerate(times):
            frame = picture(index, *size, name)
            frame.pts, frame.time_base = time, time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if isinstance(track, av.AudioStream) and sound_from is not None:
            _write_tone(container, track, round(sound_from * 48000))


def _write_tone(container: av.container.OutputContainer, track: av.AudioStream, start: int) -> None:
    for block in range(40):
        phase = np.arange(block * 1024, (block + 1) * 1024) / 48000
        samples = (0.3 * np.sin(2 * np.pi * 440 * phase)).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(samples[None], "fltp", "mono")
        frame.sample_rate, frame.pts, frame.time_base = 48000, start + block * 1024, Fraction(1, 48000)
        container.mux(track.encode(frame))
    container.mux(track.encode(None))
