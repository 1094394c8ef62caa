"""The worst of a review on one picture: each frame around its doubtful face, with its name and what is wrong."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy.errors import UnderstudyError
from understudy.facesets import Catalog
from understudy.facesets.doubts import KIND_WORDS
from understudy.files import write_bytes
from understudy.imaging.sheet import FAINT, WARN, Sheet
from understudy.records import Rect
from understudy.report import Pace, Report, Stop, never, silent
from understudy.stages.review_list import Item, Review, runs_of, worst_of
from understudy.workspace import Workspace

if TYPE_CHECKING:
    from understudy.media import Frame, FrameSource

Image8 = NDArray[np.uint8]

COLUMNS, TILE, CAPTION, MARGIN = 8, 220, 62, 14
NEXT_FRAMES = 60
"""Frames this close are reached by decoding on; farther ones by a new start."""


def draw_sheet(
    workspace: Workspace, found: Review, *, most: int = 40, report: Report = silent, stop: Stop = never
) -> Path:
    """Draw the worst `most` runs of items, worst first, into `.understudy/review/SIDE.png`; gives its path."""
    runs = runs_of(found.items)[:most]
    items = [worst_of(run) for run in runs]
    tiles: dict[int, Image8] = {}
    pace = Pace("Drawing", len(items), report, unit="tiles")
    landmarks = _landmarks(workspace, found, items)
    for number, picture in _pictures(workspace, found, items, stop):
        if picture is not None:
            tiles[number] = _tile(picture, items[number], landmarks.get(items[number].file or ""))
        pace.advance()
    path = workspace.private / "review" / f"{found.side}.png"
    write_bytes(path, _sheet(runs, items, tiles, found).png())
    return path


def frames_at(footage: FrameSource, indices: Sequence[int]) -> Iterator[Frame]:
    """The frames at some places, in order; those that cannot be read are left out."""
    wanted = sorted(set(indices))
    while wanted:
        start, rest = wanted[0], []
        for frame in footage.frames(start):
            while wanted and wanted[0] < frame.index:
                wanted.pop(0)
            if wanted and wanted[0] == frame.index:
                yield frame
                wanted.pop(0)
            if not wanted or wanted[0] - frame.index > NEXT_FRAMES:
                rest = wanted
                break
        wanted = rest


def _pictures(
    workspace: Workspace, found: Review, items: Sequence[Item], stop: Stop
) -> Iterator[tuple[int, Image8 | None]]:
    """The frame of each item, by the item's number; one frame in memory at a time."""
    by_index: dict[int, list[int]] = {}
    for number, item in enumerate(items):
        by_index.setdefault(item.index, []).append(number)
    try:
        with workspace.footage(found.side) as footage:
            for frame in frames_at(footage, list(by_index)):
                if stop():
                    return
                for number in by_index[frame.index]:
                    yield number, frame.rgb8
    except UnderstudyError:  # without the footage the sheet has names and reasons only
        return


def _landmarks(workspace: Workspace, found: Review, items: Sequence[Item]) -> Mapping[str, NDArray[np.float64]]:
    wanted = {item.file for item in items if item.file}
    folder = workspace.side(found.side).aligned
    if not wanted or not folder.is_dir():
        return {}
    with Catalog.open(folder, cache=workspace.catalogs) as catalog:
        metas = {face.key: face.meta for face in catalog.faces() if face.key in wanted}
    return {key: meta.source_landmarks for key, meta in metas.items() if meta.source_landmarks is not None}


def _tile(rgb8: Image8, item: Item, landmarks: NDArray[np.float64] | None) -> Image8:
    """The part of the frame around the item's box, or all of it, with box and landmarks drawn."""
    height, width = rgb8.shape[:2]
    rect = item.rect or Rect(0, 0, width, height)
    side = max(abs(rect.width), abs(rect.height)) * (1.0 if item.rect is None else 2.2)
    scale = TILE / max(1.0, side)
    middle = np.array([(rect.left + rect.right) / 2, (rect.top + rect.bottom) / 2])
    matrix = np.array([[scale, 0, TILE / 2 - scale * middle[0]], [0, scale, TILE / 2 - scale * middle[1]]])
    how = cv2.INTER_AREA if scale < 0.5 else cv2.INTER_LINEAR
    made = np.asarray(cv2.warpAffine(_smaller(rgb8, scale), _of_smaller(matrix, rgb8, scale), (TILE, TILE), flags=how))
    if item.rect is not None:
        corners = np.array([(rect.left, rect.top), (rect.right, rect.bottom)]) @ matrix[:, :2].T + matrix[:, 2]
        (x0, y0), (x1, y1) = np.rint(corners).astype(int).tolist()
        cv2.rectangle(made, (x0, y0), (x1, y1), WARN, 1, cv2.LINE_AA)
    if landmarks is not None:
        for x, y in np.rint(landmarks @ matrix[:, :2].T + matrix[:, 2]).astype(int).tolist():
            cv2.circle(made, (x, y), 1, (90, 255, 120), -1, cv2.LINE_AA)
    return np.asarray(made, np.uint8)


def _smaller(rgb8: Image8, scale: float) -> Image8:
    """The frame at a size from which bilinear sampling is clean."""
    factor = _factor(scale)
    if factor == 1:
        return rgb8
    size = (max(1, rgb8.shape[1] // factor), max(1, rgb8.shape[0] // factor))
    return np.asarray(cv2.resize(rgb8, size, interpolation=cv2.INTER_AREA), np.uint8)


def _of_smaller(matrix: NDArray[np.float64], rgb8: Image8, scale: float) -> NDArray[np.float64]:
    factor = _factor(scale)
    steps = np.array([rgb8.shape[1] / max(1, rgb8.shape[1] // factor), rgb8.shape[0] / max(1, rgb8.shape[0] // factor)])
    return np.column_stack([matrix[:, :2] * steps, matrix[:, 2]])


def _factor(scale: float) -> int:
    return max(1, int(1 / scale)) if scale < 0.5 else 1


def _sheet(runs: Sequence[Sequence[Item]], items: Sequence[Item], tiles: Mapping[int, Image8], found: Review) -> Sheet:
    columns = min(COLUMNS, max(4, len(items)))
    rows = -(-len(items) // columns)
    step_x, step_y = TILE + MARGIN, TILE + CAPTION + MARGIN
    head = 58
    sheet = Sheet(columns * step_x + MARGIN, head + rows * step_y + MARGIN)
    words = ", ".join(f"{count} {KIND_WORDS[kind]}" for kind in KIND_WORDS if (count := found.counts.get(str(kind))))
    shown = sum(map(len, runs))
    sheet.write(f"{found.side}: the worst {shown} of {len(found.items)}, alike ones together", MARGIN, 10, size=22)
    sheet.write(f"{found.frames} frames, {found.faces} faces: {words}", MARGIN, 37, size=13, colour=FAINT)
    for number, item in enumerate(items):
        x, y = MARGIN + number % columns * step_x, head + number // columns * step_y
        tile = tiles.get(number)
        if tile is not None:
            sheet.put(tile, x, y)
        else:
            sheet.fill(x, y, TILE, TILE, (40, 43, 49))
        name = item.frame if item.file is None else Path(item.file).stem
        name += f"  +{len(runs[number]) - 1} alike" if len(runs[number]) > 1 else ""
        sheet.write(name, x, y + TILE + 4, size=13)
        sheet.write(f"{item.score:.2f}", x + TILE, y + TILE + 4, size=13, colour=WARN, to_left=True)
        lines = textwrap.wrap(item.reasons[0], 38)[:3]
        sheet.write("\n".join(lines), x, y + TILE + 21, size=11, colour=FAINT)
    return sheet
