"""Image files that no layout takes: what they are, and how they become files that one does."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

_PICTURE = "Convert images and masks to PNG, which loses nothing: magick mogrify -format png FOLDER/*{ending}"
_LOSSY = "Masks that were stored with loss have values that are no labels; take them from their source."
_ARRAY = (
    "An array has no spacing and no place. Write it as NIfTI with those of its scan (SimpleITK, nibabel)."
)
_SLIDE = "Cut it into tiles of PNG first (OpenSlide, QuPath)."
_MICROSCOPE = "Write OME-TIFF first (Bio-Formats, bfconvert)."
_FORMATS = {
    (".webp",): ("WebP pictures", f"{_PICTURE}. {_LOSSY}"),
    (".jp2", ".j2k", ".jpf", ".jpx", ".j2c"): ("JPEG 2000 pictures", f"{_PICTURE}. {_LOSSY}"),
    (".avif", ".heic", ".heif", ".jxl"): ("pictures of a camera or browser", f"{_PICTURE}. {_LOSSY}"),
    (".mgz", ".mgh"): ("FreeSurfer volumes", "Convert each: mri_convert IN{ending} OUT.nii.gz"),
    (".hdr",): (
        "headers of NIfTI or Analyze pairs (.hdr beside .img)",
        "Write each pair as one file (nibabel): nib.save(nib.load('IN.hdr'), 'OUT.nii.gz'). An Analyze "
        "header has no orientation: look at one image and its label in a viewer afterwards.",
    ),
    (".mnc",): ("MINC volumes", "Convert each: mnc2nii IN.mnc OUT.nii"),
    (".npy", ".npz", ".mat", ".h5", ".hdf5"): ("arrays", _ARRAY),
    (".svs", ".ndpi", ".mrxs", ".scn"): ("whole slides", _SLIDE),
    (".czi", ".lif", ".nd2", ".oib"): ("microscope images", _MICROSCOPE),
}
_KINDS = {ending: (what, remedy) for endings, (what, remedy) in _FORMATS.items() for ending in endings}
_PICTURES = {ending for ending, (_, remedy) in _KINDS.items() if remedy.startswith(_PICTURE)}
# A folder of millions is no data set of these; what a user has to know shows in the first files.
_MOST = 20_000


def unread_images(source: Path, pictures: bool = False) -> str:
    """What files of a folder are images of a format that is not read, in sentences; empty if none is.

    Args:
        source: the folder, looked through at any depth.
        pictures: only pictures count, not what programs store beside images as well, such as arrays.
    """
    found = defaultdict[str, list[Path]](list)
    for number, path in enumerate(source.rglob("*")):
        if number >= _MOST:
            break
        if path.suffix.lower() in _KINDS and not path.name.startswith("."):
            found[path.suffix.lower()].append(path)
    if pictures:
        found = defaultdict(list, {each: paths for each, paths in found.items() if each in _PICTURES})
    return " ".join(
        f"{len(paths)} files are {_KINDS[ending][0]} ({min(paths).relative_to(source)}), which are not read. "
        f"{_KINDS[ending][1].format(ending=ending)}"
        for ending, paths in sorted(found.items())
    )
