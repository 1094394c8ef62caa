"""What the faces of a faceset are like: how many, which sizes and types, from how many frames, which way they look."""

from __future__ import annotations

import math
import time
from collections import Counter

from understudy.facesets import Catalog, FaceEntry
from understudy.geometry.pose import pose
from understudy.records import Side
from understudy.report import Report, Stop, never, silent, track
from understudy.stages.result import StageResult
from understudy.workspace import Workspace

FRONTAL_DEGREES = 15.0
PROFILE_DEGREES = 45.0


def faceset_info(workspace: Workspace, side: Side, *, report: Report = silent, stop: Stop = never) -> StageResult:
    """Count the faces of one side. The notes hold frames, face_types, sizes, looking, labelled, masked and persons.

    looking: faces by yaw, as "ahead", "left", "right", "far left" and "far right" of the picture. Raises EmptyFaceset.
    """
    started = time.perf_counter()
    folder = workspace.side(side).aligned
    with Catalog.open(folder, cache=workspace.catalogs, report=report, stop=stop) as catalog:
        faces = catalog.require_faces()
        looking = Counter(direction(face) for face in track(faces, "Looking at faces", report, stop, unit="faces"))
        notes = {
            "frames_with_faces": len({face.frame for face in faces if face.frame}),
            "face_types": dict(Counter(str(face.face_type) for face in faces).most_common()),
            "sizes": {str(size): count for size, count in Counter(face.width for face in faces).most_common()},
            "looking": dict(looking.most_common()),
            "labelled": sum(face.is_labelled for face in faces),
            "masked": sum(face.has_mask for face in faces),
            "persons": catalog.persons,
        }
        seconds = time.perf_counter() - started
        return StageResult(faces=len(faces), skipped=catalog.skipped, seconds=seconds, outputs=[folder], notes=notes)


def direction(face: FaceEntry) -> str:
    """Which way a face looks, in the picture's left and right."""
    yaw = math.degrees(pose(face.meta.landmarks, face.width).yaw)
    if abs(yaw) <= FRONTAL_DEGREES:
        return "ahead"
    far = "far " if abs(yaw) > PROFILE_DEGREES else ""
    return far + ("left" if yaw > 0 else "right")
