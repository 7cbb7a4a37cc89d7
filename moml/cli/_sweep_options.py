"""Options that ``moml compare`` and ``moml single`` have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from moml.jobs.config import Parser, dump, options_in, train_parser
from moml.jobs.preflight import above_zero, positive

_OWN = (
    "weightings", "methods", "architectures", "seeds", "learning_rates", "tune", "jobs", "output",
    "references", "config", "command",
)  # fmt: skip


def sweep_parser(prog: str, description: str) -> Parser:
    """All options of ``moml train``, and what is compared."""
    parser = train_parser()
    parser.prog, parser.description = prog, description
    parser.belongs_to(prog.split()[-1], takes=["train", "compare", "single"])
    parser.add_argument(
        "--weightings", type=list[str | dict[str, Any]], default=["EW", "MGDA"],
        help="Names, or {class_path: …, init_args: …, label: …}.",
    )  # fmt: skip
    parser.add_argument(
        "--methods", type=list[str | dict[str, Any]], default=[],
        help="Methods that are more than a weighting (MOML, …), in the same way.",
    )  # fmt: skip
    parser.add_argument(
        "--architectures", type=list[str | dict[str, Any]], default=[],
        help="Architectures, in the same way: each with every weighting and method. The one of "
        "`--architecture` unless given.",
    )  # fmt: skip
    parser.add_argument("--seeds", type=list[int], default=[0, 1, 2], help="Seeds of every method.")
    parser.add_argument(
        "--learning_rates",
        type=list[float],
        help="Rates to choose from; the suite's by default. Without tuning, the one of all runs.",
    )
    parser.add_argument(
        "--tune", choices=["all", "baseline", "none"], default="all",
        help="Whose rate is chosen by validation on the first seed: all methods', or the first's, "
        "which the others then use too.",
    )  # fmt: skip
    parser.add_argument("--jobs", type=int, default=1, help="Runs at a time.")
    parser.add_argument("--output", type=str, help="Folder; an earlier one is continued.")
    parser.add_argument(
        "--references", type=bool, default=False, help="Train single tasks too, and show Δ%."
    )
    return parser


_SAID_ELSEWHERE = {
    "compare": {"weighting": "weightings", "method": "methods", "seed": "seeds"},
    "single": {
        **dict.fromkeys(("weighting", "weightings", "method", "methods", "architectures"), ""),
        "references": "", "seed": "seeds",
    },
}  # fmt: skip


def check_options(config: Any, argv: Sequence[str]) -> None:
    """Look at what is compared, and for options that would be ignored.

    Raises:
        ValueError: If nothing is compared, something twice, or an option is of no use.
    """
    for key, value in options_in(argv):
        name = key.split(".")[0]
        other = _SAID_ELSEWHERE[config.command].get(name)
        if other is not None:
            use = f"Use `{other}`." if other else "Every task is trained alone with equal weights."
            raise ValueError(
                f"`{name}` should be left out of `moml {config.command}`, found {value!r}. {use}"
            )
    for name in ("seeds", "learning_rates"):
        if config[name] is not None and not config[name]:
            raise ValueError(f"`{name}` should hold at least one number, found an empty list.")
    if len(set(config.seeds)) < len(config.seeds):
        raise ValueError(
            f"`seeds` should be different ones, found {config.seeds}. Equal seeds give equal runs."
        )
    for rate in config.learning_rates or ():
        above_zero("learning_rates", rate)
    if config.command == "compare" and not (config.weightings or config.methods):
        raise ValueError(
            "`weightings` should name at least one method where `methods` names none, found []."
        )
    positive("jobs", config.jobs)


def common_settings(config: Any) -> dict[str, Any]:
    """The options of ``moml train`` that all runs share, as plain data."""
    settings = config.clone()
    for key in _OWN:
        settings.pop(key, None)
    plain: dict[str, Any] = yaml.safe_load(dump(train_parser(), settings))
    own = ("command", "weighting", "method", "seed")
    return {key: value for key, value in plain.items() if key not in own}


def learning_rates(parser: Parser, config: Any) -> list[float]:
    """The learning rates to choose from: those asked for, or what the suite suggests.

    Without tuning it is the one of ``moml train``.

    Raises:
        ValueError: If there are several and none is to be chosen.
    """
    asked: list[float] | None = config.learning_rates
    if config.tune == "none" and asked is not None and len(asked) != 1:
        raise ValueError(
            f"`learning_rates` should hold one rate with --tune none, found {asked}. "
            "Leave it out for the suite's."
        )
    if asked:
        return asked
    defaults = parser.instantiate(config).suite.defaults
    if config.tune == "none":
        return [config.learning_rate or defaults.learning_rate]
    return around(config.learning_rate or defaults.learning_rate, defaults.learning_rates)


def around(rate: float, listed: Sequence[float]) -> list[float]:
    """Learning rates worth trying: those listed if the usual one is among them, else its near ones.

    Args:
        rate: The usual one.
        listed: Of the suite.
    """
    return list(listed) if rate in listed else [float(f"{0.3 * rate:.4g}"), rate, 3 * rate]
