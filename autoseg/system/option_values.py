"""Kinds of values that an option takes: how a text is read as one, and which values are accepted."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

TRUTH_WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


class Kind(Protocol):
    """What an option takes."""

    @property
    def expected(self) -> str:
        """The values it takes, in words that follow "expected"."""

    def read(self, text: str) -> Any:
        """The value that a text stands for; whether it is accepted is another question.

        Raises:
            ValueError: if the text stands for no such value.
        """

    def accepts(self, value: Any) -> bool:
        """Whether a value is one of this kind."""


@dataclass(frozen=True)
class OneOf:
    """One of a few values."""

    choices: tuple[Any, ...]

    @property
    def expected(self) -> str:
        """The choices."""
        *others, last = map(str, self.choices)
        return f"{', '.join(others)} or {last}" if others else last

    def read(self, text: str) -> Any:
        """The choice that is written so; YAML reads ``on`` as a truth value, which is undone here."""
        truth = {"true": "on", "false": "off"}.get(text.lower(), text)
        for choice in self.choices:
            if str(choice) in (text, truth):
                return choice
        raise ValueError(text)

    def accepts(self, value: Any) -> bool:
        """Whether it is one of the choices, and of their type."""
        return any(type(value) is type(choice) and value == choice for choice in self.choices)


@dataclass(frozen=True)
class Truth:
    """True or false."""

    expected: str = "true or false"

    def read(self, text: str) -> bool:
        """Of true, yes and on, or false, no and off."""
        try:
            return TRUTH_WORDS[text.lower()]
        except KeyError:
            raise ValueError(text) from None

    def accepts(self, value: Any) -> bool:
        """Whether it is a truth value; a number or a text that Python takes for one is none."""
        return isinstance(value, bool)


@dataclass(frozen=True)
class Count:
    """A whole number within limits."""

    least: int = 0
    most: int | None = None

    @property
    def expected(self) -> str:
        """The limits."""
        if self.most is not None:
            return f"a whole number from {self.least} to {self.most}"
        return f"a whole number of at least {self.least}"

    def read(self, text: str) -> int:
        """Of decimal digits."""
        return int(text)

    def accepts(self, value: Any) -> bool:
        """Whether it is a whole number within the limits."""
        if not isinstance(value, int) or isinstance(value, bool):
            return False
        return value >= self.least and (self.most is None or value <= self.most)


@dataclass(frozen=True)
class Number:
    """A finite number within limits.

    Attributes:
        least, most: the limits; None: there is none.
        without_least, without_most: whether the limit itself is excluded.
    """

    least: float | None = None
    most: float | None = None
    without_least: bool = False
    without_most: bool = False

    @property
    def expected(self) -> str:
        """The limits."""
        low = "" if self.least is None else f"{'above' if self.without_least else 'from'} {self.least:g}"
        high = "" if self.most is None else f"{'below' if self.without_most else 'up to'} {self.most:g}"
        limits = " and ".join(filter(None, (low, high)))
        return f"a finite number {limits}".strip()

    def read(self, text: str) -> float:
        """Of a decimal number; a whole one stays whole, so that it is written as it was given."""
        try:
            return int(text)
        except ValueError:
            return float(text)

    def accepts(self, value: Any) -> bool:
        """Whether it is a finite number within the limits."""
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            return False
        above = self.least is None or (value > self.least if self.without_least else value >= self.least)
        below = self.most is None or (value < self.most if self.without_most else value <= self.most)
        return above and below


@dataclass(frozen=True)
class Counts:
    """Several whole numbers of at least 1, written ``64+32+16``."""

    expected: str = "whole numbers of at least 1, such as 64+32+16"

    def read(self, text: str) -> tuple[int, ...]:
        """Of numbers with a plus between them."""
        return tuple(int(part) for part in text.split("+"))

    def accepts(self, value: Any) -> bool:
        """Whether it is a sequence of whole numbers of at least 1."""
        return isinstance(value, tuple | list) and bool(value) and all(map(Count(1).accepts, value))


@dataclass(frozen=True)
class Text:
    """Any text."""

    expected: str = "a text"

    def read(self, text: str) -> str:
        """As it is."""
        return text

    def accepts(self, value: Any) -> bool:
        """Whether it is a text."""
        return isinstance(value, str)


@dataclass(frozen=True)
class Anything:
    """A value of an option that nothing is known about."""

    expected: str = "a value"

    def read(self, text: str) -> Any:
        """A number, a truth value (true, false) or a text."""
        for kind in (int, float):
            try:
                return kind(text)
            except ValueError:
                continue
        return {"true": True, "false": False}.get(text.lower(), text)

    def accepts(self, value: Any) -> bool:
        """Always."""
        return True


def problem_of(name: str, value: Any, kind: Kind) -> str | None:
    """Why a value does not fit an option; None: it does."""
    return None if kind.accepts(value) else f"{name} is {value!r}; expected {kind.expected}."


def nearest(word: str, words: Iterable[str]) -> str:
    """`` Did you mean ...?`` where a word is close to one of `words`, else nothing."""
    found = difflib.get_close_matches(word, list(words), n=1)
    return f" Did you mean {found[0]!r}?" if found else ""
