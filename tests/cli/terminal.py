"""The command line as a terminal runs it: a process of its own, its exit code, its one JSON object."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

COMMAND = [sys.executable, "-m", "understudy"]


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def body(self) -> dict[str, Any]:
        """The object of --json; fails when stdout holds anything else."""
        lines = self.out.splitlines()
        assert len(lines) == 1, f"stdout must hold one object: {self.out!r}; stderr: {self.err}"
        body = json.loads(lines[0])
        assert isinstance(body, dict)
        return body


def understudy(*arguments: str | Path, secs: float = 120, **settings: Any) -> Ended:
    """Run one command to its end."""
    line = [*COMMAND, *map(str, arguments)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=secs, check=False, **settings)
    return Ended(done.returncode, done.stdout, done.stderr)


def begin(*arguments: str | Path) -> subprocess.Popen[str]:
    """Start one command and leave it running, as a terminal does: with no signal ignored.

    What starts the tests may ignore some (`nohup`, a background job of a script), and programs inherit that.
    """
    line = [*COMMAND, *map(str, arguments)]
    ready = None if os.name == "nt" else _heed_signals
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=ready)


def ended(process: subprocess.Popen[str], *, secs: float = 60) -> Ended:
    """Wait for a command that was begun."""
    out, err = process.communicate(timeout=secs)
    return Ended(process.returncode, out, err)


def as_ordinary_user() -> dict[str, Any]:
    """Settings for a subprocess that file permissions hold for; root gives up its power to ignore them.

    Skips the test where root cannot.
    """
    if os.name == "nt":
        pytest.skip("read-only folders work otherwise on Windows")
    if os.geteuid() != 0:
        return {}
    if not sys.platform.startswith("linux"):
        pytest.skip("this test runs as root here, and root may write anywhere: run it as an ordinary user")
    return {"preexec_fn": _give_up_root_powers}


def _heed_signals() -> None:
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_DFL)


def _give_up_root_powers() -> None:
    """What the next program may do is bounded: without CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH modes hold for root."""
    drop_from_bounding_set = 24
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in (1, 2):
        if libc.prctl(drop_from_bounding_set, capability, 0, 0, 0) != 0:
            os._exit(77)
