"""What README and docs show is run."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from moml.__main__ import main
from moml.cli.parser import train_parser

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCKS = [
    pytest.param(page, code, id=f"{page.name}-{i}")
    for page in PAGES
    for i, code in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(), re.S))
]
COMMANDS = [
    pytest.param(page, line.split("  #")[0].strip(), id=f"{page.name}-{i}")
    for page in PAGES
    for i, line in enumerate(
        line
        for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.S)
        for line in block.splitlines()
        if line.startswith("moml ")
    )
]


def test_there_is_something_to_run():
    assert len(BLOCKS) >= 2
    assert len(COMMANDS) >= 6


@pytest.mark.parametrize(("page", "code"), BLOCKS)
def test_code_runs(page, code, tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("page", "command"), COMMANDS)
def test_options_shown_exist(page, command):
    """Every long option of a command shown is one the command has."""
    words = command.split()
    if words[1] not in ("train", "compare", "single"):
        known = subprocess.run(
            [sys.executable, "-m", "moml", words[1], "--help"],
            cwd=ROOT, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
    else:
        from moml.cli._sweep_options import sweep_parser

        known = sweep_parser("moml", "").format_help() + "--run_dir --resume"
    for option in re.findall(r"--(\w+)", command):
        assert f"--{option}" in known, option


def test_tables_are_up_to_date():
    assert subprocess.run(
        [sys.executable, "scripts/readme_tables.py", "--check"], cwd=ROOT, check=False
    ).returncode == 0, "run `python scripts/readme_tables.py`"  # fmt: skip


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_inside_the_repository_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


RECIPES = sorted((ROOT / "moml/recipes").glob("*.yaml"))
TINY_ROOMS = "--suite.size [16,24] --suite.train 8 --suite.val 2 --suite.test 2"


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda p: p.stem)
def test_every_recipe_loads_and_its_smallest_size_runs(recipe, tmp_path):
    if recipe.stem.startswith("compare_"):
        from moml.cli._sweep_options import sweep_parser

        config = sweep_parser("moml", "").parse(["--config", recipe.stem])
        assert len(config.weightings) >= 2
        return
    if recipe.stem.startswith("meta_"):
        sizes = ("steps", "meta_batch_size", "val_episodes", "test_episodes")
        small = [word for size in sizes for word in (f"--{size}", "2")]
        folder = str(tmp_path / "run")
        assert main(["meta", "--config", recipe.stem, *small, "--run_dir", folder]) == 0
        return
    assert train_parser().parse(["--config", recipe.stem]).suite
    suite = yaml.safe_load(recipe.read_text())["suite"]
    small = TINY_ROOMS.split() if suite == "Rooms" else []
    arguments = ["--config", recipe.stem, *small, "--steps", "2", "--batch_size", "4"]
    assert main(["train", *arguments, "--run_dir", str(tmp_path / "run")]) == 0


def test_docstring_examples():
    import doctest
    from importlib import import_module

    tried = 0
    for module in ("moml", "moml._backward", "moml.data", "moml.weighting"):
        result = doctest.testmod(import_module(module))
        assert result.failed == 0
        tried += result.attempted
    assert tried >= 6
