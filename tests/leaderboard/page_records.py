"""Records of a page with four trainers, one with a hostile name, and the texts of a page."""

from __future__ import annotations

import json
from dataclasses import replace

from chromium import Page
from made_records import experiment, record

from autoseg.leaderboard.records.files import Record

EVIL = "<script>window.hacked=1</script>"


QUALITIES = {"nnunet": 0.9, "brainunet": 0.898, EVIL: 0.85, "unet": 0.8}


def four_trainers() -> list[Record]:
    made = experiment(QUALITIES, missing=[("unet", "case_003")])
    made = [replace(r, changes=("width 32 instead of 64",)) if r.trainer == "unet" else r for r in made]
    made += [r for r in experiment({"late": 0.9}) if r.fold < 3]
    made.append(record("broken", status="failed", reason="<b>out of memory</b>"))
    return made + experiment({"nnunet": 0.7, "unet": 0.75}, n_cases=40, dataset="Dataset901_Other")


def texts_of(page: Page, selector: str) -> list[str]:
    found = page.run(f"[...document.querySelectorAll({json.dumps(selector)})].map(e => e.textContent.trim())")
    return list(found)
