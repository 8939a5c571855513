"""A model that stays loaded, and what it makes of a job."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoseg import __version__
from autoseg.data import readers as images
from autoseg.data.codes import codes_of
from autoseg.data.dataset import labels_from_json
from autoseg.data.dicom_objects.maker import Maker
from autoseg.data.dicom_objects.result import Form
from autoseg.data.dicom_objects.structures import Structure, structures_of
from autoseg.data.image import Array, Image
from autoseg.errors import DataError, UsageError
from autoseg.inference.predict import Predictor, channels_of, expect, segmented
from autoseg.inference.predict_dicom import stored_of
from autoseg.names import script_problem, shown
from autoseg.pipeline.fast_prediction import rule_for
from autoseg.pipeline.single_stages import loaded_models, model_name, quality_of
from autoseg.serving.reader_process import ReaderProcess
from autoseg.serving.reading import Facts, Source, find_sources, read_source
from autoseg.trust.assess import Assessor

if TYPE_CHECKING:
    from autoseg.inference.options import Options
    from autoseg.trust.quality_model import QualityModel

log = logging.getLogger(__name__)

# Jobs to come, for an engine that is worth trying where there is much to predict.
_MANY = 1000


@dataclass(frozen=True)
class How:
    """How models predict.

    Attributes:
        device: where to compute.
        mirroring: whether predictions are averaged over mirrored copies.
        step_size: of the sliding window, in patches.
        options: engine and what else.
        form: of the results of DICOM series.
        mend: whether series with uneven distances are interpolated.
        largest: bytes that a zip may unpack to.
    """

    device: str
    mirroring: bool
    step_size: float
    options: Options
    form: Form
    mend: bool
    largest: int


@dataclass(frozen=True)
class Done:
    """What became of a job: names of files, and inputs without a result."""

    files: tuple[str, ...]
    left_out: dict[str, str]


@dataclass(frozen=True)
class ServedModel:
    """A model, loaded.

    Attributes:
        name: by which jobs ask for it.
        predictor: the model.
        quality: says how good predictions will be; None where that is not known.
        facts: what reading has to know.
        structures: what its labels are.
        maker: what stands in a DICOM object about it.
        how: how it predicts.
        hashes: of what predicts.
    """

    name: str
    predictor: Predictor
    quality: QualityModel | None
    facts: Facts
    structures: tuple[Structure, ...]
    maker: Maker
    how: How
    hashes: tuple[str, ...]

    @classmethod
    def load(cls, name: str, path: Path, how: How) -> ServedModel:
        """Load a model's folder, zip or bundle.

        Raises:
            RunError: if it is not complete.
            UsageError: if its results cannot have the form that is wanted.
        """
        loaded, hashes = loaded_models((path,), how.device, how.mirroring, how.step_size, True, how.options)
        expect(loaded, _MANY)
        rule = rule_for((path,), loaded, hashes, how.device, how.options)
        about = loaded.dataset_json
        structures = structures_of(labels_from_json(about), codes_of(about))
        how.form.check(structures)
        options: dict[str, Any] = {"mirroring": how.mirroring, "step_size": how.step_size}
        if rule is not None:
            options["fast"] = rule.how
            log.info("%s predicts fast: %s. %s", name, rule.words, rule.change_in_words)
        facts = Facts(about["file_ending"], tuple(channels_of(loaded)), loaded.reader, how.mend)
        maker = Maker.of([model_name(path)], __version__, hashes, options)
        return cls(name, loaded, quality_of([path], loaded), facts, structures, maker, how, tuple(hashes))

    def to_json(self) -> dict[str, Any]:
        """What a sender has to know."""
        return {
            "name": self.name,
            "channels": list(self.facts.channels),
            "file_ending": self.facts.ending,
            "labels": {str(k): v for k, v in self.predictor.dataset_json["labels"].items()},
            "quality": self.quality is not None,
            "sha256": list(self.hashes),
        }

    def segment(self, paths: Sequence[Path], reader: ReaderProcess, work: Path, output: Path) -> Done:
        """Segment all images of a job into a folder.

        Args:
            paths: what the job holds.
            reader: reads it.
            work: a folder for what a zip holds.
            output: a folder that is there.

        Raises:
            DataError: if there is no result at all.
        """
        found = reader.call(find_sources, tuple(paths), self.facts, work, self.how.largest)
        left_out, files = dict(found.left_out), []
        labels = labels_from_json(self.predictor.dataset_json)
        assessor = None if self.quality is None else Assessor(self.quality, labels, output)
        for source in found.images:
            try:
                files.append(self._segment(source, reader, output, assessor))
            except DataError as problem:
                left_out[source.name] = str(problem)
        if not files:
            first = next(iter(left_out.values()), "it holds no image")
            raise DataError(f"There is nothing to segment: {first}")
        if assessor is not None:
            assessor.save()
            files += [path.name for path in sorted(output.glob("quality.*"))]
        return Done(tuple(files), left_out)

    def _segment(self, source: Source, reader: ReaderProcess, output: Path, assessor: Assessor | None) -> str:
        image: Image = reader.call(read_source, source, self.facts)
        orientation = self.predictor.orientation
        if source.stack is not None:
            orientation = stored_of(self.predictor)
        labels, _ = segmented(self.predictor, image, orientation, source.name, assessor)
        return self._write(source, image, labels, reader, output)

    def _write(self, source: Source, image: Image, labels: Array, reader: ReaderProcess, output: Path) -> str:
        if source.stack is None:
            target = output / f"{source.name}{self.facts.ending}"
            images.write_segmentation(labels, target, image.properties, self.predictor.reader)
            return target.name
        target = output / f"{source.name}{self.how.form.ending}"
        # It reads the series' headers again.
        write = partial(self.how.form.write, labels, target, source.stack, image)
        reader.call(write, self.structures, self.maker)
        return target.name


def named_models(given: Sequence[str]) -> dict[str, Path]:
    """Models by their names: ``NAME=PATH``, or a path, whose own name is taken.

    Raises:
        UsageError: if two have one name, or a name cannot be a folder's.
    """
    found: dict[str, Path] = {}
    for text in given:
        before, equals, after = text.partition("=")
        if Path(text).exists() or not equals:
            name, path = Path(text).resolve().name.removesuffix(".zip"), Path(text)
        else:
            name, path = before.strip(), Path(after)
        if problem := script_problem(name):
            raise UsageError(f"The name {shown(name)} of a model {problem}. Give it one: NAME={path}.")
        if name in found:
            raise UsageError(
                f"Two models are called {name!r}: {found[name]} and {path}. Give them names: NAME=PATH."
            )
        if not path.exists():
            raise UsageError(f"There is no model {path}. Check the path.")
        found[name] = path
    return found
