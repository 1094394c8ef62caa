"""HTML from Python calls, where every text is escaped unless it was made here.

el("p", "a < b", class_="note")  →  <p class="note">a &lt; b</p>
"""

from __future__ import annotations

import html
from collections.abc import Iterable


class Html(str):
    """A text that is HTML already."""

    __slots__ = ()


Child = object
"""Anything that may stand inside: Html as it is, lists of such, None for nothing; all else as escaped text."""

VOID = ("meta", "img", "br", "hr", "line", "path", "rect", "circle", "polyline", "polygon")


def el(name: str, /, *children: Child, **attributes: object) -> Html:
    """An element. Attributes: `class_` is class, `_` becomes `-`; None and False leave one out."""
    shown = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(_printable(str(value)), quote=True)}"'
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    inner = join(children)
    if name in VOID and not inner:
        return Html(f"<{name}{shown}>" if name in ("meta", "img", "br", "hr") else f"<{name}{shown}/>")
    return Html(f"<{name}{shown}>{inner}</{name}>")


def join(children: Iterable[Child]) -> Html:
    """Children one after the other."""
    return Html("".join(_one(child) for child in children))


def _one(child: Child) -> str:
    if child is None or child is False:
        return ""
    if isinstance(child, Html):
        return child
    if isinstance(child, list | tuple):
        return join(child)
    return html.escape(_printable(str(child)), quote=True)


def _printable(text: str) -> str:
    """The text without what no page can hold: halves of characters, as names of files may have, and controls."""
    shown = text.encode("utf-8", "backslashreplace").decode()
    return "".join(char if char in "\n\t" or char.isprintable() else "�" for char in shown)
