"""Quick96 with the reference's weights draws what the reference drew."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from reference_networks import (
    StoredModel,
    deviations,
    require_same_after_a_round_trip,
    require_within,
    stored_models,
)

from understudy.networks.quick96 import Quick96


@pytest.fixture(scope="module")
def models(golden: Path) -> list[StoredModel]:
    return stored_models(golden, "Quick96")


def test_every_output_of_every_network(models: list[StoredModel]) -> None:
    for model in models:
        net, stored = Quick96(generator=torch.Generator()), model.pictures()
        net.load_state_dict(model.weights_for(net))
        with torch.inference_mode():
            drawn = net.reconstruct(stored["src"], stored["dst"])
            swapped = net.swap(stored["dst"])
        ours = {
            "src_src": drawn.src_src,
            "dst_dst": drawn.dst_dst,
            "dst_dst_mask": drawn.dst_mask,
            "src_dst": swapped.face,
            "src_dst_mask": swapped.mask_swap,
        }
        pairs = {name: (tensor, stored[name]) for name, tensor in ours.items()}
        pairs["mask_dst"] = (swapped.mask_dst, stored["dst_dst_mask"])
        require_within(model.name, deviations(pairs))


def test_weights_go_back_as_they_came(models: list[StoredModel]) -> None:
    for model in models:
        with torch.device("meta"):
            net = Quick96()
        stored = {name: model.read(f"{name}.npy") for name, _ in net.named_children()}
        assert sum(map(len, stored.values())) == len(net.state_dict())
        require_same_after_a_round_trip(net.state_dict(), stored)
