"""A race, end to end, through the command that a user types, on generated data."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from stock_nnunet import BIN

from autoseg.data.synthetic import make_demo

pytestmark = pytest.mark.slow


OWN = '''"""A narrow U-Net."""

from typing import ClassVar

from autoseg.training import Trainer


class narrow(Trainer):
    """A U-Net of 8 features in its first level, for pictures."""

    architecture = "unet"
    architecture_options: ClassVar = {"width": 8}
    dimensions = (2,)
    optimizer_name = "adamw"
    learning_rate = 1e-3
    deep_supervision = False
'''


def race(root: Path) -> dict[str, Any]:
    """What `--json` gives for two trainers that race on images, one of them a file."""
    own = root / "narrow.py"
    own.write_text(OWN)
    command = [str(BIN / "autoseg"), "plan-and-train", str(root / "raw" / "Dataset902_DemoUltrasound")]
    command += ["--trainers", f"{own},resnet34_mlp", "--folds", "0", "--budget", "3m", "--race"]
    done = subprocess.run(
        [*command, "--device", "cpu", "--workspace", str(root), "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_a_race_that_lost_its_last_rung_goes_on_there(tmp_path: Path) -> None:
    make_demo(tmp_path / "raw", cases=(6, 12))
    walked = race(tmp_path)
    assert {row["trainer"] for row in walked["rows"]} == {"narrow", "resnet34_mlp"}
    assert all(row["dice"] is not None for row in walked["rows"])
    (file,) = tmp_path.glob("results/*/races/*/race.json")
    content = json.loads(file.read_text())
    assert content["looks"][-1]["stretch"]["until_s"] is None
    assert "The race" in Path(walked["page"]).read_text()

    # As if it had been killed before the last rung was decided: nothing is trained again.
    ends = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("checkpoint_final.pth")}
    assert ends
    file.write_text(json.dumps({**content, "looks": content["looks"][:-1]}))
    again = race(tmp_path)
    assert json.loads(file.read_text())["looks"] == content["looks"]
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("checkpoint_final.pth")} == ends
    assert [row["dice"] for row in again["rows"]] == [row["dice"] for row in walked["rows"]]
