"""Training options. What cannot change once a model exists is in the model's config instead (`training/models.py`)."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import SerializerFunctionWrapHandler, field_validator, model_serializer

from understudy.options import Options, option
from understudy.records import FaceType, PrecisionChoice


class ModelClass(StrEnum):
    """The classes of model that can be trained, by their names on the command line."""

    SAEHD = "saehd"
    AMP = "amp"
    QUICK96 = "quick96"


class LrDropout(StrEnum):
    """Whether each step changes only a random part of the weights, at a learning rate that swings."""

    OFF = "n"
    ON = "y"
    CPU = "cpu"


NOT_YET = {"ct_mode": "none", "pretrain": False}
"""Options that imported models may have and training does not, with the values that mean nothing is missed."""

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


def flag_of(name: str) -> str:
    """An option as it is typed: `--gan-power`."""
    return f"--{name.replace('_', '-')}"


class TrainOptions(Options):
    """How a model is trained. Which options a class of model has, and its own defaults, is in `training/recipes.py`."""

    model: ModelClass = option(
        ModelClass.QUICK96, "Class of a new model. A model that exists keeps its own.", group="Model"
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
    pretrained: str | None = option(
        None,
        "Trained model that a new one starts from: its name in this workspace or in the shared folder of pretrained "
        "models, or its folder.",
        group="Model",
    )
    faithful: bool | None = option(
        None,
        "Keep the reference program's quirks in the samples. Not given: on for imported models, off for new ones.",
        group="Model",
    )
    target_iter: int = option(
        0, "Train up to this iteration; 0 trains until stopped.", group="Training", unit="iterations", ge=0, live=True
    )
    batch_size: int = option(
        4,
        "Faces of each side in an iteration. More is steadier and needs more memory.",
        group="Training",
        ge=1,
        le=512,
    )
    masked_training: bool = option(
        True,
        "Learn the face inside its mask only. Off: the whole square, as the swap of a head with its surroundings "
        "needs. saehd.",
        group="Losses",
        live=True,
    )
    eyes_mouth_prio: bool = option(
        False,
        "Count eyes and mouth 30 times as much: fixes a wandering gaze, wants clean landmarks. saehd; amp always does.",
        group="Losses",
    )
    blur_out_mask: bool = option(
        False,
        "Blur what lies outside the masks in the targets, so that the border of the face fades into something soft.",
        group="Losses",
        live=True,
    )
    gan_power: float = option(
        0.0,
        "Strength of a network that judges whether details look real. For the end of a training, 0.05 to 0.1: "
        "sharper, slower, and hard to take back.",
        group="Losses",
        ge=0.0,
        le=5.0,
        live=True,
    )
    gan_patch_size: int | None = option(
        None,
        "How large a piece of the picture the judge looks at. Not given: an eighth of the resolution. Another size "
        "starts the judge anew.",
        group="Losses",
        unit="px",
        ge=3,
        le=640,
    )
    gan_dims: int = option(
        16,
        "Width of the judge's network; memory grows with its square. Another width starts it anew.",
        group="Losses",
        ge=4,
        le=512,
    )
    true_face_power: float = option(
        0.0,
        "Pull src's expression codes towards dst's, so that the swap looks more like src: 0.01. saehd df only.",
        group="Losses",
        ge=0.0,
        le=1.0,
        live=True,
    )
    face_style_power: float = option(
        0.0,
        "Learn the colours of dst's face inside the mask, 0.001 to 10. Keep a backup: it can break a model. saehd.",
        group="Losses",
        unit="percent",
        ge=0.0,
        le=100.0,
        live=True,
    )
    bg_style_power: float = option(
        0.0,
        "Learn the outline and surroundings of dst's face, 0.001 to 10. Keep a backup, as with face style. saehd.",
        group="Losses",
        unit="percent",
        ge=0.0,
        le=100.0,
        live=True,
    )
    adabelief: bool = option(
        True,
        "Optimise with AdaBelief, else with RMSprop, which needs half the memory for its state. saehd; amp always "
        "uses AdaBelief, quick96 RMSprop.",
        group="Optimiser",
    )
    lr_dropout: LrDropout = option(
        LrDropout.OFF,
        "y: change only 30 % of the weights in each step, at a learning rate that swings. For when faces are "
        "trained enough, to get the last detail without a shake; cpu is the same as y.",
        group="Optimiser",
    )
    clipgrad: bool = option(
        False,
        "Shorten gradients that are too long, which keeps a training from collapsing and costs a little time.",
        group="Optimiser",
    )
    models_opt_on_gpu: bool = option(
        True,
        "Keep the optimiser's state on the graphics card. Off: in the computer's memory, slower, for larger models.",
        group="Machine",
    )
    random_src_flip: bool = option(
        False,
        "Mirror src faces at random. For a src faceset that lacks one side of the face; unlikeness of the sides goes.",
        group="Samples",
    )
    random_dst_flip: bool = option(
        True, "Mirror dst faces at random; helps a network to generalise. quick96 begins without.", group="Samples"
    )
    uniform_yaw: bool = option(
        False,
        "Show faces that look every way equally often, however many there are of each. For profiles that stay soft.",
        group="Samples",
    )
    random_hsv_power: float = option(
        0.0,
        "Shift hue, saturation and light of src faces at random, so that the network does not mind the light of the "
        "src footage: 0.05 is enough. saehd.",
        group="Samples",
        ge=0.0,
        le=0.3,
        live=True,
    )
    random_warp: bool = option(
        True,
        "Bend the faces that the network sees, which teaches it more than the footage shows. Without it a network "
        "learns its own footage sooner and other light and expressions worse: for the end, or for a quick look.",
        group="Samples",
        live=True,
    )
    random_transform: float = option(
        1.0,
        "How far faces are turned, moved and resized at random, as a share of the full ranges (10 degrees, 5 %).",
        group="Samples",
        unit="share",
        ge=0.0,
        le=1.0,
        live=True,
    )
    hold_out: float = option(
        0.0,
        "Share of each faceset, the last faces in frame order, that is never trained on.",
        group="Training",
        unit="share of the faces",
        ge=0.0,
        le=0.5,
    )
    seed: int = option(
        0, "Start of all random draws; the same seed trains the same model.", group="Training", ge=0, le=2**31 - 1
    )
    save_minutes: float = option(
        10.0, "Save this often; a crash costs at most this much.", group="Saving", unit="min", gt=0, live=True
    )
    autobackup_hour: int = option(
        0, "Keep an extra copy of the model every so many hours; 0 keeps none.", group="Saving", unit="h", ge=0, le=24
    )
    keep_checkpoints: int = option(
        3, "Newest saved states that are kept to fall back on.", group="Saving", ge=1, le=100
    )
    preview_every: int = option(
        100, "Draw the preview pictures this often; 0 draws none.", group="Preview", unit="iterations", ge=0, live=True
    )
    write_preview_history: bool = option(
        False, "Keep every preview picture, not only the newest.", group="Preview", live=True
    )
    device: str = option("auto", "Where to train: auto, cpu, cuda:0, mps.", group="Machine")
    precision: PrecisionChoice = option(
        PrecisionChoice.AUTO,
        "Arithmetic of the networks. auto measures once what this machine gains from.",
        group="Machine",
    )
    threads: int = option(0, "Processor threads for the networks; 0 chooses.", group="Machine", ge=0, le=1024)

    @field_validator("pretrained", mode="before")
    @classmethod
    def _path_as_text(cls, value: Any) -> Any:
        """It may be a name, which a path that is made absolute would no longer be."""
        return str(value) if isinstance(value, Path) else value

    @model_serializer(mode="wrap")
    def _given(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Only what was given is written out: what was not is decided by the model's last run, not by a default."""
        return {name: value for name, value in serialise(self).items() if name in self.model_fields_set}
