"""The charts of one model: what its history and its evaluations know."""

from __future__ import annotations

from understudy.recipe.report.charts import Band, Chart, Series
from understudy.recipe.report.facts import ModelFacts


def _bands(model: ModelFacts) -> tuple[Band, ...]:
    """The phases since iterations were last counted from 0 again, as they are when a pretraining ends."""
    bands: list[Band] = []
    for phase in model.phases:
        if bands and phase.first < bands[-1].last:
            bands.clear()
        bands.append(Band(phase.name, phase.first, phase.last))
    return tuple(bands)


def charts_of(model: ModelFacts) -> list[Chart]:
    """Losses in training and on held-out faces, how well people are redrawn, the swap's likeness and errors."""
    bands = _bands(model)
    history, found = model.history, model.evaluations

    def measured(name: str, label: str, tone: str, *, dashed: bool = False) -> Series:
        at, values = found.values(name)
        return Series(label, at, values, tone, dashed)

    trained = [
        Series(name, history.iterations, history.losses[name], name, band=True)
        for name in ("src", "dst")
        if name in history.losses
    ]
    return [
        Chart("Training loss", trained, "of every iteration, as the phase counts it", bands=bands),
        Chart(
            "Loss on faces never trained on",
            [
                measured("held_src", "src, unseen", "src"),
                measured("train_src", "src, trained on", "src", dashed=True),
                measured("held_dst", "dst, unseen", "dst"),
                measured("train_dst", "dst, trained on", "dst", dashed=True),
            ],
            "counted alike in all phases",
            bands=bands,
        ),
        Chart(
            "Likeness of redrawn faces (SSIM)",
            [measured("ssim_src", "src", "src"), measured("ssim_dst", "dst", "dst")],
            "1 is the same picture",
            bands=bands,
        ),
        Chart(
            "Masks (IoU)",
            [measured("iou_src", "src", "src"), measured("iou_dst", "dst", "dst")],
            "1 is the true outline",
            bands=bands,
        ),
        Chart(
            "Whom the swap looks like",
            [
                measured("likeness", "likeness to src", "swap"),
                measured("likeness_accuracy", "accuracy of this measure", "quiet", dashed=True),
            ],
            "0 is dst, 1 is src",
            (0.0, 1.0),
            bands,
        ),
        Chart(
            "Expression and pose of the swap",
            [
                measured("landmarks", "landmarks, % of the eyes' distance", "swap"),
                measured("pose", "pose, degrees", "src"),
                measured("flicker", "flicker, levels", "dst"),
            ],
            "less is closer to the dst performance",
            bands=bands,
        ),
    ]
