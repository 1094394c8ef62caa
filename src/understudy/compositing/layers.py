"""What one face adds to the plate, and how it is laid over what is already there."""

from __future__ import annotations

from dataclasses import dataclass

from understudy.imaging.types import Box, Image, Mask


@dataclass(frozen=True, eq=False)
class Layer:
    """What one face adds, inside `box`: its picture (h, w, 3), how much of it shows (h, w), and its mask (h, w)."""

    picture: Image
    cover: Mask
    alpha: Mask
    box: Box


def over(below: Image, layer: Layer) -> Image:
    """The layer over what lies below, (h, w, 3) of the layer's box; where its cover is 0, `below` bit for bit."""
    image: Image = layer.picture - below
    image *= layer.cover[..., None]
    image += below
    return image


def union(first: Mask, second: Mask) -> Mask:
    """How much two layers cover together; exactly 0 where neither does and 1 where either does."""
    return first + (1 - first) * second
