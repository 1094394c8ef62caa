"""Options of `understudy model export-dfm`. Imports neither torch nor onnx."""

from __future__ import annotations

from pathlib import Path

from pydantic import model_validator

from understudy.options import Options, option
from understudy.records import WeightsChoice


class DfmOptions(Options):
    """How a model is written for live use."""

    quantize: bool = option(
        False, "Half precision: half the file, and faster on graphics cards that compute so.", group="File"
    )
    int8: bool = option(
        False, "Whole numbers of 8 bit: a quarter of the file, faster on processors, a little grain.", group="File"
    )
    output: Path | None = option(
        None, "File to write, named .dfm, or a folder for it; else NAME_CLASS_model.dfm in model/.", group="File"
    )
    replace: bool = option(False, "Move a file that is there to the trash.", group="File")
    weights: WeightsChoice = option(
        WeightsChoice.AUTO,
        "Which weights of the model: auto takes their slow average where training kept one, trained the weights.",
        group="File",
    )
    check_faces: int = option(
        8, "How many faces of the dst the file is tried on before it is delivered.", group="Check", ge=1, le=256
    )

    @model_validator(mode="after")
    def _one_precision(self) -> DfmOptions:
        if self.quantize and self.int8:
            raise ValueError("--quantize and --int8 exclude each other: choose one")
        return self
