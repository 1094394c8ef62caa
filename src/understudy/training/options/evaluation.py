"""How a training is measured on faces that it does not learn from, and when it ends by that."""

from __future__ import annotations

from understudy.options import Options, option


class EvaluationOptions(Options):
    """Held-out faces, when they are looked at, and the plateau."""

    hold_out: float = option(
        0.05,
        "Share of each faceset, in stretches of neighbouring frames, that is never trained on and shows how the model "
        "does on pictures it has not seen. Facesets of fewer than 40 faces hold nothing out at 0.05; 0 holds out none.",
        group="Evaluation",
        unit="share of the frames",
        ge=0.0,
        le=0.5,
    )
    evaluate_every: int = option(
        500,
        "Measure the model on the held-out faces this often; 0 never does.",
        group="Evaluation",
        unit="iterations",
        ge=0,
        live=True,
    )
    plateau: int = option(
        0,
        "End training, with everything saved, after this many evaluations in a row without a better held-out loss; 0 "
        "trains on.",
        group="Evaluation",
        unit="evaluations",
        ge=0,
        le=10000,
        live=True,
    )
