"""The page of the library's door: every public function with its arguments and what it says of itself.

Read from the source without importing it, since most stages load networks.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
from pathlib import Path

import understudy

Definition = ast.FunctionDef | ast.ClassDef


def library_page() -> str:
    """docs/reference/library.md without its first line."""
    found = {name: definition(name) for name in understudy.__all__}
    functions = [node for node in found.values() if isinstance(node, ast.FunctionDef)]
    records = [node for node in found.values() if isinstance(node, ast.ClassDef)]
    lines = [
        "# Library",
        "",
        "Each name is one of `understudy`: `import understudy as us`, then `us.extract(…)`. Options",
    ]
    lines += ["models have a page [of their own](options.md). All stages take `report`, a function that is given typed"]
    lines += ["events, and `stop`, a function that is asked whether to end early."]
    for node in sorted(functions, key=lambda node: node.name):
        lines += ["", f"## {node.name}", "", "```python", _signature(node), "```", "", _docstring(node)]
    lines += ["", "## Options and records", "", "| name | |", "|---|---|"]
    lines += [f"| `{node.name}` | {_cell(_docstring(node))} |" for node in sorted(records, key=lambda node: node.name)]
    return "\n".join(lines) + "\n"


def definition(name: str) -> Definition:
    """The function or class that the door calls `name`. Raises LookupError when its module does not define it."""
    module = importlib.util.find_spec(f"understudy.{understudy.HOMES[name]}")
    assert module is not None
    assert module.origin is not None
    tree = ast.parse(Path(module.origin).read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            return node
    raise LookupError(f"understudy.{understudy.HOMES[name]} does not define {name}.")


def _signature(node: ast.FunctionDef) -> str:
    returned = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"{node.name}({ast.unparse(node.args)}){returned}"


def _docstring(node: Definition) -> str:
    return inspect.cleandoc(ast.get_docstring(node) or "")


def _cell(text: str) -> str:
    first = text.split("\n\n")[0]
    return first.replace("\n", " ").replace("|", "\\|").replace("<", "&lt;")
