"""What the reference calls its classes, their files, and the tensors of its optimisers: the one table of it.

    NAME_CLASS_encoder.npy …           a file for each network of a swapper; XSeg, which has no name: XSeg_256.npy
    NAME_CLASS_{GAN,code_discriminator}.npy            the discriminators
    NAME_CLASS_{src_dst,GAN,D_code}_opt.npy            the optimisers; XSeg_256_opt.npy

(spec: weights, 1, 4 and 5.)
"""

from __future__ import annotations

from understudy.records import CODE_DISCRIMINATOR, GAN

CLASSES = ("SAEHD", "AMP", "Quick96")
"""Classes whose models have names. XSeg has none: there is one to a folder."""

XSEG = "XSeg"
DATA = "data.dat"
DEFAULT_OPTIONS = "default_options.dat"
"""Behind a class: of all its models, not of one."""
SUMMARY = "summary.txt"
EXPORTS = (".dfm", ".onnx")
"""Endings of what is made of a model for other programs: files of their own, whatever they are called."""
UNFINISHED = ".tmp"
"""The reference writes a file under this ending, deletes the old one and renames: killed between, only this is left."""

WHOLE = ""
"""The first part of a tensor's name where one file holds one network: XSeg."""

SWAPPER_NETWORKS = (
    *("encoder", "inter", "inter_AB", "inter_B", "inter_src", "inter_dst"),
    *("decoder", "decoder_src", "decoder_dst"),
)
"""The networks of all swappers, in the order in which the reference writes those of one."""

DISCRIMINATORS = (CODE_DISCRIMINATOR, GAN)
"""By their names in our saved states, in the order in which the reference writes them."""

_PARTS = {WHOLE: "256", GAN: "GAN"}
_OPTIMISERS = {WHOLE: "src_dst_opt", CODE_DISCRIMINATOR: "D_code_opt", GAN: "GAN_opt"}

ITERATIONS = "iters:0"
"""How many steps an optimiser has made, in its file."""

MOMENTS = {"adabelief": {"first": "ms", "second": "vs"}, "rmsprop": {"moment": "acc"}}
"""What the moments of each kind of optimiser are called here and there, in the order of the reference's files."""


def prefix_of(name: str, model_class: str) -> str:
    """What the names of a model's files begin with."""
    return f"{XSEG}_" if model_class == XSEG else f"{name}_{model_class}_"


def networks_of(model_class: str, archi: str = "") -> tuple[str, ...]:
    """What a class keeps its weights in, discriminators aside. archi: of SAEHD, as the reference writes it."""
    match model_class:
        case "XSeg":
            return (WHOLE,)
        case "AMP":
            return ("encoder", "inter_src", "inter_dst", "decoder")
        case "SAEHD" if archi.lower().startswith("liae"):
            return ("encoder", "inter_AB", "inter_B", "decoder")
        case _:
            return ("encoder", "inter", "decoder_src", "decoder_dst")


def part_of(network: str) -> str:
    """The name of a network's file, without prefix and ending."""
    return _PARTS.get(network, network)


def optimiser_part(model_class: str, discriminator: str = "") -> str:
    """The same for the optimiser of a swapper or mask network, or of one of its discriminators."""
    return f"{_PARTS[WHOLE]}_opt" if model_class == XSEG else _OPTIMISERS[discriminator]
