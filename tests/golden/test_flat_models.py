"""Models of the reference, opened as a user opens them: by name, out of the flat files in model/."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from small_faces import workspace_with_faces
from understudy.errors import MissingModel
from understudy.facesets import pickles
from understudy.interop import reference_record
from understudy.interop.flat import FlatModel, find_flat_models
from understudy.interop.layout import our_name
from understudy.interop.layout import to_theirs as to_their_layout
from understudy.interop.reference_options import to_theirs
from understudy.interop.reference_record import ReferenceRecord
from understudy.records import PrecisionChoice
from understudy.report import Event, Note
from understudy.stages.model_import import import_models
from understudy.stages.models import list_models, open_model
from understudy.stages.train import train
from understudy.training.options import TrainOptions
from understudy.training.saved.checkpoints import CheckpointStore
from understudy.training.saved.models import read_record
from understudy.training.saved.predictor import load_predictor
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


def native_folders(golden: Path, tmp_path: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Every archive that holds one model's native files, unpacked, with the description beside it."""
    found = False
    for description in sorted((golden / "nets").glob("*.json")):
        archive = description.with_suffix(".zip")
        if not archive.is_file():
            continue
        with zipfile.ZipFile(archive) as opened:
            if not any(name.endswith("_data.dat") for name in opened.namelist()):
                continue
            folder = tmp_path / archive.stem
            opened.extractall(folder)
        found = True
        yield folder, json.loads(description.read_text())
    if not found:
        pytest.skip("there is no native model folder in the golden data")


def test_every_model_of_the_reference_comes_in_equal_to_the_bit(golden: Path, tmp_path: Path) -> None:
    """Every tensor of every file, every option in value and type, every loss, and the preview sample."""
    workspace = Workspace.create(tmp_path / "shot")
    for folder, description in native_folders(golden, tmp_path):
        (flat,) = find_flat_models(folder)
        before = digests(folder)
        result = import_models(workspace, folder)
        (said,) = result.notes["models"]
        assert digests(folder) == before
        target = workspace.model(flat.name)
        saved = CheckpointStore(target).newest()
        kept = reference_record.read(target)
        assert saved is not None
        assert kept is not None
        data = pickles.loads(require(flat.part("data.dat")).read_bytes())
        assert saved.iteration == data["iter"] == description.get("iter", data["iter"])
        record = read_record(target)
        options = to_theirs(flat.model_class, record.config, record.options, kept.options)
        assert [(key, type(value), value) for key, value in options.items()] == [
            (key, type(value), value) for key, value in data["options"].items()
        ]
        assert_losses(target, kept, data["loss_history"], data["iter"])
        assert_same_sample(kept.sample_for_preview, data["sample_for_preview"])
        expected = {}
        for path in folder.glob(f"{flat.prefix}*.npy"):
            expected |= expected_tensors(flat, path, said["optimiser"])
        given = {**saved.weights, **{f"optimiser {name}": value for name, value in (saved.optimiser or {}).items()}}
        assert given.keys() == expected.keys(), flat.full_name
        for name, value in expected.items():
            np.testing.assert_array_equal(in_their_layout(name, given[name]), value, err_msg=f"{flat.full_name} {name}")
        shutil.rmtree(target)
        shutil.rmtree(folder)


DISCRIMINATORS = {
    "GAN": "gan",
    "GAN_opt": "gan",
    "code_discriminator": "code_discriminator",
    "D_code_opt": "code_discriminator",
}
KINDS = {"ms": "first", "vs": "second", "acc": "moment"}


def expected_tensors(flat: FlatModel, path: Path, kind: str | None) -> dict[str, Any]:
    """What a file holds, by the names of a saved state; those of optimisers behind the word optimiser."""
    part = path.stem.removeprefix(flat.prefix)
    discriminator = DISCRIMINATORS.get(part, "")
    expected = {}
    for key, value in pickles.loads(path.read_bytes()).items():
        if not part.endswith("opt"):
            expected[our_name(discriminator or ("" if flat.model_class == "XSeg" else part), key)] = value
            continue
        before = f"optimiser {discriminator}/" if discriminator else "optimiser "
        if key == "iters:0":
            expected[f"{before}iterations"] = value
            continue
        start, scope, tensor = re.fullmatch(r"(ms|vs|acc)_([^/]+)/(.+)_0:0", key).groups()  # type: ignore[union-attr]
        network = "" if discriminator or flat.model_class == "XSeg" else scope
        expected[f"{before}{KINDS[start]}.{our_name(network, tensor)}"] = value
    return expected


def in_their_layout(name: str, tensor: torch.Tensor) -> NDArray[Any]:
    """A tensor of a saved state as the reference's file holds it."""
    if name.endswith("iterations"):
        return tensor.numpy()
    plain = name.removeprefix("optimiser ")
    discriminator, slash, rest = plain.rpartition("/")
    if plain != name:
        rest = rest.partition(".")[2]
    return to_their_layout(f"{discriminator}.{rest}" if slash else rest, tensor)


def assert_losses(folder: Path, kept: ReferenceRecord, losses: list[list[float]], iteration: int) -> None:
    lines = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    assert [line.pop("iteration") for line in lines] == list(range(iteration - len(losses) + 1, iteration + 1))
    np.testing.assert_array_equal([[*line.values()] for line in lines], np.float32(losses))
    if kept.losses is None:  # the history says them to the last digit
        np.testing.assert_array_equal([[*line.values()] for line in lines], losses)
    else:
        np.testing.assert_array_equal(kept.losses, losses)


def assert_same_sample(kept: Any, stored: Any) -> None:
    if isinstance(stored, list):
        assert len(kept) == len(stored)
        for one, other in zip(kept, stored, strict=True):
            assert_same_sample(one, other)
    elif stored is None:
        assert kept is None
    else:
        assert kept.dtype == stored.dtype
        np.testing.assert_array_equal(kept, stored)


def require(path: Path | None) -> Path:
    assert path is not None
    return path


def test_a_name_that_no_model_has_is_answered_with_those_that_there_are(golden: Path, tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path)
    with zipfile.ZipFile(archives(golden, "SAEHD")[0]) as opened:
        opened.extractall(workspace.models)
    (flat,) = find_flat_models(workspace.models)
    with pytest.raises(MissingModel, match="nobody") as caught:
        open_model(workspace, "nobody")
    assert flat.name in caught.value.hint
