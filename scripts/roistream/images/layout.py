"""How the volumes of an image lie in its file, and what to say of a file that is shorter, longer or damaged."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from roistream.errors import UserError

logger = logging.getLogger("roistream")


@dataclass(frozen=True)
class VolumeLayout:
    """How volumes lie in a binary stream.

    Attributes
    ----------
    grid : tuple of int
        Voxels along x, y, z.
    n_volumes : int
        Volumes along time.
    raw_dtype : numpy.dtype
        Type of the stored values, with its byte order.
    offset : int
        Bytes before the first volume.
    slope, inter : float
        Stored values times `slope` plus `inter` are the values; 1 and 0 mean that they are stored as they are.
    """

    grid: tuple[int, int, int]
    n_volumes: int
    raw_dtype: np.dtype
    offset: int
    slope: float = 1.0
    inter: float = 0.0

    @property
    def n_voxels(self) -> int:
        """Voxels of one volume."""
        return self.grid[0] * self.grid[1] * self.grid[2]

    @property
    def scales(self) -> bool:
        """Whether values are others than those stored."""
        return (self.slope, self.inter) != (1.0, 0.0)

    @property
    def volume_bytes(self) -> int:
        """Bytes of one stored volume."""
        return self.n_voxels * self.raw_dtype.itemsize

    @property
    def end(self) -> int:
        """Bytes up to the end of the last volume."""
        return self.offset + self.n_volumes * self.volume_bytes

    @property
    def dtype(self) -> np.dtype:
        """Type of the values after scaling."""
        return self.scaled(np.zeros(1, self.raw_dtype)).dtype

    @property
    def widest(self) -> int:
        """Bytes of a value, stored or scaled, whichever is larger."""
        return max(self.raw_dtype.itemsize, self.dtype.itemsize)

    def scaled(self, raw: np.ndarray) -> np.ndarray:
        """Apply slope and intercept as nibabel does; without them the same array comes back."""
        if not self.scales:
            return raw
        from nibabel.volumeutils import apply_read_scaling

        return apply_read_scaling(raw, np.float64(self.slope), np.float64(self.inter))


def truncated(name: str, layout: VolumeLayout, reached: int, why: str = "") -> UserError:
    """Word the error for a file that ends early."""
    return UserError(
        f"{name} ends early: {layout.n_volumes} volumes expected, {reached} complete{f' ({why})' if why else ''}; "
        "the file was cut off, or its header is wrong; copy or download it again."
    )


def damaged(name: str, layout: VolumeLayout, reached: int, error: Exception) -> UserError:
    """Word the error for a file whose compressed data are not sound."""
    return UserError(
        f"{name} is damaged ({error}): {layout.n_volumes} volumes expected, {reached} read before the damage showed; "
        "copy or download it again."
    )


def check_surplus(n_bytes: int, name: str, layout: VolumeLayout) -> None:
    """Refuse a file that goes on for whole volumes where its header says that the image ends."""
    if more := n_bytes // layout.volume_bytes:
        raise UserError(
            f"{name} has more data than its header says: {layout.n_volumes} volumes expected, at least "
            f"{layout.n_volumes + more} are there; correct the header, or write the image again."
        )


def tell_surplus(n_bytes: int, name: str, layout: VolumeLayout, trailing: int = 0) -> None:
    """Tell of bytes behind the last volume, or behind the end of compressed data (`trailing`); refuse whole volumes."""
    check_surplus(n_bytes, name, layout)
    if n_bytes:
        logger.warning(
            "%s: %d bytes follow the last volume that its header tells of; they are not read.", name, n_bytes
        )
    if trailing:
        logger.warning("%s: %d bytes follow the end of its compressed data; they are not read.", name, trailing)
