"""HTML without a template engine: escape everything, compose strings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

__all__ = ["cell", "details", "element", "escape", "facts", "section", "table"]


def element(tag: str, content: str = "", /, **attributes: str) -> str:
    """An element around content that is HTML already; ``class_`` stands for ``class``."""
    pairs = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for name, value in attributes.items()
        if value
    )
    return f"<{tag}{pairs}>{content}</{tag}>"


def section(title: str, *content: str, note: str = "") -> str:
    """A titled part of a page."""
    head = element("h2", escape(title))
    return element(
        "section", "\n".join((head, note and element("p", note, class_="note"), *content))
    )


def cell(content: str, *, tag: str = "td", class_: str = "", rows: int = 1) -> str:
    """A table cell around HTML."""
    return element(tag, content, class_=class_, rowspan=str(rows) if rows > 1 else "")


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, class_: str = "") -> str:
    """A table of ready cells that scrolls sideways where it does not fit."""
    top = element("thead", element("tr", "".join(head)))
    body = element("tbody", "\n".join(element("tr", "".join(row)) for row in rows))
    return element("div", element("table", top + body, class_=class_), class_="scroll")


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Names with values, as a row of tiles."""
    tiles = "".join(
        element("div", element("dt", escape(name)) + element("dd", escape(value)))
        for name, value in pairs
    )
    return element("dl", tiles, class_="facts")


def details(title: str, content: str) -> str:
    """Content that opens on a click."""
    return element("details", element("summary", escape(title)) + content)
