"""The discriminators with the reference's weights tell what the reference's told, and are built as it builds them."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from reference_networks import deviations, picture, require_same_after_a_round_trip, require_within
from torch import nn

from understudy.facesets import pickles
from understudy.interop.layout import from_reference
from understudy.networks.code_discriminator import CodeDiscriminator
from understudy.networks.patch_discriminator import UnetPatchDiscriminator, fits, strides_for


@pytest.fixture(scope="module")
def descriptions(golden: Path) -> dict[Path, dict[str, Any]]:
    every = {path: json.loads(path.read_text()) for path in sorted((golden / "nets").glob("*.json"))}
    found = {path: read for path, read in every.items() if read.keys() & {"unet", "code", "layers_for_patch_size"}}
    if not found:
        pytest.skip("there are no discriminators in the golden data")
    return found


def described(descriptions: dict[Path, dict[str, Any]], kind: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    for path, description in descriptions.items():
        for network in description.get(kind, []):
            yield path, network


def weights_of(path: Path, key: str) -> dict[str, Any]:
    with zipfile.ZipFile(path.with_suffix(".zip")) as opened:
        stored: dict[str, Any] = pickles.loads(opened.read(f"{key}.npy"))
        return stored


def with_weights(net: nn.Module, stored: dict[str, Any]) -> nn.Module:
    assert len(stored) == len(net.state_dict())
    net.load_state_dict(from_reference(net, {"": stored}))
    require_same_after_a_round_trip(net.state_dict(), {"": stored})
    return net


def test_strides_of_every_patch_size(descriptions: dict[Path, dict[str, Any]]) -> None:
    tables = [description.get("layers_for_patch_size", {}) for description in descriptions.values()]
    assert any(tables)
    for table in tables:
        for patch_size, layers in table.items():
            assert all(kernel == 3 for kernel, _ in layers)
            assert strides_for(int(patch_size)) == tuple(stride for _, stride in layers), patch_size


def test_the_patch_discriminator(descriptions: dict[Path, dict[str, Any]]) -> None:
    for path, network in described(descriptions, "unet"):
        key, patch_size = network["key"], network["patch_size"]
        assert strides_for(patch_size) == tuple(stride for _, stride in network["layers"])
        assert fits(patch_size, network["res"])
        net = with_weights(UnetPatchDiscriminator(patch_size, network["base_ch"]), weights_of(path, key))
        with np.load(path.with_name(f"{path.stem}_io.npz")) as stored, torch.inference_mode():
            center, full = net(picture(stored[f"{key}|in"]))
            pairs = {
                "center": (center, picture(stored[f"{key}|center"])),
                "full": (full, picture(stored[f"{key}|full"])),
            }
        require_within(key, deviations(pairs))


def test_the_code_discriminator(descriptions: dict[Path, dict[str, Any]]) -> None:
    for path, network in described(descriptions, "code"):
        key = network["key"]
        net = CodeDiscriminator(network["in_ch"], network["code_res"], network.get("ch", 256))
        net = with_weights(net, weights_of(path, key))
        with np.load(path.with_name(f"{path.stem}_io.npz")) as stored, torch.inference_mode():
            codes = torch.from_numpy(stored[f"{key}|in"]).permute(0, 3, 1, 2)
            pairs = {"logits": (net(codes), picture(stored[f"{key}|out"]))}
        require_within(key, deviations(pairs))
