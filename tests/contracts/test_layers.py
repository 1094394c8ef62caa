"""Imports point one way, and importing the package alone loads nothing heavy."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_imports_point_one_way() -> None:
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


LIGHT = [
    "workspace",
    "jobs",
    "curation.sort_options",
    *(f"{name}.options" for name in ("media", "detection", "compositing", "training", "demo")),
]


@pytest.mark.parametrize("module", ["understudy", *(f"understudy.{name}" for name in LIGHT)])
def test_records_options_and_paths_load_no_networks(module: str) -> None:
    code = (
        f"import sys, {module}; print([n for n in ('torch', 'cv2', 'av', 'scipy', 'matplotlib') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_nothing_below_the_doors_prints() -> None:
    """Stages speak by their report only. The build-time reference page and the doors themselves may print."""
    files = [path for path in (ROOT / "src" / "understudy").rglob("*.py") if "cli" not in path.parts]
    assert [str(path.relative_to(ROOT)) for path in files if prints(path)] == []


def prints(path: Path) -> bool:
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return any(isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("print", "input") for node in nodes)
