"""What is known about a piece of footage, as records: size, rate, colour tags, sound, and what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from pathlib import Path
from typing import Any

# FFmpeg's names of the numbers of ITU-T H.273, which containers and codecs store.
RANGES = {1: "tv", 2: "pc"}
MATRICES = {
    0: "gbr", 1: "bt709", 4: "fcc", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "ycgco", 9: "bt2020nc",
    10: "bt2020c",
}  # fmt: skip
TRANSFERS = {
    1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "linear", 9: "log100", 10: "log316",
    11: "iec61966-2-4", 12: "bt1361e", 13: "iec61966-2-1", 14: "bt2020-10", 15: "bt2020-12", 16: "smpte2084",
    17: "smpte428", 18: "arib-std-b67",
}  # fmt: skip
PRIMARIES = {
    1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "film", 9: "bt2020", 10: "smpte428",
    11: "smpte431", 12: "smpte432", 22: "ebu3213",
}  # fmt: skip


class FootageKind(StrEnum):
    """What the frames come from."""

    VIDEO = "video"
    SEQUENCE = "sequence"  # numbered pictures in a folder
    PHOTOS = "photos"  # any pictures in a folder
    IMAGE = "image"


@dataclass(frozen=True)
class ColourTags:
    """How code values are to be understood, by FFmpeg's names; None where the footage does not say."""

    range: str | None = None
    matrix: str | None = None
    transfer: str | None = None
    primaries: str | None = None

    @classmethod
    def from_codes(cls, range_: int, matrix: int, transfer: int, primaries: int) -> ColourTags:
        """From the numbers of H.273; 2 means unspecified (for the range 0 does)."""
        return cls(RANGES.get(range_), MATRICES.get(matrix), TRANSFERS.get(transfer), PRIMARIES.get(primaries))

    def codes(self) -> tuple[int, int, int, int]:
        """Range, matrix, transfer, primaries as numbers of H.273."""
        return (
            _code(RANGES, self.range, 0), _code(MATRICES, self.matrix, 2), _code(TRANSFERS, self.transfer, 2),
            _code(PRIMARIES, self.primaries, 2),
        )  # fmt: skip

    def or_else(self, other: ColourTags) -> ColourTags:
        """These tags, with those of `other` where these are silent."""
        return ColourTags(
            self.range or other.range, self.matrix or other.matrix, self.transfer or other.transfer,
            self.primaries or other.primaries,
        )  # fmt: skip


UNTAGGED = ColourTags()


@dataclass(frozen=True)
class AudioTrack:
    """One sound track. Times in seconds on the footage's own clock; None where the container does not say."""

    index: int
    codec: str
    channels: int
    rate: int
    language: str | None = None
    default: bool = False
    start: Fraction | None = None
    duration: Fraction | None = None


@dataclass(frozen=True)
class FootageInfo:
    """What a video, a folder of frames or a picture is.

    width and height are upright (rotation applied) and count stored pixels: `sar` (sample aspect ratio, width to height
    of one pixel) is carried, never applied. rotation: degrees counter-clockwise by which stored pictures are turned to
    be upright. rate: frames per second, the mean one where `vfr`; None for pictures. frames: how many there are, exact
    when `frames_exact`, else what the header promises or an estimate. start: time of the first frame in seconds, as
    stored. interlaced, field_order: what the footage says; scan: what its moving pictures show (progressive, tff, bff),
    None where nobody looked or too little moves.
    """

    path: Path
    kind: FootageKind
    width: int
    height: int
    pix_fmt: str
    bit_depth: int
    codec: str = ""
    container: str = ""
    rate: Fraction | None = None
    vfr: bool = False
    frames: int | None = None
    frames_exact: bool = False
    time_base: Fraction = Fraction(1, 1000)
    start: Fraction = Fraction(0)
    duration: Fraction | None = None
    tags: ColourTags = UNTAGGED
    rotation: int = 0
    mirrored: bool = False
    sar: Fraction = Fraction(1)
    interlaced: bool = False
    field_order: str | None = None
    scan: str | None = None
    audio: tuple[AudioTrack, ...] = ()
    timecode: str | None = None
    problems: list[str] = field(default_factory=list)

    @classmethod
    def plain(cls, width: int, height: int, rate: Fraction | int, *, tags: ColourTags | None = None) -> FootageInfo:
        """Footage that does not exist yet: 8-bit 4:2:0 at a constant rate, for a VideoWriter."""
        rate = Fraction(rate)
        tags = tags or ColourTags("tv", "bt709", "bt709", "bt709")
        return cls(
            Path(), FootageKind.VIDEO, width, height, "yuv420p", 8, rate=rate, time_base=1 / rate, tags=tags
        )  # fmt: skip

    @property
    def nominal_rate(self) -> Fraction:
        """Frames per second; 25 for pictures, which have no rate of their own."""
        return self.rate or Fraction(25)

    def as_json(self) -> dict[str, Any]:
        """Plain values for `--json`: fractions as "num/den", paths as text."""
        return {
            "path": str(self.path),
            "kind": str(self.kind),
            "container": self.container,
            "codec": self.codec,
            "width": self.width,
            "height": self.height,
            "sample_aspect": f"{self.sar.numerator}:{self.sar.denominator}",
            "rotation": self.rotation,
            "mirrored": self.mirrored,
            "pix_fmt": self.pix_fmt,
            "bit_depth": self.bit_depth,
            "interlaced": self.interlaced,
            "field_order": self.field_order,
            "scan": self.scan,
            "fps": _ratio(self.rate),
            "vfr": self.vfr,
            "frames": self.frames,
            "frames_exact": self.frames_exact,
            "time_base": _ratio(self.time_base),
            "start_time_s": float(self.start),
            "duration_s": None if self.duration is None else round(float(self.duration), 6),
            "color_range": self.tags.range,
            "color_space": self.tags.matrix,
            "color_transfer": self.tags.transfer,
            "color_primaries": self.tags.primaries,
            "timecode": self.timecode,
            "audio": [_track_as_json(track) for track in self.audio],
            "problems": list(self.problems),
        }


def _track_as_json(track: AudioTrack) -> dict[str, Any]:
    return {
        "codec": track.codec,
        "channels": track.channels,
        "rate": track.rate,
        "language": track.language,
        "default": track.default,
        "start_time_s": None if track.start is None else round(float(track.start), 6),
        "duration_s": None if track.duration is None else round(float(track.duration), 6),
    }


def _ratio(value: Fraction | None) -> str | None:
    return None if value is None else f"{value.numerator}/{value.denominator}"


def _code(names: dict[int, str], name: str | None, unknown: int) -> int:
    return next((code for code, known in names.items() if known == name), unknown)
