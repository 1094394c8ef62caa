"""The orders that faces can be sorted by, and the options of sorting."""

from __future__ import annotations

from enum import StrEnum

from understudy.options import Options, option

BEST_FACES = 2000
"""How many the best faces are when nobody says."""


class SortBy(StrEnum):
    """What to sort by. The first fifteen are the classic ones; `curation.sorting` says what each does."""

    BLUR = "blur"
    MOTION_BLUR = "motion-blur"
    FACE_YAW = "face-yaw"
    FACE_PITCH = "face-pitch"
    FACE_SOURCE_RECT_SIZE = "face-source-rect-size"
    HIST = "hist"
    HIST_DISSIM = "hist-dissim"
    BRIGHTNESS = "brightness"
    HUE = "hue"
    BLACK = "black"
    ORIGNAME = "origname"
    ONEFACE = "oneface"
    ABSDIFF = "absdiff"
    FINAL = "final"
    FINAL_FAST = "final-fast"
    IDENTITY = "identity"
    TRACK = "track"
    EYES = "eyes"
    CONFIDENCE = "confidence"
    DISTANCE = "distance"

    @classmethod
    def _missing_(cls, value: object) -> SortBy | None:
        return {"final-by-blur": cls.FINAL, "final-by-size": cls.FINAL_FAST}.get(str(value).lower())


class SortOptions(Options):
    """How a faceset is sorted."""

    by: SortBy = option(
        SortBy.HIST,
        "The order. The best come first; what each order does is in the guide. final-by-blur and final-by-size are "
        "other names of final and final-fast.",
        group="Order",
    )
    keep: int | None = option(
        None,
        "Keep so many of the first faces and move the rest to aligned_trash. For final and final-fast: about how many "
        f"best faces to choose, {BEST_FACES} when not given.",
        group="Order",
        unit="faces",
        ge=1,
    )
    dissimilar: bool = option(
        False, "With absdiff: follow each face by the one least like it instead of the most alike.", group="Order"
    )
    dry_run: bool = option(False, "Only say what would happen; nothing is renamed.", group="Result")
    as_list: bool = option(
        False, "Only list the faces in the order, with their figures; nothing is renamed.", group="Result"
    )
    workers: int = option(0, "Threads; 0: one per core.", group="Machine", ge=0, le=256)
