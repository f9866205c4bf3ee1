"""The reference: nilearn's NiftiMasker, one fit for each region."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import nibabel as nib
import numpy as np
from nilearn.maskers import NiftiMasker, base_masker

from roistream.cleaning.options import Cleaning
from roistream.cleaning.signals import clean_runs, collect, count_constant
from roistream.images.image import Image
from roistream.images.smoothing import tell_smoothed
from roistream.images.volumes import as_float32
from roistream.regions.masks import Mask
from roistream.strategies.loading import StoredValues, count_not_finite, load, load_mask
from roistream.strategies.workers import run_in_parallel


def nifti_masker_path(image: Image, masks: Sequence[Mask], n_jobs: int, cleaning: Cleaning) -> list[np.ndarray]:
    """Let each worker load the whole image for each of its regions, as a masker does that is given a path.

    It is given an image whose values are still in the file: to nilearn a path is a pattern.
    """
    tasks = ((image, mask, cleaning) for mask in masks)
    return collect(run_in_parallel(n_jobs, load_and_fit, tasks), masks, cleaning)


def nifti_masker_in_memory(image: Image, masks: Sequence[Mask], n_jobs: int, cleaning: Cleaning) -> list[np.ndarray]:
    """Load the image once, hand image and mask objects to the workers."""
    values = np.asarray(load(image).dataobj)
    volumes = values.reshape((image.n_voxels, image.n_volumes), order="F")
    if cleaning.smoothing_fwhm:
        tell_smoothed(sum(map(count_not_finite, volumes.T)), image.path)
    counts = [count_not_finite(volumes[mask.voxels]) for mask in masks]
    loaded = nib.Nifti1Image(values, image.affine, dtype=values.dtype)
    tasks = ((loaded, mask_image(mask, image), cleaning) for mask in masks)
    fitted = run_in_parallel(n_jobs, fit_transform, tasks)
    results = ((array, count, constant) for (array, constant), count in zip(fitted, counts, strict=True))
    return collect(results, masks, cleaning)


def load_and_fit(image: Image, mask: Mask, cleaning: Cleaning) -> tuple[np.ndarray, int, int]:
    """Load image and mask, and extract one region."""
    loaded = load(image, mask.voxels, bool(cleaning.smoothing_fwhm))
    time_series, n_constant = fit_transform(loaded, mask_image(mask, image), cleaning)
    values: StoredValues = loaded.dataobj
    tell_smoothed(values.n_not_finite_in_all, image.path)
    return time_series, values.n_not_finite, n_constant


def mask_image(mask: Mask, image: Image) -> nib.Nifti1Image:
    """Load a mask; it lies on the image's grid, and NiftiMasker, whose criterion is finer, shall not resample the image."""
    return nib.Nifti1Image(load_mask(mask).astype(np.uint8), image.affine)


def fit_transform(image: nib.Nifti1Image, mask: nib.Nifti1Image, cleaning: Cleaning) -> tuple[np.ndarray, int]:
    """Extract one region as a user of nilearn would; count also the voxels that are constant over a run."""
    masker = NiftiMasker(mask_img=mask, smoothing_fwhm=cleaning.smoothing_fwhm, **cleaning.parameters())
    with warnings.catch_warnings(), looking_into(cleaning) as counted:
        # fit_transform hands the image to fit as well, which is what nilearn then warns about.
        warnings.filterwarnings("ignore", r".*Generation of a mask has been requested", UserWarning)
        array = as_float32(masker.fit_transform(image, confounds=cleaning.confounds))
    return array, sum(counted)


@contextmanager
def looking_into(cleaning: Cleaning) -> Iterator[list[int]]:
    """Look at what NiftiMasker is about to clean, which it never shows, and count the voxels that are constant over a run.

    Runs that have confounds of their own, which no parameter of NiftiMasker takes, are cleaned each by itself there.
    """
    clean, counted = base_masker.clean, []

    def look_and_clean(signals: np.ndarray, **options) -> np.ndarray:
        counted.append(count_constant(signals, cleaning))
        return clean_runs(clean, signals, cleaning, options)

    base_masker.clean = look_and_clean
    try:
        yield counted
    finally:
        base_masker.clean = clean
