"""Weights travel between the reference's layout and ours without loss, and misfits are named."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from understudy.errors import IncompatibleModel
from understudy.interop.layout import from_reference, our_name, their_name, to_reference
from understudy.networks.quick96 import Quick96, Quick96Config

SMALL = Quick96Config(size=32, ae_dims=8, e_dims=4, d_dims=4, d_mask_dims=2)


def test_names_there_and_back() -> None:
    name = our_name("encoder", "down1/downs_0/conv1/weight:0")
    assert name == "encoder.down1.downs_0.conv1.weight"
    assert their_name(name) == ("encoder", "down1/downs_0/conv1/weight:0")


def test_a_round_trip_changes_nothing() -> None:
    net = Quick96(SMALL)
    back = from_reference(net, to_reference(net.state_dict()))
    for name, tensor in net.state_dict().items():
        torch.testing.assert_close(back[name], tensor, rtol=0, atol=0)


def test_colours_are_turned_where_pictures_come_and_go() -> None:
    net = Quick96(SMALL)
    stored = to_reference(net.state_dict())
    first = stored["encoder"]["down1/downs_0/conv1/weight:0"]
    assert first.shape == (5, 5, 3, 4)
    ours = net.state_dict()["encoder.down1.downs_0.conv1.weight"]
    np.testing.assert_array_equal(first[2, 3, 0], ours[:, 2, 2, 3])  # their blue is our third channel
    bias = stored["decoder_src"]["out_conv2/bias:0"]
    np.testing.assert_array_equal(bias[::-1], net.state_dict()["decoder_src.out_conv2.bias"])
    mask = stored["decoder_src"]["out_convm/weight:0"]
    np.testing.assert_array_equal(mask[0, 0, :, 0], net.state_dict()["decoder_src.out_convm.weight"][0, :, 0, 0])


def test_a_missing_tensor_and_a_wrong_shape_are_named() -> None:
    net = Quick96(SMALL)
    stored = to_reference(net.state_dict())
    gone = {**stored, "inter": {k: v for k, v in stored["inter"].items() if k != "dense1/bias:0"}}
    with pytest.raises(IncompatibleModel, match=r"inter\.dense1\.bias"):
        from_reference(net, gone)
    bent = {**stored, "inter": {**stored["inter"], "dense1/bias:0": np.zeros(7, np.float32)}}
    with pytest.raises(IncompatibleModel, match=r"inter\.dense1\.bias is \(7,\)"):
        from_reference(net, bent)
