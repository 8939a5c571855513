"""Odd documents beside a model, in a review or in a workspace: what was decided, judged and split."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import _edge_bases as bases
from _edge_documents import TEXTS, changed
from _edge_models import predicted
from _edges import Attempt, Edge

DECIDED: dict[str, dict[str, Any]] = {
    "decoding.json": {
        "format": 1,
        "temperature": 1.5,
        "bias": [0.0, 0.25],
        "decide": "largest",
        "evidence": {"in_words": ["x"]},
    },
    "postprocessing.json": {
        "format": 1,
        "unit": "pixels",
        "rules": [
            {
                "structure": "disc",
                "values": [1],
                "inside": 1,
                "outside": 0,
                "largest": True,
                "smallest": 3.0,
                "fill": True,
            }
        ],
        "evidence": {"in_words": ["x"]},
    },
}
LARGE = ("9" * 399, "-" + "9" * 399, "1e308", "-1", "0", "2147483648", "1e-320")


def _written(name: str, text: str) -> Callable[[Path], Attempt]:
    return predicted(lambda model: (model / name).write_text(text) and None)


def decisions(rng: random.Random) -> Iterator[Edge]:
    """What was decided for a model, with one value odd, predicted with."""
    for name, sound in DECIDED.items():
        yield Edge("decisions", f"{name} as it is", _written(name, json.dumps(sound)), "result")
        for _ in range(30):
            which, text = changed(sound, rng)
            yield Edge("decisions", f"{name} {which}", _written(name, text))
        number = "temperature" if name == "decoding.json" else "inside"
        for value in LARGE:
            mark = json.dumps(sound.get(number, 1))
            text = json.dumps(sound).replace(f'"{number}": {mark}', f'"{number}": {value}')
            yield Edge("decisions", f"{name} {number} {value[:9]}", _written(name, text))
        for text in ("", "{}", "[]", '"x"', "\0", json.dumps(sound)[:-9]):
            yield Edge("decisions", f"{name} {text[:9]!r}", _written(name, text), "refusal", (name,))


ENTRY = {"time": "2026-01-01T00:00:00", "reviewer": "a", "case": "disc_0", "action": "accept"}


def logs(rng: random.Random) -> Iterator[Edge]:
    """The log of a review with odd lines, exported from: whole lines count, the rest is said."""
    lines = [changed(ENTRY, rng) for _ in range(25)]
    for file in ("../x.png", "/etc/passwd", "corrected/../../x", "corrected/disc_0/1.png", "", "a\0b"):
        lines.append((f"file {file!r}", json.dumps(ENTRY | {"action": "correct", "file": file})))
    lines += [("an empty log", ""), ("a line cut", json.dumps(ENTRY)[:20]), ("NULs", "\0" * 30)]
    for name, text in lines:

        def make(folder: Path, text: str = text) -> Attempt:
            bases.walked(folder)
            review = folder / "out" / "review"
            review.mkdir(parents=True)
            (review / "review.jsonl").write_text(f"{text}\n{json.dumps(ENTRY)}\n")
            command = ["review", "Dataset905_Discs", "--folder", str(review), "--export", "out/corrected"]
            return [*command, "--quiet"]

        yield Edge("decisions", f"review log, {name}", make)


def splits(rng: random.Random) -> Iterator[Edge]:
    """Folds of a data set with one entry odd, trained on one of them."""
    place = "preprocessed/Dataset905_Discs/splits_final.json"
    whole = json.loads((bases.stock_walked() / place).read_text())
    texts = [changed(whole, rng) for _ in range(14)] + [(name, TEXTS[name]) for name in ("null", "nested")]
    for name, text in texts:

        def make(folder: Path, text: str = text) -> Attempt:
            (bases.walked(folder) / place).write_text(text)
            summary = folder / "summary.json"
            summary.write_text('{"metric_per_case": []}')
            return ["leaderboard", "Dataset905_Discs", "--add", f"other={summary}", "--quiet"]

        yield Edge("decisions", f"splits {name}", make)


DROPS: dict[str, Callable[[Path, bytes], object]] = {
    "no image": lambda drops, _: (drops / "a.png").write_bytes(b"x"),
    "another format": lambda drops, _: (drops / "a.exe").write_bytes(b"MZ"),
    "empty": lambda drops, _: (drops / "a.png").write_bytes(b""),
    "a formula": lambda drops, png: (drops / "=cmd_0000.png").write_bytes(png),
    "markup": lambda drops, png: (drops / "<b>_0000.png").write_bytes(png),
    "line break": lambda drops, png: (drops / "a\nb_0000.png").write_bytes(png),
    "long name": lambda drops, png: (drops / f"{'x' * 240}_0000.png").write_bytes(png),
    "no valid text": lambda drops, png: Path(os.fsdecode(os.fsencode(drops) + b"/\xff_0000.png")).write_bytes(
        png
    ),
    "dangling link": lambda drops, _: (drops / "a_0000.png").symlink_to(drops / "nothing"),
    "circular link": lambda drops, _: (drops / "a_0000.png").symlink_to(drops / "a_0000.png"),
    "link outside": lambda drops, _: (drops / "a_0000.png").symlink_to("/etc/hostname"),
    "empty folder": lambda drops, _: (drops / "a").mkdir(),
    "pipe": lambda drops, _: os.mkfifo(drops / "a_0000.png"),
    "bad zip": lambda drops, _: (drops / "a.zip").write_bytes(b"PK\x03\x04" + bytes(50)),
    "set_aside": lambda drops, png: (drops / "set_aside_0000.png").write_bytes(png),
    "dots": lambda drops, png: (drops / "..._0000.png").write_bytes(png),
}


def drops(rng: random.Random) -> Iterator[Edge]:
    """What is dropped before a server: a result, or set aside with its reason; the server goes on."""
    for name, drop in DROPS.items():

        def make(folder: Path, drop: Callable[[Path, bytes], object] = drop) -> Attempt:
            model, new = bases.model(folder)
            place = folder / "out" / "drops"
            place.mkdir(parents=True)
            drop(place, (new / "new_8_0000.png").read_bytes())
            shutil.copyfile(new / "new_8_0000.png", place / "sound_0000.png")
            options = ["--once", "--settle=0", "--device=cpu", "--no-mirroring", "--quiet"]
            return ["serve", str(model), "--watch", str(place), "out/results", *options]

        def check(folder: Path) -> None:
            assert list((folder / "out" / "results").glob("sound*/*.png")), "the sound case has no result"

        yield Edge("decisions", f"dropped: {name}", make, "result", check=check)


GENERATORS = (decisions, logs, splits, drops)
