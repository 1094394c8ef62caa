"""Draw docs/images/time_to_loss.svg: the held-out loss of the kept runs of `python run.py bench time_to_loss`.

`python -m scripts.make_curves` from the root of the repository, after that bench.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from bench.time_to_loss import ITERATIONS, PLACE, RECIPES, SEEDS, model_name

from understudy.recipe.report.charts import Chart, Series, draw
from understudy.training.measuring.evaluations import FILE_NAME, Evaluations
from understudy.workspace import Workspace

TARGET = Path(__file__).resolve().parents[1] / "docs" / "images" / "time_to_loss.svg"
TONES = {"reference": "#b4552d", "reference in bfloat16": "#8a8a8a", "default": "#1f6fb2"}
STYLE = (
    "text{font:11px sans-serif;fill:#444} .left,.right{text-anchor:end} line,path{stroke:#ddd;stroke-width:1} "
    "polyline{fill:none;stroke-width:2} circle{display:none} "
)


def main() -> None:
    """Means of all seeds, one line a recipe."""
    series = [_series(name, f"tone-{index}") for index, name in enumerate(RECIPES)]
    figure = str(draw(Chart("Held-out loss by iteration", series)))
    found = re.search(r"<svg.*</svg>", figure, re.DOTALL)
    assert found
    colours = "".join(f".tone-{index}{{stroke:{TONES[name]}}} " for index, name in enumerate(RECIPES))
    labels = "".join(
        f'<text x="330" y="{40 + 16 * index}" style="fill:{TONES[name]}">{name}</text>'
        for index, name in enumerate(RECIPES)
    )
    svg = found[0].replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)
    background = '<rect width="100%" height="100%" fill="#fff"/>'
    svg = re.sub(r"(<svg[^>]*>)", rf"\1<style>{STYLE}{colours}</style>{background}", svg, count=1)
    TARGET.write_text(svg.replace("</svg>", f"{labels}</svg>"), encoding="utf-8")


def _series(name: str, tone: str) -> Series:
    looks = [[scores for scores in _evaluations(name, seed) if scores.iteration <= ITERATIONS] for seed in range(SEEDS)]
    means = np.mean([[scores.loss for scores in found] for found in looks], axis=0)
    return Series(name, [scores.iteration for scores in looks[0]], list(map(float, means)), tone)


def _evaluations(name: str, seed: int) -> Evaluations:
    return Evaluations.read(Workspace(PLACE).model(model_name(name, seed)) / FILE_NAME)


if __name__ == "__main__":
    main()
