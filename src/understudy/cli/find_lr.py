"""`understudy model find-lr`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from understudy.training.options.optimiser import OptimiserChoice


def find_lr(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The model, as `model list` names it.")],
    optimiser: Annotated[
        OptimiserChoice | None, typer.Option("--optimiser", help="Try another one than that of its last run.")
    ] = None,
    first: Annotated[float, typer.Option("--first", min=1e-12, max=1.0, help="Smallest rate to try.")] = 1e-7,
    last: Annotated[float, typer.Option("--last", min=1e-12, max=10.0, help="Greatest rate to try.")] = 1e-2,
    steps: Annotated[int, typer.Option("--steps", min=20, max=10_000, help="Rates to try, an iteration each.")] = 150,
    device: Annotated[str, typer.Option("--device", help="Where to train: auto, cpu, cuda:0, mps; else as last.")] = "",
) -> None:
    """Try how fast a model can learn, on a copy of it.

    The rate rises from step to step until the loss does. Suggests a tenth of the rate at which it was lowest, for
    `train --learning-rate`; draws the curve. The model stays as it is.
    """
    from understudy.stages.find_lr import find_lr as find

    with context.obj.progress() as report:
        result = find(
            context.obj.workspace,
            name,
            optimiser=optimiser or "",
            first=first,
            last=last,
            steps=steps,
            device=device,
            report=report,
        )
    body = result.as_json()
    context.obj.finish(body, _text(body))


def _text(body: dict[str, Any], rows: int = 12, width: int = 40) -> str:
    """The curve as a few bars, and what to type."""
    rates, losses = body["rates"], body["losses"]
    top = max(losses)
    shown = sorted({round(index * (len(rates) - 1) / (rows - 1)) for index in range(rows)})
    lines = [f"{rates[at]:8.1e}  {losses[at]:8.4f}  {'█' * round(width * losses[at] / top)}" for at in shown]
    return "\n".join(
        [
            f"rate      loss of {body['model']} with {body['optimiser']} at iteration {body['iteration']}",
            *lines,
            f"Lowest at {body['lowest']:.1e}, falling fastest at {body['steepest']:.1e}. Suggested:",
            f"  understudy train {body['model']} --learning-rate {body['suggested']:g}",
            f"The curve: {body['outputs'][0]}",
        ]
    )
