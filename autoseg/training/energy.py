"""Energy and CO2 of a training, by CodeCarbon without a network, where a user requests it.

CodeCarbon reads the counters of processor and GPU where there are such that it may read, and estimates the
rest from the processor's nominal power. Which of the two it was stands beside the numbers.
"""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from autoseg.errors import MissingDependency, UsageError

log = logging.getLogger(__name__)

# A country's code (ISO 3166): how much CO2 a kWh stands for there. Empty: nothing is measured.
VARIABLE = "AUTOSEG_ENERGY"
EVERY_S = 15.0

How = Literal["measured", "estimated"]


@dataclass(frozen=True)
class Energy:
    """What a training took from the mains.

    Attributes:
        kwh: energy of processor, memory and GPUs.
        g_co2: grams of CO2 equivalent, by the mean of the country's mains.
        how: whether the processor's counters were read or its power was estimated.
        country: ISO 3166 code of three letters.
    """

    kwh: float
    g_co2: float
    how: How
    country: str

    def __add__(self, other: Energy) -> Energy:
        how: How = "measured" if self.how == other.how == "measured" else "estimated"
        return Energy(self.kwh + other.kwh, self.g_co2 + other.g_co2, how, other.country)

    def to_json(self) -> dict[str, Any]:
        """As in a checkpoint and in ``cost.json``."""
        return asdict(self)


def choose(country: str) -> None:
    """Let all trainings of this process and of its children measure their energy.

    Args:
        country: ISO 3166 code of three letters; empty: nothing is measured.

    Raises:
        MissingDependency: if CodeCarbon is not installed.
        UsageError: if there is no such country.
    """
    os.environ[VARIABLE] = country
    if not country:
        return
    if importlib.util.find_spec("codecarbon") is None:
        raise MissingDependency("codecarbon", "energy", "Measuring energy")
    import pycountry

    if len(country) != 3 or pycountry.countries.get(alpha_3=country) is None:
        raise UsageError(
            f"--energy {country}: expected the code of a country with three letters (ISO 3166), such as DEU, "
            f"FRA or USA. The CO2 of a kWh depends on it."
        )


class EnergyMeter:
    """Counts while a training runs; a meter that fails says so once and counts no more.

    Args:
        before: what earlier starts of the same training took, as `state` gave it.
    """

    def __init__(self, before: Mapping[str, Any] | None = None) -> None:
        self._before = None if before is None else Energy(**before)
        self._here: Energy | None = None
        self._tracker: Any = None

    def begin(self) -> None:
        """Start to count, where that is requested."""
        country = os.environ.get(VARIABLE, "")
        if not country:
            return
        try:
            self._tracker = self._started(country)
        # Whatever a package of others raises: energy is no reason to lose a training.
        except Exception as problem:
            self._failed(problem)

    def _started(self, country: str) -> Any:
        # Before its own option for that is read, it has already told of itself.
        logging.getLogger("codecarbon").setLevel(logging.ERROR)
        from codecarbon import OfflineEmissionsTracker
        from codecarbon.core import cpu
        from codecarbon.output import BaseOutput

        how: How = "measured" if cpu.is_rapl_available() or cpu.is_powergadget_available() else "estimated"
        meter = self

        class Taken(BaseOutput):  # type: ignore[misc]
            def out(self, total: Any, delta: Any) -> None:
                meter._here = Energy(
                    float(total.energy_consumed), 1000.0 * float(total.emissions), how, country
                )

            def live_out(self, total: Any, delta: Any) -> None:
                """Nothing: `flush` brings the same."""

        tracker = OfflineEmissionsTracker(
            country_iso_code=country,
            measure_power_secs=EVERY_S,
            tracking_mode="process",
            save_to_file=False,
            save_to_api=False,  # whatever a file of settings in the user's folder says
            allow_multiple_runs=True,
            log_level="error",
            output_handlers=[Taken()],
        )
        tracker.start()
        return tracker

    def read(self) -> Energy | None:
        """What the training took so far, earlier starts counted in; None: nothing was measured."""
        if self._tracker is not None:
            try:
                self._tracker.flush()
            except Exception as problem:  # as in `begin`
                self._failed(problem)
        if self._here is None or self._before is None:
            return self._here or self._before
        return self._before + self._here

    def end(self) -> None:
        """Stop to count."""
        self.read()
        tracker, self._tracker = self._tracker, None
        if tracker is not None:
            try:
                tracker.stop()
            except Exception as problem:  # as in `begin`
                self._failed(problem)

    def state(self) -> dict[str, Any] | None:
        """What a restart needs."""
        found = self.read()
        return None if found is None else found.to_json()

    def _failed(self, problem: Exception) -> None:
        self._tracker = None
        log.warning(
            "The energy is no longer measured: %s: %s. The training goes on.", type(problem).__name__, problem
        )
