"""The program inside a bundle: autoseg's own modules that predict without torch, as they are.

`autoseg.bundle` and all that it imports are copied byte for byte into ``runner/autoseg``, so that a bundle
segments with the very code that is tested here. Only the packages' ``__init__.py`` are left empty there:
those of autoseg load what a bundle does not have.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from pathlib import Path

ENTRY = "autoseg.bundle.__main__"
FOLDER = "runner"
INIT = '"""Part of autoseg (Apache-2.0), see the other files."""\n'
RUN = '''"""Segment images with this bundle: python run.py INPUT OUTPUT.

Needs Python 3.11 or newer with onnxruntime, numpy, scipy and SimpleITK.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.dont_write_bytecode = True  # a bundle holds no files but its own
sys.path.insert(0, str(HERE / "runner"))

from autoseg.bundle.__main__ import main  # noqa: E402

raise SystemExit(main(bundle=HERE))
'''


def write_runner(folder: Path) -> None:
    """Write ``run.py`` and the modules that it needs into a bundle's folder."""
    (folder / "run.py").write_text(RUN, encoding="utf-8")
    for name, source in sorted(modules().items()):
        path = folder / FOLDER / Path(*name.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(source.read_bytes())
    home = folder / FOLDER / "autoseg"
    for place in [home, *(each for each in home.rglob("*") if each.is_dir())]:
        (place / "__init__.py").write_text(INIT, encoding="utf-8")


def modules() -> dict[str, Path]:
    """The modules of autoseg that a bundle's program imports, with their files; no packages."""
    found: dict[str, Path] = {}
    waiting = [ENTRY]
    while waiting:
        name = waiting.pop()
        path = _file_of(name)
        if path is not None and name not in found:
            found[name] = path
            waiting += _imported(path)
    return {name: path for name, path in found.items() if path.name != "__init__.py"}


def _file_of(name: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError:  # a name in a module
        return None
    return Path(spec.origin) if spec is not None and spec.origin else None


def _imported(path: Path) -> Iterator[str]:
    """What a module imports of autoseg when it is loaded: modules, and names that may be modules.

    What a function imports for itself is left out; a bundle calls none that does.
    """
    if path.name == "__init__.py":
        return
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "autoseg":
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
