"""Learning what faces are, before two people are learned (spec: pretrained-and-generic, 2)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from understudy.options import Options, option
from understudy.training.options.optimiser import LrDropout

OVERRIDDEN: dict[str, Any] = {
    "random_warp": False,
    "random_src_flip": True,
    "random_dst_flip": True,
    "uniform_yaw": True,
    "random_hsv_power": 0.0,
    "ct_mode": "none",
    "gan_power": 0.0,
    "face_style_power": 0.0,
    "bg_style_power": 0.0,
    "lr_dropout": LrDropout.OFF,
}
"""What trains while `pretrain` is on, whatever these options say. They keep their values for afterwards."""


class PretrainingOptions(Options):
    """Whether and on what a model is pretrained."""

    pretrain: bool = option(
        False,
        "Learn many people's faces as both sides, so that a model that two people are trained on later begins with "
        "what faces are. Turned off, it begins at iteration 0 and keeps what it has learned of faces in general. "
        "saehd.",
        group="Pretraining",
    )
    pretrain_faces: Path | None = option(
        None,
        "Faceset of many people to pretrain on: a folder, or a faceset.pak. Not given: pretrain_faces in the user data "
        "folder.",
        group="Pretraining",
    )
