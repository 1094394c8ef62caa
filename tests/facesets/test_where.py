"""The filter language: what a person types is what is chosen, and what makes no sense is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from made_faces import make_jpeg, make_labelled_meta, make_meta
from understudy.errors import UsageError
from understudy.facesets import Catalog, FaceEntry, write_face
from understudy.facesets.where import FIELDS, face_numbers, parse, select, unknown
from understudy.records import FaceType, Rect


@pytest.fixture
def faces(tmp_path: Path) -> list[FaceEntry]:
    """Three faces in two frames: two people, one without confidence, one labelled."""
    first = make_meta(0).but(confidence=0.95, track=1, group="anna")
    second = make_meta(0).but(confidence=0.4, track=2, group="Ben [old]", source_rect=Rect(0, 0, 30, 40))
    third = make_labelled_meta(11)
    for name, meta in (("00001_0.jpg", first), ("00001_1.jpg", second), ("00012_0.jpg", third)):
        write_face(tmp_path / name, make_jpeg(), meta)
    catalog = Catalog.open(tmp_path)
    return catalog.faces()


@pytest.mark.parametrize(
    ("where", "numbers"),
    [
        ("index>0", [1]),
        ("index=0", [0, 2]),
        ("index > 0 and frame = 1", [1]),
        ("frame=12", [2]),
        ("frame=00012", [2]),
        ("frame!=12", [0, 1]),
        ("frame=2..", [2]),
        ("frame=..5", [0, 1]),
        ("frame=1,12", [0, 1, 2]),
        ("frame=0000*", [0, 1]),
        ("frame<12", [0, 1]),
        ("person=anna", [0]),
        ("person=ANNA", [0]),
        ("person=a*", [0]),
        ("person=Ben [old]", [1]),
        ("person~old", [1]),
        ("person=none", [2]),
        ("person!=anna", [1, 2]),
        ("track=1..2", [0, 1]),
        ("track=none", [2]),
        ("confidence<0.6", [1]),
        ("confidence>=0.95", [0]),
        ("face-size<100", [1]),
        ("size=96", [0, 1, 2]),
        ("type=wf", [0, 1, 2]),
        ("type!=wf", []),
        ("name~_1", [1]),
        ("labelled", [2]),
        ("labelled=no", [0, 1]),
        ("has-mask=yes", [2]),
        ("has_mask", [2]),
        ("turned<60,index=0", [0, 2]),
    ],
)
def test_what_is_typed_is_what_is_chosen(faces: list[FaceEntry], where: str, numbers: list[int]) -> None:
    assert [faces.index(face) for face in select(faces, where)] == numbers


def test_several_conditions_must_all_hold(faces: list[FaceEntry]) -> None:
    assert [face.name for face in select(faces, ["frame=1", "confidence<0.6"])] == ["00001_1.jpg"]


def test_a_face_that_knows_nothing_is_not_chosen_but_counted(faces: list[FaceEntry]) -> None:
    assert unknown(faces, parse("confidence<0.6,index>0")) == {"confidence": 1}


def test_renamed_faces_are_numbered_by_the_size_of_their_boxes(tmp_path: Path) -> None:
    """After sorting, names say nothing any more; extraction numbers the largest face 0."""
    small, large = make_meta(4).but(source_rect=Rect(0, 0, 9, 9)), make_meta(4)
    write_face(tmp_path / "00000.jpg", make_jpeg(), small)
    write_face(tmp_path / "00001.jpg", make_jpeg(), large)
    with Catalog.open(tmp_path) as catalog:
        assert face_numbers(catalog.faces()) == {"00000.jpg": 1, "00001.jpg": 0}
        assert [face.name for face in select(catalog.faces(), "index>0")] == ["00000.jpg"]


def test_a_number_in_the_name_stays_when_an_earlier_face_is_gone(tmp_path: Path) -> None:
    """Somebody deleted 00001_0.jpg: 00001_1.jpg is still the second face of its frame."""
    write_face(tmp_path / "00001_1.jpg", make_jpeg(), make_meta(0))
    with Catalog.open(tmp_path) as catalog:
        assert len(select(catalog.faces(), "index>0")) == 1


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("", "No condition"),
        ("index", "quotes"),
        ("colour=red", "Fields: index"),
        (">0", "Fields: index"),
        ("person>3", "Operators for it"),
        ("labelled>1", "Operators for it"),
        ("labelled=maybe", "yes or no"),
        ("frame=9..3", "ends before it begins"),
        ("frame=", "names no value"),
        ("confidence<high", "no number"),
        ("confidence<nan", "no number"),
        ("index>1,2", "no number"),
        ("type=ears", "no such face type"),
    ],
)
def test_nonsense_is_refused_with_what_is_possible(where: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(where)
    assert said in f"{caught.value.message} {caught.value.hint}"


def test_every_field_can_be_asked(faces: list[FaceEntry]) -> None:
    for name in FIELDS:
        select(faces, f"{name}=none")
    assert {str(FaceType.WHOLE_FACE)} == {str(face.face_type) for face in faces}
