"""What scripts rely on: one JSON object on stdout, four exit codes, one form of error, no prompts."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest
from terminal import COMMAND, understudy

import understudy as package
from understudy.cli.main import main
from understudy.cli.reference import leaves
from understudy.cli.tree import build
from understudy.workspace import Workspace


def test_help_comes_at_once() -> None:
    """Under 0.4 s, as the best of several. Where the system counts it, processor time: other work must not count."""
    times = [_seconds([*COMMAND, "--help"]) for _ in range(7)]
    assert min(times) < 0.4, times


def _seconds(command: list[str]) -> float:
    """What a command took of one core, or by the clock where the system does not count."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    if not hasattr(os, "wait4"):
        assert process.wait() == 0
        return time.perf_counter() - started
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_utime + usage.ru_stime


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from understudy.cli.main import main\n"
        "main(['--help'])\n"
        "print([name for name in ('torch', 'cv2', 'av', 'numpy', 'pydantic', 'psutil') if name in sys.modules])"
    )
    done = subprocess.run([COMMAND[0], "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("command", [["train"], ["merge"], ["faceset", "extract"], ["video", "frames"], ["demo"]])
def test_help_of_a_stage_loads_no_networks(command: list[str]) -> None:
    code = (
        f"import sys; from understudy.cli.main import main\nmain([*{command!r}, '--help'])\n"
        "print([name for name in ('torch', 'cv2', 'av', 'lightning_fabric') if name in sys.modules])"
    )
    done = subprocess.run([COMMAND[0], "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_success_prints_one_object(tmp_path: Path) -> None:
    ended = understudy("--json", "init", tmp_path / "shot")
    assert ended.code == 0
    assert ended.body["ok"] is True
    assert ended.body["outputs"] == [str(tmp_path / "shot")]


def test_global_flags_may_stand_after_the_command(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "-w", str(workspace.root), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["workspace"] == str(workspace.root)


def test_the_environment_names_the_workspace(
    workspace: Workspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNDERSTUDY_WORKSPACE", str(workspace.root))
    assert main(["--json", "status"]) == 0
    assert json.loads(capsys.readouterr().out)["workspace"] == str(workspace.root)


@pytest.mark.parametrize(
    "line",
    [
        ["faceset", "extrat", "src"],
        ["nonsense"],
        ["faceset", "extract"],
        ["faceset", "extract", "middle"],
        ["faceset", "extract", "src", "--jpeg-quality", "900"],
        ["faceset", "extract", "src", "--jpeg-quality", "good"],
        ["faceset", "extract", "src", "--no-such-flag"],
        ["faceset", "extract", "src", "--face-type", "nose"],
        ["--no-such-flag"],
        ["faceset"],
        ["video", "encode", "vhs"],
    ],
)
def test_wrong_usage_ends_2_with_the_error_form(line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--json", *line]) == 2
    written = capsys.readouterr()
    body = json.loads(written.out)
    assert body["ok"] is False
    assert set(body["error"]) == {"code", "message", "hint"}
    assert body["error"]["code"] == "usage-error"
    assert body["error"]["message"]
    assert "--help" in body["error"]["hint"]
    assert "Traceback" not in written.err


def test_a_mistyped_command_is_answered_with_the_right_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["faceset", "extrat", "src"]) == 2
    assert "Did you mean 'extract'?" in capsys.readouterr().err


def test_options_that_do_not_go_together_are_wrong_usage(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["-w", str(workspace.root), "--json", "video", "encode", "--lossless", "--bitrate", "5"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == "invalid-option"
    assert "lossless" in error["message"]
    assert "bitrate" in error["message"]


def test_not_a_workspace_ends_1_with_a_hint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-w", str(tmp_path), "--json", "status"]) == 1
    written = capsys.readouterr()
    error = json.loads(written.out)["error"]
    assert error["code"] == "not-a-workspace"
    assert "understudy init" in error["hint"]
    assert "Traceback" not in written.err


def test_people_get_message_and_hint_on_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-w", str(tmp_path), "status"]) == 1
    written = capsys.readouterr()
    assert written.out == ""
    assert "not a workspace" in written.err
    assert "understudy init" in written.err


def test_a_fault_of_ours_keeps_its_traceback_and_the_form(
    workspace: Workspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Path) -> bool:
        raise ZeroDivisionError("of course")

    monkeypatch.setattr(Path, "is_dir", broken)
    assert main(["-w", str(workspace.root), "--json", "status"]) == 1
    monkeypatch.undo()
    written = capsys.readouterr()
    assert json.loads(written.out)["error"]["code"] == "internal-error"
    assert "Traceback" in written.err
    assert "of course" in written.err


def test_a_library_that_prints_does_not_spoil_the_object(
    workspace: Workspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import understudy.stages.status as stage

    real = stage.status

    def chatty(where: Workspace) -> object:
        print("loading something …")
        return real(where)

    monkeypatch.setattr(stage, "status", chatty)
    assert main(["-w", str(workspace.root), "--json", "status"]) == 0
    written = capsys.readouterr()
    assert json.loads(written.out)["ok"] is True
    assert "loading something" in written.err


def test_alone_in_a_workspace_it_shows_the_status(workspace: Workspace) -> None:
    ended = understudy(cwd=workspace.root)
    assert ended.code == 0
    assert "Next:" in ended.out


def test_alone_elsewhere_it_shows_the_help(tmp_path: Path) -> None:
    ended = understudy(cwd=tmp_path)
    assert ended.code == 0
    assert "init" in ended.out


def test_quiet_says_nothing(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-w", str(workspace.root), "-q", "status"]) == 0
    written = capsys.readouterr()
    assert (written.out, written.err) == ("", "")


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"understudy {package.__version__}\n"


def test_help_breaks_where_the_terminal_ends() -> None:
    """Not where the lines of the source did."""
    for name, leaf in leaves():
        described = build(name.split()[-1], leaf).help
        assert described
        assert all("\n" not in paragraph for paragraph in described.split("\n\n")), name
