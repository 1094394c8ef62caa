"""How weights are changed."""

from __future__ import annotations

from enum import StrEnum

from understudy.options import Options, option


class LrDropout(StrEnum):
    """Whether each step changes only a random part of the weights, at a learning rate that swings."""

    OFF = "n"
    ON = "y"
    CPU = "cpu"


class OptimiserChoice(StrEnum):
    """The optimisers that can be asked for; auto is what `adabelief` says."""

    AUTO = "auto"
    RMSPROP = "rmsprop"
    ADABELIEF = "adabelief"
    ADAM = "adam"
    ADAMW = "adamw"
    LION = "lion"


class LrSchedule(StrEnum):
    """How the learning rate changes on the way to the target iteration."""

    CONSTANT = "constant"
    COSINE = "cosine"
    TAIL = "tail"


class OptimiserOptions(Options):
    """The optimiser and its rate."""

    adabelief: bool = option(
        True,
        "Optimise with AdaBelief, else with RMSprop, which needs half the memory for its state. saehd; amp always "
        "uses AdaBelief, quick96 RMSprop.",
        group="Optimiser",
        live=True,
    )
    optimiser: OptimiserChoice = option(
        OptimiserChoice.AUTO,
        "Optimise with another one: adam, adamw (weights fade a little), lion (half the memory, wants a small rate). "
        "auto is what --adabelief says. Another one begins with fresh moments.",
        group="Optimiser",
        live=True,
    )
    learning_rate: float = option(
        0.0,
        "How far a step goes. 0 is the class's own: 5e-5, quick96 2e-4, and a fifth of it with lion. "
        "`understudy model find-lr NAME` measures what a model bears.",
        group="Optimiser",
        ge=0.0,
        le=1.0,
        live=True,
    )
    lr_warmup: int = option(
        0,
        "Let the rate rise from nothing over so many iterations after the optimiser has begun. Keeps the first steps "
        "of adam and lion from undoing what a trained model knows.",
        group="Optimiser",
        unit="iterations",
        ge=0,
        live=True,
    )
    lr_schedule: LrSchedule = option(
        LrSchedule.CONSTANT,
        "constant; cosine falls all the way to a hundredth at --target-iter; tail stays and falls over the last fifth "
        "of it. The last two end calmer and sharper, and need a target.",
        group="Optimiser",
        live=True,
    )
    lr_from: int = option(
        0,
        "Iteration at which the schedule begins, for a model that has been trained before.",
        group="Optimiser",
        unit="iterations",
        ge=0,
        live=True,
    )
    weight_decay: float = option(
        0.01,
        "How fast weights fade that no gradient asks for, as a share of the rate. adamw and lion only.",
        group="Optimiser",
        ge=0.0,
        le=10.0,
        live=True,
    )
    lr_dropout: LrDropout = option(
        LrDropout.OFF,
        "y: change only 30 % of the weights in each step, at a learning rate that swings. For when faces are "
        "trained enough, to get the last detail without a shake; cpu is the same as y.",
        group="Optimiser",
        live=True,
    )
    clipgrad: bool = option(
        False,
        "Shorten gradients that are too long, which keeps a training from collapsing and costs a little time.",
        group="Optimiser",
        live=True,
    )
    autoclip: float = option(
        0.0,
        "Shorten gradients that are longer than this share of those before them; 10 is the published value, 0 leaves "
        "them alone. Finds by itself what --clipgrad has fixed at 1.",
        group="Optimiser",
        unit="percent",
        ge=0.0,
        le=100.0,
        live=True,
    )
    accumulate: int = option(
        1,
        "Learn from so many batches before the weights change: the same as a batch so many times as large, in the "
        "memory of one, and as slow.",
        group="Optimiser",
        unit="batches",
        ge=1,
        le=256,
        live=True,
    )
    checkpointing: bool = option(
        False,
        "Keep less of the way there and compute it again on the way back: less than half the memory of a step on a "
        "graphics card, a third more time, the same result.",
        group="Optimiser",
        live=True,
    )
    freeze: str = option(
        "",
        "Parts of the network that stay as they are, such as encoder,inter: nothing is learned there.",
        group="Optimiser",
        unit="names",
        live=True,
    )
    ema_decay: float = option(
        0.0,
        "Keep a slow average of the weights too, which is calmer and often sharper; previews, evaluation, merge and "
        "exports use it. 0.999 averages over the last thousand iterations; 0 keeps none.",
        group="Optimiser",
        ge=0.0,
        lt=1.0,
        live=True,
    )
    guard: bool = option(
        True,
        "When a loss or gradient is no number any more or the faces collapse, go back to the last saved state and on "
        "from there, calmer the second time. Off: end with an error.",
        group="Optimiser",
        live=True,
    )
