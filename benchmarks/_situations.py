"""The situations of bench_cases: for each, what is tried of it and what is right."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from _cases import (
    Stand,
    aligned,
    array,
    brought,
    dice_of,
    learnt_from,
    own_folds,
    predicted,
    same_labels,
    scored,
    slices_of,
    upright,
    verified,
    with_label,
)
from PIL import Image

Attempt = tuple[str, str, Callable[[], tuple[str, str]]]
# The interpreter of the generators; some of them need packages that the product does not.
GENERATING: list[str] = []


def made(generators: Path, out: Path, number: str, *more: str) -> Path:
    """Run one generator; the folder that it wrote to."""
    (script,) = generators.glob(f"case{number}_*.py")
    place = out / f"c{number}"
    done = subprocess.run(
        [GENERATING[-1], "-B", str(script), str(place), *more],
        cwd=out,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{script.name} failed: {done.stderr[-400:]}")
    return place


def stale(out: Path, g: Path) -> Iterator[Attempt]:
    root = made(g, out, "01")

    def judge(done: Any) -> tuple[str, str]:
        return (
            "right" if dice_of(root / "outdir", root / "truth") > 0.9 and not done.retained else "wrong"
        ), ""

    yield "earlier run", "predict", predicted(root / "in", root / "outdir", Stand(), judge)


def regions(out: Path, g: Path) -> Iterator[Attempt]:
    root = made(g, out, "02")
    for name, code in (("Dataset921_OrderA", "region_order"), ("Dataset922_OrderB", "region_order")):
        yield name, "verify", verified(root / name, code)
    yield "Dataset923_OrderGood", "verify", verified(root / "Dataset923_OrderGood", None)


def headers(out: Path, g: Path) -> Iterator[Attempt]:
    root = made(g, out, "03")
    yield "ShearNoQ", "verify", verified(root / "Dataset931_ShearNoQ", "unreadable")
    yield "ShearQ", "verify", verified(root / "Dataset932_ShearQ", "two_spacings")


def floats(out: Path, g: Path) -> Iterator[Attempt]:
    root = made(g, out, "04")
    for name in ("Dataset941_Autoscaled", "Dataset942_Almost", "Dataset943_Float"):
        yield name, "verify", verified(root / name, None, "label_rounded")
    truth = same_labels(lambda path: array(root / "truth" / path.name), 5)
    yield "folders", "import", brought(root / "folders", truth)
    yield "autoscaled", "evaluate", scored(root / "folders" / "masks", root / "truth")


def values(out: Path, g: Path) -> Iterator[Attempt]:
    root = made(g, out, "06")
    for kind in ("png255", "png255rev", "brats", "ignored"):
        yield kind, "evaluate", scored(root / kind / "pred", root / kind / "truth")
    yield (
        "brats, mapped",
        "evaluate",
        scored(root / "brats" / "pred", root / "brats" / "truth", mapping={4: 3}),
    )


def added(out: Path, g: Path) -> Iterator[Attempt]:
    data = made(g, out, "00") / "Dataset900_Base"
    root = made(g, out, "06b", str(data))
    for kind in ("same", "turned", "greys", "four"):
        yield kind, "--add", scored(root / kind, data / "labelsTr", cases=["case_003", "case_007"])


def turned(out: Path, g: Path) -> Iterator[Attempt]:
    root = made(g, out, "07")
    for kind in ("flipped", "permuted", "header_only", "shifted", "half"):
        yield kind, "evaluate", scored(root / kind, root / "truth")


def orientation(out: Path, g: Path) -> Iterator[Attempt]:
    root = made(g, out, "08")
    yield "Dataset981_Train", "verify", verified(root / "Dataset981_Train", None)
    yield "Dataset982_Mixed", "verify", verified(root / "Dataset982_Mixed", "mixed_orientation")
    model = Stand(halves=True)
    model.orientation = learnt_from(root / "Dataset981_Train")
    for kind in ("same", "flipped"):

        def judge(_: Any, kind: str = kind) -> tuple[str, str]:
            dice = dice_of(root / f"out_{kind}", root / f"truth_{kind}")
            return ("right" if dice > 0.85 else "wrong"), f"Dice {dice:.3f}"

        yield f"test_{kind}", "predict", predicted(root / f"test_{kind}", root / f"out_{kind}", model, judge)


def dicom(
    number: str, kinds: dict[str, Any], unlabelled: tuple[str, ...] = ()
) -> Callable[[Path, Path], Iterator[Attempt]]:
    def attempts(out: Path, g: Path) -> Iterator[Attempt]:
        root = made(g, out, number)
        for kind, judge in kinds.items():
            for patient in (1, 2) if kind in unlabelled else ():
                with_label(root / kind / f"PAT{patient}.nii.gz")
            yield kind, "import", brought(root / kind, judge)

    return attempts


def several(out: Path, g: Path) -> Iterator[Attempt]:
    root = made(g, out, "18")
    for kind in ("flat", "other", "folders", "three"):
        place = root / kind / "masks" if kind == "folders" else root / kind

        def truth(path: Path, place: Path = place) -> np.ndarray:
            name = path.stem.replace("benign_", "benign (") + ")"
            parts = [np.asarray(Image.open(p).convert("L")) for p in sorted(place.glob(f"{name}_mask*.png"))]
            return np.maximum.reduce(parts) > 0

        yield kind, "import", brought(root / kind, same_labels(truth, 6))


def lossy(out: Path, g: Path) -> Iterator[Attempt]:
    root = made(g, out, "19")
    for kind in ("q100", "q95", "png_smooth", "bmp_from_jpeg"):
        yield kind, "import", brought(root / kind, lambda done: False)


def spoilt(out: Path, g: Path) -> Iterator[Attempt]:
    root = made(g, out, "20")
    for reader in ("SimpleITKIO", "NibabelIO"):
        for kind in ("plain", "half", "few", "inf"):
            place = root / f"out_{kind}_{reader}"

            def judge(_: Any, place: Path = place, kind: str = kind) -> tuple[str, str]:
                dice = dice_of(place, root / "truth")
                return ("right" if dice > (0.5 if kind == "half" else 0.8) else "wrong"), f"Dice {dice:.3f}"

            yield f"{kind}, {reader}", "predict", predicted(root / kind, place, Stand(reader), judge)


def groups(out: Path, g: Path) -> Iterator[Attempt]:
    root = made(g, out, "22")
    yield "Dataset991_Visits", "verify", verified(root / "Dataset991_Visits", "visits_without_groups")
    yield "Dataset992_Twins", "verify", verified(root / "Dataset992_Twins", "visits_without_groups")
    yield "acdc", "import", brought(root / "acdc", lambda done: (done.root / "groups.csv").is_file())


def metrics(out: Path, g: Path) -> Iterator[Attempt]:
    root = made(g, out, "23")
    values = []
    for path in sorted((root / "truth").glob("*")):
        one, other = array(path) > 0, array(root / "pred" / path.name) > 0
        values.append(
            2 * np.sum(one & other) / (one.sum() + other.sum()) if one.any() or other.any() else 1.0
        )
    # A case that has neither is left out of the mean.
    yield "Dice", "evaluate", scored(root / "pred", root / "truth", float(np.mean(values)))


def folder(out: Path, g: Path) -> Iterator[Attempt]:
    root = made(g, out, "24")
    left = {"mixed_names": 1, "mixed_endings": 1, "upper": 1, "one_broken": 1, "fourd": 1, "flat2d": 0}
    for kind in (
        "mixed_names",
        "mixed_endings",
        "upper",
        "plain",
        "one_broken",
        "fourd",
        "sub",
        "two",
        "flat2d",
    ):

        def judge(done: Any, kind: str = kind) -> tuple[str, str]:
            good = len(done.left_out) == left[kind] and len(done.files) == 3 - left[kind]
            return ("right" if good else "wrong"), "; ".join(map(str, done.left_out))

        yield kind, "predict", predicted(root / kind, root / f"out_{kind}", Stand(), judge)


def spacing(out: Path, g: Path) -> Iterator[Attempt]:
    root = made(g, out, "25")
    found = {"Dataset961_ZeroSform": "bad_spacing", "Dataset962_ZeroNoForm": "bad_spacing"}
    found |= {"Dataset963_Negative": "negative_spacing", "Dataset964_Nan": "bad_spacing"}
    for name, code in {**found, "Dataset966_Metres": "spacing_outlier"}.items():
        yield name, "verify", verified(root / name, code)
    yield "Dataset965_Microns", "verify", verified(root / "Dataset965_Microns", None)


def four(out: Path, g: Path) -> Iterator[Attempt]:
    root = made(g, out, "28")
    for name in ("Dataset971_ChanRaw", "Dataset972_HotRaw", "Dataset973_Time"):
        yield name, "verify", verified(root / name, "four_dimensions")
    yield "Dataset974_Single", "verify", verified(root / "Dataset974_Single", None)
    two = aligned(None)
    yield (
        "chan_folders",
        "import",
        brought(root / "chan_folders", lambda d: len(d.document["channel_names"]) == 2),
    )
    yield "onehot_folders", "import", brought(root / "onehot_folders", two)


def types(out: Path, g: Path) -> Iterator[Attempt]:
    root = made(g, out, "29")
    for name in sorted(path.name for path in root.iterdir()):
        code = "label_undeclared" if "Negative" in name else None
        yield name, "verify", verified(root / name, code)


def names(out: Path, g: Path) -> Iterator[Attempt]:
    root = made(g, out, "32")
    for number in range(981, 988):
        code = None if number < 983 else "ct_by_another_name"
        yield f"Dataset{number}_Names", "verify", verified(root / f"Dataset{number}_Names", code)


def mixed(out: Path, g: Path) -> Iterator[Attempt]:
    root = made(g, out, "36")
    codes = {
        "A": "other_ending",
        "B": "missing_image",
        "C": "channel_numbers",
        "D": "missing_image",
        "E": None,
    }
    for letter, code in {**codes, "F": None, "G": None, "H": "missing_channel"}.items():
        (place,) = root.glob(f"Dataset93?_{letter}")
        yield place.name, "verify", verified(place, code)


def layouts(out: Path, g: Path) -> Iterator[Attempt]:
    root = made(g, out, "38")
    for kind in ("brats", "kits", "total", "lits"):
        yield kind, "import", brought(root / kind, lambda done: done.cases == 5 and _bright(done.root))
    for kind in ("isic", "drive", "hc18"):
        yield kind, "import", brought(root / kind, lambda done: done.cases == 5)


def _bright(root: Path) -> bool:
    """Whether labels lie on what is bright in the last channel."""
    good = True
    for path in (root / "labelsTr").glob("*.nii*"):
        image = sorted((root / "imagesTr").glob(f"{path.name.split('.')[0]}_*"))[-1]
        mask = array(path) > 0
        good &= bool(array(image)[mask].mean() - array(image)[~mask].mean() > 40)
    return good


def tiffs(out: Path, g: Path) -> Iterator[Attempt]:
    from autoseg.data.readers import read_file

    root = made(g, out, "42")
    for kind in ("stack", "thin"):

        def judge(done: Any) -> bool:
            found = read_file(done.root / "imagesTr" / "s1_0000.tif", "Tiff3DIO").spacing
            return (
                bool(np.allclose(found, (3, 0.5, 0.5))) and "overwrite_image_reader_writer" in done.document
            )

        yield kind, "import", brought(root / kind, judge)


def folds(out: Path, g: Path) -> Iterator[Attempt]:
    for kind in "abcd":
        workspace = out / f"ws_{kind}"
        root = made(g, out, "43", str(workspace), kind)
        left = {"case_006", "case_007"} if kind == "a" else set()
        yield kind, "folds", own_folds(root / "Dataset943_OwnFolds", workspace, left)


def geometry(out: Path, g: Path) -> Iterator[Attempt]:
    root = made(g, out, "44")
    for path in sorted((root / "expected").glob("*")):
        kind = path.name.split(".")[0]

        with_label(root / kind / "P.nii.gz", path)

        def judge(done: Any, path: Path = path) -> bool:
            (image,) = (done.root / "imagesTr").glob("*")
            one, other = upright(image), upright(path)
            return one.shape == other.shape and bool(np.allclose(one, other, atol=0.01))

        yield kind, "import", brought(root / kind, judge)


def small(out: Path, g: Path) -> Iterator[Attempt]:
    root = made(g, out, "45")
    counts = {
        "loop": 5,
        "dup_names": 10,
        "dup_sites": 10,
        "case_differs": 5,
        "sizes": 5,
        "grey16": 5,
        "rgb16": 5,
    }
    for kind, count in counts.items():
        yield kind, "import", brought(root / kind, lambda done, count=count: done.cases == count)

    def inverted(done: Any) -> bool:
        return any("exchanged" in note for note in done.notes)

    yield "inverted", "import", brought(root / "inverted", inverted)


def links(out: Path, g: Path) -> Iterator[Attempt]:
    root = made(g, out, "46")
    yield "good", "import", brought(root / "good", lambda done: done.cases == 4)
    yield "unneeded", "import", brought(root / "unneeded", lambda done: done.cases == 4)
    yield (
        "some",
        "import",
        brought(root / "some", lambda d: d.cases == 3 and any("sub-03" in n for n in d.notes)),
    )


_CUT = ("empty", "cut", "cut_pixels")
# Refused although the input is sound and the right outcome is a value: a dead end for whoever has it. Of
# phases under one series, a shifted gantry and damaged slices a refusal is right as well.
VALUE_WANTED: dict[str, tuple[str, ...] | None] = {
    **{"09": ("with",), "10": ("halves", "alternate", "labelled", "labelled_beside"), "11": ("near", "half")},
    **{
        "13": ("copies",),
        "14": None,
        "14b": ("ko",),
        "16": ("all", "some"),
        "27": ("tilt04",),
        "38": None,
        "44": None,
    },
    **{"18": None, "42": None},
}

SITUATIONS: dict[str, Callable[[Path, Path], Iterator[Attempt]]] = {
    **{"01": stale, "02": regions, "03": headers, "04": floats, "06": values, "06b": added, "07": turned},
    "08": orientation,
    "09": dicom("09", dict.fromkeys(("with", "without"), aligned(12, 3))),
    "10": dicom(
        "10",
        {
            **dict.fromkeys(("halves", "alternate"), slices_of(12, 2)),
            **dict.fromkeys(("labelled", "labelled_beside"), aligned(12, 2)),
        },
        ("halves", "alternate"),
    ),
    "11": dicom("11", dict.fromkeys(("near", "far", "plain", "half"), aligned(12, 2))),
    "13": dicom(
        "13",
        {"interleaved": slices_of(12, 4), "same": slices_of(12, 4), "copies": aligned(12, 2)},
        ("interleaved", "same"),
    ),
    "14": dicom(
        "14",
        dict.fromkeys(
            ("sr", "rtstruct", "pdf", "pr", "ko", "raw", "spectroscopy", "rtplan", "waveform", "reg"),
            aligned(12, 1),
        ),
    ),
    "14b": dicom("14b", dict.fromkeys(("ko", "seg"), aligned(12, 1))),
    "15": dicom("15", dict.fromkeys(("bits16", "bits12"), aligned(12, 4))),
    "16": dicom("16", dict.fromkeys(("all", "some"), aligned(12, 2))),
    "16b": dicom("16b", dict.fromkeys(_CUT, lambda done: done.left_out >= 4), _CUT),
    **{"18": several, "19": lossy, "20": spoilt, "22": groups, "23": metrics, "24": folder, "25": spacing},
    "27": dicom("27", dict.fromkeys(("tilt12", "tilt04"), aligned(12, 2))),
    **{"28": four, "29": types, "32": names, "36": mixed, "38": layouts, "42": tiffs, "43": folds},
    **{"44": geometry, "45": small, "46": links},
}
