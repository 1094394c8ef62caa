"""AMP networks with the reference's weights draw what the reference drew, at every morph that is there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from reference_networks import (
    StoredModel,
    deviations,
    moments,
    require_same_after_a_round_trip,
    require_within,
    stored_models,
)
from torch import Tensor

from understudy.networks.amp import Amp, AmpConfig
from understudy.networks.patch_discriminator import UnetPatchDiscriminator
from understudy.records import FaceType


@pytest.fixture(scope="module")
def models(golden: Path) -> list[StoredModel]:
    return stored_models(golden, "AMP")


def config_of(model: StoredModel) -> AmpConfig:
    options = model.options
    dims = {name: int(options[name]) for name in ("ae_dims", "inter_dims", "e_dims", "d_dims", "d_mask_dims")}
    return AmpConfig(
        int(options["resolution"]),
        FaceType(options["face_type"]),
        **dims,
        morph_factor=float(options["morph_factor"]),
    )


def network_of(model: StoredModel) -> Amp:
    net = Amp(config_of(model), generator=torch.Generator())
    net.load_state_dict(model.weights_for(net))
    return net


def test_every_output_of_every_network(models: list[StoredModel]) -> None:
    for model in models:
        net, stored = network_of(model), model.pictures()
        pairs: dict[str, tuple[Tensor, Tensor]] = {}
        with torch.inference_mode():
            drawn = net.reconstruct(stored["src"], stored["dst"])
            pairs["src_src"] = (drawn.src_src, stored["src_src_identity_shuffle"])
            pairs["dst_dst"] = (drawn.dst_dst, stored["dst_dst"])
            pairs["dst_dst_mask"] = (drawn.dst_mask, stored["dst_dst_mask"])
            for morph in model.described["morphs"]:
                swapped = net.swap(stored["dst"], morph)
                pairs[f"src_dst at {morph}"] = (swapped.face, stored[f"src_dst|{morph}"])
                pairs[f"src_dst_mask at {morph}"] = (swapped.mask_swap, stored[f"src_dst_mask|{morph}"])
                pairs[f"mask_dst at {morph}"] = (swapped.mask_dst, stored["dst_dst_mask"])
        require_within(model.name, deviations(pairs))


def test_codes_on_the_way(models: list[StoredModel]) -> None:
    for model in models:
        net, stored = network_of(model), model.pictures()
        with torch.inference_mode():
            code = net.encode(stored["dst"])
            ours = {"dst_code": code, "dst_inter_src": net.inter_src(code), "dst_inter_dst": net.inter_dst(code)}
        require_within(model.name, deviations({name: (ours[name], stored.features(name)) for name in ours}))


def test_a_morph_takes_as_many_channels_as_the_reference_took(models: list[StoredModel]) -> None:
    for model in models:
        with torch.device("meta"):
            net = Amp(config_of(model))
        for morph, count in zip(model.described["morphs"], model.described["slice_int"], strict=True):
            assert int(net.morphed(morph, torch.device("cpu")).sum()) == count


def test_weights_and_moments_go_back_as_they_came(models: list[StoredModel]) -> None:
    """The reference's optimiser has nothing on the two inters: it never trains them."""
    for model in models:
        with torch.device("meta"):
            net = Amp(config_of(model))
            gan = UnetPatchDiscriminator(int(model.options["gan_patch_size"]), int(model.options["gan_dims"]))
        stored = {name: model.read(f"{name}.npy") for name, _ in net.named_children()}
        assert sum(map(len, stored.values())) == len(net.state_dict())
        require_same_after_a_round_trip(net.state_dict(), stored)
        if model.has("src_dst_opt.npy"):
            kinds = moments(model.read("src_dst_opt.npy"), {})
            assert all(np.isin(list(kind), ["encoder", "decoder"]).all() for kind in kinds.values())
            for kind in kinds.values():
                require_same_after_a_round_trip(net.state_dict(), kind)
        if model.has("GAN.npy"):
            require_same_after_a_round_trip(gan.state_dict(), {"": model.read("GAN.npy")})
        if model.has("GAN_opt.npy"):
            for kind in moments(model.read("GAN_opt.npy"), {"GAN": ""}).values():
                require_same_after_a_round_trip(gan.state_dict(), kind)
