"""Every case of a folder through a bundle: images of the model's format, or DICOM series."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from autoseg.bundle.images import find_cases, read_case, write_case
from autoseg.bundle.segment import Labelled, Segmenter
from autoseg.data.codes import codes_of
from autoseg.data.dicom.stack import Stack
from autoseg.data.dicom_objects.maker import Maker
from autoseg.data.dicom_objects.result import Form, read_series
from autoseg.data.dicom_objects.series_inputs import is_series, series_in
from autoseg.data.dicom_objects.structures import Structure, structures_of
from autoseg.data.image import Image
from autoseg.data.results_place import is_among_images
from autoseg.errors import DataError, UsageError
from autoseg.trust.assess import Assessor
from autoseg.trust.own_files import refuse_foreign


@dataclass(frozen=True)
class Request:
    """What is wanted of a folder's segmentations.

    Attributes:
        overwrite: replace what is there.
        quality: write ``quality.json`` and ``quality.csv`` as well, where the bundle can say how good each
            segmentation will be.
        form: of the results of DICOM series.
        mend: whether DICOM series with uneven distances between slices are interpolated.
    """

    overwrite: bool = False
    quality: bool = True
    form: Form = field(default_factory=Form)
    mend: bool = False


@dataclass(frozen=True)
class _Work:
    images: Sequence[Path]
    target: Path
    read: Callable[[], Image]
    write: Callable[[Labelled, Image], None]


def segment_folder(
    segmenter: Segmenter,
    source: Path,
    output: Path,
    request: Request | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> tuple[list[Path], dict[str, str]]:
    """Segment every case of a folder, or one file, and write each on its own grid.

    Args:
        segmenter: the bundle.
        source: a folder of images named ``CASE_0000.ending``, or one file; or DICOM: a folder or a file.
        output: a folder; created if need be.
        request: what is wanted; the usual if None.
        tell: gets a line for each case.

    Returns:
        The files, and the cases that were left out, each with the reason.

    Raises:
        DataError: if the source holds no case.
        RunError: if quality.json, quality.csv or triage.html is there and was not written by autoseg, or an
            image would be replaced.
        UsageError: if a file is there already, before any is written.
    """
    about, request = segmenter.description, request or Request()
    left_out: dict[str, str] = {}
    if is_series(source, about.file_ending):
        works = _series(segmenter, source, output, request, left_out, tell)
    else:
        request.form.check_plain(source)
        works = _images(segmenter, source, output)
    there = [work.target for work in works.values() if work.target.exists()]
    images = [path for work in works.values() for path in work.images]
    among = is_among_images(images, [work.target for work in works.values()])
    remedy = "Give another folder." if among else "Give another folder, or --overwrite."
    if there and (among or not request.overwrite):
        raise UsageError(f"{there[0]} is there already. {remedy}")
    written = []
    assessor = Assessor(about.quality, about.labels, output) if request.quality and about.quality else None
    if assessor is not None and (among or not request.overwrite):
        refuse_foreign(output, remedy)
    for name, work in works.items():
        try:
            image = work.read()
            assess = None if assessor is None else partial(assessor.add, name)
            work.write(segmenter.segment(image, assess), image)
            written.append(work.target)
            tell(f"{name}: {work.target}")
        except DataError as problem:
            left_out[name] = str(problem)
            tell(f"{name}: left out. {problem}")
    if assessor is not None:
        assessor.save()
    return written, left_out


def _images(segmenter: Segmenter, source: Path, output: Path) -> dict[str, _Work]:
    about, works = segmenter.description, {}
    for name, paths in find_cases(source, about.file_ending, len(about.channels)).items():
        target = output / f"{name}{about.file_ending}"
        write = partial(_write_image, target, about.reader)
        works[name] = _Work(paths, target, partial(read_case, paths, about.reader), write)
    return works


def _write_image(target: Path, reader: str, labels: Labelled, image: Image) -> None:
    write_case(labels, target, image, reader)


def _series(
    segmenter: Segmenter,
    source: Path,
    output: Path,
    request: Request,
    left_out: dict[str, str],
    tell: Callable[[str], None],
) -> dict[str, _Work]:
    """The series that the model takes; what is left out goes to `left_out`, and all else is told."""
    about = segmenter.description
    names = {"labels": about.labels.names, "codes": about.codes}
    structures = structures_of(about.labels, codes_of(names))
    request.form.check(structures)
    options = {"mirroring": segmenter.mirroring, "step_size": segmenter.step_size}
    version = str(about.about.get("version", "unknown"))
    maker = Maker.of([about.name], version, [segmenter.hash], options)
    inputs = series_in(source, about.channels, about.reader, request.mend)
    for path, reason in inputs.passed_over:
        tell(f"passed over: {path}: {reason}")
    for path, reason in inputs.left_out:
        left_out[str(path)] = reason
        tell(f"{path}: left out. {reason}")
    works = {}
    for case in inputs.cases:
        target = output / f"{case.name}{request.form.ending}"
        write = partial(_write_series, request.form, target, case.stack, structures, maker)
        works[case.name] = _Work(
            case.stack.files, target, partial(read_series, case.stack, about.channels[0]), write
        )
    return works


def _write_series(
    form: Form,
    target: Path,
    stack: Stack,
    structures: Sequence[Structure],
    maker: Maker,
    labels: Labelled,
    image: Image,
) -> None:
    form.write(labels, target, stack, image, structures, maker)
