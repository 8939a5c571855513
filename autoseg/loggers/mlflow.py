"""MLflow: one run each, in a database beside the results, or where MLFLOW_TRACKING_URI says."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import ClassVar

from autoseg.training.logger import About, Logger

STORE = "mlflow.db"
TAG = "autoseg_run"


class mlflow(Logger):
    """Logs each column of ``progress.csv`` as a metric over steps, and the settings as parameters.

    A resumed training goes on in the same run, found by a tag; points that are there are not logged again.
    """

    package: ClassVar[str] = "mlflow"
    extra: ClassVar[str] = "mlflow"

    def __init__(self, about: About) -> None:
        super().__init__(about)
        # What a package of others reports of its use is for its users to allow.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        from mlflow.tracking import MlflowClient

        where = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(about.results / STORE).absolute()}"
        self._client = MlflowClient(tracking_uri=where)
        name = str(about.settings["dataset"])
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            experiment = found.experiment_id
        else:
            artifacts = (about.results / "mlartifacts").absolute().as_uri()
            experiment = self._client.create_experiment(name, artifact_location=artifacts)
        earlier = self._client.search_runs([experiment], f"tags.{TAG} = '{about.name}'", max_results=1)
        if earlier and about.first_step:
            self._run = earlier[0].info.run_id
            self._client.update_run(self._run, status="RUNNING")
            self._last = int(earlier[0].data.metrics.get("step", 0))
        else:
            self._run = self._client.create_run(
                experiment, run_name=about.name, tags={TAG: about.name}
            ).info.run_id
            self._last = 0
            for key, value in about.settings.items():
                self._client.log_param(self._run, key, value)

    def row(self, step: int, values: Mapping[str, float]) -> None:
        """Add a point to each curve, in one request."""
        from mlflow.entities import Metric

        if step <= self._last:
            return
        now = int(1000 * float(values.get("seconds", 0.0)))
        # MLflow's names take letters, digits, blanks and - _ . / :
        names = {name: "".join(c if c.isalnum() or c in " -_./" else "_" for c in name) for name in values}
        self._client.log_batch(
            self._run, metrics=[Metric(names[name], value, now, step) for name, value in values.items()]
        )
        self._last = step

    def end(self, finished: bool) -> None:
        """Mark the run as finished, or as to be gone on with."""
        self._client.set_terminated(self._run, "FINISHED" if finished else "KILLED")
