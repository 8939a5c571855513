"""Suites: what a benchmark runs, as a YAML file that is checked before anything starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from autoseg import plugins
from autoseg.benchmark.suite.model import DEMO, Axes, DatasetEntry, Pattern, Resources, Suite, dataset_entries
from autoseg.benchmark.suite.yaml_document import Document, explain, read_document
from autoseg.errors import UsageError
from autoseg.names import path_problem, shown
from autoseg.system.documents import DocumentError
from autoseg.system.files import read_bounded
from autoseg.system.option_values import nearest
from autoseg.tailoring.spec_text import read_spec

LARGEST_BYTES = 4 * 2**20

__all__ = [
    "DEMO",
    "Axes",
    "DatasetEntry",
    "Pattern",
    "Resources",
    "Suite",
    "find_suite",
    "load_suite",
    "parse_suite",
    "shipped_suites",
]


def load_suite(source: Path | str, datasets: Sequence[str] = ()) -> Suite:
    """Read a suite from a file, or one that ships with autoseg by its name.

    Args:
        source: a YAML file, or the name of a suite that autoseg brings along.
        datasets: instead of those that it names, includes too.

    Raises:
        UsageError: if there is none, or it says what makes no sense: with file, line, value and choices.
    """
    path = find_suite(source)
    try:
        text = read_bounded(path, LARGEST_BYTES).decode("utf-8-sig")
    except (OSError, DocumentError) as problem:
        said = problem.strerror if isinstance(problem, OSError) else problem
        raise UsageError(f"{path} cannot be read: {said}. Give a YAML file that you may read.") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not text in UTF-8. Give a YAML file.") from None
    suite = parse_suite(text, path)
    if not datasets:
        return suite
    entries = tuple(DatasetEntry(**entry) for entry in dataset_entries(list(datasets)))
    includes = tuple(part.model_copy(update={"datasets": entries}) for part in suite.include)
    return suite.model_copy(update={"datasets": entries, "include": includes})


def parse_suite(text: str, path: Path) -> Suite:
    """A suite from the text of a file.

    Raises:
        As `load_suite`.
    """
    document = read_document(text, str(path))
    if not isinstance(document.content, dict):
        raise document.error((), "a suite is a mapping with the keys datasets, trainers, ... Write these.")
    content = {"name": path.stem, **document.content}
    _inherit(content)
    try:
        suite = Suite.model_validate(content)
    except ValidationError as error:
        raise explain(document, error, Suite) from None
    return _with_paths(suite, path, document)


_INHERITED = tuple(Axes.model_fields)


def _inherit(content: dict[str, Any]) -> None:
    """Give each include what it does not say itself."""
    includes = content.get("include")
    if not isinstance(includes, list):
        return
    own = {key: content[key] for key in _INHERITED if key in content}
    content["include"] = [_merged(own, entry) if isinstance(entry, Mapping) else entry for entry in includes]


def _merged(own: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, Any]:
    exclusive = {"budget": "epochs", "epochs": "budget"}
    return {**{key: value for key, value in own.items() if exclusive.get(key) not in entry}, **entry}


def _with_paths(suite: Suite, path: Path, document: Document) -> Suite:
    """Paths relative to the suite's file as absolute ones; each data set once."""
    base = path.resolve().parent

    def at(place: str | Path, where: tuple[str | int, ...]) -> Path:
        if problem := path_problem(found := base / place):
            raise document.error(where, f"{shown(str(place))} {problem}. Correct the path.")
        return found

    def placed(entries: Sequence[DatasetEntry], where: tuple[str | int, ...]) -> tuple[DatasetEntry, ...]:
        found: dict[str, DatasetEntry] = {}
        for entry in entries:
            raw = at(entry.dataset, where)
            name = str(raw.resolve()) if (raw / "dataset.json").is_file() else entry.dataset
            groups = None if entry.groups is None else at(entry.groups, where).resolve()
            if groups is not None and not groups.is_file():
                raise document.error(where, f"there is no table of groups {groups}. Correct the path.")
            source = None if entry.source is None else at(entry.source, where).resolve()
            own = entry.layout.endswith(".py")
            layout = str(at(entry.layout, where).resolve()) if own else entry.layout
            update = {"dataset": name, "groups": groups, "source": source, "layout": layout}
            found[name] = entry.model_copy(update=update)
        return tuple(found.values())

    def weights(names: Sequence[str], where: tuple[str | int, ...]) -> tuple[str, ...]:
        places = ((name, at(name, where)) for name in names)
        return tuple(str(place.resolve()) if place.exists() else name for name, place in places)

    def own(texts: Sequence[str], where: tuple[str | int, ...]) -> tuple[str, ...]:
        try:
            return tuple(_placed_trainer(text, base) for text in texts)
        except UsageError as problem:
            raise document.error(where, str(problem)) from None

    def whole(part: Axes, where: tuple[str | int, ...]) -> dict[str, Any]:
        return {
            "datasets": placed(part.datasets, (*where, "datasets")),
            "trainers": own(part.trainers, (*where, "trainers")),
            "init": weights(part.init, (*where, "init")),
        }

    includes = tuple(
        part.model_copy(update=whole(part, ("include", i))) for i, part in enumerate(suite.include)
    )
    foreign = []
    for i, entry in enumerate(suite.foreign):
        path_of = at(entry.path, ("foreign", i)).resolve()
        if not path_of.exists():
            raise document.error(("foreign", i), f"there is no file or folder {path_of}. Correct the path.")
        foreign.append(entry.model_copy(update={"path": path_of}))
    return suite.model_copy(update={**whole(suite, ()), "include": includes, "foreign": tuple(foreign)})


def _placed_trainer(text: str, base: Path) -> str:
    """A trainer with its options; a file of one's own by its absolute path, and sure to have a trainer.

    Raises:
        UsageError: if there is no such file, no trainer in it, or an option is wrong.
    """
    name, *options = text.split(":")
    if not name.endswith(".py"):
        return text
    if problem := path_problem(base / name):
        raise UsageError(f"{shown(name)} {problem}. Correct the path.")
    path = str((base / name).resolve())
    plugins.trainer_name(path)
    placed = ":".join([path, *options])
    read_spec(placed)
    return placed


def shipped_suites() -> dict[str, Path]:
    """The suites that ship with autoseg, by name."""
    import importlib.resources

    folder = importlib.resources.files("autoseg.plans") / "suites"
    with importlib.resources.as_file(folder) as path:
        return {file.stem: file for file in sorted(path.glob("*.yaml"))}


def find_suite(source: Path | str) -> Path:
    """The file of a suite: a path, or the name of one that ships.

    Raises:
        UsageError: if there is none.
    """
    path = Path(source)
    if path.is_file():
        return path
    shipped = shipped_suites()
    if str(source) in shipped:
        return shipped[str(source)]
    raise UsageError(
        f"There is no suite {str(source)!r}.{nearest(str(source), list(shipped))} "
        f"Give a YAML file, or one that ships: {', '.join(shipped) or 'none'}."
    )
