"""What a folder of frames was made from: the video, the settings and the time of every frame.

Kept in `.understudy/frames/SIDE.json`. It lets frames be continued, lets a result made from fewer frames keep their
true times, and can be deleted: then only complete sets of frames keep their times.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from understudy.files import parse_json, write_json
from understudy.media import FootageInfo, FramesOptions
from understudy.media.options import Deinterlace
from understudy.records import Side
from understudy.workspace import Workspace

SCHEMA = "understudy.frames/1"


@dataclass
class FrameRecord:
    """times: of every frame, in ticks of time_base seconds, in the order of the numbers."""

    video: str
    size: int
    fps: float
    format: str
    square_pixels: bool
    time_base: Fraction
    deinterlace: str = "off"
    times: list[int] = field(default_factory=list)
    complete: bool = False

    @classmethod
    def of(cls, info: FootageInfo, options: FramesOptions) -> FrameRecord:
        """The record of frames that are about to be made."""
        size = info.path.stat().st_size
        base = info.time_base / 2 if options.deinterlace is Deinterlace.FIELD else info.time_base
        return cls(
            info.path.name, size, options.fps, str(options.format), options.square_pixels, base,
            str(options.deinterlace),
        )  # fmt: skip

    def difference(self, other: FrameRecord) -> str:
        """What these frames were made with, where that differs from `other`; empty when they go together."""
        if (self.video, self.size) != (other.video, other.size):
            return f"from another video ({self.video}, {self.size} bytes)"
        if self.fps != other.fps:
            return f"with --fps {self.fps:g}" if self.fps else "with every frame of the video"
        if self.format != other.format:
            return f"as {self.format}"
        if self.square_pixels != other.square_pixels:
            return "with square pixels" if self.square_pixels else "with the pixels of the video"
        if self.deinterlace != other.deinterlace:
            return f"with --deinterlace {self.deinterlace}"
        return ""

    @property
    def selection(self) -> str:
        """Why a frame is not the frame of that number of the video; empty where all were taken, as they are."""
        fps = f"--fps {self.fps:g}" if self.fps else ""
        fields = f"--deinterlace {self.deinterlace}" if self.deinterlace == Deinterlace.FIELD else ""
        words = [fps, "--square-pixels" if self.square_pixels else "", fields]
        return " ".join(word for word in words if word)

    def is_of(self, video: Path) -> bool:
        """Whether the frames were made from this very file, by its name and size."""
        return (self.video, self.size) == (video.name, video.stat().st_size)

    def save(self, path: Path) -> None:
        """Write the record atomically."""
        write_json(path, {"schema": SCHEMA, **asdict(self), "time_base": str(self.time_base)})


def record_path(workspace: Workspace, side: Side) -> Path:
    """Where the record of a side is kept."""
    return workspace.private / "frames" / f"{side}.json"


def read_record(path: Path) -> FrameRecord | None:
    """The record, None where there is none or it cannot be understood."""
    try:
        stored: dict[str, Any] = parse_json(path.read_text(encoding="utf-8"))
        if stored.pop("schema") != SCHEMA:
            return None
        return FrameRecord(**{**stored, "time_base": Fraction(stored["time_base"])})
    except (OSError, ValueError, KeyError, TypeError):
        return None
