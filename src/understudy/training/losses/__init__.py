"""What a network minimises: pictures in, one number per sample out."""

from understudy.training.losses.blocks import (
    blur_out,
    cross_entropy,
    dssim,
    dssim_over,
    gaussian_blur,
    mean_square,
    soft_mask,
    style,
    total_variation,
)
from understudy.training.losses.detail import frequency, gradient, laplacian, multiscale, scales_of
from understudy.training.losses.drawing import (
    DETAIL,
    Losses,
    Targets,
    background_style_loss,
    drawing_losses,
    drawn_inside,
    dst_kept_calm,
    face_style_loss,
    src_kept_calm,
    targets_of,
    weighted_sums,
)
from understudy.training.losses.objective import DetailPowers, Objective, structure_filters

__all__ = [
    "DETAIL",
    "DetailPowers",
    "Losses",
    "Objective",
    "Targets",
    "background_style_loss",
    "blur_out",
    "cross_entropy",
    "drawing_losses",
    "drawn_inside",
    "dssim",
    "dssim_over",
    "dst_kept_calm",
    "face_style_loss",
    "frequency",
    "gaussian_blur",
    "gradient",
    "laplacian",
    "mean_square",
    "multiscale",
    "scales_of",
    "soft_mask",
    "src_kept_calm",
    "structure_filters",
    "style",
    "targets_of",
    "total_variation",
    "weighted_sums",
]
