"""Models of the reference, opened as a user opens them: by name, out of the flat files in model/."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from small_faces import workspace_with_faces
from understudy.errors import IncompatibleModel, MissingModel
from understudy.facesets import pickles
from understudy.interop.flat import FlatModel, find_flat_models
from understudy.records import PrecisionChoice
from understudy.report import Event, Note
from understudy.stages.models import list_models, open_model
from understudy.stages.train import train
from understudy.training.checkpoints import CheckpointStore
from understudy.training.models import read_record
from understudy.training.options import TrainOptions
from understudy.training.predictor import load_predictor
from understudy.workspace import Workspace

# Outputs are stored in 16 bits (7.7e-6) and the reference itself moves by 1e-5 with the batch size.
TOLERANCE = 1e-4


def archives(golden: Path, model_class: str) -> list[Path]:
    """Archives of flat files of a class, found from the descriptions beside them."""
    found = []
    for path in sorted((golden / "nets").glob("*.json")):
        files = json.loads(path.read_text()).get("files", {})
        if any(f"_{model_class}_" in name for name in files) and path.with_suffix(".zip").is_file():
            found.append(path.with_suffix(".zip"))
    if not found:
        pytest.skip(f"there is no {model_class} network in the golden data")
    return found


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.is_file()}


def add_optimiser(model: FlatModel, steps: int) -> dict[str, NDArray[np.float32]]:
    """Write the optimiser file that the archives leave out: RMSprop's squares, here those of the weights, by name."""
    stored: dict[str, Any] = {"iters:0": np.int64(steps)}
    squares = {}
    for path in model.files:
        network = path.stem.removeprefix(model.prefix)
        if path.suffix == ".npy":
            for name, value in pickles.loads(path.read_bytes()).items():
                squares[f"{network}/{name}"] = stored[f"acc_{network}/{name.removesuffix(':0')}_0:0"] = value**2
    (model.folder / f"{model.prefix}src_dst_opt.npy").write_bytes(pickles.dumps(stored, 4))
    return squares


def test_training_goes_on_from_a_flat_model_with_its_optimiser(golden: Path, tmp_path: Path) -> None:
    for archive in archives(golden, "Quick96"):
        workspace = workspace_with_faces(tmp_path / archive.stem)
        with zipfile.ZipFile(archive) as opened:
            opened.extractall(workspace.models)
        (flat,) = find_flat_models(workspace.models)
        assert flat.iteration is not None
        squares = add_optimiser(flat, steps=flat.iteration)
        events: list[Event] = []
        target = flat.iteration + 1
        options = TrainOptions(
            target_iter=target, batch_size=1, precision=PrecisionChoice.FP32, threads=1, preview_every=0
        )
        result = train(workspace, flat.name, options, report=events.append)
        assert result.notes["iteration"] == target
        assert not [event for event in events if isinstance(event, Note) and event.level == "warning"]

        saved = CheckpointStore(workspace.model(flat.name)).newest()
        assert saved is not None
        assert saved.optimiser is not None
        assert int(saved.optimiser["iterations"]) == target
        # Each square has shrunk to nine tenths, to which a tenth of the new gradient's was added.
        before = torch.from_numpy(squares["inter/dense1/weight:0"].T.copy())
        after = saved.optimiser["moment.inter.dense1.weight"]
        assert bool((after >= 0.9 * before * (1 - 1e-6)).all())


def test_a_flat_quick96_model_is_imported_by_name_and_draws_what_it_drew(golden: Path, tmp_path: Path) -> None:
    for archive in archives(golden, "Quick96"):
        workspace = Workspace.create(tmp_path / archive.stem)
        with zipfile.ZipFile(archive) as opened:
            opened.extractall(workspace.models)
        before = digests(workspace.models)
        (flat,) = find_flat_models(workspace.models)
        assert [(model.name, model.ours) for model in list_models(workspace)] == [(flat.name, False)]

        events: list[Event] = []
        folder = open_model(workspace, flat.name, report=events.append)
        assert any("Imported" in event.message for event in events if isinstance(event, Note))
        assert digests(workspace.models) == before

        data = pickles.loads((workspace.models / f"{flat.prefix}data.dat").read_bytes())
        assert read_record(folder).imported
        lines = (folder / "history.jsonl").read_text().splitlines()
        assert len(lines) == len(data["loss_history"])
        last = json.loads(lines[-1])
        assert (last["iteration"], last["src"], last["dst"]) == (data["iter"], *data["loss_history"][-1])
        assert [(model.name, model.ours) for model in list_models(workspace)] == [(flat.name, True)]

        predictor = load_predictor(folder, precision=PrecisionChoice.FP32)
        assert predictor.iteration == data["iter"]
        with np.load(archive.with_name(f"{archive.stem}_io.npz")) as io:
            face, mask, mask_dst = predictor.predict(io["dst"][..., ::-1])
            np.testing.assert_allclose(face[..., ::-1], io["src_dst_u16"] / 65535, rtol=0, atol=TOLERANCE)
            np.testing.assert_allclose(mask, io["src_dst_mask_u16"][..., 0] / 65535, rtol=0, atol=TOLERANCE)
            np.testing.assert_allclose(mask_dst, io["dst_dst_mask_u16"][..., 0] / 65535, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("model_class", ["SAEHD", "AMP"])
def test_classes_that_cannot_be_opened_yet_are_refused_by_name(golden: Path, tmp_path: Path, model_class: str) -> None:
    workspace = Workspace.create(tmp_path)
    with zipfile.ZipFile(archives(golden, model_class)[0]) as opened:
        opened.extractall(workspace.models)
    (flat,) = find_flat_models(workspace.models)
    assert flat.model_class == model_class
    with pytest.raises(IncompatibleModel, match=f"{model_class}.*Quick96"):
        open_model(workspace, flat.name)
    assert not workspace.model(flat.name).exists()
    with pytest.raises(MissingModel, match="nobody") as caught:
        open_model(workspace, "nobody")
    assert flat.name in caught.value.hint
