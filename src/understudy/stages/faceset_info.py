"""What the faces of a faceset are like: how many, of whom, how large, from how many frames, which way they look."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from understudy.facesets import Catalog, FaceEntry, FaceMeta
from understudy.facesets.packs import PACK_NAME
from understudy.geometry.pose import pose
from understudy.records import FaceType, Side
from understudy.report import Report, Stop, never, silent, track
from understudy.stages.result import StageResult
from understudy.workspace import Workspace

FRONTAL_DEGREES = 15.0
PROFILE_DEGREES = 45.0
DOUBTFUL_CONFIDENCE = 0.5


def faceset_info(workspace: Workspace, side: Side, *, report: Report = silent, stop: Stop = never) -> StageResult:
    """Count the faces of one side. The notes say, each where it is known:

    frames_with_faces, most_faces_in_a_frame, first_frame, last_frame; face_types and sizes (count by value);
    face_in_frame: the detector's box in frame pixels (least, median, most of its shorter side); looking: faces by yaw,
    as "ahead", "left", "right", "far left" and "far right" of the picture; yaw and pitch: 5, 50 and 95 of 100 faces
    lie below, degrees, left and up positive; persons: faces by sub-folder or group; tracks and untracked;
    confidence: least, median, and how many lie below 0.5; labelled, masked; packed; bytes. Raises EmptyFaceset.
    """
    started = time.perf_counter()
    folder = workspace.side(side).aligned
    with Catalog.open(folder, cache=workspace.catalogs, report=report, stop=stop) as catalog:
        faces = catalog.require_faces()
        angles = _angles(track(catalog.each_meta(), "Looking at faces", report, stop, total=len(faces), unit="faces"))
        is_packed = faces[0].packed_at is not None
        notes: dict[str, Any] = {
            **_frames(faces),
            "face_types": _counted(str(face.face_type) for face in faces),
            "sizes": _counted(str(face.width) for face in faces),
            **_face_in_frame(faces),
            **_looking(angles),
            "persons": dict(sorted(Counter(face.who for face in faces if face.who).items())),
            **_tracks(faces),
            **_confidence(faces),
            "labelled": sum(face.is_labelled for face in faces),
            "masked": sum(face.has_mask for face in faces),
            "packed": is_packed,
            "bytes": (folder / PACK_NAME).stat().st_size if is_packed else catalog.bytes_on_disk,
        }
        seconds = time.perf_counter() - started
        return StageResult(faces=len(faces), skipped=catalog.skipped, seconds=seconds, outputs=[folder], notes=notes)


def direction(yaw: float) -> str:
    """Which way a face looks whose yaw is so many degrees, in the picture's left and right."""
    if abs(yaw) <= FRONTAL_DEGREES:
        return "ahead"
    far = "far " if abs(yaw) > PROFILE_DEGREES else ""
    return far + ("left" if yaw > 0 else "right")


def _angles(faces: Iterable[tuple[FaceEntry, FaceMeta]]) -> list[tuple[float, float]]:
    """(yaw, pitch) in degrees of each face that is aligned, which a whole frame is not."""
    found = (
        pose(meta.landmarks, entry.width) for entry, meta in faces if entry.face_type is not FaceType.MARK_ONLY
    )  # fmt: skip
    return [(math.degrees(one.yaw), math.degrees(one.pitch)) for one in found]


def _looking(angles: Sequence[tuple[float, float]]) -> dict[str, Any]:
    if not angles:
        return {}
    yaw, pitch = np.array(angles).T
    return {
        "looking": _counted(direction(angle) for angle in yaw.tolist()),
        "yaw": _spread(yaw),
        "pitch": _spread(pitch),
    }


def _spread(degrees: np.ndarray[Any, np.dtype[np.float64]]) -> dict[str, float]:
    names = ("5%", "50%", "95%")
    return {
        name: round(float(value), 1) for name, value in zip(names, np.percentile(degrees, [5, 50, 95]), strict=True)
    }


def _frames(faces: Sequence[FaceEntry]) -> dict[str, Any]:
    by_frame = Counter(face.frame for face in faces if face.frame)
    if not by_frame:
        return {"frames_with_faces": 0}
    return {
        "frames_with_faces": len(by_frame),
        "most_faces_in_a_frame": max(by_frame.values()),
        "first_frame": min(by_frame),
        "last_frame": max(by_frame),
    }


def _face_in_frame(faces: Sequence[FaceEntry]) -> dict[str, Any]:
    """How large the faces were in the footage, which says how much detail there can be."""
    rects = [face.source_rect for face in faces if face.source_rect is not None]
    if not rects:
        return {}
    sides = np.array([min(abs(rect.width), abs(rect.height)) for rect in rects])
    return {
        "face_in_frame": {"least": int(sides.min()), "median": int(np.median(sides)), "most": int(sides.max())}
    }  # fmt: skip


def _tracks(faces: Sequence[FaceEntry]) -> dict[str, Any]:
    tracks = {face.track for face in faces if face.track is not None}
    untracked = sum(face.track is None for face in faces)
    return {"tracks": len(tracks), "untracked": untracked} if tracks else {}


def _confidence(faces: Sequence[FaceEntry]) -> dict[str, Any]:
    known = [face.confidence for face in faces if face.confidence is not None]
    if not known:
        return {}
    values = np.array(known)
    return {
        "confidence": {
            "least": round(float(values.min()), 3),
            "median": round(float(np.median(values)), 3),
            f"below {DOUBTFUL_CONFIDENCE}": int((values < DOUBTFUL_CONFIDENCE).sum()),
        }
    }


def _counted(values: Iterable[str]) -> dict[str, int]:
    return dict(Counter(values).most_common())
