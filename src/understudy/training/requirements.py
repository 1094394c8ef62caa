"""What options must fulfil together, and with the network that they are for."""

from __future__ import annotations

from understudy.networks.families import Config
from understudy.training.learning.discriminators import require_patch_that_fits
from understudy.training.learning.frozen import frozen_parts
from understudy.training.learning.rates import require_end_for_schedule
from understudy.training.options import TrainOptions


def require_options_that_fit(config: Config, options: TrainOptions) -> None:
    """Raise InvalidOption for a GAN patch that the resolution cannot have, parts to freeze that are none, and a
    learning rate that falls towards a target that is not set."""
    require_patch_that_fits(config, options)
    frozen_parts(config, options)
    require_end_for_schedule(options)
