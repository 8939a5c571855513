"""Small inputs of the kinds that go wrong in practice: each is tried, and is right, refused or wrong.

    python benchmarks/bench_cases.py GENERATORS [--only 18,19] [--python PYTHON]

GENERATORS is a folder of scripts ``caseNN_NAME.py OUT``, each of which writes one situation. Predictions
are made by a stand-in that labels what is bright; 21 and 26 are trained for a few steps, some minutes each,
unless ``--skip 21,26`` leaves them out. "right" is the stated value, checked here from what the generator
wrote; "said" is done with a finding or note that names it; "refused" is an error that names what to do;
"dead end" is a refusal of sound input; "wrong" is all else. Results: benchmarks/results/cases.md and .json.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import re
import sys
import tempfile
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from _cases import (
    Outcome,
    outcome,
)
from _machine import machine, write_results
from _situations import GENERATING, SITUATIONS, VALUE_WANTED
from _trained_situations import TRAINED

# Where a library was built says nothing to anybody.
_LIBRARY = re.compile(r"/tmp/\S*")


def main() -> None:
    options = _options()
    where = machine(packages=("SimpleITK", "nibabel", "tifffile"))
    logging.disable(logging.CRITICAL)
    found: list[Outcome] = []
    for number, attempts in sorted({**SITUATIONS, **TRAINED}.items()):
        if number in options.skip.split(","):
            continue
        if options.only and number not in options.only.split(","):
            continue
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder)
            for variant, tried, attempt in attempts(out, options.generators):
                with contextlib.redirect_stderr(io.StringIO()):
                    one = outcome(number, variant, tried, attempt)
                wanted = VALUE_WANTED.get(number, ())
                if one.verdict == "refused" and (wanted is None or variant in wanted):
                    one = replace(one, verdict="dead end")
                found.append(replace(one, words=_LIBRARY.sub("...", one.words.replace(f"{out}/", ""))))
                print(
                    f"{number:4} {variant:22} {tried:9} {one.verdict:8} {found[-1].words[:100]}", flush=True
                )
    if not options.only:
        write_results("cases", where, [asdict(each) for each in found], _page(found, where, options.skip))
    print(dict(Counter(each.verdict for each in found)))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("generators", type=Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--skip", default="")
    parser.add_argument("--python", default=sys.executable, help="Runs the generators: pydicom, highdicom.")
    options = parser.parse_args()
    python = Path(options.python)
    # Generators run elsewhere; a link within a virtual environment stays one.
    GENERATING.append(str(python.absolute()) if python.is_file() else options.python)
    return options


def _page(found: list[Outcome], where: dict[str, Any], skipped: str) -> str:
    counts = Counter(each.verdict for each in found)
    sums = ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())
    lines = [
        "# Inputs that go wrong in practice",
        "",
        f"`{where['command']}`, commit {where['commit']}, {where['date']}. {sums} of {len(found)} inputs.",
        "",
        "Right: the value that the generator states. Said: done, with a finding or note that names it. "
        "Refused: an error that names what to do. Dead end: refused, although the input is sound. Wrong: all "
        "else. Predictions are a stand-in's; 21 and 26 are trained, for a few steps each."
        + (f" Not tried this time: {skipped}." if skipped else ""),
        "",
        "| case | input | command | outcome | words |",
        "|---|---|---|---|---|",
    ]
    for each in found:
        words = each.words.replace("|", "/").replace("\n", " ")[:160]
        verdict = f"**{each.verdict}**" if each.verdict == "wrong" else each.verdict
        lines.append(f"| {each.case} | {each.variant} | {each.tried} | {verdict} | {words} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
