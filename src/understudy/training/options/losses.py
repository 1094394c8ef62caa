"""What a training minimises."""

from __future__ import annotations

from understudy.options import Options, option


class LossOptions(Options):
    """The losses and their weights."""

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
        live=True,
    )
    blur_out_mask: bool = option(
        False,
        "Blur what lies outside the masks in the targets, so that the border of the face fades into something soft.",
        group="Losses",
        live=True,
    )
    gan_power: float = option(
        0.0,
        "Strength of the GAN: a discriminator learns to tell drawn details from real ones, and the model to pass. For "
        "the end of a training, 0.05 to 0.1: sharper, slower, and hard to take back. saehd, amp.",
        group="Losses",
        ge=0.0,
        le=5.0,
        live=True,
    )
    gan_patch_size: int | None = option(
        None,
        "How large a piece of the picture the GAN's discriminator looks at. Not given: an eighth of the resolution. "
        "Another size begins it anew.",
        group="Losses",
        unit="px",
        ge=3,
        le=640,
        live=True,
    )
    gan_dims: int = option(
        16,
        "Width of the GAN's discriminator; memory grows with its square. Another width begins it anew.",
        group="Losses",
        ge=4,
        le=512,
        live=True,
    )
    true_face_power: float = option(
        0.0,
        "Pull src's codes towards dst's by a discriminator of codes, so that the swap looks more like src: 0.01. "
        "saehd df only.",
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
    ms_ssim_power: float = option(
        0.0,
        "Compare structure at several sizes at once as well, for large features that drift; 1 pulls as strongly as the "
        "plain comparison does.",
        group="Losses",
        ge=0.0,
        le=10.0,
        live=True,
    )
    frequency_power: float = option(
        0.0,
        "Look for waves that the drawing lacks, the worst first, 0.1 to 1: patterns and fine hair.",
        group="Losses",
        ge=0.0,
        le=10.0,
        live=True,
    )
    gradient_power: float = option(
        0.0,
        "Compare edges, their place and strength, 0.1 to 1: crisp lines of eyes, teeth and nose.",
        group="Losses",
        ge=0.0,
        le=10.0,
        live=True,
    )
    laplacian_power: float = option(
        0.0,
        "Compare detail of every size by itself, 0.1 to 1: sharpness at little cost, and more even than edges alone.",
        group="Losses",
        ge=0.0,
        le=10.0,
        live=True,
    )
