"""Fit maskers without reading the images that they are fitted to, and prepare images for what comes then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import nibabel as nib

from roistream.maskers.inputs import as_series, loaded, on_disk, put_on_grid, stand_in, volume_to_show
from roistream.maskers.lazy import SeriesData, VolumeData, as_image
from roistream.maskers.maps import resampled, stand_in_for
from roistream.maskers.sparse_maps import sparsely

FROM_THE_MEAN = ("background", "epi")
"""Strategies of NiftiMasker that make a mask from the mean image; the others need its grid alone."""


def fitted_to_stand_in(masker: Any, fit: Callable, imgs: object, each: bool = False) -> Any:
    """Fit a masker to one volume without data, and let its report have a volume of the images later.

    Parameters
    ----------
    masker : masker
        Ours.
    fit : callable
        nilearn's ``_fit`` of the masker.
    imgs : image-like
        The images, or None.
    each : bool
        Whether members of a list may lie on different grids.
    """
    needs_mask = masker.mask_img_ is None and getattr(masker, "mask_strategy", "") in FROM_THE_MEAN
    without_data = None if imgs is None else stand_in(imgs, each, with_mean=needs_mask)
    if without_data is None:
        return fit(imgs)
    fit(without_data)
    report = getattr(masker, "_reporting_data", None) if masker.reports else None
    if report and isinstance(report.get("images"), nib.Nifti1Image):
        shown = volume_to_show(imgs)
        report["images"] = put_on_grid(shown, report["images"])
        changed = report.get("transform")
        if changed and isinstance(changed[0], nib.Nifti1Image):
            changed[0] = put_on_grid(shown, changed[0])
    return masker


def for_transform(masker: Any, imgs: object) -> object:
    """Give what nilearn's ``transform_single_imgs`` is to be called with.

    Volumes in a list become one image; with an image on disk goes the wish for the volume that the report still lacks.
    """
    series = as_series(imgs)
    if series is None or not on_disk(series):
        return imgs
    shown = volume_awaited(masker)
    here = series.dataobj
    if isinstance(here, SeriesData):
        return series
    if shown is None or shown.image.ndim != 4 or not same_file(shown.image, series):
        return imgs
    return as_image(SeriesData([series], shown), series)


def volume_awaited(masker: Any) -> VolumeData | None:
    """Find the volume that a masker's report will show and that nobody has read yet."""
    images = (getattr(masker, "_reporting_data", None) or {}).get("images")
    data = getattr(images, "dataobj", None)
    data = getattr(getattr(data, "volume", None), "dataobj", data)  # on another grid
    return data if isinstance(data, VolumeData) and data.values is None else None


def same_file(image: nib.Nifti1Pair, other: nib.Nifti1Pair) -> bool:
    """Tell whether two images are of one file."""
    return image is other or (image.get_filename() is not None and image.get_filename() == other.get_filename())


def fit_maps(masker: Any, fit: Callable, imgs: object) -> Any:
    """Fit a masker of maps to one map instead of all, if its maps are on disk and sparse, and keep those sparse.

    nilearn's ``_fit`` takes the attribute ``_maps_img`` for the parameter where there is one.
    """
    maps_img = loaded(getattr(masker, "_maps_img", masker.maps_img))
    kept = None
    if isinstance(maps_img, nib.Nifti1Pair) and maps_img.ndim == 4 and on_disk(maps_img) and masker.dtype is None:
        kept = sparsely(maps_img)
    if kept is None or hasattr(masker, "_maps_img"):
        return fit(imgs)
    masker._maps_img = stand_in_for(kept)
    try:
        fit(imgs)
    finally:
        del masker._maps_img
    one = masker.maps_img_
    if one.shape[3] != 1:
        return masker  # this nilearn has fitted to all maps
    masker.maps_img_ = kept if on_grid_of(kept, one) else resampled(kept, one)
    masker.n_elements_ = masker.maps_img_.shape[3]
    if masker.reports:
        masker._reporting_data["maps_image"] = masker.maps_img_
    return masker


def on_grid_of(image: nib.Nifti1Pair, other: nib.Nifti1Pair) -> bool:
    """Tell whether nothing has been resampled."""
    return image.shape[:3] == other.shape[:3] and (image.affine == other.affine).all()
