"""Flags are made from options models: the same limits, one order of precedence, nothing declared twice."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from understudy.cli.door import Door
from understudy.cli.flags import flag_name, flags
from understudy.errors import InvalidOption
from understudy.options import Options, option


class Colour(StrEnum):
    RED = "red"
    GREEN = "green"

    @classmethod
    def _missing_(cls, value: object) -> Colour | None:
        return cls.RED if value == "r" else None


class PaintOptions(Options):
    """How something is painted."""

    colour: Colour = option(Colour.GREEN, "Which paint.", group="Paint")
    coats: int = option(2, "How many [coats].", group="Paint", unit="layers", ge=1, le=9)
    thinner: float = option(0.5, "How much thinner.", group="Paint", gt=0)
    varnish: bool = option(False, "Also varnish.", group="Paint")
    onto: Path | None = option(None, "Paint onto this.", group="Paint")
    from_: Colour | None = option(None, "Paint over this.", group="Paint")
    names: list[str] = option([], "Names of the painters.", group="Paint")


class Paint:
    """Runs the flags of PaintOptions and keeps what came out."""

    def __init__(self, folder: Path) -> None:
        self.door = Door(folder)
        self.app = typer.Typer()
        self.got: Any = None

        @self.app.command()
        @flags(PaintOptions, table="paint")
        def paint(context: typer.Context, options: PaintOptions) -> None:
            self.got = options

    def __call__(self, *line: str) -> PaintOptions:
        result = CliRunner().invoke(self.app, list(line), obj=self.door, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        assert isinstance(self.got, PaintOptions)
        return self.got

    def help(self) -> str:
        return CliRunner().invoke(self.app, ["--help"], obj=self.door, env={"COLUMNS": "200"}).output


@pytest.fixture
def paint(tmp_path: Path) -> Paint:
    return Paint(tmp_path)


def test_nothing_typed_gives_the_defaults(paint: Paint) -> None:
    assert paint() == PaintOptions()


def test_what_is_typed_arrives(paint: Paint) -> None:
    typed = ["--colour", "red", "--coats", "3", "--thinner", "0.25", "--varnish", "--names", "ann", "--names", "bob"]
    got = paint(*typed)
    assert got == PaintOptions(colour=Colour.RED, coats=3, thinner=0.25, varnish=True, names=["ann", "bob"])


def test_defaults_yield_to_the_preset_and_the_preset_to_what_is_typed(paint: Paint, tmp_path: Path) -> None:
    (tmp_path / "understudy.toml").write_text('[paint]\ncoats = 5\nvarnish = true\ncolour = "red"\n[other]\nx = 1\n')
    got = paint("--coats", "4", "--no-varnish")
    assert got == PaintOptions(colour=Colour.RED, coats=4, varnish=False)


def test_a_preset_names_options_as_flags_or_as_fields(paint: Paint, tmp_path: Path) -> None:
    for text in ('from = "red"', 'from_ = "red"'):
        (tmp_path / "understudy.toml").write_text(f"[paint]\n{text}\n")
        assert paint().from_ is Colour.RED


def test_a_typed_default_still_wins_over_the_preset(paint: Paint, tmp_path: Path) -> None:
    (tmp_path / "understudy.toml").write_text("[paint]\ncoats = 5\n")
    assert paint("--coats", "2").coats == 2


@pytest.mark.parametrize("text", ["[paint]\ncoats = 50\n", "[paint]\ncoots = 5\n", "[paint\n", "paint = 3\n"])
def test_a_wrong_preset_is_refused_and_named(paint: Paint, tmp_path: Path, text: str) -> None:
    (tmp_path / "understudy.toml").write_text(text)
    with pytest.raises(InvalidOption, match=r"understudy\.toml"):
        paint()


def test_short_forms_of_a_choice_are_the_models_own(paint: Paint) -> None:
    assert paint("--colour", "r").colour is Colour.RED


def test_typed_paths_count_from_where_one_stands(paint: Paint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job may outlive the terminal's folder."""
    monkeypatch.chdir(tmp_path)
    assert paint("--onto", "wall.png").onto == tmp_path / "wall.png"


def test_limits_across_pydantic_hold(paint: Paint) -> None:
    with pytest.raises(InvalidOption, match="thinner"):
        paint("--thinner", "0")


def test_help_shows_unit_range_choices_and_default_and_keeps_brackets(paint: Paint) -> None:
    text = paint.help()
    for piece in (
        "(layers, default 2)",
        "[1<=x<=9]",
        "<red|green>",
        "[coats]",
        "more than 0",
        "--no-varnish",
        "--from",
    ):
        assert piece in text, f"{piece} is missing in:\n{text}"


def test_flag_names() -> None:
    assert [flag_name(name) for name in ("image_size", "from_")] == ["--image-size", "--from"]
