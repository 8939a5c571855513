"""nnU-Net's own readers, and files that both read."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from autoseg.data.readers import (
    read_images,
    read_segmentation,
)

nibabel = pytest.importorskip("nibabel")


registry = pytest.importorskip("nnunetv2.imageio.reader_writer_registry")


SharedData = Callable[[str], Path]


REAL = {
    "Dataset004_Hippocampus": "SimpleITKIO",
    "Dataset018_FetalHead": "NaturalImage2DIO",
    "Dataset021_NucleiColor": "NaturalImage2DIO",
    "Dataset030_MSLesion": "SimpleITKIO",
    "Dataset040_CTOrgans": "SimpleITKIO",
}


def stock(name: str) -> Any:
    """nnU-Net's reader of that name."""
    return registry.recursive_find_reader_writer_by_name(name)()


def assert_equal(found: Any, expected: Any) -> None:
    """Nested properties, equal to the last bit."""
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        for key in expected:
            assert_equal(found[key], expected[key])
    else:
        np.testing.assert_array_equal(np.asarray(found), np.asarray(expected))


def assert_reads_as_stock(name: str, images: list[Path], label: Path | None = None) -> None:
    array, properties = stock(name).read_images([str(path) for path in images])
    read = read_images(images, name)
    assert read.array.dtype == array.dtype == np.float32
    np.testing.assert_array_equal(read.array, array)
    assert_equal(read.properties, properties)
    assert read.spacing == tuple(properties["spacing"])
    if label is not None:
        array, properties = stock(name).read_seg(str(label))
        read = read_segmentation(label, name)
        np.testing.assert_array_equal(read.array.astype(np.float32), array)
        assert_equal(read.properties, properties)


def oblique(array: np.ndarray, path: Path) -> Path:
    """Write an array (z, y, x) on an oblique grid."""
    itk = sitk.GetImageFromArray(array)
    itk.SetSpacing((0.5, 0.75, 2.5))
    itk.SetOrigin((-10.5, 3.25, 100.0))
    turned = sitk.Euler3DTransform((0, 0, 0), 0.3, -0.2, 2.5).GetMatrix()
    itk.SetDirection(turned)
    sitk.WriteImage(itk, str(path), True)
    return path


def write_nifti(
    path: Path, array: np.ndarray, slope: float = 1, intercept: float = 0, order: str = "<"
) -> Path:
    """A NIfTI file (axes x, y, z, ...) with any scaling and byte order."""
    header = nibabel.Nifti1Header(endianness=order)
    header.set_data_dtype(array.dtype.newbyteorder(order))
    affine = np.diag([-2.0, 3.0, 4.0, 1.0])
    nibabel.save(nibabel.Nifti1Image(array, affine, header), path)
    content = bytearray(path.read_bytes())
    if path.suffix == ".gz":
        content = bytearray(gzip.decompress(content))
    content[112:120] = np.array([slope, intercept], order + "f4").tobytes()
    path.write_bytes(gzip.compress(bytes(content)) if path.suffix == ".gz" else bytes(content))
    return path


def made_pngs(folder: Path) -> dict[str, Path]:
    """PNG and BMP files of every kind that Pillow writes."""
    from PIL import Image

    rng = np.random.default_rng(4)
    grey = rng.integers(0, 256, (9, 11), dtype=np.uint8)
    colour = rng.integers(0, 256, (9, 11, 4), dtype=np.uint8)
    images = {
        "grey.png": Image.fromarray(grey),
        "grey16.png": Image.fromarray(grey.astype(np.uint16) * 200),
        "rgb.png": Image.fromarray(colour[..., :3]),
        "rgba.png": Image.fromarray(colour),
        "palette.png": Image.fromarray(colour[..., :3]).quantize(7),
        "bits.png": Image.fromarray(grey > 128),
        "grey.bmp": Image.fromarray(grey),
        "rgb.bmp": Image.fromarray(colour[..., :3]),
    }
    for name, image in images.items():
        image.save(folder / name)
    return {name: folder / name for name in images}
