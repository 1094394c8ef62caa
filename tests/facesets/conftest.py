"""Fixtures of the faceset tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from made_faces import make_jpeg, make_labelled_meta, make_meta
from understudy.facesets import FaceMeta, write_face


@pytest.fixture
def meta() -> FaceMeta:
    return make_labelled_meta()


@pytest.fixture
def jpeg() -> bytes:
    return make_jpeg()


@pytest.fixture
def faceset(tmp_path: Path) -> Callable[[int], Path]:
    """Makes a faceset folder of so many faces."""

    def make(count: int) -> Path:
        folder = tmp_path / "data_src" / "aligned"
        folder.mkdir(parents=True)
        for index in range(count):
            write_face(folder / f"{index + 1:05d}_0.jpg", make_jpeg(index), make_meta(index))
        return folder

    return make
