"""How weights are changed."""

from __future__ import annotations

from enum import StrEnum

from understudy.options import Options, option


class LrDropout(StrEnum):
    """Whether each step changes only a random part of the weights, at a learning rate that swings."""

    OFF = "n"
    ON = "y"
    CPU = "cpu"


class OptimiserOptions(Options):
    """The optimiser and its rate."""

    adabelief: bool = option(
        True,
        "Optimise with AdaBelief, else with RMSprop, which needs half the memory for its state. saehd; amp always "
        "uses AdaBelief, quick96 RMSprop.",
        group="Optimiser",
    )
    lr_dropout: LrDropout = option(
        LrDropout.OFF,
        "y: change only 30 % of the weights in each step, at a learning rate that swings. For when faces are "
        "trained enough, to get the last detail without a shake; cpu is the same as y.",
        group="Optimiser",
    )
    clipgrad: bool = option(
        False,
        "Shorten gradients that are too long, which keeps a training from collapsing and costs a little time.",
        group="Optimiser",
    )
