"""A trained model as a folder with a page that segments in a browser, opened from a disk or a static server.

A page that is opened from a disk may read no other file but scripts. So weights, runtime and worker stand in
scripts, as base64; and the runtime computes in one thread, as more take headers that only a server sends.
"""

from __future__ import annotations

import base64
import gzip
import html
import json
import logging
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from autoseg import __version__
from autoseg.bundle.archive import MANIFEST, MODEL, Bundle, is_bundle, manifest_of
from autoseg.bundle.description import Description
from autoseg.errors import RunError, UsageError
from autoseg.system.documents import parse_json
from autoseg.system.files import atomic_folder, temporary_folder, write_json, write_text
from autoseg.system.npm_packages import NIIVUE, NpmPackage, package_files

log = logging.getLogger(__name__)

ONNXRUNTIME: Final = NpmPackage(
    "onnxruntime-web",
    "1.30.0",
    "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ==",
)
DICOM_PARSER: Final = NpmPackage(
    "dicom-parser",
    "1.8.21",
    "sha512-lYCweHQDsC8UFpXErPlg86Px2A8bay0HiUY+wzoG3xv5GzgqVHU3lziwSc/Gzn7VV7y2KeP072SzCviuOoU02w==",
)
# Of the readers of a bundle; NIfTI and PNG are what the page reads beside DICOM.
_ENDINGS: Final = (".nii.gz", ".nii", ".png")
_WORKER: Final = ("arrays.js", "images.js", "dicom.js", "segment.js", "worker.js")
_PIECE: Final = 3 * 2**20  # bytes; a multiple of 3, so that base64 pieces can be decoded one by one
_PIECES_A_SCRIPT: Final = 8
_RUNTIME: Final = "dist/ort-wasm-simd-threaded"


def export_web(model: Path, output: Path) -> Path:
    """Write a trained model, or a bundle, as a folder that segments in a browser.

    Args:
        model: a model's folder, that of an ensemble, or a bundle.
        output: a new folder.

    Returns:
        `output`.

    Raises:
        MissingDependency: without the packages of ``autoseg-medical[onnx]``, where the model is no bundle.
        PackageUnavailable: if a package of npm is neither in the cache nor can be fetched.
        RunError: if the model cannot be a bundle, or takes images that the page does not read.
        UsageError: if the output is there already, or is to be a zip.
    """
    if output.suffix.lower() == ".zip":
        raise UsageError(f"{output} is to be a zip; a page is opened from a folder. Give a folder's name.")
    parts = vendored()
    if is_bundle(model):
        _write(Bundle.open(model), parts, output)
        return output
    from autoseg.export.to_onnx import export_bundle

    with temporary_folder(output.with_name(f"{output.name}.bundle")) as place:
        # Browsers have none of the kernels for which convolutions are written in 2D.
        _write(Bundle.open(export_bundle(model, place / "bundle", flat=False)), parts, output)
    return output


def vendored() -> dict[str, bytes]:
    """What the page takes from packages of npm, by the names that it has there."""
    runtime = package_files(ONNXRUNTIME, ("dist/ort.wasm.min.js", f"{_RUNTIME}.mjs", f"{_RUNTIME}.wasm"))
    dicom = package_files(DICOM_PARSER, ("dist/dicomParser.min.js", "LICENSE"))
    viewer = package_files(NIIVUE, ("dist/niivue.umd.js",))
    return {
        "ort.js": runtime["dist/ort.wasm.min.js"],
        "runtime.mjs": runtime[f"{_RUNTIME}.mjs"],
        "runtime.wasm": runtime[f"{_RUNTIME}.wasm"],
        "dicom.js": dicom["dist/dicomParser.min.js"],
        "dicom.txt": dicom["LICENSE"],
        "niivue.js": viewer["dist/niivue.umd.js"],
    }


def _write(bundle: Bundle, parts: Mapping[str, bytes], output: Path) -> None:
    content = parse_json(bundle.read(MODEL))
    about = Description.from_json(content)
    if about.file_ending not in _ENDINGS:
        raise RunError(
            f"{about.name} takes {about.file_ending} files; the page reads {', '.join(_ENDINGS)} and DICOM. "
            f"Export it with --to onnx."
        )
    if any(member.previous is not None for member in about.members):
        raise RunError(
            f"{about.name} is a cascade, whose two stages the page cannot compute. Export it with --to onnx."
        )
    with atomic_folder(output) as folder:
        embedded = {
            "worker.js": (_worker(parts), False),
            "runtime.wasm": (gzip.compress(parts["runtime.wasm"], 9, mtime=0), True),
            "runtime.mjs": (parts["runtime.mjs"], False),
        }
        scripts = ["page_model.js"]
        write_text(folder / scripts[0], _model_script(content))
        networks = {name: (bundle.read(name), False) for member in about.members for name in member.networks}
        scripts += _write_scripts(folder, embedded | networks)
        (folder / "niivue.js").write_bytes(parts["niivue.js"])
        for name in ("page.js", "page.css"):
            write_text(folder / name, _own(name))
        write_text(folder / "index.html", _page(about, [*scripts, "niivue.js", "page.js"]))
        write_text(folder / "LICENSES.txt", _licences(parts["dicom.txt"].decode()))
        (folder / "card.md").write_bytes(bundle.read("card.md"))
        (folder / MODEL).write_bytes(bundle.read(MODEL))
        write_json(folder / MANIFEST, manifest_of(folder))
    size = sum(path.stat().st_size for path in output.rglob("*") if path.is_file())
    log.info("%s: open index.html; %.0f MB.", output, size / 1e6)


def _own(name: str) -> str:
    return (files("autoseg.export") / "web" / name).read_text(encoding="utf-8")


def _worker(parts: Mapping[str, bytes]) -> bytes:
    """One script of all that computes."""
    return b"\n".join([parts["ort.js"], parts["dicom.js"], *(_own(name).encode() for name in _WORKER)])


def _model_script(content: Mapping[str, Any]) -> str:
    # What only the card needs stays out; of quality the page says nothing.
    wanted = {key: value for key, value in content.items() if key not in ("quality", "codes", "about")}
    return f"var autosegFiles = {{}};\nvar autosegModel = {json.dumps(wanted)};\n"


def _write_scripts(folder: Path, embedded: Mapping[str, tuple[bytes, bool]]) -> Iterator[str]:
    """Write files as scripts of a size that browsers read well, and give their names."""
    (folder / "files").mkdir()
    for name, (content, packed) in embedded.items():
        stem = name.replace("/", "_").replace(".", "_")
        pieces = [content[at : at + _PIECE] for at in range(0, max(1, len(content)), _PIECE)]
        for number, at in enumerate(range(0, len(pieces), _PIECES_A_SCRIPT)):
            some = [base64.b64encode(each).decode() for each in pieces[at : at + _PIECES_A_SCRIPT]]
            entry = f"autosegFiles[{json.dumps(name)}]"
            begin = f"{entry} = {{ packed: {json.dumps(packed)}, pieces: [] }};\n" if number == 0 else ""
            script = f"files/{stem}_{number}.js"
            write_text(folder / script, f"{begin}{entry}.pieces.push(...{json.dumps(some)});\n")
            yield script


def _page(about: Description, scripts: list[str]) -> str:
    ending = "a PNG" if about.file_ending == ".png" else "an image (NIfTI or DICOM)"
    several = len(about.channels) > 1
    filled = {
        "name": about.name,
        "structures": ", ".join(about.labels.structures),
        "channels": ", ".join(about.channels),
        "inputs": f"the {len(about.channels)} files of an image" if several else ending,
        "version": __version__,
    }
    page = _own("page.html").replace(
        "{{ no_series }}", " hidden" if several or about.file_ending == ".png" else ""
    )
    for key, value in filled.items():
        page = page.replace(f"{{{{ {key} }}}}", html.escape(value))
    tags = "\n".join(f'<script src="{script}"></script>' for script in scripts)
    return page.replace("{{ scripts }}", tags)


def _licences(dicom: str) -> str:
    return _own("LICENSES.txt").format(
        version=__version__,
        runtime=ONNXRUNTIME.version,
        viewer=NIIVUE.version,
        parser=DICOM_PARSER.version,
        dicom=dicom.strip(),
    )
