"""Arguments from the command line and YAML, with classes by name or class path."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import yaml
from jsonargparse import SUPPRESS, ArgumentParser, Namespace

from moml.jobs import catalog
from moml.jobs.jargon import explained, in_words, known_names
from moml.jobs.multitask import MultiTaskJob
from moml.jobs.once_loader import OnceLoader
from moml.jobs.phrases import expected, phrased

_CLASSES = {
    "suite": "suites",
    "weighting": "weightings",
    "method": "methods",
    "architecture": "architectures",
    "problem": "problems",
}
RECIPES = Path(__file__).parent.parent / "recipes"


class Parser(ArgumentParser):
    """Reports what was expected and found in one sentence, with the nearest valid name."""

    given: Sequence[str] = ()
    builds: type = MultiTaskJob  # what the options are arguments of
    classes: Mapping[str, str] = _CLASSES
    command = "train"  # that the options belong to
    takes: Sequence[str] = ()  # commands whose configurations will do as well

    def parse(self, argv: Sequence[str]) -> Namespace:
        """Parse, after looking for misspelt names of classes.

        Raises:
            ValueError: If an argument is wrong.
        """
        self.given = [recipe_path(argument, argv, i) for i, argument in enumerate(argv)]
        self.given += self._other_lengths()
        self._check_names()
        config = completed(self.parse_args(list(self.given)))
        config.command = self.command
        _check_seeds(config)
        return config

    def parse_plain(self, argv: Sequence[str]) -> Namespace:
        """Parse the options of a command that has no configuration.

        Raises:
            ValueError: If an argument is wrong.
        """
        self.given = list(argv)
        self._check_names()
        config = self.parse_args(self.given)
        _check_seeds(config)
        return config

    def _other_lengths(self) -> list[str]:
        """A length given on the command line replaces one that a recipe says in the other way."""
        typed = {key for key, _ in options_in(self.given)}
        for key, other in (("steps", "epochs"), ("epochs", "steps")):
            recipe = {name for name, value in _configured(self.given) if value is not None}
            if key in typed and other not in typed and other in recipe:
                return [f"--{other}", "null"]
        return []

    def belongs_to(self, command: str, *, takes: Sequence[str]) -> None:
        """Name another command, and those whose configurations it takes as well as its own."""
        self.command, self.takes = command, takes
        self.set_defaults({"command": command})

    def add_config(self) -> None:
        """Add ``--config``, and the name of the command, which stands in the file only."""
        self.add_argument("--command", type=str, default=self.command, help=SUPPRESS)
        self.add_argument("--config", action="config", help="YAML file, or a recipe's name.")

    def format_help(self) -> str:
        """Every option with its text; names of classes are left to ``moml list``."""
        text, classes = re.subn(r",\s+known\s+subclasses:[^)]*\)", ")", super().format_help())
        text = re.sub(r"\(required,\s+(type:[^)]*,\s+default:)", r"(\1", text)  # it is not
        if not classes:
            return text
        return f"{text}\nNames of classes: `moml list`; options of one: `--suite.help NAME`, …\n"

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """One sentence instead of a usage page.

        Raises:
            ValueError: Always.
        """
        raise ValueError(self._sentence(message)) from ex

    def instantiate(self, config: Namespace, **options: Any) -> Namespace:
        """Build the classes of a configuration.

        Raises:
            ValueError: If one refuses its arguments.
        """
        try:
            return super().instantiate(config, **options)
        except ValueError as error:
            raise ValueError(_reason(str(error)) or str(error)) from error

    def _check_names(self) -> None:
        for key, value in [*options_in(self.given), *_configured(self.given)]:
            if key == "command" and value not in (self.command, *self.takes):
                raise ValueError(
                    f"`config` should hold options of `moml {self.command}`, found those of "
                    f"`moml {value}`. Use `moml {value} --config …`."
                )
            if value == "null":
                continue
            if key in self.classes and isinstance(value, str) and re.fullmatch(r"\w+", value):
                known = catalog.names(self.classes[key])
                around = catalog.names("wrappers") if self.classes[key] == "weightings" else []
                if value not in (*known, *around):
                    more = _other_command(key, value) or catalog.hint(value, [*known, *around])
                    raise ValueError(
                        f"`{key}` should be among {', '.join(known)}, or a class path, "
                        f"found '{value}'.{more}"
                    )

    def _sentence(self, message: str) -> str:
        for missing in ("suite", "space"):
            null = f"Not a valid subclass of {missing.title()}. Got value: None" in message
            if f"required: {missing}" in message or null:
                names = ", ".join(catalog.names(self.classes[missing]))
                return f"`{missing}` should be given: one of {names}, or a class path."
        if said := self._about_help(message):
            return said
        needed = re.search(r'[Kk]ey "([\w.]+)":[^"]*arguments are required: (\w+)', message)
        if needed:
            option = ".".join(needed.groups())
            return f"`{option}` should be given, with --{option} or in a recipe."
        key = re.search(r'[Kk]ey "([\w.]+)"', message)
        reason = _reason(message)
        if reason.startswith("`"):
            return reason
        if key:
            return self._about_value(key.group(1), message, reason)
        if self.given:  # else it is the parser of a class's own options, and speaks to this one
            said = phrased(" ".join(message.split()), [a.dest for a in self._actions if a.dest])
            if said:
                return said
        return " ".join(line.strip() for line in message.splitlines()[:4] if line.strip())

    def _about_value(self, name: str, message: str, reason: str) -> str:
        """Say what the value of an option should be."""
        typed = [value for key, value in options_in(self.given) if key == name]
        values = typed or [value for key, value in _configured(self.given) if key == name]
        default = self.get_defaults().get(f"{name}.class_path")
        said = explained(message, name, str(values[-1] if values else default), self.classes)
        if said:
            return said
        kinds = [getattr(a, "_typehint", None) for a in self._actions if a.dest == name]
        kind = expected(kinds[0]) if kinds else ""
        if values and kind:
            single = "list" in kind and not str(values[-1]).startswith("[")
            write = f" Write '[{values[-1]}]'." if single else ""
            return f"`{name}` should be {kind}, found {values[-1]!r}.{write}"
        if wanted := re.match(r"Expected (?:a )?<class '([\w.]+)'>", reason):
            shown = re.search(r"Given value: (.+)", message)
            value = shown.group(1) if shown else values[-1] if values else None
            listed = str(value).startswith("[") or wanted.group(1).endswith("Sequence")
            what = "a list of numbers such as '[1, 2]'" if listed else in_words(wanted.group(1))
            return f"`{name}` should be {what}, found {value!r}."
        lines = [line.strip(" -") for line in message.splitlines()[1:4] if line.strip()]
        return f"`{name}`: {reason or ' '.join(lines)}"

    def _about_help(self, message: str) -> str:
        """Say which names ``--weighting.help`` knows; empty if the message is not about it."""
        found = re.search(r"--(\w+)\.help: .*?: (\S+)$", " ".join(message.split()))
        if not found:
            return ""
        option, name = found.groups()
        known = known_names(option, self.classes)
        listed = f"among {', '.join(known)}, or a class path" if known else "a class path"
        hint = catalog.hint(name, known)
        return f"`{option}.help` should be {listed}, found '{name}'.{hint}"


def _other_command(key: str, value: str) -> str:
    """Say which command takes a suite that this one does not."""
    kinds = {"suites": "moml train", "few_shot_suites": "moml meta"}
    found = [c for kind, c in kinds.items() if key == "suite" and value in catalog.names(kind)]
    return f" `{found[0]}` takes it." if found else ""


def _check_seeds(config: Namespace) -> None:
    """Look for seeds that no generator takes.

    Raises:
        ValueError: If there is one.
    """
    for name in ("seed", "seeds"):
        given = config.get(name)
        for seed in given if isinstance(given, list) else [given]:
            if seed is not None and not -(2**62) <= seed <= 2**62:
                raise ValueError(f"`{name}` should be between -2^62 and 2^62, found {seed}.")


def _reason(message: str) -> str:
    """Why a class that may also be left out does not fit; empty if the message is of another kind.

    The first of the reasons given: the second is that it is not ``None`` either.
    """
    found = re.search(r"Union subtypes.*?Errors:\n(\s*)- (.+?)\n\1- ", message, re.DOTALL)
    return " ".join(found.group(2).split()) if found else ""


def train_parser() -> Parser:
    """The parser of everything a `moml.jobs.multitask.MultiTaskJob` takes."""
    catalog.load("tasks")  # at run time only: makes the suites known by name
    parser = Parser(prog="moml train", description="Train one multi-task model.")
    parser.add_config()
    parser.add_class_arguments(MultiTaskJob, as_positional=False)
    parser.set_defaults({"architecture": "HPS", "optimizer": "Adam"})
    return parser


def completed(config: Namespace) -> Namespace:
    """The configuration with equal weighting where neither a weighting nor a method was chosen."""
    if config.get("weighting") is None and config.get("method") is None:
        config.weighting = Namespace(class_path="moml.weighting.EW", init_args=Namespace())
    return config


def build_job(parser: Parser, config: Namespace) -> MultiTaskJob:
    """Instantiate the classes of a configuration; the seed is set before any of them is built."""
    job: MultiTaskJob = build(parser, config)
    return job


def build(parser: Parser, config: Namespace) -> Any:
    """What the options are arguments of, with its classes; the seed is set before any is built."""
    return parser.builds(**arguments(parser, config))


def arguments(parser: Parser, config: Namespace) -> dict[str, Any]:
    """What the parser's class is built with.

    Raises:
        ValueError: If the learning rate is given in the wrong place.
    """
    import torch

    optimizer = config.get("optimizer.init_args.lr")
    default = parser.get_defaults().get("optimizer.init_args.lr")
    if optimizer is not None and default is not None and optimizer != default:
        raise ValueError(
            f"`optimizer.lr` should be left out, found {optimizer}. Use `learning_rate`."
        )
    torch.manual_seed(config.seed)
    settings = parser.instantiate(config)
    for key in ("config", "command"):
        settings.pop(key, None)
    return vars(settings)


def read_config(path: Path) -> dict[str, Any]:
    """The options in a YAML file.

    Raises:
        ValueError: If it cannot be read, or holds something else.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), OnceLoader)
    except OSError as error:
        raise ValueError(f"`config` should be a readable file, found '{path}'.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        text = " ".join(str(error).split())
        raise ValueError(f"`config` should be YAML, found in '{path}': {text}") from error
    if not isinstance(content, dict):
        raise ValueError(f"`config` should hold options by name, found none in '{path}'.")
    return content


def command_of(path: Path) -> str:
    """The command that a run folder's ``config.yaml`` belongs to.

    Raises:
        ValueError: If the file cannot be read.
    """
    content = read_config(path)
    if "command" in content:
        return str(content["command"])
    if "space" in content:  # files of earlier versions do not name it
        return "retrain" if "genotype" in content else "search"
    return "meta" if "val_episodes" in content else "train"


def dump(parser: Parser, config: Namespace, used: Mapping[str, Any] | None = None) -> str:
    """The configuration as YAML: the command and every option, also those that are null.

    Args:
        parser: Of the command.
        config: What it parsed.
        used: Values that were found for options left open.
    """
    config = config.clone()
    for key, value in (used or {}).items():
        config[key] = value
    for value in vars(config).values():  # read back, a class without options has none of these
        if isinstance(value, Namespace) and not vars(value.get("init_args", Namespace(x=1))):
            value.pop("init_args")
    if config.get("optimizer.init_args.lr") is not None:
        config.optimizer.init_args.pop("lr")  # its default: `learning_rate` is what is used
    return f"command: {parser.command}\n{parser.dump(config, skip_unset=False)}"


def recipe_path(argument: str, argv: Sequence[str], position: int) -> str:
    """The file behind a recipe's name after ``--config``; anything else as it is."""
    name = argument
    if argument.startswith("--config="):
        name = argument.removeprefix("--config=")
    elif position == 0 or argv[position - 1] != "--config":
        return argument
    recipe = RECIPES / f"{name}.yaml"
    if os.path.exists(name) or not re.fullmatch(r"[\w-]+", name):
        return argument
    known = sorted(path.stem for path in RECIPES.glob("*.yaml"))
    if not recipe.exists():
        raise ValueError(
            f"`config` should be a YAML file or a recipe ({', '.join(known)}), found '{name}'."
            f"{catalog.hint(name, known)}"
        )
    return argument.replace(name, str(recipe))


def options_in(argv: Sequence[str]) -> list[tuple[str, Any]]:
    """``--key value`` and ``--key=value`` pairs."""
    pairs: list[tuple[str, Any]] = []
    for i, argument in enumerate(argv):
        if not argument.startswith("--"):
            continue
        key, equals, value = argument[2:].partition("=")
        if equals:
            pairs.append((key, value))
        elif i + 1 < len(argv):
            pairs.append((key, argv[i + 1]))
    return pairs


def _configured(argv: Sequence[str]) -> list[tuple[str, Any]]:
    """Top-level keys of the YAML files given; a class stands for its class path."""
    pairs: list[tuple[str, Any]] = []
    for path in (value for key, value in options_in(argv) if key == "config"):
        for key, value in read_config(Path(path)).items():
            pairs.append((key, value.get("class_path") if isinstance(value, dict) else value))
    return pairs
