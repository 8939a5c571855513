"""Models that stock nnU-Net exported as a zip, and zips that only look like one."""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from model_folders import model_folder, write_volume

from autoseg.errors import RunError
from autoseg.export import export_nnunet
from autoseg.inference.zipped import is_stock_zip, unpacked
from autoseg.pipeline.single_stages import predict_folder


def zipped(path: Path, entries: dict[str, bytes], mode: int = 0) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return path


def test_a_zip_predicts_as_its_folder_does(tmp_path: Path) -> None:
    model = model_folder(tmp_path, configuration="2d", folds=(0,), axes=None)
    archive = export_nnunet(model, tmp_path / "model.zip")
    assert is_stock_zip(archive)
    write_volume(tmp_path / "images" / "a_0000.nii.gz", (8, 14, 14))
    made = [
        predict_folder(each, tmp_path / "images", tmp_path / f"out{n}", device="cpu").files[0]
        for n, each in enumerate((model, archive))
    ]
    one, other = (sitk.GetArrayFromImage(sitk.ReadImage(str(path))) for path in made)
    assert len(np.unique(one)) > 1 and np.array_equal(one, other)


def test_only_what_a_model_needs_is_written_and_it_is_gone_afterwards(tmp_path: Path) -> None:
    model = model_folder(tmp_path, configuration="2d")
    archive = export_nnunet(model, tmp_path / "model.zip")
    with zipfile.ZipFile(archive, "a") as more:
        more.writestr("Dataset001_Small/postprocessing.pkl", b"cos\nsystem\n")
        more.writestr("Dataset001_Small/nnUNetTrainer__x__2d/fold_0/evil.py", b"")
    with unpacked(archive) as folder:
        files = {path.name for path in folder.rglob("*") if path.is_file()}
    assert files == {"plans.json", "dataset.json", "checkpoint_final.pth"} and not folder.exists()


@pytest.mark.parametrize(
    ("entries", "mode", "said"),
    [
        ({"../plans.json": b"{}"}, 0, "not a path within"),
        ({"/plans.json": b"{}"}, 0, "not a path within"),
        ({"a\\..\\plans.json": b"{}", "plans.json": b"{}"}, 0, "not a path within"),
        ({"plans.json": b"/etc/passwd"}, stat.S_IFLNK | 0o777, "link"),
        ({"plans.json": b"{}", "fold_0/checkpoint_final.pth": bytes(2**24)}, 0, "unpack to"),
        ({"plans.json": b"{}"}, 0, "holds no trained model"),
    ],
)
def test_what_leads_out_or_holds_nothing_is_refused(
    tmp_path: Path, entries: dict[str, bytes], mode: int, said: str
) -> None:
    archive = zipped(tmp_path / "model.zip", entries, mode)
    assert is_stock_zip(archive)
    with pytest.raises(RunError, match=said), unpacked(archive):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.zip"]


def test_several_models_in_a_zip_are_named(tmp_path: Path) -> None:
    names = ("nnUNetTrainer__nnUNetPlans__2d", "nnUNetTrainer__nnUNetPlans__3d_fullres")
    model = model_folder(tmp_path, configuration="2d")
    plans = (model / "plans.json").read_bytes()
    entries = {}
    for name in names:
        entries |= {f"D/{name}/plans.json": plans, f"D/{name}/fold_0/checkpoint_final.pth": b"x"}
    with pytest.raises(RunError, match="2 models") as caught, unpacked(zipped(tmp_path / "m.zip", entries)):
        pass
    assert all(name in str(caught.value) for name in names)


def test_a_zip_that_is_damaged_inside_is_told(tmp_path: Path) -> None:
    path = tmp_path / "model.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/plans.json", "{}" * 500)
    content = path.read_bytes().replace(b"{}{}", b"[][]", 1)
    path.write_bytes(content)
    assert is_stock_zip(path)
    with pytest.raises(RunError, match=r"plans\.json cannot be unpacked"), unpacked(path):
        pass
    path.write_bytes(content.replace(b"PK\x01\x02", b"PK\x09\x09"))
    assert not is_stock_zip(path)
