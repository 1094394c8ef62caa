"""Somebody else's Python: NumPy 1.26 and plain pickle, as the programs have it that our files are written for.

    opened([path])[path]["globals"]      differences([(one, other)]) == [""]

The wheel is installed once, with pip, into a folder of the tests' own; nothing of ours is imported there.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

VERSION = "1.26.4"
CACHE = Path(__file__).resolve().parents[1] / "build" / "test-cache" / f"numpy-{VERSION}"

PROGRAM = """
import json, pickle, pickletools, sys
sys.path.insert(0, sys.argv[1])
import numpy as np
assert np.__version__ == sys.argv[2], np.__version__
assert "understudy" not in sys.modules and "torch" not in sys.modules

def globals_in(data):
    found, words, memo = set(), [], {}
    for opcode, value, _ in pickletools.genops(data):
        if opcode.name == "GLOBAL":
            found.add(value.replace(" ", "."))
        elif opcode.name == "STACK_GLOBAL":
            found.add(".".join(words[-2:]))
        elif opcode.name == "MEMOIZE":
            memo[len(memo)] = words[-1] if words else ""
        elif "GET" in opcode.name:
            words.append(memo[value])
        elif isinstance(value, str):
            words.append(value)
    return sorted(found)

def protocol_of(data):
    return data[1] if data[:1] == b"\\x80" else 0

def difference(one, other, where=""):
    if type(one) is not type(other):
        return f"{where}: {type(one)} and {type(other)}"
    if isinstance(one, dict):
        if list(one) != list(other):
            return f"{where}: keys {list(one)[:9]} and {list(other)[:9]}"
        return next(filter(None, (difference(one[k], other[k], f"{where}/{k}") for k in one)), "")
    if isinstance(one, (list, tuple)):
        if len(one) != len(other):
            return f"{where}: {len(one)} and {len(other)} items"
        return next(filter(None, (difference(a, b, f"{where}[{i}]") for i, (a, b) in enumerate(zip(one, other)))), "")
    if isinstance(one, np.ndarray):
        same = one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
        return "" if same else f"{where}: {one.dtype} {one.shape} and {other.dtype} {other.shape}"
    return "" if one == other or one != one and other != other else f"{where}: {one!r} and {other!r}"

def kind(value):
    if isinstance(value, np.ndarray):
        return [str(value.dtype), list(value.shape), value.flags.c_contiguous, float(np.float64(value.sum()))]
    return [type(value).__module__ + "." + type(value).__name__, repr(value)[:200]]

answers = {}
for name in json.loads(sys.stdin.readline()):
    with open(name, "rb") as file:
        data = file.read()
    value = pickle.loads(data)
    answers[name] = {
        "globals": globals_in(data),
        "protocol": protocol_of(data),
        "entries": {key: kind(item) for key, item in value.items()},
    }
differences = []
for one, other in json.loads(sys.stdin.readline()):
    with open(one, "rb") as first, open(other, "rb") as second:
        differences.append(difference(pickle.load(first), pickle.load(second)))
print(json.dumps([answers, differences]))
"""


def numpy_1_26() -> Path:
    """The folder in which that NumPy is; installs it at first. Skips the test, saying why, where it cannot."""
    if sys.version_info >= (3, 13):
        pytest.skip(f"NumPy {VERSION} is not built for Python {platform.python_version()}")
    CACHE.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(CACHE.with_suffix(".lock")):  # tests may run side by side
        if not CACHE.is_dir():
            _install()
    return CACHE


def _install() -> None:
    temp = CACHE.with_name(f"{CACHE.name}-incomplete")
    shutil.rmtree(temp, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    wheel = ["--only-binary=:all:", "--target", str(temp), f"numpy=={VERSION}"]
    done = subprocess.run([*pip, *wheel], capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
        pytest.skip(f"NumPy {VERSION}, to open files as others open them, cannot be installed: {last}")
    temp.rename(CACHE)


def opened(files: list[Path]) -> dict[Path, dict[str, Any]]:
    """What that Python finds in pickled dictionaries: `globals`, `protocol`, and of each of the `entries` what it is.

    An entry is [dtype, shape, whether C-contiguous, sum] for an array, else [type, its text].
    """
    return _asked(files, [])[0]


def differences(pairs: list[tuple[Path, Path]]) -> list[str]:
    """In what the values of each pair differ: types, order of keys, bytes of arrays; empty where in nothing."""
    return _asked([], pairs)[1]


def _asked(files: list[Path], pairs: list[tuple[Path, Path]]) -> tuple[dict[Path, dict[str, Any]], list[str]]:
    lines = [json.dumps([str(path) for path in files]), json.dumps([[str(path) for path in pair] for pair in pairs])]
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(numpy_1_26()), VERSION],
        input="\n".join(lines) + "\n",
        capture_output=True,
        text=True,
        check=False,
        env={**environment, "PYTHONNOUSERSITE": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    answers, found = json.loads(done.stdout)
    return {Path(name): answer for name, answer in answers.items()}, found
