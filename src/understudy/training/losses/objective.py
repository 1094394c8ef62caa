"""What a class of model minimises in one step: which losses there are, and what each counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypedDict


class DetailPowers(TypedDict):
    """Powers of the losses that every class can have beside its own."""

    ms_ssim: float
    frequency: float
    gradient: float
    laplacian: float


@dataclass(frozen=True)
class Objective:
    """Switches and powers of the losses. A recipe makes it from a model's config and options; a step only reads it.

    filter_sizes: taps of the windows in which structure is compared. masked: pictures are compared inside the soft mask
    of their person only. bare_blur: the soft mask is the blurred mask itself (Quick96), else one that is 1 all over the
    face. blur_out: targets with blurred surroundings. eyes_mouth: eyes and mouth count once more.

    gan, true_face, face_style, bg_style, and ms_ssim, frequency, gradient, laplacian, which look at detail in ways of
    their own: powers as the options of that name give them; 0 leaves the loss out.
    gan_on_dst: the GAN sees dst's drawings too; hold_dst_surroundings: dst is held outside its mask too (both AMP).
    code_discriminator_learns: off: the one that true_face goes by stays as it is, as in the reference's pretraining.
    frozen: tensors that a step does not change, by what their names begin with.

    The last two are slips of the reference (docs/faithful.md): background style looks outside src's mask instead of
    dst's, and roughness is counted along channels and rows.
    """

    filter_sizes: tuple[int, ...]
    masked: bool = True
    bare_blur: bool = False
    blur_out: bool = False
    eyes_mouth: bool = False
    gan: float = 0.0
    gan_on_dst: bool = False
    hold_dst_surroundings: bool = False
    true_face: float = 0.0
    code_discriminator_learns: bool = True
    face_style: float = 0.0
    bg_style: float = 0.0
    ms_ssim: float = 0.0
    frequency: float = 0.0
    gradient: float = 0.0
    laplacian: float = 0.0
    frozen: tuple[str, ...] = ()
    background_outside_src: bool = False
    roughness_along_channels: bool = False

    @property
    def weights(self) -> Mapping[str, float]:
        """What each unweighted loss counts, by its name without the person.

        A loss of detail with a power of 1 pulls at a drawing that is half learned about as strongly as structure does:
        measured as the length of its gradient, on faces of 64 to 256 px whose finest detail was missing.
        """
        return {
            "structure": 10.0,
            "pixel": 10.0,
            "mask": 10.0,
            "eyes_mouth": 300.0,
            "face_style": 100.0 * self.face_style,
            "background_style": 0.1 * self.bg_style,
            "ms_ssim": 10.0 * self.ms_ssim,
            "frequency": 1000.0 * self.frequency,
            "gradient": 100.0 * self.gradient,
            "laplacian": 30.0 * self.laplacian,
            "gan": self.gan,
            "true_face": self.true_face,
            "src_roughness": 1e-6,
            "src_surroundings": 0.02,
            "dst_roughness": 1e-6,
            "dst_surroundings": 0.1,
        }


def structure_filters(size: int, *, both: bool) -> tuple[int, ...]:
    """Filter sizes for faces of `size` pixels: the large one, or the large and the small one."""
    sizes = (int(size / 11.6), int(size / 23.2))
    return sizes if both else sizes[:1]
