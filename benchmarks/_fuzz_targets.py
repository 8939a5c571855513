"""What is fuzzed: for each reader a sound file, and how that is changed at random."""

from __future__ import annotations

import json
import random
import struct
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import _edge_bases as bases
import _edge_dicom
import _edge_models
from _edge_documents import changed as with_one_value_changed

# Numbers that stand at the edges of what a field can hold.
EDGES = [struct.pack("<I", n) for n in (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1)]
# What has a meaning in the text of a table or of YAML.
SIGNS = [
    *(sign.encode() for sign in (*",;\t\n\r\"'\0-[]{}", "\ufeff", "=1", "nan", "inf", "1e999")),
    *(b"\xff", b": ", b"- ", b"*a", b"&a ", b"!!x ", b"9" * 5000, b"[" * 2000, b" " * 9),
]


@dataclass(frozen=True)
class Target:
    """What is read.

    Attributes:
        sound: the content of a sound file.
        ending: how its name ends; a name that does not begin with a dot is the whole name.
        read: the reader.
        change: makes another content of the sound one.
        code: folders of autoseg whose code reads it: results of other code are not gone on with.
    """

    sound: bytes
    ending: str
    read: Callable[[Path], object]
    change: Callable[[bytes, random.Random], bytes]
    code: tuple[str, ...] = ("data", "bundle", "system")

    def path_in(self, folder: Path) -> Path:
        """Where the file is written."""
        return folder / (f"case_0000{self.ending}" if self.ending.startswith(".") else self.ending)


def bytes_changed(content: bytes, rng: random.Random, head: int = 10**6) -> bytes:
    """Some bytes of the first `head` replaced, cut, doubled or set to an edge."""
    found = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        at = rng.randrange(min(len(found), head) or 1)
        how = rng.random()
        if how < 0.4:
            found[at : at + 1] = bytes([rng.randrange(256)])
        elif how < 0.7:
            edge = rng.choice(EDGES)[: rng.choice((2, 4))]
            found[at : at + len(edge)] = edge
        elif how < 0.8:
            found[at:at] = found[at : at + rng.randrange(1, 20)]
        elif how < 0.9:
            del found[at : at + rng.randrange(1, 20)]
        elif len(found) > 1:
            del found[at + rng.randrange(1, len(found)) :]
    return bytes(found)


def text_changed(content: bytes, rng: random.Random) -> bytes:
    """Some places of a text replaced by what has a meaning in it; in a third, some bytes changed."""
    found = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        at = rng.randrange(len(found) + 1)
        found[at : at + rng.choice((0, 0, 1, 3, 9))] = rng.choice(SIGNS)
    return bytes_changed(bytes(found), rng) if rng.random() < 0.3 else bytes(found)


def document_changed(content: bytes, rng: random.Random) -> bytes:
    """Up to three values of a JSON document replaced, or parts of it removed; in a fifth, bytes changed."""
    if rng.random() < 0.2:
        return bytes_changed(content, rng)
    document = json.loads(content)
    for _ in range(rng.choice((0, 0, 1, 2))):
        holder = document
        while isinstance(holder, dict | list) and holder:
            key = rng.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
            if rng.random() < 0.3 or not isinstance(holder[key], dict | list):
                del holder[key]
                break
            holder = holder[key]
    if not document:
        return json.dumps(document).encode()
    return with_one_value_changed(document, rng)[1].encode()


def _image(ending: str, reader: str, packed: bool = False, head: int = 400) -> Target:
    import gzip

    from autoseg.data.readers import read_file

    with tempfile.TemporaryDirectory() as folder:
        pictures = ending in (".png", ".tif", ".bmp")
        root = (bases.pictures if pictures else bases.dataset)(Path(folder), ending)
        path = root / f"imagesTr/case_0_0000{ending}"
        if ending == ".tif":  # its reader is for volumes
            import tifffile

            tifffile.imwrite(path, bases.volume()[0][4:8])
        content = path.read_bytes()
    sound = gzip.decompress(content) if packed else content
    return Target(
        sound,
        ".nii" if packed else ending,
        lambda path: read_file(path, reader),
        lambda content, rng: bytes_changed(content, rng, head),
    )


def _dicom() -> Target:
    from autoseg.data.dicom import find_volumes, read_volume

    def read(path: Path) -> None:
        for stack in find_volumes([path]).stacks:
            read_volume(stack)

    change = lambda content, rng: bytes_changed(content, rng, 800)  # noqa: E731
    return Target(_edge_dicom.slices()[0], ".dcm", read, change)


def _bundle() -> Target:
    from autoseg.bundle.archive import Bundle

    return Target(_edge_models.sound_bundle(), ".zip", lambda path: Bundle.open(path), bytes_changed)


def _walked(place: str) -> bytes:
    (path,) = bases.stock_walked().glob(place)
    return path.read_bytes()


def _document(sound: Any, name: str, read: Callable[[Path], object], *code: str) -> Target:
    content = sound if isinstance(sound, bytes) else json.dumps(sound).encode()
    return Target(content, name, read, document_changed, ("system", *code))


def _table(text: str, name: str, read: Callable[[Path], object], *code: str) -> Target:
    return Target(text.encode(), name, read, text_changed, ("system", *code))


def _dataset_json() -> Target:
    from autoseg.data.dataset import load_dataset

    listed = {
        case: {"images": [f"imagesTr/{case}_0000.nii.gz"], "label": f"labelsTr/{case}.nii.gz"}
        for case in ("a", "b")
    }
    about = bases.ABOUT | {
        "labels": {"background": 0, "whole": [1, 2], "core": 2, "ignore": 3},
        "regions_class_order": [1, 2],
        "dataset": listed,
        "codes": {"core": "SCT 10200004 Liver"},
    }
    return _document(about, "dataset.json", lambda path: load_dataset(path.parent), "data")


def _splits() -> Target:
    from autoseg.data.folds import folds_from_json
    from autoseg.system.files import read_json

    sound = _walked("preprocessed/Dataset905_Discs/splits_final.json")
    return _document(sound, "splits_final.json", lambda path: folds_from_json(read_json(path)), "data")


def _fingerprint() -> Target:
    from autoseg.data.fingerprint import Fingerprint

    sound = _walked("preprocessed/Dataset905_Discs/dataset_fingerprint.json")
    return _document(sound, "dataset_fingerprint.json", Fingerprint.load, "data")


def _plans() -> Target:
    from autoseg.planner.plan import Plan
    from autoseg.system.files import read_json

    sound = _walked("preprocessed/Dataset905_Discs/nnUNetPlans.json")
    return _document(sound, "plans.json", lambda path: Plan.from_json(read_json(path)), "planner", "data")


def _records() -> Target:
    from autoseg.leaderboard.records.files import read_records

    sound = json.loads(_walked(f"results/Dataset905_Discs/{bases.RUN}/fold_0/record.jsonl"))
    sound["scores"]["columns"] = sound["scores"]["columns"][:3]  # as many kinds of values, in less time
    return _document(sound, "record.jsonl", lambda path: _all_used(read_records(path)), "leaderboard")


def _all_used(records: list[Any]) -> None:
    for record in records:
        record.to_json()


def _summary() -> Target:
    from autoseg.data.dataset import load_dataset
    from autoseg.leaderboard.foreign.add import Addition, add_records
    from autoseg.leaderboard.foreign.origin import RawData

    metrics = {"Dice": 0.5, "IoU": 0.4, "TP": 3, "FP": 1, "FN": 2, "TN": 90, "n_pred": 4, "n_ref": 5}
    case = {"metrics": {"1": metrics}, "prediction_file": "p/a.nii.gz", "reference_file": "r/a.nii.gz"}
    sound = {"foreground_mean": metrics, "mean": {"1": metrics}, "metric_per_case": [case]}
    raw = {"Dataset905_Discs": RawData(load_dataset(bases.stock_walked() / "raw" / "Dataset905_Discs"))}
    read = lambda path: add_records(Addition(path, "other"), raw)  # noqa: E731
    return _document(sound, "summary.json", read, "leaderboard", "evaluation")


def _model_json() -> Target:
    from autoseg.bundle.description import Description
    from autoseg.system.files import read_json

    scheme = {"scheme": "ZScoreNormalization", "within_nonzero": False, "intensities": {"mean": 1.0}}
    preprocessing = {
        "transpose": [0, 1, 2],
        "spacing": [1.0, 1.0],
        "normalization": [scheme],
        "resampling": {"resampling_fn_seg_kwargs": {}},
    }
    first = {
        "preprocessing": preprocessing,
        "window": {"patch_size": [32, 32], "step_size": 0.5, "mirror_axes": [0]},
        "networks": ["networks/a.onnx"],
        "mean_of": "logits",
    }
    member = first | {"networks": ["networks/b.onnx"], "previous_stage": first}
    sound = _edge_models.DESCRIPTION | {"members": [member]}
    read = lambda path: Description.from_json(read_json(path))  # noqa: E731
    return _document(sound, "model.json", read, "bundle", "data")


def _decoding() -> Target:
    from autoseg.decoding.rules import Calibration, Decoding

    sound = Decoding(Calibration(1.5, (0.0, 0.25)), "best_dice", {"in_words": ["x"]}).to_json()
    return _document(sound, Decoding.file_name, lambda path: Decoding.of_model(path.parent), "decoding")


def _postprocessing() -> Target:
    from autoseg.postprocessing.rules import Postprocessing, Rule

    rules = (Rule("a", (1, 2), inside=1, outside=0, largest=True, smallest=0.5, fill=True),)
    sound = Postprocessing(rules, evidence={"in_words": ["x"]}).to_json()
    read = lambda path: Postprocessing.of_model(path.parent)  # noqa: E731
    return _document(sound, Postprocessing.file_name, read, "postprocessing")


def _groups() -> Target:
    from autoseg.data.groups import read_groups

    return _table("case,group\na,x\nb,x\nc,y\n", "groups.csv", read_groups, "data")


def _scores() -> Target:
    from autoseg.leaderboard.foreign.add import Addition, add_records

    sound = "dataset,trainer,fold,case,structure,dice,nsd\nD,t,0,a,x,0.5,0.25\nD,t,1,b,x,1,\n"
    return _table(sound, "scores.csv", lambda path: add_records(Addition(path)), "leaderboard")


def _pixel_sizes() -> Target:
    from autoseg.evaluation.pixel_sizes import find_pixel_sizes

    sound = "case,pixel_mm\na,0.5\nb,0.25\n"
    return _table(sound, "sizes.csv", lambda path: find_pixel_sizes(str(path)), "evaluation")


def _suite() -> Target:
    from autoseg.benchmark.suite.suite import load_suite

    sound = (
        "name: x\ndatasets: [Dataset001_A, {dataset: Dataset002_B, source: b}]\ntrainers:\n  - nnunet\n"
        "  - brainunet: {width: 8}\nfolds: [0, 1]\nbudget: {steps: 100}\nseeds: [0, 1]\ndevice: cpu\n"
        "resources:\n  run: {memory: 4GB, time: 2h}\n"
    )
    return _table(sound, "suite.yaml", load_suite, "benchmark/suite")


def _properties() -> Target:
    from autoseg.preprocessing.properties_file import read_properties

    sound = _walked("preprocessed/Dataset905_Discs/nnUNetPlans_2d/disc_3.pkl")
    change = lambda content, rng: bytes_changed(content, rng, 600)  # noqa: E731
    return Target(sound, ".pkl", read_properties, change, ("preprocessing", "system"))


TARGETS: dict[str, Callable[[], Target]] = {
    "NIfTI": lambda: _image(".nii.gz", "SimpleITKIO", packed=True),
    "NIfTI, nibabel": lambda: _image(".nii.gz", "NibabelIO", packed=True),
    "NIfTI, packed": lambda: _image(".nii.gz", "SimpleITKIO", head=10**6),
    "NRRD": lambda: _image(".nrrd", "SimpleITKIO"),
    "MetaImage": lambda: _image(".mha", "SimpleITKIO"),
    "PNG": lambda: _image(".png", "NaturalImage2DIO"),
    "BMP": lambda: _image(".bmp", "NaturalImage2DIO", head=60),
    "TIFF": lambda: _image(".tif", "Tiff3DIO"),
    "DICOM": _dicom,
    "bundle": _bundle,
    "dataset.json": _dataset_json,
    "splits": _splits,
    "fingerprint": _fingerprint,
    "plans": _plans,
    "records": _records,
    "summary": _summary,
    "model.json": _model_json,
    "decoding.json": _decoding,
    "postprocessing.json": _postprocessing,
    "groups": _groups,
    "scores": _scores,
    "pixel sizes": _pixel_sizes,
    "suite": _suite,
    "properties": _properties,
}
