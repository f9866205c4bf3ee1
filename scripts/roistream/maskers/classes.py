"""nilearn's classes, with an extraction that goes through an image block by block.

Each is a subclass that adds the same few things: `_cache`, through which nilearn calls its extraction, gives ours instead; `_fit`
is shown one volume instead of the images on disk; lists of volumes are handed on as one image that has not been read.
"""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from nilearn import maskers

from roistream.garbage import quick_collections
from roistream.maskers import nilearn_internals as internals
from roistream.maskers.extraction import filter_and_extract, filter_and_mask
from roistream.maskers.fitting import fit_maps, fitted_to_stand_in, for_transform
from roistream.maskers.maps import resample_maps

ENGINE: dict[Callable, Callable] = {}
if internals.MISSING:
    warnings.warn(
        f"This nilearn is built in another way than roistream knows ({internals.MISSING}): the maskers hold images whole; "
        "take a version that is tested, see envs/.",
        stacklevel=2,
    )
else:
    ENGINE = {
        internals.filter_and_extract: filter_and_extract,
        internals.filter_and_mask: filter_and_mask,
        internals.resample_img: resample_maps,
    }


class InFlatMemory:
    """What the classes have in common."""

    _each_is_an_image = False
    """Whether the members of a list may lie on different grids."""

    def _cache(self, func: Callable, *args: Any, **kwargs: Any) -> Callable:
        """Give the function that does what one of nilearn's does, cached as nilearn would."""
        nilearns: Any = super()
        return nilearns._cache(ENGINE.get(func, func), *args, **kwargs)

    def _fit(self, imgs: object) -> Any:
        """Fit to the grid of the images, without reading them."""
        nilearns: Any = super()
        if not ENGINE:
            return nilearns._fit(imgs)
        with quick_collections():
            return fitted_to_stand_in(self, nilearns._fit, imgs, self._each_is_an_image)

    def transform_single_imgs(self, imgs: object, *args: Any, **kwargs: Any) -> np.ndarray:
        """Extract signals from a single image; parameters and result are nilearn's."""
        nilearns: Any = super()
        with quick_collections():
            return nilearns.transform_single_imgs(for_transform(self, imgs) if ENGINE else imgs, *args, **kwargs)


class OfSeveral(InFlatMemory):
    """What the classes for several images have in common."""

    def transform_imgs(self, imgs_list: Any, *args: Any, **kwargs: Any) -> Any:
        """Extract signals from a list of images; parameters and result are nilearn's."""
        if ENGINE and isinstance(imgs_list, list | tuple):
            imgs_list = [for_transform(self, imgs) for imgs in imgs_list]
        nilearns: Any = super()
        return nilearns.transform_imgs(imgs_list, *args, **kwargs)


class NiftiMasker(InFlatMemory, maskers.NiftiMasker):  # noqa: D101 - nilearn's own
    __doc__ = maskers.NiftiMasker.__doc__

    def transform(
        self,
        imgs: object,
        confounds: object = None,
        sample_mask: object = None,
        output: str | os.PathLike | None = None,
    ) -> np.ndarray:
        """Apply mask, spatial and temporal preprocessing; see nilearn's method of this name.

        Parameters
        ----------
        imgs, confounds, sample_mask
            As nilearn has them.
        output : path, optional
            Write the signals to this ``.npy`` file while reading, and return a memory map of it: they may be larger than memory.
            Voxels are then cleaned some thousand at a time, and nothing is cached.

        Returns
        -------
        numpy.ndarray
            ``(n_volumes, n_voxels)``.
        """
        if output is None:
            return super().transform(imgs, confounds=confounds, sample_mask=sample_mask)
        if not ENGINE:
            raise NotImplementedError("output= needs a nilearn that roistream knows")
        writing = copy.copy(self)
        writing._output = Path(output)
        return super(NiftiMasker, writing).transform(imgs, confounds=confounds, sample_mask=sample_mask)

    def fit_transform(
        self,
        imgs: object,
        y: None = None,
        confounds: object = None,
        sample_mask: object = None,
        output: str | os.PathLike | None = None,
        **fit_params: Any,
    ) -> np.ndarray:
        """Fit, then transform; see there."""
        if output is None:
            return super().fit_transform(imgs, y, confounds=confounds, sample_mask=sample_mask, **fit_params)
        return self.fit(imgs, y, **fit_params).transform(imgs, confounds, sample_mask, output)

    def _cache(self, func: Callable, *args: Any, **kwargs: Any) -> Callable:
        output = getattr(self, "_output", None)
        if output is None or func not in ENGINE:
            return super()._cache(func, *args, **kwargs)

        def write(imgs: object, mask_img: object, parameters: dict, **options: Any) -> np.ndarray:
            return filter_and_mask(imgs, mask_img, {**parameters, "output": output}, **options)

        return write


class NiftiLabelsMasker(InFlatMemory, maskers.NiftiLabelsMasker):  # noqa: D101 - nilearn's own
    __doc__ = maskers.NiftiLabelsMasker.__doc__


class NiftiMapsMasker(InFlatMemory, maskers.NiftiMapsMasker):  # noqa: D101 - nilearn's own
    __doc__ = maskers.NiftiMapsMasker.__doc__

    def _fit(self, imgs: object = None) -> Any:
        return fit_maps(self, super()._fit, imgs) if ENGINE else super()._fit(imgs)


class NiftiSpheresMasker(InFlatMemory, maskers.NiftiSpheresMasker):  # noqa: D101 - nilearn's own
    __doc__ = maskers.NiftiSpheresMasker.__doc__


class MultiNiftiMasker(OfSeveral, maskers.MultiNiftiMasker):  # noqa: D101 - nilearn's own
    __doc__ = maskers.MultiNiftiMasker.__doc__

    _each_is_an_image = True


class MultiNiftiLabelsMasker(OfSeveral, maskers.MultiNiftiLabelsMasker):  # noqa: D101 - nilearn's own
    __doc__ = maskers.MultiNiftiLabelsMasker.__doc__


class MultiNiftiMapsMasker(OfSeveral, maskers.MultiNiftiMapsMasker):  # noqa: D101 - nilearn's own
    __doc__ = maskers.MultiNiftiMapsMasker.__doc__

    def _fit(self, imgs: object = None) -> Any:
        return fit_maps(self, super()._fit, imgs) if ENGINE else super()._fit(imgs)
