"""Tables in the documentation, between ``<!-- name: command -->`` and ``<!-- /name -->``."""

from __future__ import annotations

import re
from pathlib import Path


def with_block(text: str, name: str, content: str) -> str:
    """The page's text with another block.

    Args:
        text: The page.
        name: In the markers; what follows a colon in the first one is for readers.
        content: Markdown, without the markers.

    Raises:
        SystemExit: If the page has no such markers.
    """
    pattern = rf"(<!-- {name}(?:: [^\n]*)? -->\n).*?(<!-- /{name} -->)"
    filled, count = re.subn(
        pattern, lambda m: f"{m[1]}\n{content.strip()}\n\n{m[2]}", text, flags=re.S
    )
    if count != 1:
        raise SystemExit(
            f"The page should have the markers <!-- {name} --> and <!-- /{name} --> once, "
            f"found them {count} times."
        )
    return filled


def fill(page: Path, name: str, content: str) -> None:
    """Put Markdown between the markers of a page."""
    page.write_text(with_block(page.read_text(encoding="utf-8"), name, content), encoding="utf-8")
