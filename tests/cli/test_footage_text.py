"""`video probe` says in plain lines what is odd about each odd file."""

from __future__ import annotations

from pathlib import Path

import pytest
from terminal import understudy

from understudy.cli.footage_text import footage_text
from understudy.media import probe

SAID = {
    "vfr_irregular_gap.mp4": ["33; 10.82", "varying", "the frame rate varies"],
    "rotated_display_matrix_90.mp4": ["270x480", "turned upright by 90°"],
    "odd_321x239_yuv444.mp4": ["321x239", "yuv444p", "the size is odd"],
    "odd_321x239_vp9_420.webm": ["vp9", "the size is odd"],
    "hevc_main10.mp4": ["10 bit", "61; "],
    "hevc_main10_bt2020_pq.mp4": ["transfer smpte2084", "primaries bt2020", "high dynamic range"],
    "prores422hq_timecode.mov": ["timecode  01:00:00:00", "prores", "pcm_s16le"],
    "full_range_yuvj420p.mp4": ["range pc"],
    "luma_only_gray.mp4": ["gray"],
    "interlaced_tff_pal_anamorphic.mpg": [
        "pixels 64:45, shown 1024 wide", "interlaced, top field first", "moving edges are combed",
        "begins at 00:00:00.5",
    ],
    "no_audio.mp4": ["sound     none"],
    "two_audio_tracks.mp4": ["0: aac", "eng, default", "1: aac", "fra"],
    "audio_starts_late.mp4": ["0.326 s after the picture", "stays there"],
    "ts_start_one_hour.ts": ["begins at 01:00:00.5"],
    "single_frame.mp4": ["frames    1; "],
    "truncated_midstream_faststart.mp4": ["the file is cut off: it promises 61 frames and holds"],
    "exr_sequence_with_gap": ["numbered pictures, exr", "1 of 5 numbered frames are missing: plate.1003.exr"],
    "plate_10bit.dpx": ["one picture, dpx", "10 bit"],
    "rgb_16bit.png": ["16 bit"],
    "truncated.jpg": ["cut off"],
    "ünï ço∂é & spaces – 顔 (take 1).mp4": ["ünï ço∂é & spaces – 顔 (take 1).mp4: video"],
}  # fmt: skip


@pytest.mark.parametrize("name", SAID)
def test_the_odd_thing_is_said(media: Path, name: str) -> None:
    text = footage_text(probe(media / "nasty" / name))
    assert [words for words in SAID[name] if words not in text] == [], text


def test_ordinary_footage_has_nothing_to_tell(media: Path) -> None:
    assert "Worth knowing" not in footage_text(probe(media / "clips" / "man_a_profile_540x960.mp4"))


def test_damaged_frames_are_found_when_asked(media: Path) -> None:
    ended = understudy("video", "probe", "--check", media / "nasty" / "corrupt_bitstream.mp4")
    assert ended.code == 0
    assert "frames are damaged or missing" in ended.out
    whole = understudy("--json", "video", "probe", "--check", media / "nasty" / "no_audio.mp4")
    assert whole.body["damaged"] == []
