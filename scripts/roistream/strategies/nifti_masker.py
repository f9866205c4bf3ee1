"""The reference: nilearn's NiftiMasker, one fit for each region."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import nibabel as nib
import numpy as np
from nilearn import signal
from nilearn.maskers import NiftiMasker

from roistream.cleaning.options import Cleaning
from roistream.cleaning.signals import clean_runs, collect, count_constant
from roistream.errors import UserError
from roistream.images.image import Image
from roistream.images.smoothing import tell_smoothed
from roistream.images.volumes import as_float32
from roistream.maskers import nilearn_internals as internals
from roistream.regions.masks import Mask
from roistream.strategies.loading import StoredValues, as_nibabel, count_not_finite, load_mask, load_values
from roistream.strategies.workers import run_in_parallel


def nifti_masker_path(image: Image, masks: Sequence[Mask], n_jobs: int, cleaning: Cleaning) -> list[np.ndarray]:
    """Let each worker load the whole image for each of its regions, as a masker does that is given a path.

    It is given an image whose values are still in the file: to nilearn a path is a pattern.
    """
    tasks = ((image, mask, cleaning) for mask in masks)
    return collect(run_in_parallel(n_jobs, load_and_fit, tasks), masks, cleaning)


def nifti_masker_in_memory(image: Image, masks: Sequence[Mask], n_jobs: int, cleaning: Cleaning) -> list[np.ndarray]:
    """Load the image once, hand image and mask objects to the workers."""
    values = load_values(image)
    volumes = values.reshape((image.n_voxels, image.n_volumes), order="F")
    if cleaning.smoothing_fwhm:
        tell_smoothed(sum(map(count_not_finite, volumes.T)), image.path)
    loaded = nib.Nifti1Image(values, image.affine, dtype=values.dtype)
    tasks = ((loaded, mask_image(mask, image), cleaning) for mask in masks)
    fitted = zip(run_in_parallel(n_jobs, fit_transform, tasks), masks, strict=True)
    results = ((array, count_not_finite(volumes[mask.voxels]), n_constant) for (array, n_constant), mask in fitted)
    return collect(results, masks, cleaning)


def load_and_fit(image: Image, mask: Mask, cleaning: Cleaning) -> tuple[np.ndarray, int, int]:
    """Load image and mask, and extract one region."""
    values = StoredValues(image, mask.voxels, bool(cleaning.smoothing_fwhm))
    loaded = as_nibabel(values)
    array, n_constant = fit_transform(loaded, mask_image(mask, image), cleaning)
    tell_smoothed(values.n_not_finite_in_all, image.path)
    return array, values.n_not_finite, n_constant


def mask_image(mask: Mask, image: Image) -> nib.Nifti1Image:
    """Load a mask; it lies on the image's grid, and NiftiMasker, whose criterion is finer, shall not resample the image."""
    return nib.Nifti1Image(load_mask(mask).astype(np.uint8), image.affine)


def fit_transform(image: nib.Nifti1Image, mask: nib.Nifti1Image, cleaning: Cleaning) -> tuple[np.ndarray, int]:
    """Extract one region as a user of nilearn would; count its voxels that are constant over a run."""
    masker = WatchedMasker(mask_img=mask, smoothing_fwhm=cleaning.smoothing_fwhm, **cleaning.parameters())
    masker.watch(cleaning)
    with warnings.catch_warnings():
        # fit_transform hands the image to fit as well, which is what nilearn then warns about.
        warnings.filterwarnings("ignore", r".*Generation of a mask has been requested", UserWarning)
        array = as_float32(masker.fit_transform(image, confounds=cleaning.confounds))
    return array, masker.n_constant


class WatchedMasker(NiftiMasker):
    """nilearn's NiftiMasker, of which is seen what it is about to clean, and never shows.

    Attributes
    ----------
    n_constant : int
        Voxels that are constant over a run.
    """

    def watch(self, cleaning: Cleaning) -> None:
        """Look into the next extraction, and clean runs one by one that have confounds of their own, which no parameter takes."""
        self._cleaning = cleaning
        if internals.MISSING:
            raise UserError(
                f"This nilearn is built in another way than roistream knows ({internals.MISSING}), so that strategy cannot tell "
                "of constant voxels; take the version of envs/, or another strategy."
            )

    def _cache(self, func: Callable, *args: Any, **options: Any) -> Callable:
        if func is internals.filter_and_mask:
            extract = internals.rebound(internals.filter_and_extract, clean=self._look_and_clean)
            func = internals.rebound(func, filter_and_extract=extract)
        return super()._cache(func, *args, **options)

    def _look_and_clean(self, signals: np.ndarray, **options: Any) -> np.ndarray:
        self.n_constant = count_constant(signals, self._cleaning)
        return clean_runs(signal.clean, signals, self._cleaning, options)
