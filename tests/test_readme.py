"""README: it is short, its links lead somewhere, and its ten lines of Python run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from autoseg.cli.app import app
from autoseg.data.synthetic import make_demo, make_new_cases

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_it_is_read_in_two_minutes() -> None:
    assert len(re.sub(r"^```.*?^```", "", README, flags=re.MULTILINE | re.DOTALL).split()) <= 400


def test_its_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)]+)\)", README)
    assert "docs/leaderboard.png" in links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_its_commands_and_options_are_there() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    lines = [line for block in blocks("bash") for line in block.splitlines() if line.startswith("autoseg ")]
    wanted = ["plan-and-train", "select", "predict", "review", "export"]
    assert [line.split()[1] for line in lines] == wanted
    for line in lines:
        known = {option for parameter in commands[line.split()[1]].params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", line)) <= known


@pytest.mark.slow
@pytest.mark.ci
def test_its_ten_lines_of_python_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = blocks("python")
    assert len(block.strip().splitlines()) == 10
    monkeypatch.chdir(tmp_path)
    make_demo(Path("demo_workspace/raw"), cases=(2, 8))
    make_new_cases(Path("demo_workspace/new_cases"))
    found: dict[str, object] = {}
    exec(compile(block, "README.md", "exec"), found)
    assert [path.name for path in found["done"].files] == ["us_new.png"]  # type: ignore[attr-defined]
    assert Path("segmentations/us_new.png").is_file()
    assert Path("demo_workspace/results/Dataset902_DemoUltrasound/leaderboard.html").is_file()
