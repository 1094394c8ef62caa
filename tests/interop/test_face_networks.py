"""Published weight files of S3FD and FAN: what is in them comes out, and anything else is refused by name."""

from __future__ import annotations

import importlib.util
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from understudy.detection.fan_engine import network_of, put_weights, weights_of
from understudy.errors import IncompatibleModel, UnsafeFile
from understudy.facesets import pickles
from understudy.interop.face_networks import read_face_network
from understudy.networks.fan import LANDMARKS

Table = dict[str, NDArray[Any]]


def reference_table(part: str, dtype: str = "f2") -> Table:
    """Tensors as the reference's saver names and lays them out; values tell tensors and axes apart."""
    random = np.random.default_rng(0)
    table: Table = {}
    for name, value in weights_of(network_of(part)).items():
        shape = tuple(value.shape)
        if len(shape) == 4:
            shape = (shape[2], shape[3], shape[1], shape[0])
        elif name.endswith("_norm.weight"):
            shape = (1, 1, 1, *shape)
        table[name.replace(".", "/") + ":0"] = random.random(shape, dtype=np.float32).astype(dtype)
    return table


def write_pickled(path: Path, table: Table) -> Path:
    path.write_bytes(pickles.dumps(table, protocol=4))
    return path


@pytest.fixture(scope="module")
def fan_file(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Table]:
    table = reference_table("2dfan")
    return write_pickled(tmp_path_factory.mktemp("fan") / "2DFAN.npy", table), table


@pytest.fixture(scope="module")
def s3fd_file(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Table]:
    table = reference_table("s3fd")
    return write_pickled(tmp_path_factory.mktemp("s3fd") / "S3FD.npy", table), table


def test_the_networks_have_the_references_tensors() -> None:
    """65 tensors with 22 459 110 numbers, 945 with 23 874 320."""
    for part, count, numbers in (("s3fd", 65, 22_459_110), ("2dfan", 945, 23_874_320)):
        wanted = weights_of(network_of(part))
        assert len(wanted) == count
        assert sum(value.numel() for value in wanted.values()) == numbers


def test_s3fd_comes_out_of_the_references_file(s3fd_file: tuple[Path, Table]) -> None:
    path, table = s3fd_file
    network = read_face_network(path)
    assert (network.part, network.engine) == ("s3fd", "s3fd-fan")
    kernel = table["fc7_mbox_loc/weight:0"]
    np.testing.assert_array_equal(network.tensors["fc7_mbox_loc.weight"][1, 5, 2, 0], kernel[2, 0, 5, 1])
    norm = table["conv3_3_norm/weight:0"].ravel()
    np.testing.assert_array_equal(network.tensors["conv3_3_norm.weight"], norm.astype(np.float32))
    put_weights(network_of("s3fd"), network.tensors)


def test_fan_comes_out_of_the_references_file_and_runs(fan_file: tuple[Path, Table]) -> None:
    path, table = fan_file
    network = read_face_network(path)
    assert network.part == "2dfan"
    name = "m_0/b2_plus/b2_plus/b2_plus/b2_plus/bn1/running_mean"
    np.testing.assert_array_equal(network.tensors[name.replace("/", ".")], table[f"{name}:0"].astype(np.float32))
    net = network_of("2dfan")
    put_weights(net, network.tensors)
    with torch.inference_mode():
        assert net.eval()(torch.zeros(1, 3, 64, 64)).shape == (1, LANDMARKS, 16, 16)


def test_the_name_tells_the_3d_network_from_the_2d_one(fan_file: tuple[Path, Table], tmp_path: Path) -> None:
    path = tmp_path / "3DFAN.npy"
    path.write_bytes(fan_file[0].read_bytes())
    assert read_face_network(path).part == "3dfan"


def authors_name(name: str) -> str:
    """Our name of a FAN tensor as the authors' files have it."""
    name = re.sub(r"down_bn1\.", "downsample.0.", re.sub(r"down_conv1\.", "downsample.2.", name))
    inner = re.match(r"m_(\d)\.((?:b2_plus\.)*)(b1|b2|b3)\.(.*)", name)
    if inner:
        level = 4 - inner[2].count("b2_plus")
        return f"m{inner[1]}.{inner[3]}_{level}.{inner[4]}"
    innermost = re.match(r"m_(\d)\.(?:b2_plus\.){4}(.*)", name)
    if innermost:
        return f"m{innermost[1]}.b2_plus_1.{innermost[2]}"
    return re.sub(r"^(conv_last|bn_end|l|bl|al)_(\d)\.", r"\1\2.", name)


def test_the_authors_own_files_hold_the_same(fan_file: tuple[Path, Table], tmp_path: Path) -> None:
    tensors = read_face_network(fan_file[0]).tensors
    theirs = {authors_name(name): value.half() for name, value in tensors.items()}
    theirs["bn1.num_batches_tracked"] = torch.tensor(1)
    assert {"m0.b2_plus_1.bn1.weight", "m3.b1_4.conv1.weight", "conv2.downsample.2.weight", "l3.bias"} <= set(theirs)
    path = tmp_path / "2DFAN4-11f355bf06.pth.tar"
    torch.save(theirs, path)
    network = read_face_network(path)
    assert (network.part, network.engine) == ("2dfan", "face-alignment")
    for name, value in tensors.items():
        np.testing.assert_array_equal(network.tensors[name], value)


def broken(table: Table, **changes: Any) -> Table:
    return {key: value for key, value in {**table, **changes}.items() if value is not None}


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("fc6/bias:0", None, "fc6.bias is missing"),
        ("fc6/weight:0", np.zeros((3, 3, 512, 8), np.float32), "fc6.weight"),
        ("fc7/bias:0", np.full(1024, np.nan, np.float32), "fc7.bias"),
        ("conv3_3_norm_mbox_conf/weight:0", None, "neither S3FD nor FAN"),
    ],
)
def test_a_tensor_that_does_not_fit_is_named(
    key: str, value: Any, said: str, s3fd_file: tuple[Path, Table], tmp_path: Path
) -> None:
    path = write_pickled(tmp_path / "S3FD.npy", broken(s3fd_file[1], **{key: value}))
    with pytest.raises(IncompatibleModel, match=said) as error:
        read_face_network(path)
    assert "S3FD.npy" in error.value.message


class Dangerous:
    def __reduce__(self) -> Any:
        return print, ("this must never be said",)


@pytest.mark.parametrize("name", ["S3FD.npy", "s3fd-619a316812.pth"])
def test_nothing_in_a_file_is_ever_run(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / name).write_bytes(pickle.dumps({"conv1_1/weight:0": Dangerous()}))
    with pytest.raises(UnsafeFile):
        read_face_network(tmp_path / name)
    assert "never be said" not in capfd.readouterr().out


@pytest.mark.parametrize("name", ["S3FD.npy", "s3fd.pth"])
@pytest.mark.parametrize("content", [b"", b"not weights", b"\x80\x04N.", b"PK\x03\x04broken"])
def test_other_files_are_refused(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises((UnsafeFile, IncompatibleModel)):
        read_face_network(tmp_path / name)


def published_module(path: str) -> Any:
    """A file of face-alignment's package, without importing the package, whose other parts need more than is here."""
    found = importlib.util.find_spec("face_alignment")
    if found is None or not found.submodule_search_locations:
        pytest.skip("face-alignment's package is not installed; with it the networks are compared")
    spec = importlib.util.spec_from_file_location("published", Path(found.submodule_search_locations[0]) / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("part", ["s3fd", "2dfan"])
def test_the_networks_answer_like_the_published_code(part: str, tmp_path: Path) -> None:
    """Random weights of the package's own network, saved as it saves them, read by us: the same numbers come out."""
    torch.manual_seed(0)
    if part == "s3fd":
        theirs, shown = published_module("detection/sfd/net_s3fd.py").s3fd(), torch.randn(1, 3, 96, 128) * 50
    else:
        theirs, shown = published_module("models/fan.py").FAN(4), torch.rand(1, 3, 256, 256)
    for module in theirs.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    path = tmp_path / f"{part}.pth"
    torch.save(theirs.state_dict(), path)
    ours = network_of(part)
    put_weights(ours, read_face_network(path).tensors)
    with torch.inference_mode():
        expected, got = theirs.eval()(shown), ours.eval()(shown)
    if part == "2dfan":
        assert torch.equal(expected[-1], got)
        return
    for number, (score, offset) in enumerate(got):
        assert torch.equal(expected[2 * number].softmax(dim=1)[:, 1], score)
        assert torch.equal(expected[2 * number + 1], offset)
