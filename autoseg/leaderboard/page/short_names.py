"""Names that have room in a figure: of trainers with options, only what tells them apart."""

from __future__ import annotations

from collections.abc import Sequence

_LONGEST = 22


def short_names(names: Sequence[str]) -> list[str]:
    """What tells each name from the others, cut where it is long.

    Options that all share are left out, and the trainer where its options are nobody else's.

    Args:
        names: as ``trainer:option=value``, each another one.
    """
    parts = [name.split(":") for name in names]
    common = set(parts[0]).intersection(*parts) if len(parts) > 1 else set()
    shortened = [" ".join(_plain(part) for part in each[1:] if part not in common) for each in parts]
    free = [
        text if text and shortened.count(text) == 1 else f"{each[0]} {text}".strip()
        for each, text in zip(parts, shortened, strict=True)
    ]
    cut = [text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…" for text in free]
    return cut if len(set(cut)) == len(cut) else [f"{n}: {text}"[:_LONGEST] for n, text in enumerate(cut, 1)]


def _plain(part: str) -> str:
    """``init=weights/fetal.pth@008f9627`` as ``fetal``, ``finetune=d`` as ``d``."""
    key, equals, value = part.partition("=")
    if not equals or key not in ("init", "finetune"):
        return part
    return value.rpartition("/")[2].partition("@")[0].removesuffix(".pth")
