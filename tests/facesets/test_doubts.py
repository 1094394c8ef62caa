"""What is doubted about a face, and what is not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from understudy.facesets.doubts import Judged, Kind, Seen, gap, judge_all, jump, missing, together
from understudy.geometry.boxes import box_of
from understudy.geometry.mean_face import MEAN_FACE
from understudy.records import Rect

FACE = (MEAN_FACE[:, :2] * 12 + (320, 240)).astype(np.float32)
SIZE = (640, 480)


def seen(index: int, landmarks: np.ndarray = FACE, number: int = 0, **known: object) -> Seen:
    values = {"confidence": 0.95, "track": 1, "turned": 10.0, "rect": box_of(landmarks), **known}
    return Seen(index=index, key=f"{index:05d}_{number}.jpg", landmarks=landmarks, **values)  # type: ignore[arg-type]


def judged(faces: Sequence[Sequence[Seen]], size: tuple[int, int] = SIZE) -> list[Judged]:
    frames = [(group[0].index, group) for group in faces]
    return judge_all(frames, {index: size for index, _ in frames})


def kinds(face: Judged) -> list[Kind]:
    return [doubt.kind for doubt in face.doubts]


def test_a_face_that_moves_and_speaks_is_not_doubted() -> None:
    rng = np.random.default_rng(0)
    path = [FACE + np.array((3 * i + 0.2 * i * i, 20 * np.sin(i / 4))) + rng.normal(0, 0.4, (68, 2)) for i in range(20)]
    assert not any(
        face.doubts for face in judged([[seen(i, points.astype(np.float32))] for i, points in enumerate(path)])
    )


def test_one_jump_is_one_doubt_and_its_neighbours_are_innocent() -> None:
    frames = [[seen(i, FACE + (np.float32(30) if i == 5 else np.float32(0)))] for i in range(10)]
    assert [face.index for face in judged(frames) if face.doubts] == [5]
    assert kinds(judged(frames)[5]) == [Kind.JUMP]


def test_a_feature_that_leaves_its_place_counts_as_a_jump() -> None:
    """The mouth slips while the rest stays: the median of all points would not see it."""
    slipped = FACE.copy()
    slipped[48:] += (25, 12)
    assert jump(slipped, FACE, FACE) > 0.05
    assert jump(FACE, FACE, FACE) < 1e-9


def test_jumps_are_not_seen_across_missing_frames_or_other_tracks() -> None:
    frames = [[seen(0)], [seen(2, FACE + np.float32(60))], [seen(4)]]
    assert not any(face.doubts for face in judged(frames))
    switched = [[seen(0)], [seen(1, FACE + np.float32(60), track=2)], [seen(2)]]
    assert not any(face.doubts for face in judged(switched))


def test_faces_without_tracks_are_followed_by_their_place() -> None:
    """Facesets of other programs know no tracks."""
    frames = [[seen(i, FACE + (np.float32(25) if i == 3 else np.float32(0)), track=None)] for i in range(7)]
    assert [face.index for face in judged(frames) if face.doubts] == [3]


@pytest.mark.parametrize(
    ("known", "kind"),
    [
        ({"confidence": 0.3}, Kind.UNSURE),
        ({"turned": 75.0}, Kind.PROFILE),
        ({"rect": Rect(300, 220, 330, 250)}, Kind.SMALL),
    ],
)
def test_single_doubts(known: dict[str, object], kind: Kind) -> None:
    (face,) = judged([[seen(0, **known)]])
    assert kinds(face) == [kind]


def test_a_face_cut_by_the_frame_says_how_much() -> None:
    (face,) = judged([[seen(0, FACE - (np.float32(320), np.float32(0)))]])
    assert kinds(face) == [Kind.CUT_OFF]
    assert "%" in face.doubts[0].reason


def test_one_face_twice_doubts_the_lesser_file() -> None:
    faces = [seen(0, number=0), seen(0, FACE + np.float32(2), number=1, confidence=0.9, track=2)]
    first, second = judged([faces])
    assert not first.doubts
    assert kinds(second) == [Kind.DOUBLE]
    assert "00000_0.jpg" in second.doubts[0].reason


def test_what_a_person_placed_is_not_doubted() -> None:
    (face,) = judged([[seen(0, confidence=0.1, turned=80.0, by_hand=True)]])
    assert not face.doubts


def test_short_gaps_are_worse_than_long_ones_and_than_the_end() -> None:
    short, long_, end = missing(1, 1, 1), missing(20, 21, 40), missing(200, None, 400)
    assert short.score > long_.score > end.score
    assert "a frame before" in short.reason
    assert gap(1, 2).score > end.score


def test_doubts_add_up_but_stay_below_one() -> None:
    doubts = [missing(1, 1, 1), gap(1, 1)]
    assert max(doubt.score for doubt in doubts) < together(doubts) < 1
