"""lct and mkl: one 3×3 matrix for all pixels that gives R, G and B the covariance of another picture."""

from __future__ import annotations

import torch
from torch import Tensor

from understudy.imaging.colour_transfer.statistics import EVERYWHERE, Where, covariance

LCT_RIDGE = 1e-5
"""Added to the variances of both pictures."""

MKL_FLOOR = 2.0**-52
"""Least variance along an axis in the reference's mkl."""

NOISE = (0.5 / 255) ** 2
"""A variance of the order that rounding to 8 bit leaves: axes that vary less are not stretched any further for it."""


def lct(pictures: Tensor, references: Tensor, where: Where = EVERYWHERE) -> Tensor:
    """Means and covariances by symmetric square roots, √C_t · √C_x⁻¹: (B,3,H,W), (B,3,h,w) RGB → (B,3,H,W) in 0..1."""
    mean, ours, _ = covariance(pictures, where.pictures)
    new_mean, theirs, _ = covariance(references, where.references)
    ridge = LCT_RIDGE * torch.eye(ours.shape[-1], dtype=ours.dtype, device=ours.device)
    matrix = _power(theirs + ridge, 0.5) @ _power(ours + ridge, -0.5)
    return where.kept_where_empty(_moved(pictures, matrix, mean, new_mean), pictures)


def mkl(pictures: Tensor, references: Tensor, where: Where = EVERYWHERE, *, faithful: bool = False) -> Tensor:
    """Means and covariances by the least movement of colours (Monge–Kantorovich, linear: Pitié and Kokaram, "The
    linear Monge-Kantorovitch linear colour mapping", 2007). Arguments and result as of `lct`.

    faithful: the covariances are divided by one less than the number of pixels, and an axis along which a picture
    hardly varies is stretched as far as the other's variance asks, its noise included.
    """
    mean, ours, count = covariance(pictures, where.pictures)
    new_mean, theirs, new_count = covariance(references, where.references)
    if faithful:
        ours, theirs = ours * count / (count - 1), theirs * new_count / (new_count - 1)
    least = MKL_FLOOR if faithful else NOISE
    root, back = (_power(ours, exponent, least=least) for exponent in (0.5, -0.5))
    matrix = back @ _power(root @ theirs @ root, 0.5, least=MKL_FLOOR) @ back
    return where.kept_where_empty(_moved(pictures, matrix, mean, new_mean), pictures)


def _power(symmetric: Tensor, exponent: float, *, least: float = 0.0) -> Tensor:
    """A power of symmetric matrices (B,3,3) with eigenvalues of at least `least`."""
    values, vectors = torch.linalg.eigh(symmetric)
    powered: Tensor = vectors * values.clamp_min(least)[:, None] ** exponent @ vectors.mT
    return powered


def _moved(pictures: Tensor, matrix: Tensor, mean: Tensor, new_mean: Tensor) -> Tensor:
    """matrix · (pixel − mean) + new mean, in 0..1."""
    matrix = matrix.to(pictures)
    shift = new_mean - matrix @ mean
    return (matrix @ pictures.flatten(2) + shift).view_as(pictures).clamp(0, 1)
