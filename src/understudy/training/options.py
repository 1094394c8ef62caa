"""Training options. What cannot change once a model exists is in the model's config instead (`training/models.py`)."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import SerializerFunctionWrapHandler, model_serializer

from understudy.options import Options, option
from understudy.records import PrecisionChoice


class ModelClass(StrEnum):
    """The classes of model that can be trained, by their names on the command line."""

    QUICK96 = "quick96"


class TrainOptions(Options):
    """How a model is trained."""

    model: ModelClass = option(
        ModelClass.QUICK96, "Class of a new model. A model that exists keeps its own.", group="Model"
    )
    pretrained: Path | None = option(
        None,
        "Folder of pretrained weight files (encoder.npy, inter.npy, decoder_src.npy, decoder_dst.npy) that a new model "
        "starts from.",
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

    @model_serializer(mode="wrap")
    def _given(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Only what was given is written out: what was not is decided by the model's last run, not by a default."""
        return {name: value for name, value in serialise(self).items() if name in self.model_fields_set}
