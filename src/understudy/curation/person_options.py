"""Options of grouping by person and of finding duplicates. Imports neither cv2 nor torch."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from pydantic import model_validator

from understudy.options import Options, option


class ColourOrder(StrEnum):
    """In which order a network wants the colours."""

    RGB = "rgb"
    BGR = "bgr"


class PersonsAction(StrEnum):
    """What to do with the persons of a faceset."""

    LIST = "list"
    FIND = "find"
    MERGE = "merge"
    RENAME = "rename"
    SPLIT = "split"
    KEEP = "keep"
    DROP = "drop"


class PersonsOptions(Options):
    """How faces are grouped by person."""

    threshold: float = option(
        0,
        "How alike two runs of faces must look to be one person; higher makes more and purer groups. "
        "0: 0.84, or 0.4 with --engine; for split, rising until the group comes apart.",
        group="Grouping",
        ge=0,
        le=1,
    )
    fresh: bool = option(False, "Forget all names and groups, the given ones too, and group anew.", group="Grouping")
    engine: Path | None = option(
        None,
        "An ONNX network that recognises faces (ArcFace and its kin: 112 x 112 in, a vector out), of your own.",
        group="Engine",
    )
    engine_colours: ColourOrder = option(
        ColourOrder.RGB, "In which order that network wants the colours.", group="Engine"
    )
    folders: bool = option(
        False, "Also move each group into a sub-folder of its name, as multi-person facesets have.", group="Output"
    )
    workers: int = option(0, "Threads that look at faces; 0: one per core.", group="Engine", ge=0, le=256)

    @model_validator(mode="after")
    def _colours_need_an_engine(self) -> PersonsOptions:
        if self.engine is None and self.engine_colours is not ColourOrder.RGB:
            raise ValueError("engine_colours says how engine is fed; there is no engine")
        return self


class DedupeOptions(Options):
    """When two faces show the same."""

    threshold: float = option(
        8.0,
        "How much two faces may differ in what differs most, the whole, the eyes or the mouth, to show the same. "
        "4: one picture encoded twice; 8: also other light or a held breath; 15: any face that hardly moves.",
        group="Duplicates",
        unit="% of contrast",
        ge=0,
        le=60,
    )
    dry_run: bool = option(False, "Only say which faces would go.", group="Duplicates")
    workers: int = option(0, "Threads that look at faces; 0: one per core.", group="Duplicates", ge=0, le=256)
