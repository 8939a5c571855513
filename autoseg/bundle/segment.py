"""From a raw image to its segmentation with the networks of a bundle, in onnxruntime."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoseg.bundle.archive import MODEL, Bundle, BundleError
from autoseg.bundle.description import Description, Member
from autoseg.bundle.sliding_window import Floats, Network, predict_slabs
from autoseg.data.image import Image
from autoseg.data.orientation import turned_as_learnt
from autoseg.decoding.decoded import Saved, activated, decoded
from autoseg.decoding.rules import Decoding
from autoseg.errors import DataError, MissingDependency, RunError
from autoseg.postprocessing.apply import postprocess
from autoseg.postprocessing.rules import Postprocessing
from autoseg.preprocessing.fit_case import crop_case, fit_image, fit_second_stage
from autoseg.preprocessing.restore import restore_probabilities, restore_slabs
from autoseg.system.documents import DocumentError, parse_json
from autoseg.system.files import digest
from autoseg.trust.evidence import Evidence, seen_by

Labelled = NDArray[Any]
Shapes = tuple[tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True)
class Segmenter:
    """A bundle, loaded and ready.

    Attributes:
        description: what its model.json says.
        networks: those of all stages, by the name of their file.
        mirroring: whether predictions are averaged over mirrored copies where a member allows it.
        step_size: step of the sliding window, in patches; None: each member's own.
        postprocessing: whether the rules of the bundle are applied, and its decoding.
        hash: SHA-256 of all files of the bundle, hexadecimal.
    """

    description: Description
    networks: Mapping[str, Network]
    mirroring: bool = True
    step_size: float | None = None
    postprocessing: bool = True
    hash: str = ""

    @classmethod
    def load(
        cls,
        path: Path,
        *,
        threads: int = 0,
        mirroring: bool = True,
        step_size: float | None = None,
        postprocessing: bool = True,
    ) -> Segmenter:
        """Open a bundle, check it and load its networks.

        Args:
            path: a folder or a zip.
            threads: number of onnxruntime's threads; 0: one for each core.
            mirroring: see the class.
            step_size: see the class.
            postprocessing: see the class.

        Raises:
            BundleError: if the bundle is not what was written.
            MissingDependency: without onnxruntime.
        """
        # Networks may be large, so that they are read and compared once, when they are loaded.
        bundle = Bundle.open(path, check=False)
        try:
            content = parse_json(bundle.read(MODEL))
        except DocumentError as problem:
            raise BundleError(
                f"{MODEL} of {bundle.path} is not valid: {problem}. Get the bundle again."
            ) from None
        description = Description.from_json(content)
        bundle.check(but=(MODEL, *(name for stage in description.stages for name in stage.networks)))
        networks = {
            name: load_network(bundle.read(name), name, threads, _shapes(description, stage))
            for stage in description.stages
            for name in stage.networks
        }
        whole = digest({name: entry.sha256 for name, entry in bundle.entries.items()})
        return cls(description, networks, mirroring, step_size, postprocessing, whole)

    def segment(
        self, raw: Image, assess: Callable[[Image, Labelled, Evidence], object] | None = None
    ) -> Labelled:
        """The segmentation (z, y, x) of a raw image, on its own grid.

        Args:
            raw: the image.
            assess: gets the image as the model took it, its segmentation, and what the probabilities say.

        Raises:
            DataError: if the image has other channels than the model.
        """
        wanted = self.description.channels
        if len(raw.array) != len(wanted):
            raise DataError(f"The case has {len(raw.array)} channels; the model takes {', '.join(wanted)}.")
        turn = turned_as_learnt(raw, self.description.orientation)
        taken = raw if turn is None else turn.image
        evidence = None if assess is None else Evidence.of(self.description.labels)
        segmentation = self.segment_image(taken, evidence)
        if assess is not None and evidence is not None:
            assess(taken, segmentation, evidence)
        return segmentation if turn is None else turn.back.apply(segmentation)

    @property
    def rules(self) -> Postprocessing:
        """What is done to its segmentations."""
        return self.description.postprocessing if self.postprocessing else Postprocessing()

    @property
    def decoding(self) -> Decoding:
        """How probabilities become segmentations."""
        found = self.description.decoding
        return found if self.postprocessing else found.plain()

    def segment_image(
        self, raw: Image, evidence: Evidence | None = None, saved: Saved | None = None
    ) -> Labelled:
        """The same of an image that is stored as the model's are; `evidence` takes in its probabilities."""
        segmentation = self._network_segmentation(raw, evidence, saved)
        return postprocess(segmentation, self.rules, raw.spacing)

    def _network_segmentation(
        self, raw: Image, evidence: Evidence | None = None, saved: Saved | None = None
    ) -> Labelled:
        labels, members = self.description.labels, self.description.members
        if len(members) > 1 or saved is not None or self.decoding.changes_segmentations:
            found = self._raw_probabilities(raw, evidence)
            return decoded(found, self.decoding, labels, evidence, saved)
        return self._segmented(raw, members[0], evidence)

    def _segmented(self, raw: Image, member: Member, evidence: Evidence | None = None) -> Labelled:
        """What one member, or a first stage, makes of a raw image (z, y, x): each voxel's likeliest label."""
        labels = self.description.labels
        data, properties = self._preprocessed(raw, member)
        if member.averages_probabilities:
            mean = self._probabilities(member, data, evidence)
            if evidence is not None:
                evidence.add_probabilities(mean)
            # Only their order counts; of a region, which side of the threshold, and logits have theirs at 0.
            slabs: Iterable[Floats] = (mean - np.float32(0.5 if labels.has_regions else 0),)
        else:
            slabs = seen_by(evidence, self._slabs(member, self.networks_of(member), data, evidence))
        restored: Labelled = restore_slabs(
            slabs, data.shape[1:], properties, member.plan, member.configuration, labels
        )
        return restored

    def _raw_probabilities(self, raw: Image, evidence: Evidence | None) -> Floats:
        """Probabilities (heads, z, y, x) on the raw grid; see `Model.raw_probabilities`."""
        members, several = self.description.members, len(self.description.members) > 1
        total: Floats | None = None
        for member in members:
            data, properties = self._preprocessed(raw, member)
            logits = not several and not member.averages_probabilities
            if logits:
                slabs = self._slabs(member, self.networks_of(member), data, evidence)
                part = np.concatenate(list(slabs), axis=1)
            else:
                part = self._probabilities(member, data, evidence)
            if evidence is not None and not several and not self.decoding.changes_segmentations:
                (evidence.add_logits if logits else evidence.add_probabilities)(part)
            part /= len(members)
            total = restore_probabilities(part, properties, member.plan, member.configuration, total)
            total = activated(total, self.description.labels) if logits else total
        assert total is not None  # there is a member
        if evidence is not None and several and not self.decoding.changes_segmentations:
            evidence.add_probabilities(total)
        return total

    def networks_of(self, stage: Member) -> tuple[Network, ...]:
        """Those of a member, or of a first stage, in its order."""
        return tuple(self.networks[name] for name in stage.networks)

    def _preprocessed(self, raw: Image, member: Member) -> tuple[Floats, dict[str, Any]]:
        """A raw image as a member's networks take it (c, z, y, x), and what is needed for the way back."""
        if member.previous is not None:
            first, values = self._segmented(raw, member.previous), self.description.labels.foreground_values
            return fit_second_stage(raw, first, values, member.plan, member.configuration)
        cropped = crop_case(raw, None, member.plan)
        data = fit_image(cropped, member.plan, member.configuration)
        return data, {**raw.properties, **cropped.properties}

    def _slabs(
        self, member: Member, networks: Sequence[Network], data: Floats, evidence: Evidence | None = None
    ) -> Iterator[Floats]:
        axes = member.mirror_axes if self.mirroring else ()
        step = self.step_size or member.step_size
        for slab in predict_slabs(networks, data, member.configuration.patch_size, step, axes, evidence):
            if not np.isfinite(slab).all():
                raise RunError("The network's output is not finite. Check the intensities of this image.")
            yield slab

    def _probabilities(self, member: Member, data: Floats, evidence: Evidence | None = None) -> Floats:
        """Probabilities (heads, z, y, x) of a preprocessed case, the mean over the networks."""
        networks = self.networks_of(member)
        groups = [(each,) for each in networks] if member.averages_probabilities else [networks]
        total: Floats | None = None
        for group in groups:
            logits = np.concatenate(list(self._slabs(member, group, data, evidence)), axis=1)
            found = _sigmoid(logits) if self.description.labels.has_regions else _softmax(logits)
            total = found if total is None else np.add(total, found, out=total)
        assert total is not None  # there is a network
        total /= len(groups)
        return total


def _softmax(logits: Floats) -> Floats:
    shifted: Floats = np.exp(logits - logits.max(axis=0))
    shifted /= shifted.sum(axis=0)
    return shifted


def _sigmoid(logits: Floats) -> Floats:
    # In two halves, so that no exponential overflows.
    small: Floats = np.exp(-np.abs(logits))
    return np.divide(np.where(logits >= 0, 1, small), 1 + small, dtype=np.float32)


def _shapes(description: Description, stage: Member) -> Shapes:
    """What a stage's networks take and give."""
    patch = stage.configuration.patch_size
    return (description.inputs(stage), *patch), (description.labels.num_heads, *patch)


def _fits(found: Sequence[int | str | None], shape: Sequence[int]) -> bool:
    """Whether a shape is one that an ONNX file states, where sizes that it leaves open have names."""
    known = [size for size, here in zip(shape, found, strict=False) if isinstance(here, int)]
    stated = [here for here in found if isinstance(here, int)]
    return len(found) == len(shape) and known == stated


def load_network(content: bytes, name: str, threads: int = 0, shapes: Shapes | None = None) -> Network:
    """An ONNX network as a function of a batch.

    Args:
        content: of the file.
        name: of the file, for messages.
        threads: number of onnxruntime's threads; 0: one for each core.
        shapes: of an image and of its logits, (channels, *patch) and (heads, *patch); None: any.

    Raises:
        BundleError: if the network takes or gives something else; also while it predicts.
        MissingDependency: without onnxruntime.
        RunError: if onnxruntime cannot read it.
    """
    try:
        import onnxruntime
    except ImportError:
        raise MissingDependency("onnxruntime", "onnx", "Predicting with a bundle") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as problem:  # onnxruntime's errors have no common class; the file was checked before
        raise RunError(f"onnxruntime cannot read {name}: {problem}. Update onnxruntime.") from None
    ends = [each.shape[1:] for each in (*session.get_inputs(), *session.get_outputs())]
    if len(ends) != 2 or (shapes is not None and not all(map(_fits, ends, shapes))):
        raise BundleError(
            f"{name} goes from and to images of {ends}, where model.json says {shapes}. Export it again."
        )
    source, target = session.get_inputs()[0].name, session.get_outputs()[0].name

    def network(batch: Floats) -> Floats:
        try:
            (logits,) = session.run([target], {source: batch})
        except Exception as problem:  # as above
            raise BundleError(
                f"{name} fails on {batch.shape}: {problem}. Free memory, or export again."
            ) from None
        found: Floats = logits
        return found

    return network
