"""Weights travel between the reference's layout and ours without loss, and misfits are named."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from understudy.errors import IncompatibleModel
from understudy.interop.layout import (
    from_reference,
    our_name,
    shape_in_file,
    their_name,
    to_ours,
    to_reference,
    to_theirs,
)
from understudy.networks.amp import Amp, AmpConfig
from understudy.networks.code_discriminator import CodeDiscriminator
from understudy.networks.patch_discriminator import UnetPatchDiscriminator
from understudy.networks.quick96 import Quick96, Quick96Config
from understudy.networks.saehd import SaehdConfig, saehd_network
from understudy.networks.xseg import XSeg, XSegConfig
from understudy.records import Archi

DIMS = {"ae_dims": 8, "e_dims": 4, "d_dims": 5, "d_mask_dims": 2}


def quick96() -> Quick96:
    return Quick96(Quick96Config(size=32, **DIMS), generator=torch.Generator().manual_seed(0))


def every_network() -> dict[str, nn.Module]:
    generator = torch.Generator().manual_seed(0)
    archis = ("df", "df-udtc", "liae-ud", "liae-t")
    networks: dict[str, nn.Module] = {
        archi: saehd_network(SaehdConfig(32, archi=Archi.parse(archi), **DIMS), generator=generator) for archi in archis
    }
    networks["quick96"] = quick96()
    networks["amp"] = Amp(AmpConfig(32, inter_dims=6, **DIMS), generator=generator)
    networks["xseg"] = XSeg(XSegConfig(64, base_dims=2), generator=generator)
    networks["gan"] = UnetPatchDiscriminator(10, 4, generator=generator)
    networks["code"] = CodeDiscriminator(8, 8, 4, generator=generator)
    return networks


def test_names_there_and_back() -> None:
    name = our_name("encoder", "down1/downs_0/conv1/weight:0")
    assert name == "encoder.down1.downs_0.conv1.weight"
    assert their_name(name) == ("encoder", "down1/downs_0/conv1/weight:0")


def test_networks_of_one_file_have_names_without_a_network() -> None:
    assert our_name("", "conv01/frn/eps:0") == "conv01.frn.eps"
    assert their_name("conv01.frn.eps") == ("", "conv01/frn/eps:0")
    assert their_name("dense1.weight") == ("", "dense1/weight:0")
    assert their_name("gan.upconvs_0.weight") == ("gan", "upconvs_0/weight:0")
    assert their_name("code_discriminator.out_conv.bias") == ("code_discriminator", "out_conv/bias:0")


def test_a_round_trip_changes_nothing() -> None:
    for kind, net in every_network().items():
        for parameter in net.parameters():
            nn.init.uniform_(parameter)
        stored = to_reference(net.state_dict())
        assert set(stored) == (
            {name for name, _ in net.named_children()} if kind not in ("xseg", "gan", "code") else {""}
        )
        back = from_reference(net, stored)
        for name, tensor in net.state_dict().items():
            torch.testing.assert_close(back[name], tensor, rtol=0, atol=0)
            network, key = their_name(name)
            assert stored[network][key].shape == shape_in_file(name, tuple(tensor.shape))
            assert stored[network][key].flags.c_contiguous


def test_a_tensor_of_its_own_can_be_changed() -> None:
    """Moments are updated in place: neither side may be left with memory of the other's."""
    for shape in [(4,), (3, 4), (3, 3, 2, 4)]:
        stored = np.ones(shape, np.float32)
        stored.flags.writeable = False
        tensor = to_ours("inter.dense1.weight", stored)
        back = to_theirs("inter.dense1.weight", tensor)
        tensor.zero_()
        assert stored.min() == back.min() == 1


def test_numbers_of_any_kind_become_float32() -> None:
    for kind in (np.float64, np.float16, np.int64):
        assert to_ours("a.bias", np.arange(4, dtype=kind)).dtype is torch.float32
    assert to_theirs("a.bias", torch.ones(3, dtype=torch.bfloat16)).dtype == np.float32


def test_kernels_keep_their_meaning() -> None:
    """(kh, kw, in, out) and, transposed, (kh, kw, out, in) → the layouts that torch convolves with."""
    ours = to_ours("decoder.res0.conv1.weight", np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5))
    assert ours.shape == (5, 4, 2, 3)
    assert float(ours[4, 3, 1, 2]) == 2 * 3 * 4 * 5 - 1
    assert float(ours[1, 0, 0, 0]) == 1
    up = np.arange(3 * 3 * 4 * 5).reshape(3, 3, 4, 5)  # 4 outputs, 5 inputs
    assert to_ours("up5.conv.weight", up).shape == (5, 4, 3, 3)


def test_colours_are_turned_where_pictures_come_and_go() -> None:
    net = quick96()
    ours = {name: nn.init.uniform_(tensor) for name, tensor in net.state_dict().items()}
    stored = to_reference(ours)
    first = stored["encoder"]["down1/downs_0/conv1/weight:0"]
    assert first.shape == (5, 5, 3, 4)
    kernel = ours["encoder.down1.downs_0.conv1.weight"]
    np.testing.assert_array_equal(first[2, 3, 0], kernel[:, 2, 2, 3])  # their blue is our third channel
    bias = stored["decoder_src"]["out_conv2/bias:0"]
    np.testing.assert_array_equal(bias[::-1], ours["decoder_src.out_conv2.bias"])
    mask = stored["decoder_src"]["out_convm/weight:0"]
    np.testing.assert_array_equal(mask[0, 0, :, 0], ours["decoder_src.out_convm.weight"][0, :, 0, 0])


@pytest.mark.parametrize(
    ("kind", "inputs", "outputs"),
    [
        ("df", {"encoder.down1.downs_0.conv1"}, {"decoder_src.out_conv", "decoder_dst.out_conv"}),
        (
            "liae-ud",
            {"encoder.down1.downs_0.conv1"},
            {"decoder.out_conv", "decoder.out_conv1", "decoder.out_conv2", "decoder.out_conv3"},
        ),
        ("liae-t", {"encoder.down1.conv1"}, {"decoder.out_conv"}),
        (
            "amp",
            {"encoder.down1.conv1"},
            {"decoder.out_conv", "decoder.out_conv1", "decoder.out_conv2", "decoder.out_conv3"},
        ),
        ("xseg", {"conv01.conv"}, set()),
        ("gan", {"in_conv"}, set()),
        ("code", set(), set()),
    ],
)
def test_which_tensors_meet_a_picture(kind: str, inputs: set[str], outputs: set[str]) -> None:
    """Found by what turning does to numbers that count along both channel axes."""
    turned_in, turned_out = set(), set()
    for name, tensor in every_network()[kind].state_dict().items():
        if tensor.ndim == 4:
            out, into = torch.arange(tensor.shape[0]), torch.arange(tensor.shape[1])
            counted = (100 * out[:, None] + into)[:, :, None, None].expand(tensor.shape)
            found = to_theirs(name, counted)[0, 0].T.astype(int)
            if found[0, 0] % 100 and found[0, 0] < 100:
                turned_in.add(name.removesuffix(".weight"))
            if found[0, 0] >= 100:
                turned_out.add(name.removesuffix(".weight"))
    assert turned_in == inputs
    assert turned_out == outputs
    for name in outputs:
        np.testing.assert_array_equal(to_theirs(f"{name}.bias", torch.arange(3.0)), [2, 1, 0])


def test_in_a_saved_state_a_discriminator_s_picture_is_turned_too() -> None:
    kernel = torch.arange(3.0).view(1, 3, 1, 1)
    np.testing.assert_array_equal(to_theirs("gan.in_conv.weight", kernel).ravel(), [2, 1, 0])
    np.testing.assert_array_equal(to_theirs("gan.out_conv.bias", torch.arange(3.0)), [0, 1, 2])


def test_a_missing_tensor_and_a_wrong_shape_are_named() -> None:
    net = quick96()
    stored = to_reference(net.state_dict())
    gone = {**stored, "inter": {k: v for k, v in stored["inter"].items() if k != "dense1/bias:0"}}
    with pytest.raises(IncompatibleModel, match=r"inter\.dense1\.bias"):
        from_reference(net, gone)
    bent = {**stored, "inter": {**stored["inter"], "dense1/bias:0": np.zeros(7, np.float32)}}
    with pytest.raises(IncompatibleModel, match=r"inter\.dense1\.bias is \(7,\) where \(8,\)"):
        from_reference(net, bent)
    turned = {**stored, "inter": {**stored["inter"], "dense1/weight:0": stored["inter"]["dense1/weight:0"].T}}
    with pytest.raises(IncompatibleModel, match=r"inter\.dense1\.weight is \(8, 128\) where \(128, 8\)"):
        from_reference(net, turned)
    more = {**stored, "inter": {**stored["inter"], "dense3/bias:0": np.zeros(7, np.float32)}}
    assert from_reference(net, more).keys() == net.state_dict().keys()
