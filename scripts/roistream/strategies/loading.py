"""Images and masks as nibabel gives them, of the same bytes and the same header as our reader sees.

The strategies that are compared load images by nibabel, as their users do. It reads as many bytes as it needs and stops: what
follows, and the check sum, it never sees; nor does it take every header. So it is told where the data lie, its stream is read on
to the end, and our reader has the last word on all that is not sound.
"""

import errno
import gzip
import zlib
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.arrayproxy import ArrayProxy

from roistream.images.image import Image
from roistream.images.layout import tell_surplus
from roistream.images.volumes import STEP_BYTES, read_blocks
from roistream.regions.masks import Mask, read_mask


class StoredValues:
    """The values of an image, loaded when they are asked for: what nibabel calls an array proxy.

    Parameters
    ----------
    image : Image
        The image.
    voxels : numpy.ndarray, optional
        Voxels of interest, as in `Mask.voxels`.
    whole : bool
        Count values that are not finite in all of the image, too.

    Attributes
    ----------
    n_not_finite : int
        Values of the voxels of interest that are not finite, after loading.
    n_not_finite_in_all : int
        Values of the whole image that are not finite, after loading.
    """

    is_proxy = True

    def __init__(self, image: Image, voxels: np.ndarray | None = None, whole: bool = False):
        self.image, self.voxels, self.whole = image, voxels, whole
        self.shape = (*image.grid, image.n_volumes)
        self.ndim, self.dtype = 4, image.dtype
        self.slope, self.inter = image.layout.slope, image.layout.inter
        self.n_not_finite = self.n_not_finite_in_all = 0

    def __deepcopy__(self, memo: dict) -> "StoredValues":
        """Remain the one that counts: nilearn loads a copy of an image."""
        return self

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Load the values."""
        values = load_values(self.image)
        if values.dtype.kind == "f":
            volumes = values.reshape((-1, self.image.n_volumes), order="F")
            if self.voxels is not None:
                self.n_not_finite = count_not_finite(volumes[self.voxels])
            if self.whole:
                self.n_not_finite_in_all = sum(map(count_not_finite, volumes.T))
        return values if dtype is None else values.astype(dtype, copy=False)

    def __getitem__(self, index: Any) -> np.ndarray:
        """Load the values and index them."""
        return np.asarray(self)[index]


def count_not_finite(values: np.ndarray) -> int:
    """Count the values that are not finite."""
    return values.size - int(np.count_nonzero(np.isfinite(values))) if values.dtype.kind == "f" else 0


def as_nibabel(values: StoredValues) -> nib.Nifti1Image:
    """Give an image as `nibabel.load` does, with its values still in the file."""
    return nib.Nifti1Image(values, values.image.affine, dtype=values.dtype)


def load_mask(mask: Mask) -> np.ndarray:
    """Load a binary mask: bool, 3D."""
    assert mask.path is not None
    return read_mask(mask.path)


def load_values(image: Image) -> np.ndarray:
    """Load the values of an image as nibabel does: ``(x, y, z, n_volumes)``, a memory map if they are stored as they are."""
    layout = image.layout
    where = ((*image.grid, image.n_volumes), layout.raw_dtype, layout.offset, layout.slope, layout.inter)
    if not image.compression:
        tell_end(image)
        with image.data_path.open("rb") as file:
            return np.asarray(ArrayProxy(file, where))
    if image.compression == "gz":
        try:
            with gzip.open(image.data_path) as stream:
                values = np.asarray(ArrayProxy(stream, where, mmap=False))
                if not stream.read(STEP_BYTES):
                    return values
        except (EOFError, OSError, zlib.error) as error:
            if getattr(error, "errno", None) == errno.ENOMEM:
                raise
    # Something is wrong with the file, or behind its end: our reader says what, or goes on. Python's of .bz2 tells nothing of it.
    [block] = read_blocks(image, image.n_volumes * image.n_voxels * image.widest, whole_volumes=True)
    return block.values.T.reshape(where[0], order="F")


def tell_end(image: Image) -> None:
    """Tell of what follows the last volume of a file that is not compressed, of which nothing else would."""
    tell_surplus(image.data_path.stat().st_size - image.layout.end, str(image.path), image.layout)
