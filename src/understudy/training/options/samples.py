"""How the faces that a network sees are drawn and varied."""

from __future__ import annotations

from understudy.options import Options, option


class SampleOptions(Options):
    """Order and augmentation of the samples."""

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
