"""The reference: nilearn's NiftiMasker, one fit for each region."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import nibabel as nib
import numpy as np
from joblib import Parallel, delayed
from nilearn.maskers import NiftiMasker, base_masker

from roistream.cleaning.options import Cleaning
from roistream.cleaning.signals import clean_runs, collect, count_constant
from roistream.errors import UserError
from roistream.images.image import Image
from roistream.images.volumes import as_float32
from roistream.regions.masks import Mask


def nifti_masker_path(image: Image, masks: Sequence[Mask], n_jobs: int, cleaning: Cleaning) -> list[np.ndarray]:
    """Hand paths to the workers; each loads the whole image for each of its regions."""
    check_4d(image.path)
    tasks = (delayed(fit_transform)(str(image.path), str(mask.path), cleaning) for mask in masks)
    return collect(Parallel(n_jobs=n_jobs)(tasks), masks, cleaning)


def nifti_masker_in_memory(image: Image, masks: Sequence[Mask], n_jobs: int, cleaning: Cleaning) -> list[np.ndarray]:
    """Load the image once, hand image and mask objects to the workers."""
    check_4d(image.path)
    loaded = in_memory(image.path)
    tasks = (delayed(fit_transform)(loaded, in_memory(mask.path), cleaning) for mask in masks)
    return collect(Parallel(n_jobs=n_jobs)(tasks), masks, cleaning)


def check_4d(image: Path) -> None:
    """Refuse what NiftiMasker cannot read though it is one time series."""
    if nib.load(image).ndim != 4:
        raise UserError(
            f"{image} has an unused 5th dimension, which NiftiMasker refuses; use another strategy, or drop it."
        )


def in_memory(path: Path) -> nib.Nifti1Image:
    """Load an image into an array; what `nibabel.load` gives is a proxy, which a worker would receive as a file name."""
    loaded = nib.load(path)
    values = np.asarray(loaded.dataobj)
    return nib.Nifti1Image(values, loaded.affine, dtype=values.dtype)


def fit_transform(
    image: str | nib.Nifti1Image, mask: str | nib.Nifti1Image, cleaning: Cleaning
) -> tuple[np.ndarray, int, int]:
    """Extract one region as a user of nilearn would; what is not finite, it does not tell."""
    mask = on_grid_of(image, mask)
    masker = NiftiMasker(mask_img=mask, smoothing_fwhm=cleaning.smoothing_fwhm, **cleaning.parameters())
    with warnings.catch_warnings(), looking_into(cleaning) as counted:
        # fit_transform hands the image to fit as well, which is what nilearn then warns about.
        warnings.filterwarnings("ignore", r".*Generation of a mask has been requested", UserWarning)
        array = as_float32(masker.fit_transform(image, confounds=cleaning.confounds))
    return array, 0, sum(counted)


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


def on_grid_of(image: str | nib.Nifti1Image, mask: str | nib.Nifti1Image) -> str | nib.Nifti1Image:
    """Give a mask the image's affine where rounding sets them apart by more than NiftiMasker's own criterion.

    It would resample the image, at great cost, and alter its values. Other masks come back as they are.
    """
    target, loaded = (nib.load(each) if isinstance(each, str) else each for each in (image, mask))
    if np.allclose(loaded.affine, target.affine):
        return mask
    values = np.asarray(loaded.dataobj)
    return nib.Nifti1Image(values, target.affine, dtype=values.dtype)
