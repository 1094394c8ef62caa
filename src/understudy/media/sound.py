"""Sound that goes along with a picture: every track or one, the whole or a part, copied packet for packet or encoded.

Packets are copied where the container holds them. A part then begins and ends within a packet (about 20 ms): MP4 and
MOV hide what is before the first picture, other containers begin with the first whole packet. Sound that is encoded
anew begins and ends at the very sample.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av

from understudy.media.options import VideoFormat

_COPIED = {  # sound that a container holds as it is, for players and not only on paper
    VideoFormat.MP4: ("aac", "mp3", "mp2", "ac3", "eac3", "alac", "flac", "opus"),
    VideoFormat.MOV: ("aac", "mp3", "mp2", "ac3", "eac3", "alac", "pcm_"),
    VideoFormat.MKV: ("aac", "mp3", "mp2", "ac3", "eac3", "alac", "flac", "opus", "vorbis", "dts", "truehd", "pcm_"),
    VideoFormat.AVI: ("mp3", "mp2", "ac3", "pcm_s16le", "pcm_u8"),
}
_ENCODER = {VideoFormat.AVI: "pcm_s16le"}  # else aac; AVI has no place for the run-up of an encoder
_RUN_UP = Fraction(1)  # seconds before a part at which reading begins, since jumps are not exact


@dataclass(frozen=True)
class SoundCut:
    """A part of the sound. start, end: seconds on the footage's own clock; track: 0-based, None for all."""

    start: Fraction
    end: Fraction | None = None
    track: int | None = None


class Sound:
    """The sound tracks of a file on their way into `target`.

    form: the container; None copies everything as it is. zero: the time that becomes 0. note: hears what was changed.
    """

    def __init__(
        self, target: av.container.OutputContainer, path: Path, form: VideoFormat | None, zero: Fraction,
        note: Callable[[str], None], cut: SoundCut | None = None,
    ) -> None:  # fmt: skip
        self._target, self._zero, self._note, self._cut = target, zero, note, cut
        self._source = av.open(str(path.absolute()), options={"protocol_whitelist": "file"}, metadata_errors="replace")
        self._before_zero = form in (VideoFormat.MP4, VideoFormat.MOV)
        self._outputs: dict[int, Any] = {}
        self._encoded: set[int] = set()
        self._ended: set[int] = set()
        for number, track in enumerate(self._source.streams.audio):
            if cut is None or cut.track is None or cut.track == number:
                self._add(track, form)
        chosen = [stream for stream in self._source.streams.audio if stream.index in self._outputs]
        self._packets: Iterator[av.Packet[Any]] = iter(())
        if chosen:
            self._jump(chosen[0])
            self._packets = self._source.demux(chosen)
        self._waiting: av.Packet[Any] | None = None
        self._done = not chosen

    def up_to(self, time: Fraction) -> None:
        """Hand over the sound that belongs before `time` (seconds of the result), so that little is held back."""
        while not self._done:
            packet = self._waiting or self._next()
            self._waiting = None
            if packet is None:
                self._done = True
                return
            stamp = packet.dts if packet.dts is not None else packet.pts
            if stamp is not None and packet.time_base and stamp * packet.time_base - self._zero > time:
                self._waiting = packet
                return
            self._hand_over(packet)

    def finish(self) -> None:
        """Hand over the rest."""
        self.up_to(Fraction(10**12))
        for index in self._encoded:
            for packet in self._outputs[index].encode(None):
                self._target.mux(packet)

    def close(self) -> None:
        self._source.close()

    def _add(self, track: Any, form: VideoFormat | None) -> None:
        if track.codec_context is None or not track.codec_context.sample_rate:
            self._note("a sound track of an unknown kind was left out")
            return
        name = track.codec_context.name
        exact = self._cut is not None and form is VideoFormat.AVI  # which keeps no times, so a part must begin exactly
        if form is None or (_is_held(name, form) and not exact):
            output = self._target.add_stream_from_template(track, opaque=True)
        else:
            encoder = _ENCODER.get(form, "aac")
            output = cast(av.AudioStream, self._target.add_stream(encoder, rate=track.codec_context.sample_rate))
            output.codec_context.layout = "stereo" if track.codec_context.channels > 1 else "mono"
            if encoder == "aac":
                output.codec_context.bit_rate = 192_000
            self._encoded.add(track.index)
            if not _is_held(name, form):
                self._note(f"sound was encoded anew as {encoder}: a {form} file does not hold {name}")
        self._outputs[track.index] = output
        for key in ("language", "title", "handler_name"):
            if value := track.metadata.get(key):
                output.metadata[key] = value
        output.disposition = track.disposition

    def _jump(self, track: Any) -> None:
        """Begin reading shortly before the part, or at the front where the file cannot tell where that is."""
        if self._cut is None or self._cut.start <= _RUN_UP or not track.time_base:
            return
        with contextlib.suppress(av.FFmpegError):
            self._source.seek(int((self._cut.start - _RUN_UP) / track.time_base), stream=track)
            first = next((packet for packet in self._source.demux(track) if packet.pts is not None), None)
            if first is not None and first.pts is not None and first.pts * track.time_base <= self._cut.start:
                self._source.seek(int((self._cut.start - _RUN_UP) / track.time_base), stream=track)
                return
        with contextlib.suppress(av.FFmpegError):
            self._source.seek(0)

    def _next(self) -> av.Packet[Any] | None:
        try:
            while (packet := next(self._packets, None)) is not None:
                if not packet.size:
                    continue
                if self._is_past(packet):
                    self._ended.add(packet.stream.index)
                    if self._ended >= self._outputs.keys():
                        return None
                    continue
                return packet
        except (av.FFmpegError, IndexError):  # IndexError: a stream that appears on the way
            self._note("the sound ends early: the file is damaged there")
        return None

    def _is_past(self, packet: av.Packet[Any]) -> bool:
        if self._cut is None or self._cut.end is None or packet.pts is None or packet.time_base is None:
            return False
        return packet.pts * packet.time_base >= self._cut.end

    def _hand_over(self, packet: av.Packet[Any]) -> None:
        index = packet.stream.index
        output = self._outputs[index]
        if index in self._encoded:
            self._encode(packet, output)
            return
        if packet.pts is None and packet.dts is None:
            return
        if self._is_before(packet):
            return
        self._shorten(packet)
        shift = round(self._zero / packet.time_base)
        packet.pts = None if packet.pts is None else packet.pts - shift
        packet.dts = None if packet.dts is None else packet.dts - shift
        packet.stream = output
        self._target.mux(packet)

    def _is_before(self, packet: av.Packet[Any]) -> bool:
        """Whether the packet is not to be heard.

        Of the whole sound that is only the run-up of the codec before zero, which MP4 hides by an edit list; in other
        containers it would push everything else back by 20 ms. Of a part MP4 also takes one packet of run-up.
        """
        if packet.pts is None or packet.time_base is None:
            return False
        start, length = packet.pts * packet.time_base, (packet.duration or 0) * packet.time_base
        if self._before_zero:
            return self._cut is not None and start + length <= self._zero - length
        if self._cut is not None:
            return start < self._zero - packet.time_base
        return start + length <= self._zero

    def _shorten(self, packet: av.Packet[Any]) -> None:
        """Let the last packet of a part sound no longer than the part, where the container has a place for that."""
        if self._cut is None or self._cut.end is None or not self._before_zero or packet.pts is None:
            return
        left = round(self._cut.end / packet.time_base) - packet.pts
        if packet.duration and 0 < left < packet.duration:
            packet.duration = left

    def _encode(self, packet: av.Packet[Any], output: Any) -> None:
        try:
            pieces = packet.decode()
        except av.FFmpegError:
            self._note("parts of the sound are damaged and were left out")
            return
        for whole in cast("list[av.AudioFrame]", pieces):
            piece = self._part_of(whole)
            if piece is None:
                continue
            if piece.pts is not None and piece.time_base:
                piece.pts -= round(self._zero / piece.time_base)
            for made in output.encode(piece):
                self._target.mux(made)

    def _part_of(self, piece: av.AudioFrame) -> av.AudioFrame | None:
        """The samples that lie in the part; None when there are none."""
        if self._cut is None or piece.pts is None or not piece.time_base:
            return piece
        begins = piece.pts * piece.time_base
        first = max(0, round((self._cut.start - begins) * piece.sample_rate))
        last = piece.samples
        if self._cut.end is not None:
            last = min(last, round((self._cut.end - begins) * piece.sample_rate))
        if first >= last:
            return None
        return piece if (first, last) == (0, piece.samples) else _samples(piece, first, last)


def _is_held(name: str, form: VideoFormat) -> bool:
    return any(name == known or (known.endswith("_") and name.startswith(known)) for known in _COPIED[form])


def _samples(piece: av.AudioFrame, first: int, last: int) -> av.AudioFrame:
    """Samples first to last of a frame, at their time."""
    array = piece.to_ndarray()
    channels = 1 if piece.format.is_planar else len(piece.layout.channels)
    made = av.AudioFrame.from_ndarray(
        array[:, first * channels : last * channels].copy(), piece.format.name, piece.layout.name
    )  # fmt: skip
    made.sample_rate, made.time_base = piece.sample_rate, piece.time_base
    assert piece.pts is not None
    assert piece.time_base is not None
    made.pts = piece.pts + round(first / (piece.sample_rate * piece.time_base))
    return made
