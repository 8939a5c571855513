"""The planner: fingerprint and resources in, plan out. One file per decision."""

from autoseg.planner.experiment import plan_experiment
from autoseg.planner.presets import PRESETS, Preset, find_preset

__all__ = ["PRESETS", "Preset", "find_preset", "plan_experiment"]
