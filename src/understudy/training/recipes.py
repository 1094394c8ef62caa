"""What each class of model brings to the training loop, by the name that people type.

The loop knows none of them: it asks for a batch, for a step and for pictures. A new class is a new entry here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from understudy.errors import IncompatibleModel
from understudy.networks import families
from understudy.networks.amp import AmpConfig
from understudy.networks.families import FAMILIES, Config, Family, Swapper
from understudy.networks.initial import draw_he_weights
from understudy.networks.quick96 import Quick96Config
from understudy.networks.saehd import SaehdConfig
from understudy.networks.xseg import XSeg, XSegConfig
from understudy.training.learning.frozen import frozen_parts
from understudy.training.learning.precision import Precision
from understudy.training.learning.rates import Rates, with_options
from understudy.training.learning.swapping import Swapping
from understudy.training.learning.task import Task
from understudy.training.losses import DetailPowers, Objective, structure_filters
from understudy.training.masking.objective import MaskObjective
from understudy.training.masking.previews import mask_previews
from understudy.training.masking.task import Masking
from understudy.training.optimisers import Optimiser, OptimiserKind, optimiser_named
from understudy.training.options import LrDropout, TrainOptions
from understudy.training.options.model import InitialWeights
from understudy.training.options.samples import ColourMode
from understudy.training.previews.preview import amp_previews, quick96_previews, saehd_previews

if TYPE_CHECKING:
    from understudy.training.learning.learner import Learner

Net = Swapper | XSeg
"""The networks that can be trained."""

Parameters = list[tuple[str, nn.Parameter]]
Previews = Callable[[Any, Any], dict[str, NDArray[np.uint8]]]


@dataclass(frozen=True)
class Recipe:
    """One class of model. The functions are what differs between classes; everything else is the loop's.

    task: what models of this kind do with faces. defaults: options that a new model begins with, where they differ
    from those of `TrainOptions`. fixed: options that a config leaves no choice of. objective: the losses, of config,
    options and `faithful`. repeat_every: every so many iterations the batch before is learned once more, from its
    unwarped faces; 0: never. batch_on_gpu: faces of each side that a new model begins with on a graphics card; 0: as
    anywhere.
    """

    family: Family
    objective: Callable[[Any, TrainOptions, bool], Any]
    rates: Callable[[TrainOptions], Rates]
    previews: Previews
    scale_range: float
    task: Task = field(default_factory=Swapping)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    fixed: Callable[[Any], Mapping[str, Any]] = lambda config: {}
    repeat_every: int = 0
    batch_on_gpu: int = 0

    @property
    def model_class(self) -> str:
        return self.family.model_class

    @property
    def config(self) -> type[Any]:
        return self.family.config

    def build(self, config: Config, generator: torch.Generator) -> Net:
        """A network with the reference's initial weights."""
        return cast(Net, self.family.build(config, generator=generator))

    def begin(self, config: Config, options: TrainOptions, *, seed: int) -> Net:
        """A network with the initial weights that the options ask for."""
        net = self.build(config, torch.Generator().manual_seed(seed))
        if options.initial_weights is InitialWeights.HE:
            draw_he_weights(net, torch.Generator().manual_seed(seed))
        return net

    def parted(self, net: nn.Module) -> tuple[Parameters, Parameters]:
        """The parameters that are trained, and those that keep their initial values for ever."""
        kept = tuple(f"{part}." for part in self.family.untrained)
        every = list(net.named_parameters())
        return (
            [(name, weight) for name, weight in every if not name.startswith(kept)],
            [(name, weight) for name, weight in every if name.startswith(kept)],
        )

    def optimiser(self, net: nn.Module, options: TrainOptions, precision: Precision, *, seed: int) -> Optimiser:
        """The optimiser of a swapper of this class, or of one of its discriminators; beside the weights, or, as
        `models_opt_on_gpu` says, with its moments in the computer's memory."""
        trained, constant = self.parted(net)
        made = optimiser_named(self.rates(options).kind)(
            trained,
            constants=constant,
            compute=precision.torch_dtype,
            seed=seed,
            state_device=None if options.models_opt_on_gpu else torch.device("cpu"),
        )
        self.tune(made, options)
        return made

    def tune(self, optimiser: Optimiser, options: TrainOptions) -> None:
        """Set everything about an optimiser that may change between two steps, in place."""
        self.rates(options).tune(optimiser)

    def configure(self, learner: Learner[Any], options: TrainOptions) -> None:
        """Bring a learner to the options, all but its objective and the kind of its optimisers."""
        learner.configure(
            self.rates(options),
            pieces=options.accumulate,
            freeze=frozen_parts(cast(Config, learner.net.config), options),
            recompute=options.checkpointing,
            ema_decay=options.ema_decay,
            compiling=options.compile,
        )


def saehd_objective(config: SaehdConfig, options: TrainOptions, faithful: bool) -> Objective:
    """DSSIM at two sizes from 256 px on. Without random warp, LIAE's inter_AB stays as it is: it has learned by then
    what both people have in common, and would go on to learn what they have not. In pretraining the reference goes on
    to pull codes as a discriminator says that no longer learns."""
    has_discriminator = not config.archi.is_liae and (faithful or not options.pretrain)
    return Objective(
        filter_sizes=structure_filters(config.size, both=config.size >= 256),
        masked=options.masked_training,
        blur_out=options.blur_out_mask,
        eyes_mouth=options.eyes_mouth_prio,
        gan=options.gan_power,
        true_face=options.true_face_power if has_discriminator else 0.0,
        code_discriminator_learns=not options.pretrain,
        face_style=options.face_style_power,
        bg_style=options.bg_style_power,
        frozen=() if options.random_warp or not config.archi.is_liae else ("inter_AB.",),
        background_outside_src=faithful,
        roughness_along_channels=faithful,
        **detail_powers(options),
    )


def amp_objective(config: AmpConfig, options: TrainOptions, faithful: bool) -> Objective:
    """DSSIM at two sizes at any resolution; eyes and mouth always; both people before the patch discriminator."""
    return Objective(
        filter_sizes=structure_filters(config.size, both=True),
        blur_out=options.blur_out_mask,
        eyes_mouth=True,
        gan=options.gan_power,
        gan_on_dst=True,
        hold_dst_surroundings=True,
        roughness_along_channels=faithful,
        **detail_powers(options),
    )


def quick96_objective(config: Quick96Config, options: TrainOptions, faithful: bool) -> Objective:
    """The plain losses in the blurred mask."""
    filters = structure_filters(config.size, both=False)
    return Objective(filter_sizes=filters, bare_blur=True, **detail_powers(options))


def xseg_objective(config: XSegConfig, options: TrainOptions, faithful: bool) -> MaskObjective:
    """The mask; in pretraining the face itself, in grey."""
    return MaskObjective(pretraining=options.pretrain)


def detail_powers(options: TrainOptions) -> DetailPowers:
    """The losses of detail, for every class."""
    return {
        "ms_ssim": options.ms_ssim_power,
        "frequency": options.frequency_power,
        "gradient": options.gradient_power,
        "laplacian": options.laplacian_power,
    }


def saehd_rates(options: TrainOptions) -> Rates:
    """5e-5, and with learning-rate dropout 30 % of the updates on a swing of 500 iterations."""
    kind: OptimiserKind = "adabelief" if options.adabelief else "rmsprop"
    usual = Rates(kind, 5e-5)
    if options.lr_dropout is not LrDropout.OFF:
        usual = replace(usual, dropout=0.3, period=500)
    return with_options(usual, options)


def quick96_rates(options: TrainOptions) -> Rates:
    """2e-4, always with dropout and without a swing."""
    return with_options(Rates("rmsprop", 2e-4, dropout=0.3), options)


def xseg_rates(options: TrainOptions) -> Rates:
    """1e-4, with dropout and without a swing, also while pretraining."""
    kind: OptimiserKind = "adabelief" if options.adabelief else "rmsprop"
    return with_options(Rates(kind, 1e-4, dropout=0.3 if options.lr_dropout is not LrDropout.OFF else 1.0), options)


def _saehd_fixed(config: SaehdConfig) -> dict[str, Any]:
    return {"true_face_power": 0.0} if config.archi.is_liae else {}


_SAEHD_ONLY = {
    "pretrain": False,
    "true_face_power": 0.0,
    "face_style_power": 0.0,
    "bg_style_power": 0.0,
    "random_hsv_power": 0.0,
}

RECIPES = {
    "saehd": Recipe(
        family=FAMILIES["saehd"],
        objective=saehd_objective,
        rates=saehd_rates,
        previews=saehd_previews,
        scale_range=0.15,
        batch_on_gpu=8,
        fixed=_saehd_fixed,
    ),
    "amp": Recipe(
        family=FAMILIES["amp"],
        objective=amp_objective,
        rates=saehd_rates,
        previews=amp_previews,
        scale_range=0.15,
        defaults={"batch_size": 8, "eyes_mouth_prio": True},
        fixed=lambda config: {"masked_training": True, "eyes_mouth_prio": True, "adabelief": True, **_SAEHD_ONLY},
    ),
    "quick96": Recipe(
        family=FAMILIES["quick96"],
        objective=quick96_objective,
        rates=quick96_rates,
        previews=quick96_previews,
        scale_range=0.05,
        defaults={"random_dst_flip": False},
        fixed=lambda config: {
            "masked_training": True,
            "eyes_mouth_prio": False,
            "blur_out_mask": False,
            "gan_power": 0.0,
            "adabelief": False,
            "lr_dropout": LrDropout.ON,
            "clipgrad": False,
            "uniform_yaw": False,
            "ct_mode": ColourMode.NONE,
            **_SAEHD_ONLY,
        },
        repeat_every=3,
    ),
    "xseg": Recipe(
        family=FAMILIES["xseg"],
        objective=xseg_objective,
        rates=xseg_rates,
        previews=mask_previews,
        scale_range=0.05,
        task=Masking(),
        defaults={"adabelief": False, "lr_dropout": LrDropout.ON, "hold_out": 0.1},
        fixed=lambda config: {
            **{name: value for name, value in _SAEHD_ONLY.items() if name != "pretrain"},
            "gan_power": 0.0,
            "ct_mode": ColourMode.NONE,
            "uniform_yaw": False,
            "replay": 0.0,
        },
    ),
}


def recipe_for(model_class: str) -> Recipe:
    """The recipe of a class, by its name in `model.json` or on the command line. Raises IncompatibleModel."""
    found = RECIPES.get(model_class.lower())
    if found is None:
        known = ", ".join(recipe.model_class for recipe in RECIPES.values())
        raise IncompatibleModel(f"Models of the class {model_class} cannot be trained; these can: {known}.")
    return found


def config_from_plain(recipe: Recipe, stored: Mapping[str, Any]) -> Config:
    """The config in a `model.json`. Raises IncompatibleModel when it does not fit its class."""
    return cast(Config, families.config_from_plain(recipe.family, stored))
