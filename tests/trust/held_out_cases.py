"""Held-out cases of a model that never was: quality, evidence and shapes that belong together."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from autoseg.data.dataset import Dataset
from autoseg.data.labels import Labels
from autoseg.trust.features import Facts
from autoseg.trust.held_out import HeldOut
from autoseg.trust.profiles import Profile
from autoseg.trust.shape import Shape
from autoseg.trust.spread import spreads
from autoseg.trust.structure_model import CalibrationCase

LABELS = Labels({"background": 0, "organ": 1})
CHANNELS = ("MR",)
DATASET = Dataset("Dataset001_X", Path(), CHANNELS, LABELS, (), ".nii.gz", "SimpleITKIO", {})


def shape(random: np.random.Generator, size: float = 1000.0) -> Shape:
    """A roundish structure of about so many mm^3."""
    found = size * float(np.exp(0.2 * random.normal()))
    centre = tuple(float(value) for value in 0.5 + 0.03 * random.normal(size=3))
    return Shape(found, 6 * found ** (2 / 3) * float(np.exp(0.05 * random.normal())), 1, 1.0, 0.0, centre)


def inputs(random: np.random.Generator) -> dict[str, float]:
    """Quantities of an image."""
    return {"spacing z": 0.0, "MR: median intensity": float(6 + 0.1 * random.normal())}


def profiles(count: int, seed: int = 0) -> dict[str, Profile]:
    """Training cases."""
    random = np.random.default_rng(seed)
    return {
        f"case_{index}": Profile(inputs(random), {"organ": shape(random)}, (1.0, 1.0, 1.0), "mm^3", False)
        for index in range(count)
    }


def facts(random: np.random.Generator, dice: float) -> Facts:
    """What a prediction of that Dice looks like: the worse, the more undecided, and too sure of itself."""
    sure = float(np.clip(1 - 0.5 * (1 - dice) * np.exp(0.3 * random.normal()), 0.02, 0.98))
    evidence = {"expected_dice": sure, "uncertainty": (1 - sure) * 2, "agreement": None}
    return Facts(evidence, shape(random), False)


def held_out(count: int, seed: int = 1, of_group: int = 1) -> list[HeldOut]:
    """Cases with references, `of_group` in each group."""
    random = np.random.default_rng(seed)
    known = spreads([each.shapes["organ"].quantities(False) for each in profiles(count).values()])
    found = []
    for index in range(count):
        dice = float(1 - random.beta(2, 14))
        each, name, group = facts(random, dice), f"case_{index}", f"group_{index // of_group}"
        reference = each.shape.size * float(np.exp((1 - dice) * random.normal()))
        case = CalibrationCase(name, group, each, dice, reference, known)
        far = (float(abs(random.normal())), float(abs(random.normal())))
        found.append(HeldOut(name, group, {"organ": case}, inputs(random), *far, 1 - dice))
    return found
