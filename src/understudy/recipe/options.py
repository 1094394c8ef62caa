"""What can be chosen about a run of a recipe. Imports neither cv2 nor torch."""

from __future__ import annotations

from understudy.options import Options, option


class RunOptions(Options):
    """Which part of a recipe is run, and with which values of its variables."""

    set_: tuple[str, ...] = option(
        (), "Another value of a variable, NAME=VALUE; given several times for several.", group="Recipe"
    )
    from_: str = option(
        "", "Begin with this step: those before it count as done, it and those after it run again.", group="Part"
    )
    until: str = option("", "End with this step.", group="Part")
    replace: bool = option(False, "Begin anew: forget what of the recipe is done.", group="Part")
