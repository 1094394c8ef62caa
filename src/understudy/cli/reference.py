"""Writes docs/reference from the commands and options models themselves: `python -m understudy.cli.reference`.

    docs/reference/cli.md              every command with its flags
    docs/reference/options.md          every option with type, range, unit and default
    docs/reference/library.md          every function of `import understudy`
    docs/reference/schema/NAME.json    the JSON schema of each options model

With --check nothing is written; the exit code is 1 when a page is stale, and its name is printed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from understudy.cli.flags import flag_name, limits, plain_type, shown_default
from understudy.cli.library_page import library_page
from understudy.cli.tree import TREE, Leaf, build, load
from understudy.files import write_text
from understudy.options import Options, meta_of

FOLDER = Path(__file__).resolve().parents[3] / "docs" / "reference"
WRITTEN_BY = "<!-- Written by `python run.py generate` from the code; a change here is lost. -->\n"


def main(arguments: list[str]) -> int:
    """Write the pages, or with --check say which are stale."""
    stale = [path for path, text in pages().items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if "--check" in arguments:
        for path in stale:
            print(f"stale: {path.relative_to(FOLDER.parents[1])}; write it with: python run.py generate")
        return 1 if stale else 0
    for path, text in pages().items():
        write_text(path, text)
    return 0


def pages() -> dict[Path, str]:
    """Every generated file with the text that it should have."""
    models = dict(options_models())
    schemas = {
        FOLDER / "schema" / f"{command.options_model.__name__}.json": schema_text(command.options_model)
        for command in models.values()
    }
    library = WRITTEN_BY + "\n" + library_page()
    tables = {FOLDER / "cli.md": cli_page(), FOLDER / "options.md": options_page(models)}
    return {**tables, FOLDER / "library.md": library, **schemas}


def leaves() -> Iterator[tuple[str, Leaf]]:
    """Every command by its full name, such as "faceset extract"."""
    for name, entry in TREE.items():
        if isinstance(entry, Leaf):
            yield name, entry
        else:
            for inner, leaf in entry.commands.items():
                yield f"{name} {inner}", leaf


def options_models() -> Iterator[tuple[str, Any]]:
    """Commands that were given an options model by `flags`, which they carry with its table and its bare field."""
    for name, leaf in leaves():
        command = load(leaf)
        if hasattr(command, "options_model"):
            yield name, command


def schema_text(model: type[Options]) -> str:
    """The JSON schema of a model, from which forms and types of other languages are made."""
    return json.dumps(model.model_json_schema(), indent=2) + "\n"


def cli_page() -> str:
    """Usage, description and arguments of every command."""
    lines = [WRITTEN_BY, "# Commands", "", "    understudy [-w DIR] [--json] [-q|-v] COMMAND", ""]
    lines += ["The global flags may also stand after the command. Exit code 0: done; 1: failed with a clear message;"]
    lines += ["2: wrong usage; 130: interrupted, and the same command resumes."]
    for name, leaf in leaves():
        command = build(name.split()[-1], leaf)
        lines += ["", f"## understudy {name}", "", *_paragraphs(command.help or leaf.help)]
        arguments = [item for item in command.params if item.param_type_name == "argument"]
        flags = [item for item in command.params if item.param_type_name == "option" and not item.hidden]
        lines += ["", f"    {_usage(name, arguments, bool(flags))}"]
        for item in arguments:
            lines += ["", f"- `{item.metavar or item.name.upper()}`: {_prose(item.help)}"]
        if flags:
            lines += ["", "| flag | |", "|---|---|"]
            lines += [f"| {_declaration(item)} | {_prose(item.help)} |" for item in flags]
    return "\n".join(lines) + "\n"


def options_page(commands: dict[str, Any]) -> str:
    """One table per options model."""
    lines = [WRITTEN_BY, "# Options", ""]
    lines += [
        "The same names everywhere: flags here, fields of the models in Python, keys of `options.json`. A table in"
    ]
    lines += [
        "the workspace's `understudy.toml` sets them for every run; what is typed wins over it. *live*: may change"
    ]
    lines += ["while the stage runs."]
    for name, command in commands.items():
        table, model, bare = command.options_table, command.options_model, command.options_bare
        lines += ["", f"## {model.__name__}", "", (model.__doc__ or "").strip()]
        lines += ["", f"`understudy {name}`, table `[{table}]`, [schema](schema/{model.__name__}.json).", ""]
        lines += ["| option | flag | values | default | |", "|---|---|---|---|---|"]
        lines += [_row(field, info, bare=field == bare) for field, info in model.model_fields.items()]
    return "\n".join(lines) + "\n"


def _row(name: str, field: FieldInfo, *, bare: bool) -> str:
    meta = meta_of(field)
    flag = name.upper() if bare else flag_name(name)
    values = _values(field) + (f" {meta['unit']}" if meta.get("unit") else "")
    help_ = (field.description or "") + (" *live*" if meta.get("live") else "")
    return f"| `{name}` | `{flag}` | {_cell(values)} | {_cell(shown_default(field) or 'none')} | {_cell(help_)} |"


def _values(field: FieldInfo) -> str:
    """What a field takes, in a few words."""
    kind = plain_type(field)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return ", ".join(str(member.value) for member in kind)
    if kind is bool:
        return "on, off"
    if kind in (int, float):
        low, high = limits(field)
        word = "whole number" if kind is int else "number"
        if low is not None and high is not None:
            return f"{word} {low:g} to {high:g}"
        return f"{word} from {low:g}" if low is not None else word
    return {"str": "text", "Path": "path"}.get(getattr(kind, "__name__", ""), str(kind))


def _usage(name: str, arguments: list[Any], has_flags: bool) -> str:
    shown = [item.metavar or item.name.upper() for item in arguments]
    words = [word if item.required else f"[{word}]" for word, item in zip(shown, arguments, strict=True)]
    return " ".join(["understudy", name, *words, *(["[FLAGS]"] if has_flags else [])])


def _declaration(item: Any) -> str:
    names = [*item.opts, *item.secondary_opts]
    value = "" if item.is_flag else f" {_cell((item.metavar or item.type_descriptor.annotation.__name__).strip('<>'))}"
    return ", ".join(f"`{name}`" for name in names) + value


def _paragraphs(text: str) -> list[str]:
    return [part.replace("\n", " ") if part else "" for part in text.strip().split("\n\n") for part in (part, "")][:-1]


def _prose(text: str | None) -> str:
    return _cell((text or "").replace("\\[", "["))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
