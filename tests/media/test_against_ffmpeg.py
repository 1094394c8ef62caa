"""FFmpeg's own tools as outside truth: what they decode of a delivered file is what we read of the source."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from understudy.media import EncodeOptions, VideoWriter, open_footage

ROOT = Path(os.environ.get("UNDERSTUDY_MEDIA", Path(__file__).resolve().parents[3] / "shared" / "media"))
LONGEST = 61


def short_videos() -> list[dict[str, Any]]:
    manifest = ROOT / "manifest.json"
    listed = json.loads(manifest.read_text(encoding="utf-8"))["files"] if manifest.is_file() else []
    chosen = [item for item in listed if item["kind"] == "video" and item["accept"] == ["ok"]]
    return [item for item in chosen if item["frames"] <= LONGEST] or [{"path": "no-footage"}]


@pytest.fixture
def tools(media: Path) -> None:
    if not shutil.which("ffmpeg") or not shutil.which("ffprobe"):
        pytest.skip("ffmpeg and ffprobe are not installed; they are only the outside check")


def run(*command: str) -> bytes:
    return subprocess.run(command, check=True, capture_output=True).stdout


def decoded_by_ffmpeg(path: Path, pix_fmt: str) -> list[str]:
    """A hash of the planes of every frame, in order of showing."""
    raw = run("ffmpeg", "-v", "error", "-i", str(path), "-map", "0:v:0", "-fps_mode", "passthrough",
              "-pix_fmt", pix_fmt, "-f", "framehash", "-hash", "md5", "-")  # fmt: skip
    return [line.rsplit(b",", 1)[1].strip().decode() for line in raw.splitlines() if not line.startswith(b"#")]


@pytest.mark.parametrize("item", short_videos(), ids=lambda item: item["path"])
def test_a_lossless_result_is_the_source_to_ffmpeg_too(
    tools: None, media: Path, item: dict[str, Any], tmp_path: Path
) -> None:
    """Planes, times, size and shape of the pixels, by programs that share no line with the reader."""
    source, target = media / item["path"], tmp_path / "result.mp4"
    hashes, times = [], []
    with open_footage(source) as footage:
        options = EncodeOptions.of(lossless=True, preset="ultrafast")
        with VideoWriter(target, footage.info, options=options, audio_from=source) as video:
            for frame in footage.frames():
                video.write(frame)
                hashes.append(
                    hashlib.md5(b"".join(np.ascontiguousarray(p).tobytes() for p in frame.planes())).hexdigest()
                )
                times.append(frame.time)
    assert decoded_by_ffmpeg(source, footage.info.pix_fmt) == hashes
    assert decoded_by_ffmpeg(target, footage.info.pix_fmt) == hashes
    facts = json.loads(run(
        "ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries",
        "packet=pts:stream=width,height,time_base,sample_aspect_ratio", "-of", "json", str(target),
    ))  # fmt: skip
    (stream,) = facts["streams"]
    assert (stream["width"], stream["height"]) == (item["width"], item["height"])
    assert stream.get("sample_aspect_ratio", "1:1") in (item["sample_aspect"], "N/A")
    stamps = sorted(packet["pts"] for packet in facts["packets"])
    base = Fraction(stream["time_base"])
    assert [(stamp - stamps[0]) * base for stamp in stamps] == [time - times[0] for time in times]
