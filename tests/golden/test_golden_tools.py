"""Packs and backups of the reference program through our tools, and back into a form that it reads."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from understudy.facesets import decode_jpeg, encode_jpeg, pickles, read_meta
from understudy.facesets.container import parse_header
from understudy.facesets.metadata import to_dict
from understudy.facesets.options import PackOptions
from understudy.facesets.packs import list_pack
from understudy.records import Side
from understudy.stages.meta_backup import restore_meta, save_meta
from understudy.stages.pack import pack
from understudy.stages.unpack import unpack
from understudy.workspace import Workspace

SRC = Side.SRC


@pytest.fixture
def folder(golden: Path) -> Path:
    return golden / "files"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.create(tmp_path / "shot")


@pytest.mark.parametrize("name", ["faceset.pak", "faceset_multi_person.pak"])
def test_a_pack_goes_through_loose_files_and_back(folder: Path, workspace: Workspace, name: str) -> None:
    facts = json.loads((folder / "expected.json").read_text())[name]["samples"]
    there = workspace.src.aligned / "faceset.pak"
    shutil.copy(folder / name, there)
    original = list_pack(there)
    unpack(workspace, SRC)
    for sample in facts:
        person = workspace.src.aligned / (sample["person_name"] or "")
        assert hashlib.sha256((person / sample["filename"]).read_bytes()).hexdigest() == sample["sha256"]
    pack(workspace, SRC, PackOptions(delete_originals=True))
    for face, again in zip(original, list_pack(there), strict=True):
        assert (again.name, again.person, again.size) == (face.name, face.person, face.size)
        assert list(again.stored) == list(face.stored), "the same keys in the same order"
        for key in face.stored:
            assert_like(again.stored[key], face.stored[key])


def assert_like(ours: Any, theirs: Any) -> None:
    """The same value of the same kind; a stored mask may be a column there and is a row here."""
    assert type(ours) is type(theirs)
    if isinstance(theirs, np.ndarray):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours.ravel(), theirs.ravel())
    elif isinstance(theirs, dict):
        assert list(ours) == list(theirs)
        for key in theirs:
            assert_like(ours[key], theirs[key])
    elif isinstance(theirs, list) and theirs and isinstance(theirs[0], dict):
        for one, other in zip(ours, theirs, strict=True):
            assert_like(one, other)
    else:
        np.testing.assert_array_equal(ours, theirs)


def test_a_backup_restores_edited_faces(folder: Path, workspace: Workspace) -> None:
    aligned = workspace.src.aligned
    stored = pickles.loads((folder / "meta.dat").read_bytes())
    for name in stored:
        rgb8 = decode_jpeg((folder / "aligned_wf" / name).read_bytes())
        (aligned / name).write_bytes(encode_jpeg(rgb8, 95))
    shutil.copy(folder / "meta.dat", aligned)
    assert restore_meta(workspace, SRC).notes["restored"] == len(stored)
    for name in stored:
        kept = to_dict(read_meta(folder / "aligned_wf" / name))
        assert pickles.dumps(to_dict(read_meta(aligned / name))) == pickles.dumps(kept)


def test_our_backup_is_theirs(folder: Path, workspace: Workspace) -> None:
    for path in (folder / "aligned_wf").glob("*.jpg"):
        shutil.copy(path, workspace.src.aligned)
    theirs = pickles.loads((folder / "meta.dat").read_bytes())
    save_meta(workspace, SRC)
    ours = pickles.loads((workspace.src.aligned / "meta.dat").read_bytes())
    assert list(ours) == list(theirs)
    for name, (shape, data) in theirs.items():
        assert ours[name][0] == shape
        assert set(ours[name][1]) == set(data)
        for key, value in data.items():
            ours_value = ours[name][1][key]
            if isinstance(value, np.ndarray):
                np.testing.assert_array_equal(ours_value.ravel(), value.ravel())
    payload = parse_header((workspace.src.aligned / "00001_0.jpg").read_bytes()).payloads[0]
    assert set(pickles.loads(payload)) == set(ours["00001_0.jpg"][1])
