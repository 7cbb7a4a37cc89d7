"""Tables in the documentation that scripts write."""

import re
from pathlib import Path

import pytest

from scripts._pages import fill, with_block

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MARKED = [
    (page, name)
    for page in PAGES
    for name in re.findall(r"<!-- ([a-z_]+)(?:: [^\n]*)? -->", page.read_text(encoding="utf-8"))
]


@pytest.mark.parametrize(("page", "name"), MARKED, ids=lambda value: getattr(value, "stem", value))
def test_every_marker_has_its_end(page, name):
    text = page.read_text(encoding="utf-8")
    filled = with_block(text, name, "| a |\n|---|")
    assert "| a |\n|---|\n\n<!-- /" + name in filled and len(filled) < len(text)
    assert with_block(filled, name, "| a |\n|---|") == filled


def test_a_block_is_replaced_and_nothing_else(tmp_path):
    page = tmp_path / "page.md"
    text = "before\n<!-- t: `python x.py` -->\n\nold\n\n<!-- /t -->\nafter <!-- tt -->\n"
    page.write_text(text)
    fill(page, "t", "new \\1\n")
    assert page.read_text() == text.replace("old", "new \\1")


def test_a_page_without_the_markers_is_not_touched(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- other -->\n<!-- /other -->\n")
    with pytest.raises(SystemExit, match="markers <!-- t --> and <!-- /t --> once, found them 0"):
        fill(page, "t", "new")
    assert page.read_text() == "<!-- other -->\n<!-- /other -->\n"
