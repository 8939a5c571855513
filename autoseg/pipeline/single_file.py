"""One image in, one file out: `autoseg predict MODEL scan.nii.gz organs.nii.gz`."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoseg.data.dicom.headers import is_dicom
from autoseg.data.dicom_objects.result import Form
from autoseg.errors import UsageError
from autoseg.inference.inputs import ending_of
from autoseg.pipeline.single_stages import predict_folder
from autoseg.system.files import temporary_folder
from autoseg.system.named_outputs import named_output, refuse_foreign

if TYPE_CHECKING:
    from autoseg.inference.predict import Predicted


def names_file(output: Path) -> bool:
    """Whether an output is meant as a file: its name ends as that of an image, and no folder is called so."""
    return bool(ending_of(output.name)) and not output.is_dir()


def predict_file(
    model: Path, source: Path, output: Path, *, form: Form, overwrite: bool = False, **options: Any
) -> Predicted:
    """Segment one image, or one DICOM file of many frames, into a file of a given name.

    It is made anew each time, and nothing else is written. How good it will be is said in a folder alone.

    Args:
        model: a model's folder, or a bundle.
        source: the file. Of an image CASE_0000 the further channels lie beside it.
        output: the file to write, of the ending that a result has.
        form: of the result of DICOM.
        overwrite: replace a file that is there, whoever wrote it.
        options: see `predict_folder`.

    Raises:
        UsageError: if the source is no file, the result has another ending, or the output is there and
            was not written by this program.
    """
    ending = form.ending if source.is_file() and is_dicom(source) else ending_of(source.name)
    stem = output.name[: len(output.name) - len(ending_of(output.name))]
    if not source.is_file():
        raise UsageError(
            f"{output} is the name of a file, and INPUT is none: {source}. Of a folder OUTPUT is a folder: "
            f"autoseg predict {model} {source} {output.with_name(stem)}"
        )
    if not output.name.endswith(ending):
        raise UsageError(
            f"The result of {source.name} ends in {ending}, not as {output.name}. Write autoseg predict "
            f"{model} {source} {output.with_name(stem + ending)}"
        )
    if options.get("probabilities"):
        raise UsageError("--probabilities writes a second file. Give OUTPUT a folder.")
    if os.path.realpath(source) == os.path.realpath(output):
        raise UsageError(f"{output} is INPUT and OUTPUT. Give OUTPUT another name.")
    if not overwrite:
        refuse_foreign([output])
    with named_output(output, overwrite) as made, temporary_folder(made) as folder:
        done = predict_folder(model, source, folder, form=form, **{**options, "quality": False})
        for path in done.files:
            _take(path, made)
    return replace(done, files=(output,) if done.files else ())


def _take(path: Path, made: Path) -> None:
    """Move a result, and what states the spacing of a TIFF."""
    spacing = path.with_suffix(".json")
    if spacing.is_file():
        os.replace(spacing, made.with_suffix(".json"))
    os.replace(path, made)
