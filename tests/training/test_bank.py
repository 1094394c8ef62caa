"""The bank converts every usable face once, names the others, and spills to disk beyond its budget."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from understudy.errors import EmptyFaceset, Interrupted, UnreadableFace
from understudy.facesets import Face, FaceMeta
from understudy.geometry.alignment import TEMPLATE_51
from understudy.records import FaceType
from understudy.report import Event, Progress
from understudy.training.faces.bank import FaceBank


@dataclass
class Stored:
    """A face that needs no file."""

    name: str
    face: Face | None

    def read(self) -> Face:
        if self.face is None:
            raise UnreadableFace("The picture is cut short.")
        return self.face


def landmarks(size: int) -> NDArray[np.float64]:
    """The mean face with a round jaw below it, filling the middle of the picture."""
    angles = np.linspace(np.pi, 0, 17)
    jaw = np.stack([0.5 + 0.6 * np.cos(angles), 0.35 + 0.9 * np.sin(angles)], 1)
    return (0.25 + 0.5 * np.concatenate([jaw, TEMPLATE_51])) * size


def stored(name: str, size: int = 128, face_type: FaceType = FaceType.FULL, level: int = 100) -> Stored:
    rgb8 = np.full((size, size, 3), level, np.uint8)
    rgb8[..., 0] = 200
    return Stored(name, Face(rgb8, FaceMeta(face_type, landmarks(size))))


def load(faces: list[Stored], **options: object) -> FaceBank:
    return FaceBank.load(faces, size=64, face_type=FaceType.FULL, **options)  # type: ignore[arg-type]


def test_faces_of_any_size_and_type_become_crops_in_order() -> None:
    events: list[Event] = []
    faces = [stored("a", 128), stored("b", 64), stored("c", 200, FaceType.WHOLE_FACE), stored("d", 128, level=50)]
    bank = load(faces, report=events.append)
    assert bank.names == ("a", "b", "c", "d")
    assert bank.pixels.shape == (4, 64, 64, 4)
    for crop in bank.pixels:
        assert abs(int(crop[32, 32, 0]) - 200) <= 1
        assert crop[32, 32, 3] == 255
    assert bank.pixels[0, 0, 0, 3] == 0
    assert bank.pixels[3, 32, 32, 1] == 50
    assert any(isinstance(event, Progress) and event.done == 4 for event in events)


def test_eyes_and_mouth_are_within_the_face_where_they_are_asked_for() -> None:
    faces = [stored("a", 256), stored("small", 24)]
    bank = load(faces, eyes_mouth=True)
    assert bank.pixels.shape == (2, 64, 64, 5)
    masks = bank.pixels[0, ..., 3:]
    assert 0.005 < (masks[..., 1] > 128).mean() < 0.2
    assert masks[masks[..., 0] == 0][:, 1].max() == 0
    assert bank.pixels[1, ..., 4].max() == 0  # too small to tell


def test_a_bank_knows_which_way_faces_look() -> None:
    bank = load([stored("a")])
    assert bank.yaws is not None
    assert abs(float(bank.yaws[0])) < 0.1


def test_unusable_faces_are_named_and_left_out() -> None:
    blind = Stored("blind", Face(np.zeros((64, 64, 3), np.uint8), FaceMeta(FaceType.FULL, np.zeros((0, 2)))))
    nowhere = [Stored(str(at), Face(np.zeros((64, 64, 3), np.uint8), FaceMeta(FaceType.WHOLE_FACE, points)))
               for at, points in enumerate((np.zeros((68, 2)), np.full((68, 2), 1e30)))]  # fmt: skip
    bank = load([stored("good"), Stored("cut", None), blind, *nowhere])
    assert bank.names == ("good",)
    assert [skipped.item for skipped in bank.skipped] == ["cut", "blind", "0", "1"]
    assert bank.skipped[-1].reason == "its landmarks do not span a face"
    with pytest.raises(EmptyFaceset, match=r"None of 1 .*: cut: The picture is cut short"):
        load([Stored("cut", None)])


def test_beyond_the_budget_crops_lie_on_disk_and_nothing_stays_behind(tmp_path: Path) -> None:
    faces = [stored("a"), stored("b", level=30)]
    mapped, held = load(faces, budget=1000, spill=tmp_path / "spill"), load(faces, budget=10**9)
    assert (mapped.crops.held, held.crops.held) == (0, 2)
    np.testing.assert_array_equal(mapped.pixels, held.pixels)
    assert list((tmp_path / "spill").iterdir()) == []


def test_loading_can_be_stopped() -> None:
    with pytest.raises(Interrupted):
        load([stored(str(number)) for number in range(5)], stop=lambda: True)


def test_fetch_gives_floats_in_the_order_asked_for() -> None:
    bank = load([stored("a", level=255), stored("b", level=0)])
    pictures, masks = bank.fetch(np.array([1, 0, 1]), torch.device("cpu"))
    assert pictures[:, 1, 32, 32].tolist() == [0, 1, 0]
    assert masks.shape == (3, 1, 64, 64)
    assert masks[0, 0, 32, 32] == 1
