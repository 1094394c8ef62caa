"""SAEHD networks of every wiring and letter with the reference's weights draw what the reference drew."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from reference_networks import (
    COSINE_TOLERANCE,
    TOLERANCE,
    StoredModel,
    deviations,
    moments,
    require_same_after_a_round_trip,
    require_within,
    stored_models,
)
from torch import Tensor, nn

from understudy.networks.code_discriminator import CodeDiscriminator
from understudy.networks.patch_discriminator import UnetPatchDiscriminator
from understudy.networks.saehd import DF, LIAE, SaehdConfig, code_grid, saehd_network
from understudy.records import Archi, FaceType


@pytest.fixture(scope="module")
def models(golden: Path) -> list[StoredModel]:
    return stored_models(golden, "SAEHD")


def config_of(model: StoredModel) -> SaehdConfig:
    options = model.options
    dims = {name: int(options[name]) for name in ("ae_dims", "e_dims", "d_dims", "d_mask_dims")}
    archi = Archi.parse(options["archi"])
    return SaehdConfig(int(options["resolution"]), FaceType(options["face_type"]), archi, **dims)


def network_of(model: StoredModel) -> DF | LIAE:
    net = saehd_network(config_of(model), generator=torch.Generator())
    net.load_state_dict(model.weights_for(net))
    return net


def test_every_output_of_every_network(models: list[StoredModel]) -> None:
    for model in models:
        net, stored = network_of(model), model.pictures()
        with torch.inference_mode():
            drawn = net.reconstruct(stored["src"], stored["dst"])
            swapped = net.swap(stored["dst"])
        ours = {
            "src_src": drawn.src_src,
            "src_src_mask": drawn.src_mask,
            "dst_dst": drawn.dst_dst,
            "dst_dst_mask": drawn.dst_mask,
            "src_dst": swapped.face,
            "src_dst_mask": swapped.mask_swap,
        }
        pairs = {name: (tensor, stored[name]) for name, tensor in ours.items() if name in stored}
        assert {"src_src", "dst_dst", "src_dst"} <= pairs.keys()
        pairs["mask_dst"] = (swapped.mask_dst, stored["dst_dst_mask"])
        tolerance = COSINE_TOLERANCE if net.config.archi.cosine else TOLERANCE
        require_within(f"{model.name} {net.config.archi}", deviations(pairs), tolerance)


def test_codes_on_the_way(models: list[StoredModel]) -> None:
    for model in models:
        net, stored = network_of(model), model.pictures()
        pairs: dict[str, tuple[Tensor, Tensor]] = {}
        with torch.inference_mode():
            for side in ("src", "dst"):
                for name, ours in codes_of(net, stored[side]).items():
                    if f"{name}_{side}" in stored:
                        pairs[f"{name}_{side}"] = (ours, stored.features(f"{name}_{side}"))
        # Codes are no pictures in 0..1: what counts is the difference beside the largest number of the tensor.
        found = {name: value / float(pairs[name][1].abs().max()) for name, value in deviations(pairs).items()}
        require_within(f"{model.name} {net.config.archi}", found)


def codes_of(net: DF | LIAE, faces: Tensor) -> dict[str, Tensor]:
    code = net.encoder(faces.contiguous(memory_format=torch.channels_last))
    if isinstance(net, DF):
        return {"enc": code, "code": net.code(faces)}
    return {"enc": net.encode(faces), "interAB": net.inter_AB(code), "interB": net.inter_B(code)}


def test_weights_go_back_as_they_came(models: list[StoredModel]) -> None:
    for model in models:
        with torch.device("meta"):
            net = saehd_network(config_of(model))
        stored = {name: model.read(f"{name}.npy") for name, _ in net.named_children()}
        assert sum(map(len, stored.values())) == len(net.state_dict())
        require_same_after_a_round_trip(net.state_dict(), stored)


def test_moments_of_the_optimiser_take_the_same_road(models: list[StoredModel]) -> None:
    kept = [model for model in models if model.has("src_dst_opt.npy")]
    if not kept:
        pytest.skip("no SAEHD network of the golden data comes with its optimiser")
    for model in kept:
        with torch.device("meta"):
            net = saehd_network(config_of(model))
        for stored in moments(model.read("src_dst_opt.npy"), {}).values():
            assert sum(map(len, stored.values())) == len(net.state_dict())
            require_same_after_a_round_trip(net.state_dict(), stored)


@pytest.mark.parametrize(("file", "scope"), [("GAN", "D_src"), ("D_code", "dis")])
def test_the_discriminators_of_a_model_and_their_moments_too(models: list[StoredModel], file: str, scope: str) -> None:
    kept = [model for model in models if model.has(f"{file}.npy")]
    if not kept:
        pytest.skip(f"no SAEHD network of the golden data comes with {file}")
    for model in kept:
        with torch.device("meta"):
            net = discriminator_of(model, file)
        require_same_after_a_round_trip(net.state_dict(), {"": model.read(f"{file}.npy")})
        if model.has(f"{file}_opt.npy"):
            for stored in moments(model.read(f"{file}_opt.npy"), {scope: ""}).values():
                require_same_after_a_round_trip(net.state_dict(), stored)


def discriminator_of(model: StoredModel, file: str) -> nn.Module:
    options, config = model.options, config_of(model)
    if file == "GAN":
        return UnetPatchDiscriminator(int(options["gan_patch_size"]), int(options["gan_dims"]))
    return CodeDiscriminator(config.ae_dims, code_grid(config))
