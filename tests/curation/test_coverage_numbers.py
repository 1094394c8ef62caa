"""Holes that were made on purpose are found, and nothing else."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from understudy.curation.coverage import (
    COLUMNS,
    COVERED,
    Coverage,
    Lack,
    compare,
    holes,
    impersonal,
    looks,
    missing_stretches,
    missing_words,
    strip,
)
from understudy.curation.coverage_picture import Tile, draw

TYPICAL = {"light_right": 0.0, "light_down": 0.1, "brightness": 0.5, "sharpness": 12.0, "mouth": 0.1, "eyes": 0.28}


def faces(count: int, seed: int = 0, *, yaw: tuple[float, float] = (-40, 40), **fixed: float) -> np.ndarray:
    """Faces of one person that look about, all else alike up to a little noise."""
    rng = np.random.default_rng(seed)
    made = np.zeros((count, len(COLUMNS)))
    made[:, 0] = rng.uniform(*yaw, count)
    made[:, 1] = rng.uniform(-15, 15, count)
    for name, value in {**TYPICAL, **fixed}.items():
        made[:, COLUMNS.index(name)] = value + rng.normal(0, 0.01, count)
    return made


def test_a_faceset_covers_one_like_it() -> None:
    found = compare(faces(600), faces(100, 1))
    assert found.covered_share > 0.98
    assert missing_words(found) == []
    assert not holes(found)


def test_a_way_of_looking_that_src_has_not_is_found_and_named() -> None:
    """The src never turns beyond 20 degrees to the right, the dst does."""
    found = compare(faces(600, yaw=(-20, 60)), faces(200, 1, yaw=(-60, 0)))
    risky = np.array([face.is_at_risk for face in found.faces])
    yaw = found.dst[:, 0]
    assert risky[yaw < -45].all()
    assert not risky[yaw > -25].any()
    lacks = {face.lack for face in found.faces if face.is_at_risk}
    assert lacks == {Lack.POSE}
    assert holes(found)
    assert all(hole["yaw"][1] <= -20 and hole["src"] == 0 for hole in holes(found))
    assert "right" in missing_words(found)[0]
    worst = found.faces[found.worst(1)[0]]
    assert "Looks right" in worst.reason


@pytest.mark.parametrize(
    ("name", "value", "lack", "word"),
    [
        ("mouth", 0.6, Lack.EXPRESSION, "wide open"),
        ("eyes", 0.03, Lack.EXPRESSION, "closed"),
        ("light_right", -0.8, Lack.LIGHT, "left"),
        ("brightness", 0.05, Lack.LIGHT, "dark"),
    ],
)
def test_an_expression_or_a_light_that_src_has_not_is_found(name: str, value: float, lack: Lack, word: str) -> None:
    dst = np.concatenate([faces(90, 1), faces(10, 2, **{name: value})])
    found = compare(faces(600), dst)
    assert [face.lack for face in found.faces[90:]] == [lack] * 10
    assert all(face.is_at_risk and word in face.reason for face in found.faces[90:])
    assert sum(face.gap > COVERED for face in found.faces[:90]) <= 2
    assert missing_stretches(found, name).any()
    assert any(word in line for line in missing_words(found))


def test_a_beard_dark_skin_and_narrow_eyes_are_not_taken_for_light_and_expression() -> None:
    """They belong to the person, who is to be exchanged anyway."""
    other = faces(100, 1, light_down=-0.5, brightness=0.2, eyes=0.2)
    assert compare(faces(600), other).covered_share > 0.97
    np.testing.assert_allclose(np.median(impersonal(other), axis=0)[[3, 4, 7]], (0.0, 0.5, 0.28), atol=1e-9)


def test_one_odd_src_face_covers_nothing() -> None:
    """A single misaligned face must not hide a hole."""
    odd = faces(1, yaw=(-70, -70))
    found = compare(np.concatenate([faces(300), odd]), faces(20, 1, yaw=(-71, -69)))
    assert all(face.gap > COVERED for face in found.faces)


def test_soft_src_faces_are_said_where_the_dst_is_sharp() -> None:
    found = compare(faces(600, sharpness=4.0), faces(50, 1, sharpness=20.0))
    assert {face.lack for face in found.faces} == {Lack.SHARPNESS}
    assert not any(face.is_at_risk for face in found.faces)


def test_the_worst_are_different_from_each_other() -> None:
    dst = np.concatenate([faces(50, 1, yaw=(-75, -74)), faces(3, 2, yaw=(80, 81))])
    found = compare(faces(300), dst)
    sides = {np.sign(found.dst[row, 0]) for row in found.worst(6)}
    assert sides == {-1.0, 1.0}


def test_tiny_facesets_and_extreme_values_are_compared_too() -> None:
    found = compare(faces(1), faces(1, 1, mouth=9.0, sharpness=1e4))
    assert len(found.faces) == 1
    assert strip(found.dst, "mouth").sum() == pytest.approx(1)


def test_words_for_ways_of_looking_are_those_of_the_picture() -> None:
    assert looks(0, 0) == "ahead"
    assert looks(30, 0) == "left 30°"
    assert looks(-30, -20) == "right 30°, down 20°"


def drawn(found: Coverage, tiles: list[Tile]) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(draw(found, tiles, title="What src covers of dst"))).convert("RGB"))


def test_the_picture_shows_red_only_where_something_is_at_risk() -> None:
    def count(picture: np.ndarray) -> int:
        return int((np.abs(picture.astype(int) - (255, 89, 100)).max(axis=2) < 6).sum())

    tile = Tile(np.full((64, 64, 3), 90, np.uint8), None, "00012", 2.2, "Looks right 60°.")
    covered = drawn(compare(faces(600), faces(100, 1)), [])
    holed = drawn(compare(faces(600, yaw=(0, 60)), faces(100, 1, yaw=(-60, 0))), [tile])
    assert covered.shape[1] > 1600
    assert count(holed) > 10000
    assert count(covered) < 3000  # the words "missing in src"
