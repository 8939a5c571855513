"""model.json: all that a bundle's networks need around them, from the raw image to the written labels."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from autoseg.bundle.archive import FORMAT, VERSION, BundleError
from autoseg.data.codes import codes_of
from autoseg.data.labels import Labels, Region
from autoseg.decoding.rules import Decoding
from autoseg.errors import DataError, RunError
from autoseg.names import shown
from autoseg.planner.configuration import ArchitectureSpec, Configuration, plain
from autoseg.postprocessing.rules import Postprocessing
from autoseg.preprocessing.axes import Axes
from autoseg.trust.quality_model import QualityModel

# Readers that a bundle has, all of them SimpleITK's.
_MOST_CHANNELS = 4096
READERS = ("SimpleITKIO", "SimpleITKIOWithReorient", "NaturalImage2DIO", "NibabelIO")


@dataclass(frozen=True)
class Member:
    """One model of a bundle: preprocessing, sliding window and networks.

    Attributes:
        plan: the part of it that gives the order of the axes and the intensities.
        configuration: for grid, normalisation, resampling and patch.
        step_size: step of the sliding window, in patches.
        mirror_axes: axes of the patch over whose mirrored copies predictions are averaged.
        networks: files, each from (batch, channels, *patch) to logits (batch, heads, *patch).
        averages_probabilities: whether the mean over the networks is of probabilities, not of logits.
        previous: the first stage, whose segmentation is further input, where it is the second of a cascade.
    """

    plan: Axes
    configuration: Configuration
    step_size: float
    mirror_axes: tuple[int, ...]
    networks: tuple[str, ...]
    averages_probabilities: bool
    previous: Member | None = None

    def to_json(self) -> dict[str, Any]:
        """As it stands in model.json."""
        schemes, masks = self.configuration.normalization, self.configuration.use_mask_for_norm
        return {
            "preprocessing": {
                "transpose": list(self.plan.transpose),
                "spacing": list(self.configuration.spacing),
                "normalization": [
                    {
                        "scheme": scheme,
                        "within_nonzero": mask,
                        "intensities": plain(self.plan.intensities[str(n)]),
                    }
                    for n, (scheme, mask) in enumerate(zip(schemes, masks, strict=True))
                ],
                "resampling": plain(self.configuration.resampling),
            },
            "window": {
                "patch_size": list(self.configuration.patch_size),
                "step_size": self.step_size,
                "mirror_axes": list(self.mirror_axes),
            },
            "networks": list(self.networks),
            "mean_of": "probabilities" if self.averages_probabilities else "logits",
            # Of a cascade alone: bundles of earlier versions have no such entry.
            **({} if self.previous is None else {"previous_stage": self.previous.to_json()}),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Member:
        """Read what `to_json` wrote; KeyError, TypeError or ValueError if it is something else."""
        previous = _previous(content) if "previous_stage" in content else None
        before, window = content["preprocessing"], content["window"]
        channels = before["normalization"]
        patch = tuple(int(size) for size in window["patch_size"])
        transpose = tuple(int(axis) for axis in before["transpose"])
        spacing = tuple(float(step) for step in before["spacing"])
        mirrored, step_size = tuple(map(int, window["mirror_axes"])), float(window["step_size"])
        networks = tuple(map(str, content["networks"]))
        if sorted(transpose) != [0, 1, 2] or len(patch) not in (2, 3) or len(spacing) != len(patch):
            raise ValueError(f"axes {transpose}, spacing {spacing}, patch {patch}")
        if min(patch) < 1 or min(spacing) <= 0 or not set(mirrored) <= set(range(len(patch))):
            raise ValueError(f"patch {patch}, spacing {spacing}, mirrored axes {mirrored}")
        if not 0 < step_size <= 1 or not networks or content["mean_of"] not in ("logits", "probabilities"):
            raise ValueError(f"step {step_size}, networks {networks}, mean of {content['mean_of']!r}")
        configuration = Configuration(
            name="2d" if len(patch) == 2 else "3d_fullres",
            spacing=spacing,
            patch_size=patch,
            batch_size=1,
            median_shape=(),
            normalization=tuple(str(each["scheme"]) for each in channels),
            use_mask_for_norm=tuple(bool(each["within_nonzero"]) for each in channels),
            architecture=ArchitectureSpec("", {}),
            batch_dice=False,
            data_identifier="",
            preprocessor="DefaultPreprocessor",
            resampling=dict(before["resampling"]),
        )
        intensities = {str(n): dict(each["intensities"]) for n, each in enumerate(channels)}
        plan = Axes(transpose, intensities)
        averages = content["mean_of"] == "probabilities"
        return cls(plan, configuration, step_size, mirrored, networks, averages, previous)


def _previous(content: Mapping[str, Any]) -> Member:
    """The first stage of a member that is the second of a cascade; nnU-Net's have two."""
    stage, rules = content["previous_stage"], content["preprocessing"]["resampling"]
    if "previous_stage" in stage:
        raise ValueError("the first stage of a cascade has a stage before it")
    if not isinstance(rules["resampling_fn_seg_kwargs"], dict):
        raise ValueError("no rules by which the first stage's segmentation is resampled")
    return Member.from_json(stage)


@dataclass(frozen=True)
class Description:
    """What model.json says.

    Attributes:
        name: the model's name.
        channels: names, in the order of the files.
        file_ending: ending of images and segmentations, with the dot.
        reader: nnU-Net's name of the reader.
        labels: labels or regions.
        members: models whose probabilities are averaged; one counts as much as any other.
        orientation: how the images are stored that it learnt from, see `autoseg.data.orientation`.
        about: data set, trainer and version, for whoever reads it.
        postprocessing: what is done to the segmentations.
        quality: says how good its segmentations will be; None where nothing is known.
        codes: what some structures are, as dataset.json has it; see `autoseg.data.codes`.
        decoding: how probabilities become segmentations.
    """

    name: str
    channels: tuple[str, ...]
    file_ending: str
    reader: str
    labels: Labels
    members: tuple[Member, ...]
    orientation: Mapping[str, Any] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)
    postprocessing: Postprocessing = field(default_factory=Postprocessing)
    quality: QualityModel | None = None
    codes: Mapping[str, Any] = field(default_factory=dict)
    decoding: Decoding = field(default_factory=Decoding)

    @property
    def stages(self) -> tuple[Member, ...]:
        """All that have networks: the members, each after its first stage where there is one."""
        pairs = ((member.previous, member) for member in self.members)
        return tuple(stage for pair in pairs for stage in pair if stage is not None)

    def inputs(self, stage: Member) -> int:
        """Channels that a stage's networks take: the image's and, of a second stage, one for each label."""
        return len(self.channels) + (0 if stage.previous is None else len(self.labels.foreground_values))

    def to_json(self) -> dict[str, Any]:
        """model.json."""
        rules = self.postprocessing
        return {
            "format": FORMAT,
            "version": VERSION,
            "name": self.name,
            "about": plain(self.about),
            "channels": list(self.channels),
            "file_ending": self.file_ending,
            "reader": self.reader,
            "orientation": plain(self.orientation),
            "labels": {
                "names": plain(self.labels.names),
                "region_order": plain(self.labels.region_order),
                "ignore": self.labels.ignore,
            },
            "members": [member.to_json() for member in self.members],
            "postprocessing": rules.to_json() if rules.rules else None,
            "quality": None if self.quality is None else self.quality.to_json(),
            "codes": plain(self.codes),
            # The usual one goes unsaid, as bundles of earlier versions had it.
            **({} if self.decoding == Decoding() else {"decoding": self.decoding.to_json()}),
        }

    @classmethod
    def from_json(cls, content: Any) -> Description:
        """Read model.json.

        Raises:
            BundleError: if it is of another version, asks for what this version cannot do, or is wrong.
        """
        try:
            if (content["format"], content["version"]) != (FORMAT, VERSION):
                raise BundleError(
                    f"model.json is of version {content['version']!r}; this program reads {VERSION}. Use the "
                    f"runner inside the bundle."
                )
            _check_entries(content)
            rules = content["postprocessing"]
            reader = str(content["reader"])
            if reader not in READERS:
                raise BundleError(
                    f"model.json asks for the reader {reader!r}; a bundle has {', '.join(READERS)}."
                )
            found = cls(
                name=str(content["name"]),
                channels=tuple(map(str, content["channels"])),
                file_ending=str(content["file_ending"]),
                reader=reader,
                labels=_labels(content["labels"]),
                members=tuple(Member.from_json(each) for each in content["members"]),
                orientation=dict(content["orientation"]),
                about=dict(content["about"]),
                postprocessing=Postprocessing() if rules is None else Postprocessing.from_json(rules),
                quality=_quality(content["quality"]),
                codes=_codes(content),
                decoding=Decoding.from_json(content["decoding"]) if "decoding" in content else Decoding(),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as problem:
            raise BundleError(
                f"model.json is not valid ({repr(problem)[:300]}). Export the model again."
            ) from None
        _check_networks(found)
        return found


def _check_networks(found: Description) -> None:
    """Refuse more channels than there can be, and a file that two stages name, or one of them twice.

    Raises:
        BundleError: with the number or the name.
    """
    if (most := max(map(found.inputs, found.stages))) > _MOST_CHANNELS:
        raise BundleError(f"model.json has a network of {most} channels, not {_MOST_CHANNELS} at most.")
    counts = Counter(name for stage in found.stages for name in stage.networks)
    if twice := [name for name, count in counts.items() if count > 1]:
        raise BundleError(f"model.json names {shown(twice[0])} more than once. Export the model again.")


def _check_entries(content: Mapping[str, Any]) -> None:
    """Refuse entries of another kind than they have, before any of them is converted.

    Raises:
        ValueError: with the entry and its value.
    """
    ending, channels, members = content["file_ending"], content["channels"], content["members"]
    labels = content["labels"]
    wrong = {
        "name": not isinstance(content["name"], str),
        "channels": not isinstance(channels, list) or not 1 <= len(channels) <= _MOST_CHANNELS,
        "file_ending": not isinstance(ending, str) or not re.fullmatch(r"(\.[A-Za-z0-9]+)+", ending),
        "members": not isinstance(members, list) or not members,
        "labels": not isinstance(labels["names"], dict)
        or type(labels["ignore"]) not in (int, type(None))
        or not isinstance(labels["region_order"], list | None),
    }
    for entry, bad in wrong.items():
        if bad:
            raise ValueError(f"{entry} is {shown(str(content[entry]))}")


def _quality(content: Any) -> QualityModel | None:
    try:
        return None if content is None else QualityModel.from_json(content)
    except RunError as problem:
        raise BundleError(f"model.json has a quality that cannot be read: {problem}") from None


def _codes(content: Mapping[str, Any]) -> Mapping[str, Any]:
    found = dict(content.get("codes") or {})
    try:
        codes_of({"labels": content["labels"]["names"], "codes": found})
    except DataError as problem:
        raise BundleError(f"model.json has codes that cannot be read: {problem}") from None
    return found


def _labels(content: Mapping[str, Any]) -> Labels:
    names: dict[str, Region] = {
        str(name): tuple(map(int, value)) if isinstance(value, list) else int(value)
        for name, value in content["names"].items()
    }
    order = content["region_order"]
    labels = Labels(names, None if order is None else tuple(map(int, order)), content["ignore"])
    if labels.has_regions and len(labels.region_order or ()) != len(labels.foreground):
        raise ValueError(f"region order {order} for {len(labels.foreground)} regions")
    return labels
