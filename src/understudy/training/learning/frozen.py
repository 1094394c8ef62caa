"""Which parts of a network stay as they are."""

from __future__ import annotations

from understudy.errors import InvalidOption
from understudy.networks.amp import AmpConfig
from understudy.networks.families import Config
from understudy.networks.xseg import XSegConfig
from understudy.training.options import TrainOptions


def trained_parts(config: Config) -> tuple[str, ...]:
    """The parts of a network that training changes, by name, in the order that a face goes through them."""
    if isinstance(config, AmpConfig):
        return ("encoder", "decoder")  # the inters keep the random numbers they began with
    if isinstance(config, XSegConfig):
        return ()  # what it finds on the way down and up belongs together
    archi = getattr(config, "archi", None)
    if archi is not None and archi.is_liae:
        return ("encoder", "inter_AB", "inter_B", "decoder")
    return ("encoder", "inter", "decoder_src", "decoder_dst")


def frozen_parts(config: Config, options: TrainOptions) -> tuple[str, ...]:
    """The parts that options freeze. Raises InvalidOption for names that are none, and when nothing would be left to
    train."""
    named = tuple(dict.fromkeys(name.strip() for name in options.freeze.split(",") if name.strip()))
    parts = trained_parts(config)
    unknown = [name for name in named if name not in parts]
    if unknown:
        raise InvalidOption(
            f"This network has no part {', '.join(unknown)} that could be frozen.",
            hint=f"Its parts: {', '.join(parts)}." if parts else "It trains as a whole: leave --freeze out.",
        )
    kept = _kept_without_warp(config, options)
    if named and not set(parts) - set(named) - {kept}:
        also = f", and without random warp {kept} stays as it is too" if kept and kept not in named else ""
        raise InvalidOption(
            f"With {', '.join(named)} frozen{also}, nothing is trained.", hint="Leave a part out of --freeze."
        )
    return named


def _kept_without_warp(config: Config, options: TrainOptions) -> str:
    """The part that stays as it is without random warp (`recipes.saehd_objective`); nothing where there is none."""
    archi = getattr(config, "archi", None)
    return "inter_AB" if archi is not None and archi.is_liae and not options.in_force.random_warp else ""
