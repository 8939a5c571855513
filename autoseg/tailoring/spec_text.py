"""The text of a trainer spec, ``NAME:option=value:option=value``: read and checked before anything runs.

An option is a hyper-parameter of the training, one of the network, or says what the training starts from. Its
value is read as what the option takes, so that ``mirroring=no`` is false and ``checkpointing=on`` a word.
torch is imported only for options of a network.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autoseg import plugins
from autoseg.data.few_cases import parse_cases
from autoseg.errors import UsageError
from autoseg.planner.hyperparameters import KINDS
from autoseg.planner.normalization_schemes import CHOICES
from autoseg.system.option_values import Anything, Kind, OneOf, nearest, problem_of
from autoseg.transfer.strategies import read_option, strategy_named

# Words that stand for several trainers.
GROUPS = ("auto", "documented", "baselines", "all")
# Options that are neither of the training nor of the network.
START = ("init", "finetune", "cases", "plan_from")
NORMALIZATION = "normalization"
_NEXT = "Correct the value, or leave the option out."


def read_spec(text: str) -> tuple[str, dict[str, Any]]:
    """The trainer's name and its options, each value of its option's type.

    Raises:
        UsageError: for an unknown trainer or option, an option without a value or given twice, and a value
            that is not accepted. The message names all options that are wrong.
    """
    name, texts = split_spec(text)
    require_trainer(name)
    kinds = _kinds_of(name, texts)
    options, problems = {}, []
    for key, value in texts.items():
        try:
            options[key] = kinds[key].read(value)
        except ValueError:
            problems.append(f"{key} is {value!r}; expected {kinds[key].expected}.")
    if problems := [*problems, *_problems(options, kinds)]:
        raise UsageError(" ".join([f"{text}:", *problems, _NEXT]))
    check_options(name, options)
    return name, options


def split_spec(text: str) -> tuple[str, dict[str, str]]:
    """The trainer's name and the texts of its options, whatever these may be.

    Raises:
        UsageError: for an option without a value, or one that is given twice.
    """
    name, *entries = (part.strip() for part in text.split(":"))
    texts: dict[str, str] = {}
    for entry in entries:
        key, equals, value = (part.strip() for part in entry.partition("="))
        if not (equals and key and value):
            raise UsageError(f"{text!r}: the option {entry!r} has no value. Write {name}:option=value.")
        if key in texts:
            raise UsageError(f"{text!r}: the option {key} is given twice. Keep one of them.")
        texts[key] = value
    return name, texts


def write_spec(name: str, options: Mapping[str, Any]) -> str:
    """The text that `read_spec` reads."""
    texts = {
        key: "+".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
        for key, value in options.items()
    }
    return ":".join([name, *(f"{key}={text}" for key, text in texts.items())])


def check_options(name: str, options: Mapping[str, Any]) -> None:
    """Refuse options that a trainer does not have, or values of another type or beyond the limits.

    Args:
        name: the trainer's name.
        options: with values of their types, as `read_spec` gives them.

    Raises:
        UsageError: naming all that is wrong.
    """
    if problems := _problems(options, _kinds_of(name, options)):
        raise UsageError(" ".join([f"{name}:", *problems, _NEXT]))
    if options.get("stock"):
        _check_stock(name, options)
    if "cases" in options:
        parse_cases(str(options["cases"]))
    if "finetune" in options:
        _check_strategy(str(options["finetune"]))


def check_length(spec: str, options: Mapping[str, Any], epochs: int | None, steps: int | None = None) -> None:
    """Refuse options that set a length where the length of all runs is given.

    Args:
        spec: the trainer spec that has these options.
        options: the options in it.
        epochs: epochs of all runs; None: not given.
        steps: steps of all runs; None: not given.

    Raises:
        UsageError: naming the options.
    """
    given = f"{epochs} epochs" if epochs is not None else f"{steps} steps"
    lengths = ("epochs",) if steps is None else ("epochs", "steps_per_epoch")
    twice = [f"{name}={options[name]}" for name in lengths if name in options]
    if twice and (epochs is not None or steps is not None):
        raise UsageError(
            f"{spec}: {' and '.join(twice)} cannot be set where all runs have {given}. Keep one of the two."
        )


@functools.cache
def require_trainer(name: str) -> None:
    """Refuse an unknown trainer.

    Raises:
        UsageError: with names that are near, and what there is.
    """
    known = plugins.available("trainers")
    if name not in known and not (name.endswith(".py") and Path(name).is_file()):
        raise UsageError(
            f"{name!r} is not a trainer.{nearest(name, known)} Choose from {', '.join(known)}, "
            f"or give the path of a Python file."
        )


def _problems(options: Mapping[str, Any], kinds: Mapping[str, Kind]) -> list[str]:
    found = (problem_of(key, value, kinds[key]) for key, value in options.items())
    return [problem for problem in found if problem]


def _kinds_of(name: str, options: Mapping[str, Any]) -> dict[str, Kind]:
    """What each of these options takes.

    Raises:
        UsageError: for an option that the trainer does not have.
    """
    known: dict[str, Kind] = {**KINDS, NORMALIZATION: OneOf(CHOICES), **dict.fromkeys(START, Anything())}
    if all(key in known for key in options):
        return known
    # A file's network is looked up each time: its content may have changed.
    network = _network_kinds(name) if name.endswith(".py") else _cached_network_kinds(name)
    if network is None:  # a network whose file does not list its options judges them by itself
        return {key: known.get(key, Anything()) for key in options}
    known |= network
    if unknown := [key for key in options if key not in known]:
        near = nearest(unknown[0], known)
        raise UsageError(
            f"{name} has no option {unknown[0]!r}.{near} Of its network there are "
            f"{', '.join(network) or 'none'}; of its training {', '.join(KINDS)}; and {NORMALIZATION}, "
            f"{', '.join(START)}."
        )
    return known


def _network_kinds(name: str) -> dict[str, Kind] | None:
    trainer = plugins.trainer_class(name)
    module = plugins.find("architectures", trainer.architecture or trainer.planned_architecture)
    options = getattr(module, "OPTIONS", None)
    return None if options is None else {key: option.kind for key, option in options.items()}


_cached_network_kinds = functools.cache(_network_kinds)


def _check_stock(name: str, options: Mapping[str, Any]) -> None:
    if not plugins.trainer_class(name).has_stock:
        raise UsageError(
            f"{name}:stock=true: {name} is not a trainer of nnU-Net, so it has no stock training. "
            f"Choose nnunet:stock=true, or leave the option out."
        )
    if others := [key for key in options if key != "stock"]:
        raise UsageError(
            f"{name}:stock=true: stock training takes no other option; leave out {', '.join(others)}."
        )


def _check_strategy(text: str) -> None:
    """Within a spec, options of a fine-tuning strategy are joined by a plus."""
    strategy, *entries = re.split(r"[:+]", text)
    strategy_named(strategy)
    for entry in entries:
        key, _, value = entry.partition("=")
        if not value:
            raise UsageError(f"finetune={text}: {entry!r} has no value. Write {strategy}+option=value.")
        read_option(key, value, {}, {})
