"""Our networks with the reference's weights draw what the reference drew, and learn the same way from it."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from understudy.facesets import pickles
from understudy.interop.layout import from_reference, to_reference
from understudy.networks.quick96 import Quick96
from understudy.training.losses import per_person, quick96_losses
from understudy.training.samples import Batch, Sample

NETWORKS = ("encoder", "inter", "decoder_src", "decoder_dst")

# Outputs are stored in 16 bits (7.7e-6) and the reference itself moves by 1e-5 with the batch size.
OUTPUT_TOLERANCE = 1e-4
LOSS_TOLERANCE = 1e-4
# Of the tensor's norm. A feature within rounding of a leaky ReLU's corner may fall on the other side of it, which moves
# single elements of that layer and of those before it, hardly ever the norm.
GRADIENT_TOLERANCE = 1e-3
ELEMENT_TOLERANCE = 3e-3


@pytest.fixture(scope="module")
def cases(golden: Path) -> dict[str, Path]:
    """The description of every Quick96 network, by name."""
    found = {}
    for path in sorted((golden / "nets").glob("*.json")):
        files = json.loads(path.read_text()).get("files", {})
        if any("_Quick96_" in name for name in files):
            found[path.stem] = path
    if not found:
        pytest.skip("there is no Quick96 network in the golden data")
    return found


def stored_weights(archive: Path) -> dict[str, dict[str, NDArray[np.float32]]]:
    with zipfile.ZipFile(archive) as opened:
        names = {path.rpartition("_Quick96_")[2].removesuffix(".npy"): path for path in opened.namelist()}
        return {name: pickles.loads(opened.read(names[name])) for name in NETWORKS}


@pytest.fixture(scope="module")
def networks(cases: dict[str, Path]) -> Iterator[dict[str, Quick96]]:
    built = {}
    for name, path in cases.items():
        built[name] = Quick96()
        built[name].load_state_dict(from_reference(built[name], stored_weights(path.with_suffix(".zip"))))
    yield built
    built.clear()


def picture(array: NDArray[Any]) -> Tensor:
    """(B,H,W,C) BGR or one channel → (B,C,H,W) RGB or one channel."""
    return torch.from_numpy(array[..., ::-1].copy()).permute(0, 3, 1, 2)


def assert_drawn(drawn: Tensor, stored_u16: NDArray[np.uint16]) -> None:
    expected = picture(stored_u16.astype(np.float32) / 65535)
    torch.testing.assert_close(drawn, expected, rtol=0, atol=OUTPUT_TOLERANCE)


def test_every_output_of_the_network(cases: dict[str, Path], networks: dict[str, Quick96]) -> None:
    for name, path in cases.items():
        net, stored = networks[name], np.load(path.with_name(f"{name}_io.npz"))
        with torch.inference_mode():
            drawn = net.reconstruct(picture(stored["src"]), picture(stored["dst"]))
            swapped = net.swap(picture(stored["dst"]))
        assert_drawn(drawn.src_src, stored["src_src_u16"])
        assert_drawn(drawn.dst_dst, stored["dst_dst_u16"])
        assert_drawn(drawn.dst_mask, stored["dst_dst_mask_u16"])
        assert_drawn(swapped.face, stored["src_dst_u16"])
        assert_drawn(swapped.mask_swap, stored["src_dst_mask_u16"])
        assert_drawn(swapped.mask_dst, stored["dst_dst_mask_u16"])


def test_losses_and_gradients(cases: dict[str, Path], networks: dict[str, Quick96]) -> None:
    trained = {name: path.with_name(f"{name}_train.npz") for name, path in cases.items()}
    trained = {name: path for name, path in trained.items() if path.is_file()}
    if not trained:
        pytest.skip("no Quick96 network of the golden data comes with a training batch")
    for name, path in trained.items():
        stored = np.load(path)
        batch = Batch(
            *(Sample(*(picture(stored[f"{side}_{kind}"]) for kind in Sample._fields)) for side in Batch._fields)
        )
        net = networks[name]
        people = per_person(quick96_losses(net.reconstruct(batch.src.warped, batch.dst.warped), batch))
        total = people["src"] + people["dst"]
        np.testing.assert_allclose(total.detach().numpy(), stored["loss_G"], rtol=LOSS_TOLERANCE)

        total.sum().backward()
        ours = to_reference({key: weight.grad for key, weight in net.named_parameters() if weight.grad is not None})
        for key in stored.files:
            if key.startswith("grad_G|"):
                network, _, tensor = key.removeprefix("grad_G|").partition("/")
                expected, norm = stored[key], np.linalg.norm(stored[key])
                gradient = ours[network][tensor]
                assert np.abs(gradient - expected).max() <= ELEMENT_TOLERANCE * norm, key
                assert abs(np.linalg.norm(gradient) - norm) <= GRADIENT_TOLERANCE * norm, key
        net.zero_grad(set_to_none=True)


def test_weights_go_back_as_they_came(cases: dict[str, Path], networks: dict[str, Quick96]) -> None:
    for name, path in cases.items():
        stored = stored_weights(path.with_suffix(".zip"))
        back = to_reference(networks[name].state_dict())
        for network in NETWORKS:
            assert back[network].keys() == stored[network].keys()
            for key, value in stored[network].items():
                np.testing.assert_array_equal(back[network][key], value)
