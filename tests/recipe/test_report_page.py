"""The parts of the report page: escaping, axes, and texts without the folders of this machine."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from understudy.recipe.journal import Journal
from understudy.recipe.plan import Unit
from understudy.recipe.reading import parse_recipe
from understudy.recipe.report.charts import Band, Chart, Series, columns, draw, number_text, ticks
from understudy.recipe.report.facts import Discretion, PhaseFacts
from understudy.recipe.report.html import Html, el
from understudy.recipe.report.page import clock_text, evaluation_of
from understudy.recipe.telling import Teller
from understudy.report import Preview, silent
from understudy.training.measuring.scores import Scores
from understudy.workspace import Workspace

NASTY = '"><script>alert(1)</script>\u202e\udcff\x00&'


def test_nothing_that_is_not_made_here_is_html():
    made = el("p", NASTY, el("b", "fine"), None, title=NASTY)
    assert made.startswith('<p title="&quot;&gt;&lt;script&gt;')
    assert "<script" not in made
    assert "<b>fine</b>" in made
    assert isinstance(made, Html)
    assert "\x00" not in made
    assert "\u202e" not in made
    made.encode("utf-8")


def test_a_chart_is_whole_xml_with_axes_and_a_legend():
    losses = np.linspace(2, 1, 1000) + np.random.default_rng(1).normal(0, 0.1, 1000)
    chart = Chart(
        f"Loss {NASTY}", [Series("src", range(1, 1001), losses, "src", band=True)], bands=[Band("warp <1>", 0, 600)]
    )
    figure = draw(chart)
    assert figure is not None
    tree = ElementTree.fromstring(figure)
    assert len(tree.findall(".//polyline")) == 1
    assert len(tree.findall(".//text")) >= 8
    assert "warp &lt;1&gt;" in figure
    shown = tree.findall(".//polyline")[0].attrib["points"].split()
    assert len(shown) <= 240


@pytest.mark.parametrize("values", [[], [float("nan")]])
def test_what_was_never_measured_has_no_chart(values):
    assert draw(Chart("x", [Series("a", range(len(values)), values, "src")])) is None


@pytest.mark.parametrize("value", [0.0, 1.0, -3.0, 1e9])
def test_a_single_point_can_be_drawn(value):
    assert draw(Chart("x", [Series("a", [7], [value], "src")])) is not None


def test_columns_keep_the_mean():
    at, values = np.arange(1000.0), np.random.default_rng(2).random(1000)
    _, mean, least, greatest = columns(at, values, 50)
    assert mean.mean() == pytest.approx(values.mean())
    assert (least <= mean).all()
    assert (mean <= greatest).all()


def test_ticks_are_round_and_inside():
    assert ticks(0.13, 0.61, 5) == pytest.approx([0.2, 0.3, 0.4, 0.5, 0.6])
    assert ticks(0, 30000, 5) == [0, 10000, 20000, 30000]
    assert ticks(0, 12, 5, whole=True) == [0, 5, 10]
    assert ticks(99, 101, 5, whole=True) == [99, 100, 101]


def test_numbers_and_times_as_people_write_them():
    assert [number_text(value) for value in (0, 0.04512, 12.345, 4120.4, -0.5)] == [
        "0",
        "0.0451",
        "12.3",
        "4,120",
        "-0.5",
    ]
    assert [clock_text(value) for value in (3.21, 42, 250, 7500, 100000)] == [
        "3.2 s",
        "42 s",
        "4 min 10 s",
        "2 h 5 min",
        "1 d 3 h",
    ]


def test_no_folder_of_this_machine_is_told(tmp_path):
    discreet = Discretion(Workspace(tmp_path / "shot"), parse_recipe('[[step]]\nrun = "video encode"', folder=tmp_path))
    assert discreet(f"cannot read {tmp_path}/shot/data_src/1.png") == "cannot read ./data_src/1.png"
    assert discreet.value(str(tmp_path / "faces")) == "faces"
    assert discreet.value([True, 2, "a"]) == "on, 2, a"


def test_a_chart_of_nothing_but_what_is_compared_with_is_none():
    known = Series("likeness", [1], [0.4], "swap")
    beside = Series("accuracy", [1], [1.0], "quiet", dashed=True)
    assert draw(Chart("Likeness", [beside])) is None
    assert draw(Chart("Likeness", [known, beside])) is not None


def test_curves_are_not_kept_as_pictures_of_what_was_learned(tmp_path):
    picture = tmp_path / "sheet.png"
    Image.new("RGB", (4, 4)).save(picture)
    teller = Teller(Journal(tmp_path, {}, {}), Unit("a", "a", "key", 1), 1, silent, 0.0)
    for name in ("Evaluation", "Loss", "Quick96"):
        teller(Preview(name, picture, 1 if name == "Evaluation" else 2))
    assert [iteration for iteration, _ in teller.previews] == [2]


def test_the_end_of_a_phase_has_what_only_its_earlier_evaluations_measured():
    found = [Scores(1, {"pose": 9.0}), Scores(3, {"pose": 2.0, "ssim_src": 0.1}), Scores(4, {"ssim_src": 0.2})]
    page = evaluation_of(
        found, [PhaseFacts(name, "", first, last, "", 0, {}) for name, first, last in (("a", 1, 4), ("b", 4, 5))]
    )
    assert page is not None
    assert "after a" in page
    assert "after b" not in page, "it was not measured in that phase"
    assert re.findall(r'class="number">([^<]*)<', page) == ["–", "0.2", "–", "9", "2", "9"]
