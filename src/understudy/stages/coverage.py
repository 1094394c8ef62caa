"""What the src faceset covers of the dst: a table, a JSON and a picture that says it at a glance.

    each face → measures, kept in .understudy/measures → compared → .understudy/coverage/src-against-dst.json and .png

Faces are measured once: a file of the same size, time and frame is not opened again, whatever it is called by then.
"""

from __future__ import annotations

import contextlib
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy.curation.coverage import (
    COLUMNS,
    STRIPS,
    THIN,
    Coverage,
    Lack,
    compare,
    holes,
    measure,
    missing_words,
    strip,
)
from understudy.curation.coverage_picture import MOST_TILES, Tile, draw
from understudy.errors import EmptyFaceset, Interrupted, UnderstudyError, UsageError
from understudy.facesets import Catalog, FaceEntry
from understudy.facesets.packs import PACK_NAME
from understudy.facesets.reading import each_face
from understudy.files import write_bytes, write_json, writing
from understudy.records import Side, Skipped
from understudy.report import Report, Stop, never, silent
from understudy.stages.result import StageResult
from understudy.workspace import Workspace

SCHEMA = "understudy-coverage/1"

MEASURES_VERSION = "1"
"""Raised when a measure changes its meaning; what was kept is then measured again."""

SAVE_EVERY = 5000
"""So many faces are measured anew at most after a crash."""

TILE_PX = 200

Floats = NDArray[np.float64]


def coverage(
    workspace: Workspace,
    side: Side = Side.SRC,
    against: Side = Side.DST,
    *,
    picture: bool = True,
    workers: int = 0,
    report: Report = silent,
    stop: Stop = never,
) -> StageResult:
    """Compare the faceset `side` with the faceset `against` that it is to cover.

    picture: draw it too. workers: threads that measure, 0 for one per core. The notes hold covered, thin, at_risk
    (counts), missing (what, in words), holes (ways of looking) and risk (the riskiest faces with frame, gap in steps,
    lack and reason).
    Raises EmptyFaceset, UsageError for a faceset against itself, Interrupted (what was measured is kept), DiskFull and
    ReadOnlyWorkspace.
    """
    started, side, against = time.perf_counter(), Side(side), Side(against)
    if side is against:
        raise UsageError(
            f"{side} covers itself.", hint="Compare src with dst: understudy faceset coverage src --against dst"
        )
    with _opened(workspace, side, report, stop) as src, _opened(workspace, against, report, stop) as dst:
        src_faces, src_values, src_skipped = _measured(workspace, side, src, workers, report, stop)
        dst_faces, dst_values, dst_skipped = _measured(workspace, against, dst, workers, report, stop)
        found = compare(src_values, dst_values)
        rows = found.worst(24)
        folder = workspace.private / "coverage"
        body = _as_json(found, side, against, dst_faces, src_faces, rows)
        paths = [folder / f"{side}-against-{against}.{kind}" for kind in ("json", "png")]
        write_json(paths[0], body)
        if picture:
            tiles = [_tile(found, row, src_faces, dst_faces) for row in rows[:MOST_TILES]]
            write_bytes(paths[1], draw(found, tiles, title=f"What {side} covers of {against}"))
    keys = ("covered", "thin", "at_risk", "missing", "holes", "risk")
    return StageResult(
        faces=len(src_faces) + len(dst_faces),
        skipped=[*src_skipped, *dst_skipped],
        seconds=time.perf_counter() - started,
        outputs=paths if picture else paths[:1],
        notes={key: body[key] for key in keys},
    )


def _opened(workspace: Workspace, side: Side, report: Report, stop: Stop) -> Catalog:
    return Catalog.open(workspace.side(side).aligned, cache=workspace.catalogs, report=report, stop=stop)


# -- measures, kept


def _measured(
    workspace: Workspace, side: Side, catalog: Catalog, workers: int, report: Report, stop: Stop
) -> tuple[list[FaceEntry], Floats, list[Skipped]]:
    """Faces that can be measured, their measures (N, 8), and the others."""
    faces = catalog.require_faces()
    path = workspace.private / "measures" / f"{side}.npz"
    known, stamps = _read_kept(path), _stamps(catalog, faces)
    skipped = catalog.skipped
    unknown = [face for face in faces if stamps.get(face.key) not in known]
    step = f"Measuring {side}"
    unsaved = 0
    work = each_face(unknown, lambda entry, face: measure(face), workers=workers, step=step, report=report, stop=stop)
    try:
        for face, values in work:
            if isinstance(values, Skipped):
                skipped.append(values)
            else:
                known[stamps[face.key]] = values
                unsaved += 1
            if unsaved >= SAVE_EVERY:
                _keep(path, known)
                unsaved = 0
    finally:
        if unsaved:
            _keep(path, known)
    if stop():
        raise Interrupted(
            f"Stopped while {side} was measured.", hint="What was measured is kept; run it again to go on."
        )
    usable = [face for face in faces if stamps.get(face.key) in known]
    if not usable:
        raise EmptyFaceset(
            f"None of the {len(faces)} {side} faces could be measured: {skipped[0].reason if skipped else ''}",
            hint=f"Make new ones: understudy faceset extract {side}",
        )
    kept = {stamps[face.key] for face in usable}
    if len(known) > 2 * len(kept) + SAVE_EVERY:  # forget faces that left long ago
        _keep(path, {stamp: values for stamp, values in known.items() if stamp in kept})
    return usable, np.array([known[stamps[face.key]] for face in usable], np.float64), skipped


def _stamps(catalog: Catalog, faces: Sequence[FaceEntry]) -> dict[str, str]:
    """What tells a face's file from others and from its own earlier state, by key: size, time, frame; not its name."""
    made = {}
    pack = catalog.folder / PACK_NAME
    packed = pack.stat() if any(face.packed_at for face in faces) else None
    for face in faces:
        with contextlib.suppress(OSError):
            stat = packed if face.packed_at and packed else face.path.stat()
            place = face.packed_at[0] if face.packed_at else 0
            made[face.key] = f"{stat.st_size}:{stat.st_mtime_ns}:{place}:{face.source_filename}"
    return made


def _read_kept(path: Path) -> dict[str | None, tuple[float, ...]]:
    """Measures of an earlier run by stamp; nothing where there are none, of another version, or damaged."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            if str(stored["version"]) != MEASURES_VERSION:
                return {}
            values = stored["values"]
            if values.shape[1:] != (len(COLUMNS),) or not np.isfinite(values).all():
                return {}
            rows = zip(stored["stamps"].tolist(), map(tuple, values.astype(np.float64).tolist()), strict=True)
            return dict(rows)
    except (OSError, ValueError, KeyError, IndexError, EOFError, zipfile.BadZipFile):
        return {}


def _keep(path: Path, known: dict[str | None, tuple[float, ...]]) -> None:
    with writing(path) as temp, temp.open("wb") as file:
        np.savez_compressed(
            file,
            version=np.array(MEASURES_VERSION),
            stamps=np.array([str(stamp) for stamp in known]),
            values=np.array(list(known.values()), np.float32).reshape(-1, len(COLUMNS)),
        )


# -- what is told


def _as_json(
    found: Coverage,
    side: Side,
    against: Side,
    dst_faces: Sequence[FaceEntry],
    src_faces: Sequence[FaceEntry],
    rows: Sequence[int],
) -> dict[str, Any]:
    risky = [row for row, face in enumerate(found.faces) if face.is_at_risk]
    thin = sum(face.is_thin for face in found.faces)
    soft = sum(face.lack is Lack.SHARPNESS for face in found.faces)
    return {
        "schema": SCHEMA,
        "side": str(side),
        "against": str(against),
        "faces": {str(side): len(src_faces), str(against): len(dst_faces)},
        "covered": len(dst_faces) - thin - len(risky),
        "thin": thin,
        "at_risk": len(risky),
        "softer_than_dst": soft,
        "missing": missing_words(found),
        "holes": holes(found),
        "risk": [_risk(found, row, dst_faces, src_faces) for row in rows],
        "frames_at_risk": sorted({str(dst_faces[row].frame) for row in risky if dst_faces[row].frame}),
        "strips": {
            name: {
                "range": list(STRIPS[name][3:]),
                str(side): np.round(strip(found.src, name), 5).tolist(),
                str(against): np.round(strip(found.dst, name), 5).tolist(),
            }
            for name in STRIPS
        },
        "pose": {str(side): found.src_grid.astype(int).tolist(), str(against): found.dst_grid.astype(int).tolist()},
        "limits": {"thin_from": 1.0, "risk_from": THIN},
    }


def _risk(found: Coverage, row: int, dst_faces: Sequence[FaceEntry], src_faces: Sequence[FaceEntry]) -> dict[str, Any]:
    face = found.faces[row]
    return {
        "frame": dst_faces[row].frame,
        "file": dst_faces[row].key,
        "gap": round(face.gap, 3),
        "lack": str(face.lack),
        "reason": face.reason,
        "nearest": src_faces[face.nearest].key,
    }


def _tile(found: Coverage, row: int, src_faces: Sequence[FaceEntry], dst_faces: Sequence[FaceEntry]) -> Tile:
    face, entry = found.faces[row], dst_faces[row]
    picture = _thumb(entry)
    blank = np.zeros((TILE_PX, TILE_PX, 3), np.uint8)
    nearest = _thumb(src_faces[face.nearest])
    return Tile(blank if picture is None else picture, nearest, entry.frame or entry.name, face.gap, face.reason)


def _thumb(entry: FaceEntry) -> NDArray[np.uint8] | None:
    try:
        rgb8 = entry.read().rgb8
    except UnderstudyError:
        return None
    return np.asarray(cv2.resize(rgb8, (TILE_PX, TILE_PX), interpolation=cv2.INTER_AREA), np.uint8)
