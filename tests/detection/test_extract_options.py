"""Options of extraction."""

from __future__ import annotations

import pytest

from understudy.detection import ExtractOptions
from understudy.errors import InvalidOption
from understudy.records import FaceType


def test_short_names_of_face_types_are_what_people_type() -> None:
    typed = {
        "h": FaceType.HALF,
        "mf": FaceType.MID_FULL,
        "f": FaceType.FULL,
        "wf": FaceType.WHOLE_FACE,
        "head": FaceType.HEAD,
    }
    for name, face_type in typed.items():
        assert ExtractOptions.of(face_type=name).face_type is face_type


def test_heads_are_larger_unless_a_size_is_given() -> None:
    assert ExtractOptions().size == 512
    assert ExtractOptions.of(face_type="head").size == 768
    assert ExtractOptions.of(face_type="head", image_size=1024).size == 1024


@pytest.mark.parametrize("values", [{"image_size": 100}, {"image_size": 4096}, {"jpeg_quality": 0}, {"max_faces": -1}])
def test_values_out_of_range_name_the_option(values: dict[str, int]) -> None:
    with pytest.raises(InvalidOption) as error:
        ExtractOptions.of(**values)
    assert next(iter(values)) in error.value.message
