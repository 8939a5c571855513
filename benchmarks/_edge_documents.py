"""Odd documents: dataset.json, names and tables."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import _edge_bases as bases
from _edges import Attempt, Edge

from autoseg.names import script_problem

ONE = ["--workers", "1", "--quiet"]
# JSON texts that stand in the place of a value.
TEXTS = {
    "null": "null",
    "true": "true",
    "one": "1",
    "minus": "-1",
    "half": "1.5",
    "number as text": '"1"',
    "empty text": '""',
    "empty list": "[]",
    "empty object": "{}",
    "list in list": "[[[]]]",
    "object of null": '{"a": null}',
    "long text": json.dumps("x" * 10_000),
    "NaN": "NaN",
    "infinity": "-Infinity",
    "too large": "1e400",
    "5000 digits": "9" * 5000,
    "nested": "[" * 3000 + "]" * 3000,
    "NUL": '"a\\u0000b"',
    "way up": '"../../x"',
    "half a character": '"\\ud800"',
    "line break": '"a\\nb"',
    "formula": '"=1+1"',
}


def _with_text(document: dict[str, Any], path: tuple[Any, ...], text: str) -> str:
    """The document as JSON with a text in one place, valid JSON or not."""
    mark = "@@here@@"
    copy = json.loads(json.dumps(document))
    place = copy
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = mark
    return json.dumps(copy).replace(json.dumps(mark), text)


def _about(text: str | bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        root = bases.dataset(folder)
        (root / "dataset.json").write_bytes(text if isinstance(text, bytes) else text.encode())
        return root

    return make


def commanded(make: Callable[[Path], Path], *command: str) -> Callable[[Path], Attempt]:
    return lambda folder: [command[0], str(make(folder)), *command[1:], *ONE]


PLACES: tuple[tuple[Any, ...], ...] = (
    ("channel_names",),
    ("channel_names", "0"),
    ("labels",),
    ("labels", "background"),
    ("labels", "organ"),
    ("numTraining",),
    ("file_ending",),
    ("regions_class_order",),
    ("overwrite_image_reader_writer",),
    ("dataset",),
)


def dataset_json(rng: random.Random) -> Iterator[Edge]:
    """Values, encodings and cuts of dataset.json."""
    for place in PLACES:
        for name, text in TEXTS.items():
            made = _about(_with_text(bases.ABOUT, place, text))
            command = "verify" if rng.random() < 0.3 else "fingerprint"
            yield Edge("dataset.json", f"{'.'.join(place)}: {name}", commanded(made, command))
    whole = json.dumps(bases.ABOUT)
    encoded = {
        "UTF-16": whole.encode("utf-16"),
        "UTF-16 without mark": whole.encode("utf-16-le"),
        "Latin-1": whole.replace("organ", "Öl").encode("latin-1"),
        "empty": b"",
        "NULs": b"\0" * 100,
        "packed": gzip.compress(whole.encode()),
        "random": rng.randbytes(500),
        "no object": b"[1, 2]",
        "two documents": (whole + whole).encode(),
        "brackets": b"[" * 200_000,
        "braces": b'{"a":' * 100_000,
        "keys": json.dumps({**bases.ABOUT, **{str(n): n for n in range(100_000)}}).encode(),
    }
    for name, content in encoded.items():
        wanted: Any = "either" if name in ("keys",) else "refusal"
        yield Edge("dataset.json", name, commanded(_about(content), "fingerprint"), wanted, ("dataset.json",))
    yield Edge(
        "dataset.json",
        "byte order mark",
        commanded(_about(b"\xef\xbb\xbf" + whole.encode()), "fingerprint"),
        "result",
    )
    for number in range(20):
        cut = rng.randrange(1, len(whole) - 1)
        made = _about(whole[:cut])
        yield Edge(
            "dataset.json", f"cut {number}", commanded(made, "fingerprint"), "refusal", ("dataset.json",)
        )
    for number in range(40):
        changed = bytearray(whole.encode())
        for _ in range(rng.randint(1, 4)):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        command = rng.choice(["fingerprint", "verify"])
        yield Edge("dataset.json", f"bytes {number}", commanded(_about(bytes(changed)), command))


BAD_CASES = (
    "",
    ".",
    "..",
    "../out",
    "a/b",
    "/etc/x",
    "a\\b",
    ".hidden",
    "a\0b",
    "a\nb",
    "x" * 300,
    " a",
    "a_seg",
)
ODD_CASES = (
    "Müller 3",
    "a.b-c+d",
    "图像1",
    "a$b",
    "seg",
    "a'b",
    'a"b',
    "{a}",
    "%d",
    "a;b",
    "=1+1",
    "-rf",
    "ß" * 90,
)
# Names of data sets: those that shells read are refused, the others work.
FOLDERS = (
    "Dataset001_ümlaut",
    "Dataset001_with blank",
    "Dataset001_$HOME",
    "Dataset001_'quoted'",
    'Dataset001_"double"',
    "Dataset001_a;b",
    "Dataset001_{wildcard}",
    "Dataset001_100%",
    "Dataset001_line\nbreak",
    "Dataset001_<b>bold",
    "Dataset001_a&b",
    "Dataset001_`ls`",
    "Dataset001_*",
    "Dataset001_" + "x" * 180,
    "-Dataset001",
    "Dataset1_a",
    "plain",
    "Dataset001_a.b",
    "Dataset001_图像",
    "Dataset001_tab\there",
)


def _listed(name: str) -> Callable[[Path], Path]:
    entries = {
        case if number else name: {
            "images": [f"imagesTr/{case}_0000.nii.gz"],
            "label": f"labelsTr/{case}.nii.gz",
        }
        for number, case in enumerate(bases.CASES)
    }
    return _about(json.dumps({**bases.ABOUT, "dataset": entries}))


def names(rng: random.Random) -> Iterator[Edge]:
    """Names of cases, data sets, structures, trainers and imports."""
    for name in BAD_CASES:
        for command in ("fingerprint", "preprocess", "verify"):
            yield Edge(
                "names",
                f"case {name[:20]!r} {command}",
                commanded(_listed(name), command),
                "refusal",
                ("case",),
            )
    for name in ODD_CASES:
        yield Edge("names", f"case {name[:20]!r}", commanded(_listed(name), "preprocess"), "result")
    for name in FOLDERS:
        for command in ("fingerprint", "preprocess"):
            yield Edge("names", f"folder {name[:30]!r} {command}", commanded(_named(name), command))
        sound: Any = "either" if script_problem(name) or not name.startswith("Dataset001") else "result"
        yield Edge("names", f"folder {name[:30]!r} benchmark", _in_suite(name), sound)
        yield Edge("names", f"import as {name[:30]!r}", _imported(name))
    for name in (
        "../x",
        "a/b",
        "$x",
        "nnunet:width=../1",
        "nnunet:=",
        ":",
        "",
        "x" * 300,
        "a\0b",
        "nnunet,nnunet:a",
    ):
        make = commanded(bases.dataset, "train", name, "--steps", "10", "--small")
        if "\0" not in name:
            yield Edge("names", f"trainer {name[:20]!r}", make, "refusal")
    for text in ("=1+1", "<script>", "a/b", "a\tb", "", "x" * 500, "..", "a\nb", "a,b", "'"):
        labels = {"background": 0, text: 1}
        made = _about(json.dumps({**bases.ABOUT, "labels": labels}))
        yield Edge("names", f"structure {text[:20]!r}", commanded(made, "fingerprint"))
        yield Edge("names", f"structure {text[:20]!r}, verified", _reported(made))


def _named(name: str) -> Callable[[Path], Path]:
    return lambda folder: bases.dataset(folder, name=name)


def _reported(make: Callable[[Path], Path]) -> Callable[[Path], Attempt]:
    return lambda folder: ["verify", str(make(folder)), "--report", "out/page.html", *ONE]


def _in_suite(name: str) -> Callable[[Path], Attempt]:
    def make(folder: Path) -> Attempt:
        bases.dataset(folder, name=name)
        suite = {
            "datasets": [name],
            "trainers": ["nnunet"],
            "folds": [0],
            "budget": {"steps": 10},
            "device": "cpu",
        }
        (folder / "suite.yaml").write_text(json.dumps(suite))
        return ["benchmark", str(folder / "suite.yaml"), "--emit", "sbatch", "--quiet"]

    return make


def _imported(name: str) -> Callable[[Path], Attempt]:
    return lambda folder: ["import", str(bases.dataset(folder)), f"--name={name}", *ONE]


GROUPS = {
    "empty": "",
    "head alone": "case,group\n",
    "no head": "case_0,a\ncase_1,b\n",
    "one case short": "case,group\n" + "".join(f"{case},a\n" for case in bases.CASES[:-1]),
    "twice": "case,group\n" + "".join(f"{case},a\n{case},b\n" for case in bases.CASES),
    "NUL": "case,group\ncase_0,a\0b\n",
    "open quote": 'case,group\n"case_0,a\n',
    "long cell": "case,group\ncase_0," + "x" * 200_000,
    "semicolons": "case;group\n" + "".join(f"{case};{case}\n" for case in bases.CASES),
    "tabs": "case\tgroup\n" + "".join(f"{case}\t{case}\n" for case in bases.CASES),
    "blank cells": "case,group\n" + "".join(f"{case},\n" for case in bases.CASES),
    "many columns": "case,group," + ",".join(map(str, range(5000))) + "\n",
    "same column": "case,group,group\n" + "".join(f"{case},a,b\n" for case in bases.CASES),
    "formulas": "case,group\n" + "".join(f"{case},=cmd{case}\n" for case in bases.CASES),
    "line breaks": "case,group\r" + "".join(f"{case},{case}\r" for case in bases.CASES),
    "numbers": "case,group\n" + "".join(f"{case},1e999\n" for case in bases.CASES),
    "one group": "case,group\n" + "".join(f"{case},a\n" for case in bases.CASES),
    "unknown cases": "case,group\n" + "".join(f"{case},{case}\n" for case in (*bases.CASES, "other")),
    "a line too long": "case,group\ncase_0,a,b,c,d\n",
    "a line too short": "case,group\ncase_0\n",
}


def tables(rng: random.Random) -> Iterator[Edge]:
    """groups.csv, tables of scores made elsewhere, and tables of pixel sizes."""
    for name, text in GROUPS.items():
        for command in ("verify", "fingerprint"):
            made = _with_groups(text.encode())
            yield Edge("tables", f"groups.csv, {name}, {command}", commanded(made, command))
    for name, content in {
        "UTF-16": "case,group\ncase_0,a".encode("utf-16"),
        "Latin-1": "case,group\nfäll,a".encode("latin-1"),
        "binary": rng.randbytes(300),
    }.items():
        yield Edge(
            "tables", f"groups.csv, {name}", commanded(_with_groups(content), "fingerprint"), "refusal"
        )
    scores = "dataset,trainer,fold,case,structure,metric,value\n"
    row = "Dataset905_Discs,other,0,disc_0,disc,dice,{}\n"
    values = ("0.5", "NaN", "inf", "-1", "2", "x", "", "9" * 5000, "1e-400", "=1", "0,5", "0x1", "1_0", "½")
    contents = {f"value {value[:9]}": scores + row.format(value) for value in values}
    contents |= {f"scores {name}": text for name, text in GROUPS.items()}
    for name, text in contents.items():
        yield Edge("tables", f"--add, {name}", _added(text, "scores.csv"))
    for name, text in TEXTS.items():
        yield Edge("tables", f"--add JSON lines, {name}", _added(text, "scores.jsonl"))
        summary = json.dumps({"metric_per_case": []}).replace("[]", text)
        yield Edge("tables", f"--add summary, {name}", _added(summary, "summary.json"))


def _with_groups(content: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        root = bases.dataset(folder)
        (root / "groups.csv").write_bytes(content)
        return root

    return make


def _added(text: str, name: str) -> Callable[[Path], Attempt]:
    def make(folder: Path) -> Attempt:
        bases.walked(folder)
        (folder / name).write_text(text)
        return ["leaderboard", "Dataset905_Discs", "--add", f"other={folder / name}", "--quiet"]

    return make


def places_of(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield (*path, key)
        yield from places_of(each, (*path, key))


def changed(document: Any, rng: random.Random) -> tuple[str, str]:
    """A document with one place changed: its name and its text."""
    place = rng.choice(list(places_of(document)))
    name, text = rng.choice(list(TEXTS.items()))
    return f"{'.'.join(map(str, place))[-50:]}: {name}", _with_text(document, place, text)


GENERATORS = (dataset_json, names, tables)
