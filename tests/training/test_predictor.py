"""A predictor takes faces in every form that makes sense, and says what is wrong with the others."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from own_models import own_model
from understudy.errors import InvalidOption, MissingModel, UsageError
from understudy.networks.predictor import Predictor
from understudy.records import FaceType, PrecisionChoice
from understudy.training.saved.new import create_model
from understudy.training.saved.predictor import load_predictor
from understudy.workspace import Workspace

FP32 = PrecisionChoice.FP32


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace.create(tmp_path_factory.mktemp("predictor") / "shot")


@pytest.fixture(scope="module")
def df(workspace: Workspace) -> Predictor:
    return load_predictor(own_model(workspace, "df", "df-ud", iteration=12, judged=True), precision=FP32)


@pytest.fixture(scope="module")
def amp(workspace: Workspace) -> Predictor:
    return load_predictor(own_model(workspace, "amp", "AMP"), precision=FP32)


def faces_of(count: int, size: int = 64) -> NDArray[np.float32]:
    return np.random.default_rng(count).random((count, size, size, 3), dtype=np.float32)


def test_it_says_what_it_is(df: Predictor, amp: Predictor) -> None:
    assert (df.model_class, df.size, df.face_type, df.iteration) == ("SAEHD", 64, FaceType.FULL, 12)
    assert (df.dtype, df.device, df.has_morph, df.can_swap) == ("float32", "cpu", False, True)
    assert amp.has_morph
    assert repr(df) == "<Predictor SAEHD, 64 px, float32 on cpu>"


def test_one_face_is_drawn_as_one_of_many(df: Predictor) -> None:
    faces = faces_of(3)
    many, one = df.predict(faces), df.predict(faces[1])
    assert (one.face.shape, one.mask.shape, one.mask_dst.shape) == ((64, 64, 3), (64, 64), (64, 64))
    for alone, among in zip(one, many, strict=True):
        np.testing.assert_allclose(alone, among[1], atol=1e-5)


def test_any_number_of_faces(df: Predictor) -> None:
    """More than go through the network at once; the split is nobody's concern."""
    faces = faces_of(37)
    whole = df.predict(faces)
    assert whole.face.shape == (37, 64, 64, 3)
    halves = [df.predict(faces[:18]), df.predict(faces[18:])]
    for column, parts in zip(whole, zip(*halves, strict=True), strict=True):
        np.testing.assert_allclose(np.concatenate(parts), column, atol=1e-5)
    assert df.predict(faces[:0]).mask.shape == (0, 64, 64)


@pytest.mark.parametrize("kind", [np.float16, np.float64])
def test_other_float_types(df: Predictor, kind: type) -> None:
    faces = faces_of(2).astype(kind)
    drawn = df.predict(faces)
    assert drawn.face.dtype == np.float32
    np.testing.assert_array_equal(drawn.face, df.predict(faces.astype(np.float32)).face)


def test_faces_that_lie_oddly_in_memory(df: Predictor) -> None:
    faces = faces_of(2)
    np.testing.assert_array_equal(df.predict(faces[:, :, ::-1]).face, df.predict(faces[:, :, ::-1].copy()).face)


def test_what_it_draws_is_the_callers_to_change(df: Predictor) -> None:
    faces = faces_of(2)
    for part in df.predict(faces):
        assert part.flags.writeable
        assert part.flags.c_contiguous
        part[...] = 0
    assert df.predict(faces).face.max() > 0


@pytest.mark.parametrize(
    ("faces", "said"),
    [
        ((faces_of(2) * 255).astype(np.uint8), "uint8"),
        (faces_of(2).tolist(), "list"),
        (faces_of(2)[:, :32], r"\(2, 32, 64, 3\)"),
        (faces_of(2)[..., :1], r"\(2, 64, 64, 1\)"),
        (faces_of(2).transpose(0, 3, 1, 2), r"\(2, 3, 64, 64\)"),
        (faces_of(2)[None], r"\(1, 2, 64, 64, 3\)"),
        (faces_of(2) * 255, "0..1"),
        (faces_of(2) * 2 - 1, "0..1"),
        (np.full((64, 64, 3), np.nan, np.float32), "0..1"),
    ],
    ids=["bytes", "list", "height", "grey", "channels first", "deep", "0..255", "-1..1", "no numbers"],
)
def test_what_is_no_face_is_refused_with_a_way_out(df: Predictor, faces: NDArray[np.float32], said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        df.predict(faces)
    assert caught.value.hint


def test_what_sharp_resampling_leaves_beyond_the_range_is_taken(df: Predictor) -> None:
    faces = faces_of(2)
    faces[0, 0, 0], faces[1, 1, 1] = 1.08, -0.05
    assert np.isfinite(df.predict(faces).face).all()


def test_a_morph_factor_goes_from_dst_to_src(amp: Predictor) -> None:
    faces = faces_of(2)
    steps = [amp.predict(faces, morph=morph).face for morph in (0.0, 0.5, 1.0)]
    assert np.abs(steps[0] - steps[1]).max() > 1e-3
    assert np.abs(steps[1] - steps[2]).max() > 1e-3
    np.testing.assert_array_equal(amp.predict(faces).face, steps[2])
    np.testing.assert_array_equal(amp.predict(faces, morph=7).face, steps[2])
    np.testing.assert_array_equal(amp.predict(faces, morph=-1).face, steps[0])
    np.testing.assert_allclose(amp.predict(faces, morph=0).mask, amp.predict(faces).mask_dst, atol=1e-5)
    with pytest.raises(UsageError, match="no number"):
        amp.predict(faces, morph=float("nan"))


def test_only_amp_morphs(df: Predictor) -> None:
    with pytest.raises(UsageError, match="no morph factor"):
        df.predict(faces_of(1), morph=0.5)


def test_several_threads_at_once(df: Predictor) -> None:
    batches = [faces_of(count) for count in (1, 2, 3, 4, 5, 6)]
    alone = [df.predict(batch) for batch in batches]
    with ThreadPoolExecutor(3) as threads:
        together = list(threads.map(df.predict, batches * 3))
    for index, drawn in enumerate(together):
        for one, other in zip(drawn, alone[index % len(alone)], strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)


def test_other_number_types(workspace: Workspace, df: Predictor) -> None:
    faces = faces_of(3)
    half = load_predictor(workspace.model("df"), precision=PrecisionChoice.BF16)
    assert half.dtype == "bfloat16"
    np.testing.assert_allclose(half.predict(faces).face, df.predict(faces).face, atol=0.02)
    assert load_predictor(workspace.model("df")).dtype in ("float32", "bfloat16")
    with pytest.raises(InvalidOption, match="fp16"):
        load_predictor(workspace.model("df"), precision=PrecisionChoice.FP16)


COMPILED = """
import sys
from pathlib import Path
import numpy as np
from understudy.records import PrecisionChoice
from understudy.report import Note
from understudy.training.saved.predictor import load_predictor

told = []
predictor = load_predictor(Path(sys.argv[1]), precision=PrecisionChoice.FP32, compiled=True, report=told.append)
np.save(sys.argv[3], predictor.predict(np.load(sys.argv[2])).face)
print([event.level for event in told if isinstance(event, Note)])
"""


def test_without_a_compiler_it_draws_all_the_same(workspace: Workspace, df: Predictor, tmp_path: Path) -> None:
    """In a process of its own: one that has compiled before remembers its compiler and what it made."""
    environment = {**os.environ, "CXX": str(tmp_path / "none"), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    faces, found = tmp_path / "faces.npy", tmp_path / "found.npy"
    np.save(faces, faces_of(2))
    command = [sys.executable, "-c", COMPILED, str(workspace.model("df")), str(faces), str(found)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "['warning']"
    np.testing.assert_allclose(np.load(found), df.predict(faces_of(2)).face, atol=1e-5)


def test_a_model_that_was_never_saved(workspace: Workspace) -> None:
    create_model(workspace.model("untrained"), "quick96")
    with pytest.raises(MissingModel, match="untrained") as caught:
        load_predictor(workspace.model("untrained"))
    assert caught.value.hint == "Train it with: understudy train untrained"
