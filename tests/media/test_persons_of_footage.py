"""Who is who in real footage, against truth that owes nothing to what faces look like."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from understudy.curation.appearance import describe
from understudy.curation.duplicates import difference, print_of
from understudy.curation.person_options import DedupeOptions, PersonsAction
from understudy.curation.persons import group_faces
from understudy.curation.runs import Sighting
from understudy.detection import load_engine
from understudy.detection.cutting import cut_face
from understudy.facesets import Catalog, Face, FaceMeta
from understudy.media import open_footage
from understudy.records import FaceType, Side
from understudy.stages.persons import persons
from understudy.workspace import Workspace

CROSSING = "composite_two_men_crossing_960x540.mp4"
SPEAKERS = "composite_three_speakers_720x288.mp4"


def who_crosses(index: int, x: float) -> str:
    """By place: man_a stays at x = 367; man_b slides evenly and is before him in frame 102 (media/INDEX.md).

    He is out at the right until about frame 20 and out at the left from about frame 150: 8.9 px a frame. Where the two
    are closer together than a head is wide, the face that is seen is man_b's, who is in front.
    """
    of_a, of_b = 367.0, 367.0 - 8.9 * (index - 102)
    if abs(of_a - of_b) < 90:
        return "man_b"
    return "man_a" if abs(x - of_a) < abs(x - of_b) else "man_b"


def who_speaks(index: int, x: float) -> str:
    """By place: three pictures of 240 px side by side."""
    return ("left", "middle", "right")[int(x // 240)]


def agreement(groups: Sequence[object], truth: Sequence[object]) -> tuple[float, float]:
    """(purity, completeness): faces in the largest part of their group, and of their person."""

    def largest(of: Sequence[object], by: Sequence[object]) -> float:
        parts = Counter(zip(of, by, strict=True))
        return sum(max(n for (a, _), n in parts.items() if a == one) for one in set(of)) / len(of)

    return largest(groups, truth), largest(truth, groups)


@pytest.mark.parametrize(("clip", "who", "complete"), [(CROSSING, who_crosses, 0.95), (SPEAKERS, who_speaks, 1.0)])
def test_the_people_of_a_clip_are_told_apart(
    media: Path,
    extracted: Callable[[Path], Workspace],
    clip: str,
    who: Callable[[int, float], str],
    complete: float,
) -> None:
    workspace = extracted(media / "clips" / clip)
    persons(workspace, Side.DST, PersonsAction.FIND)
    with Catalog.open(workspace.dst.aligned) as catalog:
        faces = catalog.require_faces()
        places = [np.asarray(face.meta.source_landmarks)[:, 0].mean() for face in faces]
    truth = [who(int(face.frame or 0) - 1, x) for face, x in zip(faces, places, strict=True)]
    pure, whole = agreement([face.group for face in faces], truth)
    assert pure >= 0.98
    assert whole >= complete
    assert len(faces) >= 200


def faces_of(path: Path, every: int) -> Iterator[tuple[int, Face]]:
    """The face of every so-manieth frame of a clip of one person, cut out at 256 px."""
    engine = load_engine()
    with open_footage(path) as footage:
        for frame in footage.frames():
            found = engine.find(frame.rgb8, max_faces=1) if frame.index % every == 0 else []
            for face in found:
                cut = cut_face(frame.rgb8, face, size=256, face_type=FaceType.WHOLE_FACE)
                if cut is not None:
                    meta = FaceMeta(FaceType.WHOLE_FACE, cut.landmarks, source_rect=face.rect)
                    yield frame.index, Face(cut.rgb8, meta)


def test_people_are_known_again_in_other_clips(media: Path) -> None:
    """Five people of one clip each, one man in three clips from frontal to profile."""
    clips = sorted((media / "clips").glob("grid_*.mpg")) + sorted((media / "clips").glob("man_a_*.mp4"))
    sightings, looks, truth = [], [], []
    for number, clip in enumerate(clips):
        for index, face in faces_of(clip, 6):
            sightings.append(
                Sighting(f"{clip.stem}-{index}", index // 6 + number * 100_000, rect=face.meta.source_rect)
            )
            looks.append(describe(face))
            truth.append("man_a" if clip.stem.startswith("man_a") else clip.stem)
    labels = group_faces(sightings, np.array(looks, np.float32)).tolist()
    pure, whole = agreement(labels, truth)
    assert pure >= 0.98
    assert whole >= 0.95


def test_eyes_that_shut_are_no_duplicates_of_open_ones(media: Path) -> None:
    """man_a_frontal_blink: the man sits still, first with open eyes, then with closed ones."""
    prints = [print_of(face) for _, face in faces_of(media / "clips" / "man_a_frontal_blink_540x960.mp4", 10)]
    assert difference(prints[0], prints[-1]) > 2 * DedupeOptions().threshold
