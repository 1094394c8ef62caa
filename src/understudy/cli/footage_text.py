"""What a piece of footage is, as lines of text for a person."""

from __future__ import annotations

from fractions import Fraction

from understudy.media.info import AudioTrack, FootageInfo, FootageKind
from understudy.media.timecode import clock


def footage_text(info: FootageInfo, damaged: list[tuple[str, str]] | None = None) -> str:
    """One fact per line, and below them what is worth knowing. damaged: (frame, reason), where it was looked for."""
    rows = [
        ("footage", f"{info.path.name}: {_kind(info)}"),
        ("picture", _picture(info)),
        ("frames", _frames(info)),
        ("colour", _colour(info)),
        ("scan", _scan(info)),
        ("timecode", info.timecode or ""),
        *(("sound", _track(number, track, info)) for number, track in enumerate(info.audio)),
    ]
    if info.kind is FootageKind.VIDEO and not info.audio:
        rows.append(("sound", "none"))
    lines = [f"  {name:9} {text}" for name, text in rows if text]
    if info.problems:
        lines += ["Worth knowing:", *(f"  - {problem}" for problem in info.problems)]
    if damaged is not None:
        lines += [f"{len(damaged)} frames are damaged or missing:" if damaged else "Every frame decodes whole."]
        lines += [f"  {frame}: {reason}" for frame, reason in damaged[:20]]
        lines += [f"  … and {len(damaged) - 20} more; --json lists all"] if len(damaged) > 20 else []
    return "\n".join(lines)


def _kind(info: FootageInfo) -> str:
    names = {
        FootageKind.VIDEO: "video", FootageKind.SEQUENCE: "numbered pictures", FootageKind.PHOTOS: "pictures",
        FootageKind.IMAGE: "one picture",
    }  # fmt: skip
    inside = f" in {info.container.split(',')[0]}" if info.container else ""
    return f"{names[info.kind]}, {info.codec}{inside}"


def _picture(info: FootageInfo) -> str:
    parts = [f"{info.width}x{info.height}", f"{info.pix_fmt}, {info.bit_depth} bit"]
    if info.sar != 1:
        parts.append(f"pixels {info.sar.numerator}:{info.sar.denominator}, shown {round(info.width * info.sar)} wide")
    if info.rotation or info.mirrored:
        parts.append(f"turned upright by {info.rotation}°" + (", mirrored" if info.mirrored else ""))
    return "; ".join(parts)


def _frames(info: FootageInfo) -> str:
    count = "" if info.frames is None else f"{'' if info.frames_exact else 'about '}{info.frames}"
    parts = [count] if count else []
    if info.rate is not None:
        parts.append(f"{_number(info.rate)} frames/s, " + ("varying; that is the mean" if info.vfr else "constant"))
    if info.duration is not None:
        parts.append(clock(info.duration))
    if info.start:
        parts.append(f"the file's clock begins at {clock(info.start)}")
    return "; ".join(parts)


def _number(value: Fraction) -> str:
    exact = f" ({value.numerator}/{value.denominator})" if value.denominator > 1 else ""
    return f"{float(value):.3f}".rstrip("0").rstrip(".") + exact


def _colour(info: FootageInfo) -> str:
    tags = info.tags
    said = [tags.range, tags.matrix, tags.transfer, tags.primaries]
    if not any(said):
        return "no tags"
    names = ("range", "matrix", "transfer", "primaries")
    return ", ".join(f"{name} {value}" for name, value in zip(names, said, strict=True) if value)


def _scan(info: FootageInfo) -> str:
    words = {
        "tff": "interlaced, top field first",
        "bff": "interlaced, bottom field first",
        "progressive": "whole frames",
    }
    marked = words.get(info.field_order or "", "interlaced") if info.interlaced else ""
    seen = words.get(info.scan or "", "")
    if marked and seen and marked != seen:
        return f"marked as {marked}; looks like {seen}"
    return seen or marked


def _track(number: int, track: AudioTrack, info: FootageInfo) -> str:
    parts = [f"{number}: {track.codec}", f"{track.channels} channels", f"{track.rate} Hz"]
    parts += [track.language] if track.language else []
    parts += ["default"] if track.default else []
    late = None if track.start is None else track.start - info.start
    if late is not None and abs(late) >= Fraction(1, 50):
        parts.append(f"{abs(float(late)):.3f} s {'after' if late > 0 else 'before'} the picture")
    return ", ".join(parts)
