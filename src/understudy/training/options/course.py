"""How long a training goes."""

from __future__ import annotations

from understudy.options import Options, option


class CourseOptions(Options):
    """End and batch of a training."""

    target_iter: int = option(
        0, "Train up to this iteration; 0 trains until stopped.", group="Training", unit="iterations", ge=0, live=True
    )
    batch_size: int = option(
        4,
        "Faces of each side in an iteration. More is steadier and needs more memory.",
        group="Training",
        ge=1,
        le=512,
        live=True,
    )
    seed: int = option(
        0, "Start of all random draws; the same seed trains the same model.", group="Training", ge=0, le=2**31 - 1
    )
