"""The page itself: one HTML file that asks nothing of the network, in light and dark, wide and narrow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from understudy.recipe.report.charts import draw, number_text
from understudy.recipe.report.curves import charts_of
from understudy.recipe.report.facts import Facts, ModelFacts, PhaseFacts, StepFacts
from understudy.recipe.report.html import Html, el, join
from understudy.recipe.report.merged import Sample
from understudy.recipe.report.pictures import data_uri
from understudy.training.measuring.scores import MEANINGS, Scores

STYLE = Path(__file__).with_name("page.css")
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""What the browser is told to refuse: everything from anywhere else."""
MOST_LINES = 60
MOST_COLUMNS = 5


def page(facts: Facts, samples: Sequence[Sample]) -> str:
    """The text of the file."""
    body = [
        _header(facts),
        _tiles(facts),
        _result(samples),
        *(_training(model) for model in facts.models),
        _steps(facts.steps),
        _remarks(facts),
        _settings(facts),
        _machine(facts),
    ]
    head = [
        el("meta", charset="utf-8"),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("meta", http_equiv="Content-Security-Policy", content=POLICY),
        el("title", facts.title),
        el("style", Html(STYLE.read_text(encoding="utf-8"))),
    ]
    return f'<!doctype html>\n<html lang="en"><head>{join(head)}</head><body><main>{join(body)}</main></body></html>\n'


def clock_text(seconds: float) -> str:
    """`8 s`, `4 min 10 s`, `2 h 5 min`, `3 d 4 h`."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if 0 < seconds < 9.95 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def _header(facts: Facts) -> Html:
    left = sum(step.state == "to do" or step.state == "begun" for step in facts.steps)
    state = "complete" if facts.is_complete else f"{left} of {len(facts.steps)} steps to go"
    return el(
        "header",
        el("p", f"{facts.workspace} · {facts.written:%d %B %Y, %H:%M} UTC", class_="over"),
        el("h1", facts.title),
        el("span", state, class_="pill good" if facts.is_complete else "pill"),
        el("p", facts.about, class_="about") if facts.about else None,
        el(
            "p",
            el("strong", "The faces in these pictures are altered. "),
            "The face of one person (src) was drawn over that of another (dst) by a neural network. What is seen here "
            "did not happen so.",
            class_="altered",
            role="note",
        ),
    )


def _tiles(facts: Facts) -> Html:
    trained = [phase.last - phase.first for model in facts.models for phase in model.phases]
    seconds = sum(step.seconds for step in facts.steps)
    done = sum(step.state == "done" for step in facts.steps)
    rows = [("Steps done", f"{done} of {len(facts.steps)}"), ("Working time", clock_text(seconds))]
    rows += [("Iterations trained", f"{sum(trained):,}")] if trained else []
    for model in facts.models:
        newest = model.evaluations.newest
        if newest is None:
            continue
        both = [newest.values[name] for name in ("ssim_src", "ssim_dst") if name in newest.values]
        rows += [("SSIM on unseen faces", number_text(sum(both) / len(both)))] if both else []
        rows += [("Likeness to src", number_text(newest.values["likeness"]))] if "likeness" in newest.values else []
        break
    return el("dl", [el("div", el("dt", name), el("dd", value)) for name, value in rows], class_="tiles")


def _result(samples: Sequence[Sample]) -> Html | None:
    if not samples:
        return None
    rows = []
    for sample in samples:
        row = [
            _picture(sample.before, f"Frame {sample.name}, before"),
            _picture(sample.after, f"Frame {sample.name}, after"),
        ]
        if sample.face_before and sample.face_after:
            row += [
                _picture(sample.face_before, "The face, before", "face"),
                _picture(sample.face_after, "The face, after", "face"),
            ]
        rows.append(el("div", row, class_="pair"))
    return _section("Result", el("p", "Frames of the footage and what became of them.", class_="lead"), *rows)


def _picture(data: bytes, words: str, more: str = "") -> Html:
    return el(
        "figure",
        el("img", src=data_uri(data), alt=words, loading="lazy"),
        el("figcaption", words),
        class_=f"picture {more}",
    )


def _training(model: ModelFacts) -> Html:
    drawn = [figure for chart in charts_of(model) if (figure := draw(chart)) is not None]
    return _section(
        f"Training of {model.name}",
        el("p", f"{model.kind}: {model.network}", class_="lead"),
        _phases(model),
        el("div", drawn, class_="charts"),
        evaluation_of(list(model.evaluations), model.phases),
        _previews(model),
    )


def _phases(model: ModelFacts) -> Html:
    head = el("tr", [el("th", name) for name in ("Phase", "Iterations", "Ended", "Time", "What was different")])
    rows = [
        el(
            "tr",
            el("td", el("strong", phase.name), el("small", phase.about) if phase.about else None),
            el("td", f"{phase.first:,} to {phase.last:,}", class_="nowrap"),
            el("td", phase.ended),
            el("td", clock_text(phase.seconds), class_="nowrap"),
            el("td", _options(phase.options)),
        )
        for phase in model.phases
    ]
    return _table(head, rows, "wide")


def evaluation_of(found: Sequence[Scores], phases: Sequence[PhaseFacts]) -> Html | None:
    """The first evaluation, what was known at the ends of phases, and the one with the least loss."""
    if not found:
        return None
    first, best = found[0], min(found, key=lambda scores: scores.loss)
    ends = [(f"after {phase.name}", known) for phase in phases if (known := _known_by(found, phase)) is not None]
    columns = [("first", first), *ends[-MOST_COLUMNS:], ("least loss", best)]
    names = [name for name in MEANINGS if any(name in scores.values for _, scores in columns)]
    head = el(
        "tr", el("th", "Measured"), [el("th", title, el("small", f"{scores.iteration:,}")) for title, scores in columns]
    )
    rows = [
        el(
            "tr",
            el("td", MEANINGS[name]),
            [
                el("td", number_text(scores.values[name]) if name in scores.values else "–", class_="number")
                for _, scores in columns
            ],
        )
        for name in names
    ]
    on = (
        "on faces that were never trained on"
        if str(found[-1].on) == "held_out"
        else "on the training faces: none were held out"
    )
    return join(
        [
            el("h3", "Evaluation"),
            el("p", f"Measured {on}. The swap is looked at less often than the rest.", class_="lead"),
            _table(head, rows, "wide"),
        ]
    )


def _known_by(found: Sequence[Scores], phase: PhaseFacts) -> Scores | None:
    """The last evaluation of a phase, with what only earlier ones of it measured; None where it has none."""
    own = [scores for scores in found if phase.first < scores.iteration <= phase.last]
    if not own:
        return None
    values = {name: value for scores in own for name, value in scores.values.items()}
    return replace(own[-1], values=values)


def _previews(model: ModelFacts) -> Html | None:
    """What the network drew at the beginning, in the middle and at the end."""
    if not model.previews:
        return None
    last = len(model.previews) - 1
    chosen = [model.previews[index] for index in sorted({0, last // 2, last})]
    pictures = [_picture(path.read_bytes(), f"Iteration {iteration:,}") for iteration, path in chosen if path.is_file()]
    legend = {
        "SAEHD": "Columns: src, redrawn; dst, redrawn; dst as src.",
        "Quick96": "Columns: src, redrawn; dst, redrawn; dst as src.",
        "AMP": "dst as itself and as src, from a quarter to the whole.",
    }.get(model.kind, "")
    return join([el("h3", "How it learned"), el("p", legend, class_="lead"), el("div", pictures, class_="previews")])


def _steps(steps: Sequence[StepFacts]) -> Html:
    longest = max((step.seconds for step in steps), default=0.0) or 1.0
    head = el("tr", [el("th", name) for name in ("", "Step", "State", "Time", "What came of it")])
    rows = [
        el(
            "tr",
            el("td", step.number, class_="number"),
            el("td", step.title),
            el("td", el("span", step.state, class_=f"state {step.state.split()[0]}")),
            el(
                "td",
                clock_text(step.seconds) if step.seconds else "",
                el("span", class_="bar", style=f"width:{max(1.0, 100 * step.seconds / longest):.1f}%")
                if step.seconds
                else None,
                class_="time",
            ),
            el("td", step.outcome),
        )
        for step in steps
    ]
    return _section("Steps", _table(head, rows))


def _remarks(facts: Facts) -> Html | None:
    if not facts.warnings and not facts.skipped:
        return None
    parts = []
    for title, lines in (("Warnings", facts.warnings), ("Skipped", facts.skipped)):
        if not lines:
            continue
        rows = [el("li", el("strong", where), " ", what) for where, what in lines[:MOST_LINES]]
        if len(lines) > MOST_LINES:
            rows.append(el("li", f"… and {len(lines) - MOST_LINES} more"))
        parts += [el("h3", f"{title} ({len(lines)})"), el("ul", rows, class_="remarks")]
    return _section("Remarks", *parts)


def _settings(facts: Facts) -> Html:
    named = [step for step in facts.steps if step.options]
    rows = [el("tr", el("td", step.title), el("td", _options(step.options))) for step in named]
    return _section(
        "Settings",
        el("p", "Only what the recipe sets; everything else is as the program has it.", class_="lead"),
        el("details", el("summary", "Variables"), _options(facts.variables)) if facts.variables else None,
        el("details", el("summary", "Options of each step"), _table(None, rows)) if rows else None,
        el("details", el("summary", "The recipe"), el("pre", facts.text)) if facts.text else None,
    )


def _machine(facts: Facts) -> Html:
    rows = [el("div", el("dt", name), el("dd", value)) for name, value in facts.machine.items()]
    return el("footer", el("h2", "Machine and versions"), el("dl", rows, class_="machine"))


def _section(title: str, *children: object) -> Html:
    return el("section", el("h2", title), *children)


def _options(options: dict[str, str]) -> Html:
    return el("span", [[el("code", f"{name} = {value}"), " "] for name, value in options.items()], class_="options")


def _table(head: Html | None, rows: Sequence[Html], more: str = "") -> Html:
    table = el("table", el("thead", head) if head else None, el("tbody", list(rows)))
    return el("div", table, class_=f"scroll {more}".strip())
