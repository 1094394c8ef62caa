"""Points in time as people type and read them: a clock, a timecode, seconds or a frame number."""

from __future__ import annotations

from fractions import Fraction


def clock(seconds: Fraction) -> str:
    """`hh:mm:ss.mmm`, to the nearest millisecond; negative times with a minus."""
    millis = round(abs(seconds) * 1000)
    minutes, rest = divmod(millis, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{'-' if seconds < 0 and millis else ''}{hours:02d}:{minutes:02d}:{rest // 1000:02d}.{rest % 1000:03d}"
