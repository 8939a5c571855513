"""Pictures."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Panel:
    name: str
    source: str
    alt: str
    score: str
    width: int
    height: int


@dataclass(frozen=True)
class Overlay:
    dataset: str
    title: str
    case: str
    sentence: str
    rule: str
    panels: tuple[Panel, ...]
