"""The shots of a side's footage: found once, kept with the workspace, shown as a list and a contact sheet.

Kept in `.understudy/shots/SIDE.json` and keyed to the footage: of other footage, or of other frames of it, nothing is
read. It can be deleted at any time.
"""

from __future__ import annotations

import bisect
import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from understudy.errors import Interrupted
from understudy.files import parse_json, write_bytes, write_json
from understudy.media import FrameSource
from understudy.media.timecode import clock
from understudy.records import FootageFrom, Side
from understudy.report import Pace, Report, Stop, never, silent
from understudy.stages.frame_record import read_record, record_path
from understudy.stages.result import StageResult
from understudy.workspace import Workspace

if TYPE_CHECKING:
    from understudy.media.shot_sheet import Thumb

SCHEMA = "understudy.shots/1"


@dataclass(frozen=True)
class Shots:
    """starts: index of the first frame of every shot, ascending, the first 0; frames: one more than the last index."""

    starts: tuple[int, ...]
    frames: int

    def shot_of(self, index: int) -> int:
        """The 0-based number of the shot that frame `index` belongs to."""
        return max(0, bisect.bisect_right(self.starts, index) - 1)

    def ranges(self) -> list[range]:
        """The frame indices of each shot."""
        ends = [*self.starts[1:], self.frames]
        return [range(start, end) for start, end in zip(self.starts, ends, strict=True)]


def shots_path(workspace: Workspace, side: Side) -> Path:
    """Where the shots of a side are kept."""
    return workspace.private / "shots" / f"{side}.json"


def read_shots(workspace: Workspace, side: Side, footage: FrameSource) -> Shots | None:
    """The shots of exactly this footage; None where they are not known."""
    try:
        stored = parse_json(shots_path(workspace, side).read_text(encoding="utf-8"))
        if stored["schema"] != SCHEMA or stored["footage"] != footage_key(workspace, side, footage):
            return None
        starts, frames = tuple(map(int, stored["starts"])), int(stored["frames"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    in_order = all(first < second for first, second in zip(starts, (*starts[1:], frames), strict=True))
    return Shots(starts, frames) if starts and starts[0] >= 0 and in_order else None


def write_shots(workspace: Workspace, side: Side, footage: FrameSource, starts: Sequence[int], frames: int) -> None:
    """Keep what a whole pass over the footage found. starts: `Frame.index` of first frames; frames: last index + 1."""
    path = shots_path(workspace, side)
    key = footage_key(workspace, side, footage)
    write_json(path, {"schema": SCHEMA, "footage": key, "frames": frames, "starts": [int(start) for start in starts]})


def footage_key(workspace: Workspace, side: Side, footage: FrameSource) -> dict[str, Any]:
    """What tells this footage from another: name and size of a video; names, number and origin of frames on disk.

    The pictures themselves do not count: frames that were denoised have the same shots.
    """
    path = footage.info.path
    if path.is_file():
        return {"video": path.name, "size": path.stat().st_size}
    names = "\n".join(file.name for file in workspace.side(side).frame_files())
    record = read_record(record_path(workspace, side))
    origin = [record.video, record.size, record.fps] if record is not None else None
    return {"folder": path.name, "names": hashlib.sha256(names.encode()).hexdigest()[:16], "made_from": origin}


def find_shots(
    workspace: Workspace, side: Side, *, prefer: FootageFrom | None = None, again: bool = False,
    report: Report = silent, stop: Stop = never,
) -> StageResult:  # fmt: skip
    """Find the shots of a side's footage, keep them, and draw a sheet of their first and last frames.

    prefer: video or frames, else the frames where there are any. again: look even where they are known. Raises
    MissingFootage, UnreadableMedia, NoFrames, Interrupted; on interruption nothing is kept.
    """
    started = time.perf_counter()
    with workspace.writing(f"shots-{side}"), workspace.footage(side, prefer) as footage:
        sheet = shots_path(workspace, side).with_suffix(".png")
        table = sheet.with_name(f"{side}-list.json")
        known = None if again else read_shots(workspace, side, footage)
        if known is not None and sheet.is_file() and (rows := _read_table(table, known)) is not None:
            return _result(rows, known, [], started, None, sheet)
        found = _Search(footage, f"Shots of {side}", report, stop)
        shots = found.run()
        write_shots(workspace, side, footage, shots.starts, shots.frames)
        found.draw(sheet)
        rows = found.rows(shots)
        write_json(table, rows)
        return _result(rows, shots, footage.skipped, started, found.pace.rate, sheet)


def _read_table(path: Path, shots: Shots) -> list[dict[str, Any]] | None:
    try:
        rows = parse_json(path.read_text(encoding="utf-8"))
        return rows if [row["first"] for row in rows] == list(shots.starts) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _result(
    rows: list[dict[str, Any]], shots: Shots, skipped: list[Any], started: float, rate: float | None, sheet: Path
) -> StageResult:
    return StageResult(
        frames=shots.frames, skipped=skipped, seconds=time.perf_counter() - started, rate=rate, outputs=[sheet],
        notes={"shots": rows},
    )  # fmt: skip


class _Search:
    """One pass over the footage that remembers what the list and the sheet show."""

    def __init__(self, footage: FrameSource, step: str, report: Report, stop: Stop) -> None:
        from understudy.media.shots import ShotFinder

        self.footage, self.stop = footage, stop
        self.pace = Pace(step, footage.estimated_count, report)
        self.finder = ShotFinder()
        self.firsts: list[Thumb] = []
        self.lasts: list[Thumb] = []

    def run(self) -> Shots:
        from understudy.media.shot_sheet import Thumb

        origin: Fraction | None = None
        latest: Thumb | None = None
        starts: list[int] = []
        for frame in self.footage.frames():
            if self.stop():
                raise Interrupted("Stopped; nothing was kept.", hint="Finding shots starts anew.")
            moment = self.footage.time_of(frame)
            origin = moment if origin is None else origin
            begins = self.finder.feed(frame) or not starts
            shown = Thumb.of(frame, moment - origin, self.footage.info.sar)
            if begins:
                starts.append(frame.index)
                self.firsts.append(shown)
                self.lasts += [latest] if latest is not None else []
            latest = shown
            self.pace.advance()
        self.pace.report_now()
        assert latest is not None
        self.lasts.append(latest)
        return Shots(tuple(starts), latest.index + 1)

    def rows(self, shots: Shots) -> list[dict[str, Any]]:
        """One row per shot: number from 1, first and last frame index and stem, time from the first frame."""
        return [
            {
                "shot": number, "first": first.index, "last": last.index, "first_frame": first.stem,
                "last_frame": last.stem, "frames": len(covered), "from": clock(first.time), "to": clock(last.time),
            }
            for number, (first, last, covered) in enumerate(
                zip(self.firsts, self.lasts, shots.ranges(), strict=True), start=1
            )
        ]  # fmt: skip

    def draw(self, path: Path) -> None:
        from understudy.media.shot_sheet import draw_sheet

        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, draw_sheet(list(zip(self.firsts, self.lasts, strict=True))).png())
