"""The installed nnU-Net's planners, to compare with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

Stock = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def stock_plan() -> Iterator[Stock]:
    """Give ``stock_plan(planner, fingerprint, dataset_json, **options)``: the installed package's plan."""
    script = Path(__file__).with_name("stock_planner.py")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "nnUNet_n_proc_DA": "1"}
    process = subprocess.Popen(
        [sys.executable, str(script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    )
    requests, answers = process.stdin, process.stdout
    assert requests is not None and answers is not None

    def plan(
        planner: str,
        fingerprint: Mapping[str, Any],
        dataset_json: Mapping[str, Any],
        reader: str = "SimpleITKIO",
        **options: Any,
    ) -> dict[str, Any]:
        request = {
            "planner": planner,
            "fingerprint": fingerprint,
            "dataset_json": dataset_json,
            "reader": reader,
            "options": options,
        }
        requests.write(json.dumps(request) + "\n")
        requests.flush()
        answer = json.loads(answers.readline())
        assert "plan" in answer, answer["error"]
        document: dict[str, Any] = answer["plan"]
        return document

    yield plan
    requests.close()
    process.wait(timeout=60)
