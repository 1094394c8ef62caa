#!/usr/bin/env python3
"""One command to run and one to test, from a fresh checkout, with nothing but Python 3.11 or newer.

    python run.py demo [DIR …]     make the demo workspace and its result.mp4
    python run.py test [ARGS …]    the tests (arguments go to pytest)
    python run.py check            style, types, import layers, stale generated files
    python run.py bench [NAMES …]  measure speed and memory
    python run.py faults [ARGS …]  the long kill, fault and fuzz campaigns
    python run.py generate         write the generated reference pages again

The first run makes .venv beside this file and installs the versions of constraints.txt into it; later runs start
at once.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
import venv
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
STAMP = VENV / "installed.json"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
BUILD_TOOLS = ["hatchling", "editables"]
INSTALL_INPUTS = ["pyproject.toml", "constraints.txt", "hatch_build.py", "src/understudy/assets/sources.json"]


def main(arguments: Sequence[str]) -> int:
    """Run one command of the list above; the result is its exit code."""
    commands = {"demo": demo, "test": test, "check": check, "bench": bench, "faults": faults, "generate": generate}
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__)
        return 0 if arguments else 2
    name, *rest = arguments
    if name not in commands:
        print(f"run.py has no command {name!r}; it has: {', '.join(commands)}.", file=sys.stderr)
        return 2
    if sys.version_info < (3, 11):  # noqa: UP036 - this file may be started by any Python
        print(f"understudy needs Python 3.11 or newer; this is {sys.version.split()[0]}.", file=sys.stderr)
        return 1
    return commands[name](rest)


def demo(arguments: Sequence[str]) -> int:
    started = time.perf_counter()
    spent = install(extras=[])
    code = in_venv("understudy", "demo", *arguments, UNDERSTUDY_INSTALL_SECONDS=f"{spent:.1f}")
    if code == 0:
        minutes = (time.perf_counter() - started) / 60
        say(f"Everything together took {minutes:.1f} minutes, of which installing {spent / 60:.1f}.")
    return code


def test(arguments: Sequence[str]) -> int:
    install(extras=["dev"])
    cores = os.cpu_count() or 1
    workers = min(4, cores)
    chosen = any(argument.startswith(("-n", "--pdb", "--numprocesses")) for argument in arguments)
    if chosen or workers < 2:
        return in_venv("pytest", *arguments)
    threads = os.environ.get("OMP_NUM_THREADS", str(cores // workers))  # workers that all use all cores only wait
    return in_venv("pytest", "-n", str(workers), "--dist", "worksteal", *arguments, OMP_NUM_THREADS=threads)


def check(arguments: Sequence[str]) -> int:
    install(extras=["dev"])
    steps = {
        "style": ["ruff", "check", "."],
        "format": ["ruff", "format", "--check", "."],
        "types": ["mypy"],
        "import layers": ["importlinter.cli"],
        "generated files": ["understudy.cli.reference", "--check"],
    }
    failed = []
    for name, (module, *options) in steps.items():
        started = time.perf_counter()
        code = lint_imports() if module == "importlinter.cli" else in_venv(module, *options)
        say(f"{name}: {'ok' if code == 0 else 'FAILED'} ({time.perf_counter() - started:.1f} s)")
        if code:
            failed.append(name)
    say(f"check failed: {', '.join(failed)}" if failed else "check: all clean")
    return 1 if failed else 0


def bench(arguments: Sequence[str]) -> int:
    install(extras=["dev"])
    return in_venv("bench", *arguments)


def faults(arguments: Sequence[str]) -> int:
    install(extras=["dev"])
    return in_venv("pytest", "-m", "faults", "-p", "no:cacheprovider", *arguments)


def generate(arguments: Sequence[str]) -> int:
    install(extras=["dev"])
    return in_venv("understudy.cli.reference", *arguments)


def lint_imports() -> int:
    """import-linter has a command but no `python -m`; its function is called instead, so that PATH does not matter."""
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())"
    return subprocess.run([PYTHON, "-c", code], cwd=ROOT, check=False).returncode


def in_venv(module: str, *arguments: str, **settings: str) -> int:
    """Run `python -m module` of the project's environment in the project's folder."""
    environment = {**os.environ, **settings}
    try:
        return subprocess.run([PYTHON, "-m", module, *arguments], cwd=ROOT, env=environment, check=False).returncode
    except KeyboardInterrupt:
        return 130


def install(*, extras: Sequence[str]) -> float:
    """Make .venv hold the pinned dependencies and the project with these extras. Returns the seconds it took."""
    wanted = {"inputs": fingerprint(), "extras": sorted(extras)}
    have = read_stamp()
    if have.get("inputs") == wanted["inputs"] and set(extras) <= set(have.get("extras", [])):
        return 0.0
    started = time.perf_counter()
    make_environment()
    say("Installing the pinned dependencies into .venv (a few minutes the first time) …")
    STAMP.unlink(missing_ok=True)
    pip("install", "--constraint", "constraints.txt", *BUILD_TOOLS)
    target = f".[{','.join(extras)}]" if extras else "."
    # Without isolation the build tools above are used: the pinned ones. torch is named exactly, so that pip
    # takes the build at hand (CPU or CUDA) of that version and no other.
    requirement = next(line for line in read("constraints.txt").splitlines() if line.startswith("torch=="))
    pip("install", "--constraint", "constraints.txt", "--no-build-isolation", requirement, "--editable", target)
    kept = have.get("extras", []) if have.get("inputs") == wanted["inputs"] else []
    STAMP.write_text(json.dumps({**wanted, "extras": sorted({*extras, *kept})}))
    spent = time.perf_counter() - started
    say(f"Installed in {spent:.0f} s.")
    return spent


def make_environment() -> None:
    """Make .venv, again when its Python is gone or too old to start."""
    if PYTHON.exists() and subprocess.run([PYTHON, "-c", ""], check=False).returncode == 0:
        return
    say(f"Making an environment in {VENV} …")
    try:
        venv.EnvBuilder(with_pip=True, clear=VENV.exists()).create(VENV)
    except subprocess.CalledProcessError:
        sys.exit("This Python cannot make environments. On Debian and Ubuntu: sudo apt install python3-venv")


def pip(*arguments: str) -> None:
    command = [PYTHON, "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments]
    if subprocess.run(command, cwd=ROOT, check=False).returncode:
        sys.exit("Installing failed; see pip's message above. Run the same command again once it is mended.")


def fingerprint() -> str:
    """What the environment was made from: its inputs and this Python."""
    digest = hashlib.sha256(sys.version.encode())
    for name in INSTALL_INPUTS:
        digest.update(read(name).encode())
    return digest.hexdigest()


def read(name: str) -> str:
    path = ROOT / name
    return path.read_text(encoding="utf-8") if path.exists() else ""


def read_stamp() -> dict[str, object]:
    try:
        stamp = json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return {}
    return stamp if PYTHON.exists() else {}


def say(message: str) -> None:
    print(f"run.py: {message}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
