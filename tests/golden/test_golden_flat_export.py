"""Models of the reference, imported and handed back: what is written is what it had written itself."""

from __future__ import annotations

import random
import zipfile
from pathlib import Path

import numpy as np
import pytest

import outsider
from understudy.facesets import pickles
from understudy.interop.flat import find_flat_models
from understudy.interop.flat_writing import network_files, optimiser_files
from understudy.interop.layout import to_ours, to_theirs
from understudy.stages import model_import
from understudy.stages.export_dfl import export_dfl
from understudy.workspace import Workspace

CLASSES = ("SAEHD", "AMP", "Quick96", "XSeg")


def archives(golden: Path) -> list[Path]:
    """Every archive of a model's flat files."""
    found = []
    for path in sorted((golden / "nets").glob("*.zip")):
        with zipfile.ZipFile(path) as opened:
            if any(name.endswith("_data.dat") for name in opened.namelist()):
                found.append(path)
    if not found:
        pytest.skip("there are no flat models in the golden data")
    return found


@pytest.fixture(scope="module")
def exports(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, Path]]:
    """(the reference's folder, ours) of every model, imported and exported untouched."""
    pairs = []
    for archive in archives(golden):
        root = tmp_path_factory.mktemp(archive.stem)
        with zipfile.ZipFile(archive) as opened:
            opened.extractall(root / "theirs")
        workspace = Workspace.create(root / "workspace")
        model_import.import_models(workspace, root / "theirs")
        for flat in find_flat_models(root / "theirs"):
            export_dfl(workspace, flat.name, output=root / "ours")
        pairs.append((root / "theirs", root / "ours"))
    return pairs


def test_the_same_files_come_back(exports: list[tuple[Path, Path]]) -> None:
    for theirs, ours in exports:
        assert sorted(path.name for path in ours.iterdir()) == sorted(path.name for path in theirs.iterdir())


def test_an_old_numpy_finds_equal_values_of_equal_types_in_equal_order(exports: list[tuple[Path, Path]]) -> None:
    """Bytes of every array, every option and its type, losses, previews; by NumPy 1.26 and pickle, without us."""
    pairs = [
        (path, ours / path.name)
        for theirs, ours in exports
        for path in sorted(theirs.iterdir())
        if path.suffix in (".npy", ".dat")
    ]
    found = outsider.differences(pairs)
    assert [(str(pair[0].name), text) for pair, text in zip(pairs, found, strict=True) if text] == []


def test_an_old_program_finds_nothing_but_numpy_in_the_files(exports: list[tuple[Path, Path]]) -> None:
    files = [path for _, ours in exports for path in ours.iterdir() if path.suffix in (".npy", ".dat")]
    for path, said in outsider.opened(files).items():
        assert said["protocol"] == (4 if path.suffix == ".npy" else 3), path.name
        for name in said["globals"]:
            assert name.startswith(("numpy.core.", "numpy.", "_codecs.")), path.name
            assert "_core" not in name, path.name


def test_names_are_put_into_the_order_in_which_the_reference_builds(golden: Path) -> None:
    """Whatever order our names come in: networks, and the moments of their optimisers."""
    for archive in archives(golden):
        with zipfile.ZipFile(archive) as opened:
            stored = {
                name: pickles.loads(opened.read(name)) for name in opened.namelist() if name.endswith(".npy")
            }  # fmt: skip
        model_class = next(name for name in CLASSES for file in stored if f"{name}_" in file)
        weights = {name: list(table) for name, table in stored.items() if not name.endswith("_opt.npy")}
        ours = [our_name(model_class, file, key) for file, keys in weights.items() for key in keys]
        random.Random(1).shuffle(ours)
        files = network_files(model_class, dict.fromkeys(ours, ())).files
        expected = {file.rsplit(f"{model_class}_", 1)[1]: keys for file, keys in weights.items()}
        assert {file.name: [entry.key for entry in file.entries] for file in files} == expected

        for name, table in stored.items():
            if name.endswith("_opt.npy"):
                moments = moments_of(model_class, name.rsplit(f"{model_class}_", 1)[1], list(table))
                random.Random(2).shuffle(moments)
                (file,) = optimiser_files(model_class, dict.fromkeys(moments, ()), ours).files
                assert ["iters:0", *(entry.key for entry in file.entries)] == list(table), name


def our_name(model_class: str, file: str, key: str) -> str:
    """`new_SAEHD_GAN.npy`, `in_conv/weight:0` → `gan.in_conv.weight`."""
    network = file.rsplit(f"{model_class}_", 1)[1].removesuffix(".npy").replace("GAN", "gan")
    path = key.removesuffix(":0").replace("/", ".")
    return path if model_class == "XSeg" else f"{network}.{path}"


def moments_of(model_class: str, file: str, keys: list[str]) -> list[str]:
    """Our names of what an optimiser's file holds."""
    group = {"GAN_opt.npy": "gan/", "D_code_opt.npy": "code_discriminator/"}.get(file, "")
    names = [f"{group}iterations", f"{group}generator"]
    for key in keys[1:]:
        kind, _, rest = key.partition("_")
        scope, _, path = rest.removesuffix("_0:0").partition("/")
        kind = {"ms": "first", "vs": "second", "acc": "moment"}[kind]
        network = "" if group or model_class == "XSeg" else f"{scope}."
        names.append(f"{group}{kind}.{network}{path.replace('/', '.')}")
    return names


def test_every_tensor_goes_there_and_back_bit_by_bit(golden: Path) -> None:
    for archive in archives(golden):
        with zipfile.ZipFile(archive) as opened:
            for file in opened.namelist():
                if file.endswith(".npy") and not file.endswith("_opt.npy"):
                    model_class = next(name for name in CLASSES if f"{name}_" in file)
                    for key, value in pickles.loads(opened.read(file)).items():
                        name = our_name(model_class, file, key)
                        np.testing.assert_array_equal(to_theirs(name, to_ours(name, value)), value)
