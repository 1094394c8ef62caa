"""What the README and the guide tell people to type works."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from shots import small_shot
from understudy.cli.main import GLOBAL_SWITCHES, main
from understudy.demo.footage import Performer
from understudy.stages.init import init

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "guide").glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_the_python_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    init(tmp_path / "shot")
    small_shot(Performer.ADMIRAL, frames=4).write_video(tmp_path / "shot" / "data_src.mp4")
    small_shot(Performer.ASTRONAUT, frames=4).write_video(tmp_path / "shot" / "data_dst.mp4")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UNDERSTUDY_HOME", str(tmp_path / "home"))
    (code,) = blocks(ROOT / "README.md", "python")
    assert len([line for line in code.splitlines() if line and not line.startswith("import")]) <= 6
    code = code.replace("target_iter=20000", "target_iter=1, batch_size=1, precision='fp32'")
    exec(compile(code, "README.md", "exec"), {})
    assert (tmp_path / "shot" / "result.mp4").stat().st_size > 1000


def test_the_python_of_the_guide_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    init(tmp_path / "shot")
    small_shot(Performer.ASTRONAUT, frames=4).write_video(tmp_path / "shot" / "data_dst.mp4")
    monkeypatch.chdir(tmp_path)
    for code in blocks(ROOT / "docs" / "guide" / "index.md", "python"):
        exec(compile(code, "index.md", "exec"), {})
    assert len(list((tmp_path / "shot" / "data_dst" / "aligned").glob("*.jpg"))) == 4


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_flags_of_the_pages_exist(
    page: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")

    for line in "\n".join(blocks(page, "sh")).replace("\\\n", " ").splitlines():
        for part in re.split(r"&&|;|\|", line.split("#")[0]):
            words = shlex.split(part)
            if words[:1] == ["understudy"] and len(words) > 1:
                flags = [word.split("=")[0] for word in words if word.startswith("--") and word not in GLOBAL_SWITCHES]
                code = main([*command_of(words[1:]), "--help"])
                shown = capsys.readouterr().out
                assert code == 0, line
                assert [flag for flag in flags if flag not in shown] == [], line


def command_of(words: list[str]) -> list[str]:
    """The words that name the command: one, or two in a group."""
    groups = {"video", "faceset", "model", "engines", "xseg"}
    return words[:2] if words[0] in groups else words[:1]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
    missing = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert missing == []
