"""`understudy engines`: the networks that find faces."""

from __future__ import annotations

import typer


def list_engines(context: typer.Context) -> None:
    """List the engines and check their files."""
    from understudy.detection.engines import bundled

    engines = bundled()
    body = [{"name": e.name, "path": str(e.path), "sha256": e.sha256, "ok": e.ok, "bundled": True} for e in engines]
    lines = [f"{engine.name}: {'whole' if engine.ok else 'MISSING OR CHANGED'}, {engine.path}" for engine in engines]
    context.obj.finish({"ok": True, "engines": body}, "\n".join(lines))
