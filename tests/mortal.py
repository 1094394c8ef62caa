"""Stages that are killed at a chosen moment: `with mortal() as run: run("stages.sort:sort", root, kill_at=3, …)`.

A process that has imported all stages waits for orders and forks for each. The fork counts what it does to the files of
the workspace (opening to write, renaming, deleting, making folders) and kills itself before the one that is asked for,
so that every moment between two changes on the disk can be tried, one after the other, without waiting for chance.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

SERVER = """
import importlib, json, os, pkgutil, signal, sys
from pathlib import Path
import understudy.stages
from understudy.errors import UnderstudyError
from understudy.jobs.folder import Request
from understudy.jobs.worker import resolve

for module in pkgutil.iter_modules(understudy.stages.__path__):
    importlib.import_module(f"understudy.stages.{module.name}")

CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "shutil.rmtree"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT

def mortal(root, fatal):
    count = [0]
    def hook(event, arguments):
        if event == "open":
            if not isinstance(arguments[0], (str, bytes)) or not arguments[2] & WRITING:
                return
        elif event not in CHANGES:
            return
        path = os.fsdecode(arguments[0]) if isinstance(arguments[0], (str, bytes, os.PathLike)) else ""
        if not path.startswith(root) or "locks" in path:
            return
        if count[0] == fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        count[0] += 1
    sys.addaudithook(hook)
    return count

def work(order, answers):
    count = mortal(order["root"], order["kill_at"])
    stage, arguments = resolve(Request(order["stage"], Path(order["root"]), "", order["arguments"]))
    try:
        stage(**arguments)
        error = None
    except UnderstudyError as refused:
        error = refused.code
    os.write(answers, json.dumps({"changes": count[0], "error": error}).encode())

for line in sys.stdin:
    there, here = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            work(json.loads(line), here)
            os._exit(0)
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
    os.close(here)
    with os.fdopen(there) as pipe:
        said = pipe.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(json.dumps({"code": code, **json.loads(said or "{}")}), flush=True)
"""


@dataclass(frozen=True)
class Fate:
    """How a stage ended. killed: it was; changes: how many it made in the end; error: the code of the error it gave."""

    killed: bool
    changes: int
    error: str | None


class Mortal:
    """See `mortal`."""

    def __init__(self, server: subprocess.Popen[str]) -> None:
        self._server = server

    def __call__(self, stage: str, root: Path, *, kill_at: int = -1, **arguments: Any) -> Fate:
        """Run "stages.sort:sort" in the workspace; kill_at: before which change, from 0; -1: not at all."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        order = {"stage": f"understudy.{stage}", "root": str(root), "kill_at": kill_at, "arguments": arguments}
        self._server.stdin.write(json.dumps(order) + "\n")
        self._server.stdin.flush()
        said = json.loads(self._server.stdout.readline())
        assert said["code"] in (0, -9), f"{stage} ended with a traceback"
        return Fate(said["code"] == -9, said.get("changes", 0), said.get("error"))


@contextmanager
def mortal() -> Iterator[Mortal]:
    """What runs and kills stages; skips the test where processes cannot fork."""
    if not hasattr(os, "fork"):
        pytest.skip("there is no fork here")
    with servant(SERVER) as server:
        yield Mortal(server)


@contextmanager
def servant(code: str) -> Iterator[subprocess.Popen[str]]:
    """A process that runs this Python on one thread, is spoken to in lines, and ends when nobody speaks any more."""
    paths = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as server:  # fmt: skip
        try:
            yield server
        finally:
            assert server.stdin is not None
            server.stdin.close()
