"""`understudy model export-dfm`: a model for live use."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from understudy.cli.flags import flags
from understudy.cli.jobs import run_stage, summary
from understudy.interop.dfm_options import DfmOptions


@flags(DfmOptions, table="export-dfm")
def export_dfm(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The model; flat files of that name are imported first.")],
    options: DfmOptions,
) -> None:
    """Write a model as .dfm, the file that DeepFaceLive loads; XSeg as .onnx.

    The file is tried on faces of the dst before it appears: one that draws anything else than the model is refused.
    """
    context.obj.workspace.model(name)  # a name that cannot be one is refused before anything heavy loads
    run_stage(
        context.obj,
        "stages.export_dfm:export_dfm",
        f"Export of {name}",
        shown=_shown,
        anew=(),
        name=name,
        options=options,
    )


def _shown(body: dict[str, Any]) -> str:
    title = f"Exported {body['model']} ({body['class']}, {body['precision']})"
    agreement = body["agreement"]
    tried = f"{body['bytes'] / 1e6:.1f} MB; tried on {agreement['faces']} faces: "
    tried += f"at most {agreement['largest']:.1g} from the model, {agreement['psnr_db']:.0f} dB"
    return "\n".join(
        [summary(title, body), tried, *([f"The file before is {body['trash']}"] if "trash" in body else [])]
    )
