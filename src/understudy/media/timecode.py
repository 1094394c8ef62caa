"""Points in time as people type and read them: a clock, a timecode, seconds or a frame number.

    12.5  1:02.5  00:01:02.500      time since the first frame
    f123  123f                      the frame that is called 00123
    01:00:03:12  01:00:03;12        the footage's own timecode, or counted from 00:00:00:00 where it has none

A timecode counts frames at the whole rate next to the real one; with a semicolon it drops two numbers (four at 60) in
every minute but each tenth, as SMPTE ST 12-1 has it, so that 29.97 frames/s stay with the clock.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

FORMS = "hh:mm:ss.mmm, seconds, a timecode hh:mm:ss:ff, or a frame number f123"


@dataclass(frozen=True)
class Moment:
    """One point in time; exactly one field is set. seconds: since the first frame; frame: 0-based; code: timecode."""

    seconds: Fraction | None = None
    frame: int | None = None
    code: str | None = None


def parse_moment(text: str) -> Moment | None:
    """What was typed; None for nothing. Raises ValueError that says the forms."""
    text = text.strip().lower()
    if not text or text == "end":
        return None
    if found := re.fullmatch(r"f(\d{1,12})|(\d{1,12})f", text):
        number = int(found[1] or found[2])
        if number < 1:
            raise ValueError("frames count from 1: f1 is the first, called 00001")
        return Moment(frame=number - 1)
    if re.fullmatch(r"\d{1,2}:\d{1,2}:\d{1,2}[:;]\d{1,3}", text):
        return Moment(code=text)
    if found := re.fullmatch(r"(?:(?:(\d{1,6}):)?(\d{1,6}):)?(\d{1,9}(?:[.,]\d{1,9})?)s?", text):
        hours, minutes, seconds = found.groups()
        whole = Fraction((seconds).replace(",", "."))
        if minutes is not None and (whole >= 60 or (hours is not None and int(minutes) >= 60)):
            raise ValueError(f"{text} has more than 59 minutes or seconds after a colon")
        return Moment(seconds=int(hours or 0) * 3600 + int(minutes or 0) * 60 + whole)
    raise ValueError(f"{text!r} is no time; write {FORMS}")


def clock(seconds: Fraction) -> str:
    """`hh:mm:ss.mmm`, to the nearest millisecond; negative times with a minus."""
    millis = round(abs(seconds) * 1000)
    minutes, rest = divmod(millis, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{'-' if seconds < 0 and millis else ''}{hours:02d}:{minutes:02d}:{rest // 1000:02d}.{rest % 1000:03d}"


def frames_of_code(code: str, rate: Fraction) -> int:
    """How many frames lie before this timecode, from 00:00:00:00. Raises ValueError for one that does not exist."""
    found = re.fullmatch(r"(\d{1,2}):(\d{1,2}):(\d{1,2})([:;.])(\d{1,3})", code.strip())
    if not found:
        raise ValueError(f"{code!r} is no timecode")
    hours, minutes, seconds, frames = (int(found[i]) for i in (1, 2, 3, 5))
    per_second = _whole(rate)
    if minutes > 59 or seconds > 59 or frames >= per_second:
        raise ValueError(
            f"{code} does not exist at {per_second} frames/s: the last number is that of a frame, 00 to "
            f"{per_second - 1:02d}"
        )
    total_minutes = 60 * hours + minutes
    count = (60 * total_minutes + seconds) * per_second + frames
    if found[4] == ":":
        return count
    dropped = _dropped(per_second, code)
    if seconds == 0 and frames < dropped and minutes % 10:
        raise ValueError(f"{code} is one of the numbers that drop-frame timecode leaves out")
    return count - dropped * (total_minutes - total_minutes // 10)


def code_of_frames(count: int, rate: Fraction, *, drop: bool) -> str:
    """The timecode with `count` frames before it, after 24 hours from zero again."""
    per_second = _whole(rate)
    if drop:
        dropped = _dropped(per_second, "drop-frame timecode")
        per_minute, per_ten = 60 * per_second - dropped, 600 * per_second - 9 * dropped
        tens, rest = divmod(count, per_ten)
        count += 9 * dropped * tens
        count += dropped * ((rest - dropped) // per_minute) if rest >= dropped else 0
    seconds, frames = divmod(count, per_second)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours % 24:02d}:{minutes:02d}:{seconds:02d}{';' if drop else ':'}{frames:02d}"


def advanced(code: str, frames: int, rate: Fraction) -> str:
    """The timecode `frames` later. Raises ValueError for one that cannot be understood."""
    return code_of_frames(frames_of_code(code, rate) + frames, rate, drop=is_drop(code))


def is_drop(code: str) -> bool:
    """Whether this is drop-frame timecode, by its last separator."""
    return ";" in code


def _whole(rate: Fraction) -> int:
    return max(1, round(rate))


def _dropped(per_second: int, code: str) -> int:
    if per_second % 30:
        raise ValueError(f"{code}: drop-frame timecode exists only at 29.97, 59.94 and their multiples")
    return per_second // 15
