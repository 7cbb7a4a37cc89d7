"""The shell of every page: one file, light and dark, nothing loaded from anywhere."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import resources

from moml.report.html import escape


def page(title: str, subtitle: str, content: Iterable[str], *, style: str = "") -> str:
    """A complete HTML document.

    Args:
        title: Heading, plain text.
        subtitle: Line above the heading, plain text.
        content: Sections, as HTML.
        style: Rules in addition to the page's own.
    """
    rules = resources.files("moml.report").joinpath("style.css").read_text(encoding="utf-8")
    body = "\n".join(content)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(title)} · moml</title>
<style>
{rules}{style}
</style>
</head>
<body>
<main>
<header>
<p class="over">{escape(subtitle)}</p>
<h1>{escape(title)}</h1>
</header>
{body}
<footer>Written by moml from the files of the run; the page needs no network.</footer>
</main>
</body>
</html>
"""
