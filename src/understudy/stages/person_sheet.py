"""The persons of a faceset on one picture: a row for each, with the faces that show them best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy.facesets import Face, FaceEntry
from understudy.facesets.reading import each_face
from understudy.files import write_bytes
from understudy.imaging.sheet import FAINT, Sheet
from understudy.records import Side, Skipped
from understudy.report import Report, Stop, never, silent
from understudy.stages.person_groups import by_name, sheet_path
from understudy.workspace import Workspace

PER_PERSON = 10
MOST_PERSONS = 40

TILE, LABEL, GAP, MARGIN = 112, 216, 6, 16

Array = NDArray[np.uint8]


def draw_sheet(
    workspace: Workspace,
    side: Side,
    faces: Sequence[FaceEntry],
    shown: Mapping[str, Sequence[str]],
    *,
    report: Report = silent,
    stop: Stop = never,
) -> Path:
    """Draw the contact sheet of all persons into `.understudy/persons/SIDE.png`; gives its path.

    shown: keys of the faces to show of a person, best first; a person without shows faces spread over the footage.
    """
    everybody = by_name(faces)
    rows = {name: _chosen(of, shown.get(name, ())) for name, of in list(everybody.items())[:MOST_PERSONS]}
    wanted = [face for chosen in rows.values() for face in chosen]
    tiles: dict[str, Array] = {}
    for face, tile in each_face(wanted, lambda _, face: _tile(face), step="Drawing", report=report, stop=stop):
        if not isinstance(tile, Skipped):
            tiles[face.key] = tile
    left_out = len(everybody) - len(rows)
    height = 2 * MARGIN + len(rows) * (TILE + GAP) + (24 if left_out else 0)
    sheet = Sheet(2 * MARGIN + LABEL + PER_PERSON * (TILE + GAP), height)
    for row, (name, chosen) in enumerate(rows.items()):
        top = MARGIN + row * (TILE + GAP)
        _label(sheet, MARGIN, top + 24, name, everybody[name])
        for column, face in enumerate(chosen):
            if face.key in tiles:
                sheet.put(tiles[face.key], MARGIN + LABEL + column * (TILE + GAP), top)
    if left_out:
        sheet.write(f"… and {left_out} more", MARGIN, height - MARGIN - 18, size=16)
    path = sheet_path(workspace, side)
    write_bytes(path, sheet.png())
    return path


def _chosen(faces: Sequence[FaceEntry], keys: Sequence[str]) -> list[FaceEntry]:
    by_key = {face.key: face for face in faces}
    chosen = [by_key[key] for key in dict.fromkeys(keys) if key in by_key][:PER_PERSON]
    if chosen or not faces:
        return chosen
    places = np.linspace(0, len(faces) - 1, min(PER_PERSON, len(faces))).round().astype(int)
    return [faces[place] for place in dict.fromkeys(places.tolist())]


def _tile(face: Face) -> Array:
    """The face without most of what surrounds it, (112, 112, 3)."""
    landmarks = face.meta.landmarks
    middle = (landmarks.min(axis=0) + landmarks.max(axis=0)) / 2
    scale = TILE / max(float(np.ptp(landmarks, axis=0).max()) * 1.55, 1.0)
    small = cv2.resize(face.rgb8, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) if scale < 0.5 else face.rgb8
    matrix = np.array([[scale, 0, TILE / 2 - scale * middle[0]], [0, scale, TILE * 0.55 - scale * middle[1]]])
    if small is not face.rgb8:
        matrix[:, :2] *= 2
    return np.asarray(cv2.warpAffine(small, matrix, (TILE, TILE), flags=cv2.INTER_LINEAR), np.uint8)


def _label(sheet: Sheet, left: int, top: int, name: str, faces: Sequence[FaceEntry]) -> None:
    text = name if len(name) <= 20 else name[:19] + "…"
    sheet.write(text, left, top, size=20)
    frames = len({face.frame for face in faces if face.frame is not None})
    tracks = len({face.track for face in faces if face.track is not None})
    sheet.write(f"{_counted(len(faces), 'face')} in {_counted(frames, 'frame')}", left, top + 28, colour=FAINT)
    if tracks:
        sheet.write(_counted(tracks, "track"), left, top + 46, colour=FAINT)


def _counted(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
