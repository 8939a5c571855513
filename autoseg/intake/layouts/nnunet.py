"""nnU-Net's own raw layout, with its lists of files in dataset.json resolved and names made regular."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from autoseg.data.dataset import Case, Dataset, load_dataset
from autoseg.intake.incoming import Content, Incoming, IncomingCase, Request, files_below
from autoseg.intake.layout import Layout
from autoseg.intake.layouts._other_endings import alike, with_other_endings
from autoseg.system.files import read_object

# What else may lie beside dataset.json and is small and worth keeping.
TEXTS = (".csv", ".tsv", ".md", ".txt", ".json", ".rst", "")
_TIFF = (".tif", ".tiff")


class Nnunet(Layout):
    """nnU-Net's raw layout, with lists of files in dataset.json too."""

    looks_like = "dataset.json with file_ending, imagesTr, labelsTr"
    order = 20

    def recognise(self, source: Path) -> str:
        """By its dataset.json."""
        about = read_object(source / "dataset.json")
        found = "file_ending" in about or "channel_names" in about
        return "dataset.json has file_ending and channel_names, as nnU-Net's raw data sets." if found else ""

    def read(self, source: Path, request: Request) -> Incoming:
        """See `read_nnunet`."""
        return read_nnunet(source, request)


def read_nnunet(source: Path, request: Request) -> Incoming:
    """Describe a raw folder of nnU-Net's as it will be copied.

    Raises:
        DataError: if its dataset.json is wrong; the message lists all that is.
    """
    dataset = load_dataset(source, groups=False)
    about = {
        key: value
        for key, value in dataset.dataset_json.items()
        if key not in ("dataset", "numTraining", "labels")
    }
    notes: list[str] = []
    announced = dataset.dataset_json.get("numTraining")
    if dataset.dataset_json.get("dataset"):
        notes.append("The files that dataset.json listed are named by their case and channel.")
    parts = []
    for part, cases in zip(
        ("Tr", "Ts", "Un"), (dataset.cases, dataset.test_cases, dataset.unlabelled_cases), strict=True
    ):
        whole, more = with_other_endings(source, part, _incoming(cases), dataset.dataset_json)
        notes += more
        parts.append(alike(whole, dataset.file_ending))
    if announced != len(parts[0]):
        notes.insert(0, f"numTraining was {announced}; it is {len(parts[0])}, the number of cases there are.")
    extras = {**_texts(source), **_sidecars(dataset)}
    taken = {path for cases in parts for case in cases for path in _files(case)} | set(extras.values())
    return Incoming(
        channels=dataset.channels,
        labels=dataset.dataset_json["labels"],
        file_ending=dataset.file_ending,
        cases=parts[0],
        tests=parts[1],
        unlabelled=parts[2],
        about=about,
        extras=extras,
        notes=tuple(notes),
        left_out=tuple(
            path
            for path in files_below(source)
            if path.absolute() not in taken and path.name != "dataset.json"
        ),
    )


def _incoming(cases: Sequence[Case]) -> tuple[IncomingCase, ...]:
    return tuple(
        IncomingCase(
            case.identifier,
            tuple(Content(path) for path in case.images),
            Content(case.label) if case.label else None,
        )
        for case in cases
    )


def _files(case: IncomingCase) -> list[Path]:
    return [content.source for content in (*case.images, *([case.label] if case.label else []))]


def _texts(source: Path) -> dict[str, Path]:
    return {
        path.name: path.absolute()
        for path in sorted(source.iterdir())
        if path.is_file()
        and path.suffix.lower() in TEXTS
        and not path.name.startswith(".")
        and path.name != "dataset.json"
    }


def _sidecars(dataset: Dataset) -> dict[str, Path]:
    """The spacing of 3D TIFFs lies in a JSON file beside them."""
    if dataset.file_ending not in _TIFF:
        return {}
    found = {}
    parts = {"Tr": dataset.cases, "Ts": dataset.test_cases, "Un": dataset.unlabelled_cases}
    for part, cases in parts.items():
        for case in cases:
            # As the reader has it: an image's name carries a channel number.
            beside = {"images": case.images[0].with_name(f"{case.images[0].stem[:-5]}.json")}
            if case.label:
                beside["labels"] = case.label.with_name(f"{case.label.stem}.json")
            for kind, path in beside.items():
                if path.is_file():
                    found[f"{kind}{part}/{case.identifier}.json"] = path
    return found
