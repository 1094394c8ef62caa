"""What a model is: its class, its architecture, and what a new one starts from."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import field_validator

from understudy.options import Options, option
from understudy.records import FaceType


class ModelClass(StrEnum):
    """The classes of model that can be trained, by their names on the command line."""

    SAEHD = "saehd"
    AMP = "amp"
    QUICK96 = "quick96"
    XSEG = "xseg"


class InitialWeights(StrEnum):
    """What the weights of a new model are drawn from."""

    GLOROT = "glorot"
    HE = "he"


CONFIG_OPTIONS = (
    "resolution",
    "face_type",
    "archi",
    "ae_dims",
    "inter_dims",
    "e_dims",
    "d_dims",
    "d_mask_dims",
    "morph_factor",
)
"""Options that make a new model's config and cannot change afterwards, so that they are no part of a run's options."""


class ModelOptions(Options):
    """Class, start and architecture of a model."""

    model: ModelClass = option(
        ModelClass.QUICK96,
        "Class of a new model. A model that exists keeps its own. xseg, the mask network: understudy xseg train.",
        group="Model",
    )
    pretrained: str | None = option(
        None,
        "Trained model that a new one starts from: its name in this workspace or in the shared folder of pretrained "
        "models, or its folder.",
        group="Model",
    )
    initial_weights: InitialWeights = option(
        InitialWeights.GLOROT,
        "What the weights of a new model are drawn from: glorot, as in DeepFaceLab, or he, with which more of the "
        "picture comes through all layers at first, so that it learns faster.",
        group="Model",
    )
    faithful: bool | None = option(
        None,
        "Keep DeepFaceLab's habits in samples and losses (docs/faithful.md). Not given: on for imported models, off "
        "for new ones.",
        group="Model",
        live=True,
    )
    resolution: int | None = option(
        None,
        "Side of the faces that a new model draws. A multiple of 16, or of 32 for amp and the letters d and t; "
        "saehd begins with 128, amp with 224. The step takes four times as long at twice the side.",
        group="Architecture",
        unit="px",
        ge=64,
        le=640,
    )
    face_type: FaceType | None = option(
        None,
        "How much of the head a new model draws: h, mf, f, wf or head; saehd begins with f, amp with wf.",
        group="Architecture",
    )
    archi: str | None = option(
        None,
        "Network of a new saehd model: df or liae, and after a dash any of the letters u, d, t, c (liae-ud).",
        group="Architecture",
    )
    ae_dims: int | None = option(
        None, "Channels of a new model's bottleneck (256).", group="Architecture", ge=32, le=1024
    )
    inter_dims: int | None = option(
        None, "Channels that a new amp model mixes (1024).", group="Architecture", ge=32, le=2048
    )
    e_dims: int | None = option(None, "Width of a new model's encoder (64).", group="Architecture", ge=16, le=256)
    d_dims: int | None = option(
        None, "Width of a new model's decoders: detail, and most of the time (64).", group="Architecture", ge=16, le=256
    )
    d_mask_dims: int | None = option(
        None, "Width of a new model's mask branch (22).", group="Architecture", ge=16, le=256
    )
    morph_factor: float | None = option(
        None,
        "Share of the channels that a new amp model takes from src while it learns (0.5).",
        group="Architecture",
        ge=0.1,
        le=0.5,
    )

    @field_validator("pretrained", mode="before")
    @classmethod
    def _path_as_text(cls, value: Any) -> Any:
        """It may be a name, which a path that is made absolute would no longer be."""
        return str(value) if isinstance(value, Path) else value
