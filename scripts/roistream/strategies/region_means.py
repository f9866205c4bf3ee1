"""One signal for each region, the mean of its voxels, by NiftiLabelsMasker: nilearn's, and ours under the same name.

Both do the same with the same parameters; nilearn's loads the image, ours goes through it block by block.
"""

import logging
from collections.abc import Iterator, Sequence

import nibabel as nib
import numpy as np
from nilearn.maskers import NiftiLabelsMasker

from roistream import maskers
from roistream.cleaning.options import Cleaning
from roistream.cleaning.signals import clean_signals, outcome
from roistream.errors import UserError
from roistream.images.image import Image
from roistream.images.series import Series
from roistream.images.smoothing import tell_smoothed
from roistream.images.volumes import as_float32, read_blocks
from roistream.maskers.lazy import LazyData
from roistream.regions.constant import constant_signals
from roistream.regions.masks import Mask
from roistream.strategies.loading import StoredValues, count_not_finite

logger = logging.getLogger("roistream")


def nilearn_labels(image: Image, masks: Sequence[Mask], n_jobs: int, cleaning: Cleaning) -> list[np.ndarray]:
    """Let nilearn's masker average all regions in one process; `n_jobs` is not used."""
    values = StoredValues(image, all_voxels(masks), bool(cleaning.smoothing_fwhm))
    return average(NiftiLabelsMasker, values, image, masks, cleaning)


def stream_labels(source: Image | Series, masks: Sequence[Mask], n_jobs: int, cleaning: Cleaning) -> list[np.ndarray]:
    """Let our masker do the same; `n_jobs` is not used."""
    values = StreamedValues(source, all_voxels(masks), bool(cleaning.smoothing_fwhm))
    return average(maskers.NiftiLabelsMasker, values, source, masks, cleaning)


class StreamedValues(LazyData):
    """The values of runs, one run after the other, read block by block; parameters and attributes as for `StoredValues`."""

    def __init__(self, source: Image | Series, voxels: np.ndarray, whole: bool):
        super().__init__((*source.grid, source.n_volumes), source.dtype)
        self.source, self.voxels, self.whole = source, voxels, whole
        self.n_not_finite = self.n_not_finite_in_all = 0

    def blocks(self, max_bytes: int) -> Iterator[np.ndarray]:
        """Go through the volumes once, see `roistream.maskers.blocks.blocks_of`."""
        for block in read_blocks(self.source, max_bytes, whole_volumes=True):
            if block.values.dtype.kind == "f":
                self.n_not_finite += count_not_finite(np.take(block.values, self.voxels, axis=1))
                if self.whole:
                    self.n_not_finite_in_all += count_not_finite(block.values)
            yield block.values


def average(
    kind: type[NiftiLabelsMasker],
    values: StoredValues | StreamedValues,
    source: Image | Series,
    masks: Sequence[Mask],
    cleaning: Cleaning,
) -> list[np.ndarray]:
    """Average the regions by one of the maskers, then clean their signals: the masker's own order.

    Cleaning is called as the masker calls it, and not left to it, because no parameter takes runs with confounds of their own.
    """
    masker = kind(
        label_image(masks, source),
        smoothing_fwhm=cleaning.smoothing_fwhm,
        standardize=None,
        resampling_target=None,
        reports=False,
    )
    signals = masker.fit_transform(nib.Nifti1Image(values, source.affine, dtype=source.dtype))
    n_values = source.n_volumes * sum(mask.voxels.size for mask in masks)
    if values.n_not_finite:
        logger.warning("%d of %d values of the regions were not finite and count as 0.", values.n_not_finite, n_values)
    tell_smoothed(values.n_not_finite_in_all, source.path)
    for mask, constant in zip(masks, constant_signals(signals, cleaning.part_lengths(len(signals))), strict=True):
        if constant:
            logger.warning("%s: its mean is constant over a run%s.", mask.title, outcome(cleaning))
    signals = as_float32(clean_signals(np.asfortranarray(signals), cleaning))
    return [np.ascontiguousarray(signals[:, [number]]) for number in range(len(masks))]


def all_voxels(masks: Sequence[Mask]) -> np.ndarray:
    """List the voxels of all regions, see `Mask.voxels`."""
    return np.concatenate([mask.voxels for mask in masks])


def label_image(masks: Sequence[Mask], source: Image | Series) -> nib.Nifti1Image:
    """Give the regions the labels 1, 2, … on the image's grid.

    Raises
    ------
    UserError
        Regions overlap.
    """
    labels = np.zeros(source.n_voxels, np.int32)
    for number, mask in enumerate(masks, 1):
        if labels[mask.voxels].any():
            raise UserError(
                f"{mask.title} has voxels of another region, but a label image has one region for each voxel; "
                "use a strategy that extracts voxels, such as stream."
            )
        labels[mask.voxels] = number
    return nib.Nifti1Image(labels.reshape(source.grid, order="F"), source.affine)
