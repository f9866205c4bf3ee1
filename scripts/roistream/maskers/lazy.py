"""Images whose data come from somewhere when they are asked for: several files as one, a volume to be shown.

They are nibabel images with a data object of our own, as those of ``nibabel.load`` have one of nibabel's, so that nilearn, which
asks an image for grid, affine and header long before its data, takes them as they are. Pickled, they are names of files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import nibabel as nib
import numpy as np

from roistream.images.volumes import BLOCK_BYTES
from roistream.maskers.blocks import blocks_of


class LazyData:
    """What nibabel and nilearn want of data that are not in memory; `__array__` is for who inherits.

    Attributes
    ----------
    shape : tuple of int
        Of the image.
    dtype : numpy.dtype
        Type of the values.
    """

    is_proxy = True
    slope, inter = 1.0, 0.0

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype):
        self.shape, self.dtype = tuple(shape), np.dtype(dtype)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        raise NotImplementedError

    def __getitem__(self, item: Any) -> np.ndarray:
        return np.asarray(self)[item]

    def __deepcopy__(self, memo: dict) -> LazyData:
        return self


def as_image(data: LazyData | np.ndarray, like: nib.Nifti1Pair, affine: np.ndarray | None = None) -> nib.Nifti1Image:
    """Make an image with the geometry of another one."""
    header = like.header.copy()
    header.set_slope_inter(1, 0)
    if data.dtype != bool:
        header.set_data_dtype(data.dtype)
    return nib.Nifti1Image(data, like.affine if affine is None else affine, header)


class SeriesData(LazyData):
    """Images one after the other along time, in the type of the first, as nilearn's ``concat_imgs`` puts them together.

    Parameters
    ----------
    parts : sequence of nibabel image
        3D or 4D, of one grid.
    shown : VolumeData, optional
        A volume that is still waited for, to be taken along when the series is read; it is not pickled.
    """

    def __init__(self, parts: Sequence[nib.Nifti1Pair], shown: VolumeData | None = None):
        self.parts, self.shown = tuple(parts), shown
        n_volumes = sum((*part.shape, 1)[3] for part in parts)
        super().__init__((*parts[0].shape[:3], n_volumes), value_dtype(parts[0]))

    def blocks(self, max_bytes: int) -> Iterator[np.ndarray]:
        """Go through the volumes once, see `roistream.maskers.blocks.blocks_of`."""
        first = 0
        for part in self.parts:
            for values in blocks_of(part, max_bytes):
                if self.shown is not None:
                    self.shown.look(first, values)
                first += len(values)
                yield values.astype(self.dtype, copy=False)

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        data = np.empty(self.shape, self.dtype, order="F")
        volumes, first = data.reshape((-1, self.shape[3]), order="F").T, 0
        for values in self.blocks(BLOCK_BYTES):
            volumes[first : first + len(values)] = values
            first += len(values)
        return data if dtype is None else data.astype(dtype, copy=False)

    def __getstate__(self) -> dict:
        return {**vars(self), "shown": None}


class VolumeData(LazyData):
    """One volume of an image: taken along when somebody reads the image, or else read when it is asked for.

    Parameters
    ----------
    image : nibabel image
        On disk, 4D.
    index : int
        Number of the volume.
    """

    def __init__(self, image: nib.Nifti1Pair, index: int):
        self.image, self.index = image, index
        self.values: np.ndarray | None = None
        super().__init__(image.shape[:3], value_dtype(image))

    def look(self, first: int, values: np.ndarray) -> None:
        """Take the volume out of a block ``(n_volumes, n_voxels)`` that begins with volume `first`, if it is there."""
        if self.values is None and first <= self.index < first + len(values):
            self.values = values[self.index - first].reshape(self.shape, order="F").copy(order="F")

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        first = 0
        if self.values is None:
            for values in blocks_of(self.image):
                self.look(first, values)
                first += len(values)
                if self.values is not None:
                    break
        assert self.values is not None
        return self.values if dtype is None else self.values.astype(dtype, copy=False)


class ResampledData(LazyData):
    """A volume on another grid, nearest neighbours, as nilearn shows it in a report.

    Parameters
    ----------
    volume : nibabel image
        3D.
    like : nibabel image
        3D, on the grid that is wanted.
    """

    def __init__(self, volume: nib.Nifti1Image, like: nib.Nifti1Image):
        self.volume, self.like = volume, like
        super().__init__(like.shape, volume.get_data_dtype())

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        from nilearn.image import resample_img

        shown = resample_img(
            self.volume, target_affine=self.like.affine, target_shape=self.like.shape, interpolation="nearest"
        )
        values = np.asarray(shown.dataobj)
        return values if dtype is None else values.astype(dtype, copy=False)


def value_dtype(image: nib.Nifti1Pair) -> np.dtype:
    """Tell the type of an image's values, after scaling, without reading them."""
    data: Any = image.dataobj
    if nib.is_proxy(data) and (data.slope, data.inter) != (1.0, 0.0):
        return np.asarray(data[(slice(0, 1),) * len(image.shape)]).dtype
    return np.dtype(data.dtype)
