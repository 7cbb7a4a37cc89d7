"""What README and docs show is run."""

import contextlib
import io
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import yaml

from moml.__main__ import main
from moml.jobs.config import build_job, train_parser
from tests.forked import run_script
from tests.trees import TREES, write

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
    status, printed = run_script(code, tmp_path)
    assert status == 0, printed


@cache
def help_of(command):
    """What a command says about its options, asked once."""
    if command in ("train", "compare", "single"):
        from moml.cli._sweep_options import sweep_parser

        return sweep_parser("moml", "").format_help() + "--run_dir --resume"
    printed = io.StringIO()
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(printed):
        main([command, "--help"])
    return printed.getvalue()


@pytest.mark.parametrize(("page", "command"), COMMANDS)
def test_options_shown_exist(page, command):
    """Every long option of a command shown is one the command has."""
    known = help_of(command.split()[1])
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


def suite_of(recipe):
    suite = yaml.safe_load(recipe.read_text())["suite"]
    return suite["class_path"] if isinstance(suite, dict) else suite


def smallest(recipe, folder):
    """Options for the smallest size: tiny rooms, or a tiny tree of the suite's files."""
    suite = suite_of(recipe)
    if suite == "Rooms":
        return TINY_ROOMS.split()
    if suite not in TREES:
        return []
    root, options = write(suite, folder)
    options = {"root": root, **options}
    return [word for key, value in options.items() for word in (f"--suite.{key}", str(value))]


# Networks of ten million parameters and more: building them is quick, checkpoints of them are not.
LARGE = (
    "cityscapes_segnet", "moml_nyuv2", "moml_office31", "moml_office_home", "mta_nyuv2",
    "mta_office31", "nyuv2_deeplab", "nyuv2_segnet", "office_home",
)  # fmt: skip
SLOW = (*LARGE, "meta_cifar_fs", "meta_mini_imagenet", "search_cifar10")
RUNS = [
    pytest.param(path, id=path.stem, marks=[pytest.mark.slow] if path.stem in SLOW else [])
    for path in RECIPES
]


@pytest.mark.parametrize("recipe", LARGE)
def test_recipes_of_large_networks_load_and_build(recipe, tmp_path):
    parser = train_parser()
    options = smallest(ROOT / f"moml/recipes/{recipe}.yaml", tmp_path / "data")
    trainer = build_job(parser, parser.parse(["--config", recipe, *options]))
    assert sum(p.numel() for p in trainer.architecture.parameters()) > 10_000_000


@pytest.mark.parametrize("recipe", RUNS)
def test_every_recipe_loads_and_its_smallest_size_runs(recipe, tmp_path):
    if recipe.stem.startswith("compare_"):
        from moml.cli._sweep_options import sweep_parser

        config = sweep_parser("moml", "").parse(["--config", recipe.stem])
        assert len(config.weightings) >= 2
        return
    options = smallest(recipe, tmp_path / "data")
    folder = str(tmp_path / "run")
    if recipe.stem.startswith("search_"):
        sizes = {"space.channels": 4, "space.layers": 3, "space.nodes": 2}
        sizes |= {"steps": 1, "batch_size": 2, "budget": 1, "epochs": 1}
        options += [word for key, value in sizes.items() for word in (f"--{key}", str(value))]
        assert main(["search", "--config", recipe.stem, *options, "--run_dir", folder]) == 0
        return
    if recipe.stem.startswith("meta_"):
        sizes = {"steps": 2, "meta_batch_size": 2, "val_episodes": 2, "test_episodes": 2}
        sizes |= {"inner_steps": 1, "eval_inner_steps": 1}
        options += [word for key, value in sizes.items() for word in (f"--{key}", str(value))]
        assert main(["meta", "--config", recipe.stem, *options, "--run_dir", folder]) == 0
        return
    options += ["--steps", "2", "--batch_size", "4", "--run_dir", folder]
    assert main(["train", "--config", recipe.stem, *options]) == 0


def test_docstring_examples():
    import doctest
    from importlib import import_module

    tried = 0
    for module in (
        "moml",
        "moml.own_loop._backward",
        "moml.data",
        "moml.weighting",
        "moml.jobs.run",
    ):
        result = doctest.testmod(import_module(module))
        assert result.failed == 0
        tried += result.attempted
    assert tried >= 6
