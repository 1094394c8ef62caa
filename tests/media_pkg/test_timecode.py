"""Times as people type them, and timecode with its odd arithmetic."""

from __future__ import annotations

from fractions import Fraction

import pytest

from understudy.media.timecode import Moment, advanced, clock, code_of_frames, frames_of_code, parse_moment

NTSC = Fraction(30000, 1001)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("", None), ("end", None), ("12.5", Moment(Fraction(25, 2))), ("12,5s", Moment(Fraction(25, 2))),
        ("1:02.5", Moment(Fraction(125, 2))), ("01:00:00.040", Moment(Fraction(3600040, 1000))),
        ("90", Moment(Fraction(90))), ("f1", Moment(frame=0)), ("00123f", Moment(frame=122)),
        ("01:00:03:12", Moment(code="01:00:03:12")), ("01:00:03;12", Moment(code="01:00:03;12")),
    ],
)  # fmt: skip
def test_what_people_type(text: str, moment: Moment | None) -> None:
    assert parse_moment(text) == moment


@pytest.mark.parametrize("text", ["f0", "-1", "1:75", "1:60:00", "abc", "1:2:3:4:5", "1e3", "nan"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError):
        parse_moment(text)


def test_the_clock() -> None:
    assert [clock(Fraction(value)) for value in ("0", "3661.0005", "-0.25")] == [
        "00:00:00.000", "01:01:01.000", "-00:00:00.250"
    ]  # fmt: skip


def test_known_timecodes() -> None:
    """One hour of 29.97 is 107,892 frames: drop-frame timecode then says one hour, the plain one 3.6 s less."""
    assert frames_of_code("01:00:00;00", NTSC) == 107892
    assert code_of_frames(107892, NTSC, drop=False) == "00:59:56:12"
    assert frames_of_code("00:01:00;02", NTSC) == 1800
    assert code_of_frames(1799, NTSC, drop=True) == "00:00:59;29"
    assert frames_of_code("00:10:00;00", NTSC) == 17982
    assert advanced("01:00:00:20", 6, Fraction(24)) == "01:00:01:02"
    assert advanced("23:59:59:24", 1, Fraction(25)) == "00:00:00:00"


@pytest.mark.parametrize(
    ("rate", "drop"), [(NTSC, True), (Fraction(60000, 1001), True), (Fraction(24000, 1001), False)]
)
def test_every_number_of_twenty_minutes_comes_back(rate: Fraction, drop: bool) -> None:
    codes = [code_of_frames(count, rate, drop=drop) for count in range(round(rate) * 1200)]
    assert len(set(codes)) == len(codes)
    assert [frames_of_code(code, rate) for code in codes] == list(range(len(codes)))


@pytest.mark.parametrize(("code", "rate"), [("00:01:00;00", NTSC), ("00:00:00:25", 25), ("00:00:00;01", 25), ("x", 25)])
def test_timecodes_that_do_not_exist(code: str, rate: Fraction) -> None:
    with pytest.raises(ValueError):
        frames_of_code(code, Fraction(rate))
