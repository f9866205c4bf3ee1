"""What nilearn accepts as images, made ready to be read block by block."""

from __future__ import annotations

import glob
import os
from pathlib import Path
from typing import Any

import nibabel as nib
import nilearn
import numpy as np

from roistream.maskers.blocks import blocks_of, file_behind, is_readable
from roistream.maskers.lazy import ResampledData, SeriesData, VolumeData, as_image, value_dtype


def loaded(imgs: Any) -> Any:
    """Open what names files; lists stay lists. What cannot be opened stays as it is: nilearn knows what to say of it.

    Returns
    -------
    object
        A nibabel image, whose data stay on disk, a list of them, or `imgs`.
    """
    if isinstance(imgs, list | tuple):
        return [loaded(item) for item in imgs]
    if not isinstance(imgs, str | os.PathLike):
        return imgs
    path = os.fspath(imgs)
    if getattr(nilearn, "EXPAND_PATH_WILDCARDS", True):
        path = str(Path(path).expanduser())
        if glob.has_magic(path):
            return [loaded(name) for name in sorted(glob.glob(path))] or imgs  # noqa: PTH207 - as nilearn expands it
    try:
        return nib.load(path)
    except (OSError, nib.filebasedimages.ImageFileError):
        return imgs


def as_series(imgs: object) -> nib.Nifti1Pair | None:
    """Give the image that is meant, where it can be read block by block.

    Parameters
    ----------
    imgs : image-like
        A path, pattern, image, or a list of 3D images, which are the volumes of one.

    Returns
    -------
    nibabel image or None
        None for what nilearn must read, or complain about, itself.
    """
    opened = loaded(imgs)
    if not isinstance(opened, list):
        return opened if is_readable(opened) else None
    if not opened or not all(is_readable(item) and item.ndim == 3 for item in opened) or not on_one_grid(opened):
        return None
    return as_image(SeriesData(opened), opened[0])


def on_one_grid(images: list[nib.Nifti1Pair]) -> bool:
    """Tell whether nilearn takes the grids of some images for one."""
    first = images[0]
    return all(image.shape[:3] == first.shape[:3] and np.allclose(image.affine, first.affine) for image in images[1:])


def on_disk(image: nib.Nifti1Pair) -> bool:
    """Tell whether an image's data would have to be read."""
    return isinstance(image.dataobj, SeriesData) or file_behind(image) is not None


def stand_in(imgs: object, each: bool = False, with_mean: bool = False) -> object:
    """Give what a masker may be fitted to instead of images on disk: one volume on the same grid, without data.

    Parameters
    ----------
    imgs : image-like
        What the masker is to be fitted to.
    each : bool
        Whether the members of a list are images of their own, which may lie on different grids.
    with_mean : bool
        The volume is the mean over time, from which masks are computed; else it is empty.

    Returns
    -------
    object or None
        A 4D image of one volume, or a list where a list was given; None where nothing would be gained.
    """
    opened = loaded(imgs)
    if isinstance(opened, list):
        if not opened or not all(is_readable(item) for item in opened):
            return None
        if each:
            return [stand_in(item, with_mean=with_mean) or item for item in opened]
        if len({item.ndim for item in opened}) > 1 or not on_one_grid(opened):
            return None
        series = as_image(SeriesData(opened), opened[0])
        return [volume(series, mean_volume(series) if with_mean else None)]
    if not is_readable(opened) or opened.ndim == 3 or not on_disk(opened):
        return None
    return volume(opened, mean_volume(opened) if with_mean else None)


def volume(image: nib.Nifti1Pair, values: np.ndarray | None) -> nib.Nifti1Image:
    """Make a 4D image of one volume, by default of zeros that take no memory."""
    if values is None:
        values = np.broadcast_to(np.zeros((), value_dtype(image)), image.shape[:3])
    return as_image(values[..., np.newaxis], image)


def mean_volume(image: nib.Nifti1Pair) -> np.ndarray:
    """Average an image over time, to the bits of numpy's mean along the last axis of an array as nibabel reads it."""
    total: np.ndarray | None = None
    for values in blocks_of(image):
        if total is None:
            dtype = values.dtype.newbyteorder("=") if values.dtype.kind == "f" else np.dtype(np.float64)
            total = np.zeros(values.shape[1], dtype)
        for row in values:
            total += row
    assert total is not None
    return (total / total.dtype.type(image.shape[3])).reshape(image.shape[:3], order="F")


def volume_to_show(imgs: Any) -> nib.Nifti1Image:
    """Give the volume that nilearn shows in reports, to be read later or taken along: one image's middle, the first of several.

    Parameters
    ----------
    imgs : image-like
        What the masker was fitted to; there is a `stand_in` for it.
    """
    opened = loaded(imgs)
    several = isinstance(opened, list)
    while isinstance(opened, list):
        opened = opened[0]
    if opened.ndim == 3:
        return opened
    return as_image(VolumeData(opened, 0 if several else opened.shape[3] // 2), opened)


def put_on_grid(shown: nib.Nifti1Image, like: nib.Nifti1Image) -> nib.Nifti1Image:
    """Show a volume on the grid of another image, when it is asked for."""
    same = like.shape == shown.shape and np.array_equal(like.affine, shown.affine)
    return shown if same else as_image(ResampledData(shown, like), like)
