"""The house itself: what is public, what starts fast, and what does not drag torch in."""

from __future__ import annotations

import graphlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import autoseg
from autoseg import plugins
from autoseg.errors import DISTRIBUTION, AutosegError, DataError, MissingDependency, UsageError
from autoseg.system.files import atomic_path, digest, read_json, write_json

HEAVY = ("torch", "nnunetv2", "skimage", "matplotlib", "monai")


def modules_after(code: str) -> set[str]:
    """The top-level modules that a fresh interpreter has loaded after some code."""
    script = f"{code}\nimport sys; print(' '.join({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "code",
    [
        "import autoseg",
        "import autoseg.cli.app",
        "from autoseg import verify, extract_fingerprint, plan_experiment, preprocess_dataset, make_folds",
        "import autoseg.pipeline.prepare, autoseg.cli.describe",
    ],
)
def test_the_stages_before_training_start_without_torch(code: str) -> None:
    assert not modules_after(code) & set(HEAVY)


ROOT = Path(__file__).parents[1]


def test_a_wheel_has_every_folder_and_file() -> None:
    """A checkout has all of them anyway: only who installs a wheel would miss one."""
    setup = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    folders = {path.parent for path in (ROOT / "autoseg").rglob("*.py")}
    expected = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    assert set(setup["packages"]) == expected | {"autoseg.plans"}
    shipped = {
        path
        for package, patterns in setup["package-data"].items()
        for pattern in patterns
        for path in (ROOT / setup["package-dir"].get(package, package.replace(".", "/"))).glob(pattern)
    }
    others = {
        path
        for path in (ROOT / "autoseg").rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    }
    assert others <= shipped


def test_every_public_name_is_there() -> None:
    for name in autoseg.__all__:
        assert getattr(autoseg, name)
    assert len(autoseg.__all__) <= 24
    with pytest.raises(AttributeError):
        autoseg.nothing_of_the_kind  # noqa: B018


def test_help_lists_the_walk() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "autoseg", "--help"], capture_output=True, text=True, check=True
    )
    for command in ("plan-and-train", "verify", "fingerprint", "plan", "train", "predict", "leaderboard"):
        assert command in done.stdout


def test_the_version_is_printed() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "autoseg", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"autoseg {autoseg.__version__}\n"


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "value.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="boom"), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise ValueError("boom")
    assert read_json(path) == {"a": 1}
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"a": float("nan")})
    assert read_json(path) == {"a": 1}
    assert [item.name for item in path.parent.iterdir()] == ["value.json"]


def test_unreadable_json_says_which_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"missing\.json"):
        read_json(tmp_path / "missing.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(DataError, match=r"bad\.json"):
        read_json(tmp_path / "bad.json")


def test_a_digest_does_not_depend_on_the_order_of_keys() -> None:
    assert digest({"a": 1, "b": [2]}) == digest({"b": [2], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})


def test_plugins_are_found_by_file_name_and_by_path(tmp_path: Path) -> None:
    assert {"nnunet", "brainunet", "resnet34_mlp"} <= set(plugins.available("trainers"))
    own = tmp_path / "mine.py"
    own.write_text("VALUE = 3\n")
    assert plugins.find("architectures", str(own)).VALUE == 3
    with pytest.raises(UsageError, match="brainunet"):
        plugins.find("architectures", "no_such_network")


def test_the_distribution_is_not_the_other_autoseg() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert project["name"] == DISTRIBUTION != "autoseg"
    assert list(project["scripts"]) == ["autoseg"]
    assert autoseg.__version__ in (project["version"], "unknown")  # unknown where it is not installed


def test_errors_are_one_family_with_exit_statuses() -> None:
    assert UsageError("x").exit_status == 2
    assert DataError("x").exit_status == 1
    assert "pip install 'autoseg-medical[cluster]'" in str(
        MissingDependency("snakemake", "cluster", "The cluster engine")
    )
    assert issubclass(MissingDependency, AutosegError)


def test_no_module_imports_itself_by_a_detour() -> None:
    """Circles within a folder are below the contract of floors; imports for types alone do not count."""
    grimp = pytest.importorskip("grimp", reason="comes with import-linter")
    graph = grimp.build_graph("autoseg", exclude_type_checking_imports=True)
    order = graphlib.TopologicalSorter(
        {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    )
    order.prepare()  # raises CycleError, which names the circle
