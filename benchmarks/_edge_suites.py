"""Odd fingerprints, records, suites, and values on the command line."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import _edge_bases as bases
from _edge_documents import ONE, changed, commanded
from _edges import Attempt, Edge


def fingerprints(rng: random.Random) -> Iterator[Edge]:
    """A fingerprint of which one entry is odd, planned from."""
    workspace = bases.stock_walked()
    whole = json.loads((workspace / "preprocessed/Dataset905_Discs/dataset_fingerprint.json").read_text())
    about = (workspace / "raw/Dataset905_Discs/dataset.json").read_text()
    for _ in range(80):
        name, text = changed(whole, rng)

        def make(folder: Path, text: str = text) -> Attempt:
            (folder / "fingerprint.json").write_text(text)
            (folder / "about.json").write_text(about)
            return ["plan", "--fingerprint", "fingerprint.json", "--dataset-json", "about.json", "--quiet"]

        yield Edge("fingerprints", name, make)


def records(rng: random.Random) -> Iterator[Edge]:
    """A run's record of which one entry is odd, ranked."""
    run = f"results/Dataset905_Discs/{bases.RUN}/fold_0"
    whole = json.loads((bases.stock_walked() / run / "record.jsonl").read_text())
    texts = [changed(whole, rng) for _ in range(70)]
    texts += [("empty", ""), ("cut", json.dumps(whole)[:500]), ("NULs", "\0" * 50), ("a list", "[]")]
    for name, text in texts:

        def make(folder: Path, text: str = text) -> Attempt:
            (bases.walked(folder) / run / "record.jsonl").write_text(text)
            return ["leaderboard", "--html", "out/page.html", "--csv", "out/rows.csv", "--quiet"]

        yield Edge("records", name, make)


SUITE: dict[str, Any] = {
    "datasets": ["Dataset905_Discs"],
    "trainers": ["nnunet:width=3"],
    "folds": [0],
    "seeds": [0],
    "budget": {"steps": 60, "small": True},
    "device": "cpu",
    "include": [{"trainers": ["brainunet"], "cases": [4]}],
    "resources": {"run": {"cpus": 1, "memory": "4GB", "time": "1h"}},
}
YAML = {
    "tag": "datasets: !!python/object/apply:os.system ['true']\n",
    "own tag": "datasets: !mine [a]\n",
    "binary": "datasets: !!binary aGFsbG8=\n",
    "set": "datasets: !!set {a, b}\n",
    "date": "datasets: 2026-11-29\n",
    "time": "datasets: [2026-11-29T01:02:03Z]\n",
    "date as key": "2026-11-29: x\n",
    "sexagesimal": "folds: 1:30\n",
    "octal": "folds: 010\n",
    "norway": "datasets: [no]\n",
    "NUL": "datasets: [a\0b]\n",
    "control": "datasets: [a\x07b]\n",
    "nested": "datasets: " + "[" * 5000 + "]" * 5000 + "\n",
    "braces": "datasets: " + "{a: " * 3000 + "1" + "}" * 3000 + "\n",
    "laughs": "a: &a [x, x]\n"
    + "".join(f"a{n}: &a{n} [*a{n - 1 or ''}, *a{n - 1 or ''}]\n" for n in range(1, 30)),
    "itself": "datasets: &d [*d]\n",
    "itself as key": "&k {a: *k}: 1\n",
    "merged": "<<: {datasets: [a]}\nfolds: [0]\n",
    "merged list": "<<: [1, 2]\n",
    "merged itself": "a: &a\n  <<: *a\n",
    "list as key": "? [a, b]\n: 1\n",
    "twice": "folds: [0]\nfolds: [1]\n",
    "digits": "folds: [" + "9" * 5000 + "]\n",
    "hex": "folds: [0x" + "f" * 5000 + "]\n",
    "float": "folds: [.inf, .nan, -.inf]\n",
    "documents": "datasets: [a]\n---\ndatasets: [b]\n",
    "unknown alias": "datasets: *nothing\n",
    "a list": "- a\n- b\n",
    "a text": "hello\n",
    "empty": "",
    "comment": "# nothing\n",
    "tabs": "datasets:\n\t- a\n",
    "bad indent": "a:\n  b: 1\n c: 2\n",
    "percent": "%YAML 9.9\n---\na: 1\n",
    "tag directive": "%TAG ! tag:x,2000:\n---\n!a b\n",
    "long": "datasets: [" + ", ".join(["a"] * 20_000) + "]\n",
    "null": "datasets: ~\n",
    "int tag": "folds: [!!int x]\n",
    "float tag": "folds: [!!float x]\n",
    "bool tag": "race: !!bool x\n",
    "timestamp tag": "datasets: [!!timestamp x]\n",
    "bad date": "datasets: [2026-99-99]\n",
    "str tag": "datasets: !!str [a]\n",
    "omap": "datasets: !!omap [a: 1]\n",
    "pairs": "datasets: !!pairs [a: 1]\n",
}


def suites(rng: random.Random) -> Iterator[Edge]:
    """Suites: YAML's own ways, and odd values in every place."""
    for name, text in YAML.items():
        rest = (
            "" if name in ("empty", "a text", "a list", "documents") else "\ntrainers: [nnunet]\nbudget: 1m\n"
        )
        yield Edge("suites", name, _suite((text + rest).encode()), "refusal" if name != "octal" else "either")
    for name, content in {"UTF-16": json.dumps(SUITE).encode("utf-16"), "random": rng.randbytes(400)}.items():
        yield Edge("suites", name, _suite(content))
    for _ in range(80):
        name, text = changed(SUITE, rng)
        yield Edge("suites", name, _suite(text.encode()))


def _suite(content: bytes) -> Callable[[Path], Attempt]:
    def make(folder: Path) -> Attempt:
        bases.walked(folder)
        (folder / "suite.yaml").write_bytes(content)
        return ["benchmark", str(folder / "suite.yaml"), "--dry-run", "--quiet"]

    return make


AMOUNTS = (
    "",
    "x",
    "-1m",
    "0s",
    "1e400s",
    "NaN",
    "inf",
    "5",
    "9" * 400 + "s",
    "1 m",
    "½h",
    "1h1h",
    "1d",
    "0x1s",
    "\u0661m",
)


def options(rng: random.Random) -> Iterator[Edge]:
    """Odd values on the command line."""
    for text in AMOUNTS:
        for option in ("--budget", "--memory"):
            make = commanded(bases.dataset, "plan", f"{option}={text}")
            yield Edge("command line", f"plan {option} {text[:9]!r}", make)
    for text in ("-1", "x", "0,0", "99", "0,,1", "", "1e3", "\u0663", "9" * 400, "all,0"):
        make = commanded(bases.dataset, "plan-and-train", f"--folds={text}", "--steps=10", "--trainers=none")
        yield Edge("command line", f"--folds {text[:9]!r}", make, "refusal")
        cases = commanded(bases.dataset, "plan-and-train", f"--cases={text}", "--steps=10", "--trainers=none")
        yield Edge("command line", f"--cases {text[:9]!r}", cases, "refusal")
    for text in ("", "x", "cuda:99", "mps", "../x", "cpu:1"):
        make = commanded(bases.dataset, "plan", f"--device={text}", "--trainer=nnunet")
        yield Edge("command line", f"--device {text!r}", make)
    for text in (
        "",
        "=1",
        "organ=",
        "organ=x",
        "organ=-1",
        "organ=99999999999999999999",
        "organ=1,organ=2",
        "a=1=2",
    ):
        make = commanded(bases.dataset, "import", "--name=New", f"--labels={text}")
        yield Edge("command line", f"--labels {text[:16]!r}", make)
    for text in ("", "/nowhere", "a\nb", "x" * 5000, os.devnull):
        yield Edge(
            "command line",
            f"data set {text[:9]!r}",
            lambda _, text=text: ["fingerprint", text, *ONE],
            "refusal",
        )
        yield Edge(
            "command line",
            f"model {text[:9]!r}",
            lambda _, text=text: ["predict", text, ".", "out"],
            "refusal",
        )
        yield Edge("command line", f"suite {text[:9]!r}", lambda _, text=text: ["benchmark", text], "refusal")


GENERATORS = (fingerprints, records, suites, options)
