"""Reduce blocks of volumes as nilearn reduces a whole image: to the voxels of a mask, to labels, to spheres; see also `maps`.

nilearn hands each of its extraction functions to `filter_and_extract` as an object with its settings. Each of the classes here
takes such an object and an image of one volume without data on the grid of the volumes to come; nilearn's function is called
with that once, for its checks, its messages and what it returns beside the signals. Then blocks are added.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Protocol

import nibabel as nib
import numpy as np

from roistream.maskers import nilearn_internals as internals
from roistream.maskers.finite import finite, warn_not_finite
from roistream.maskers.lazy import as_image
from roistream.regions.labels import LabelReduction, locate_regions
from roistream.regions.spheres import average


class Reduction(Protocol):
    """What `prepare` gives."""

    def add(self, first: int, values: np.ndarray) -> None:
        """Reduce the volumes from number `first`: ``(n_volumes, n_voxels)``, voxels in the order of a file."""

    def result(self) -> tuple[np.ndarray, object]:
        """Give the signals ``(n_volumes, n_features)``, and what nilearn returns beside them."""


def prepare(extract: Any, empty: nib.Nifti1Image, n_volumes: int) -> Reduction:
    """Prepare the reduction that does what a function of nilearn does.

    Parameters
    ----------
    extract : callable
        nilearn's function: takes a 4D image, returns signals and something else.
    empty : nibabel image
        4D, one volume of zeros, on the grid of the volumes to come and of their type.
    n_volumes : int
        Volumes to come.
    """
    from roistream.maskers.maps import Maps

    kinds: dict[str, tuple[type, set[str]]] = {
        "nifti_masker_extractor": (Masks, {"mask_img_"}),
        "nifti_labels_masker_extractor": (
            Labels,
            {"labels_img", "background_label", "strategy", "keep_masked_labels", "mask_img"},
        ),
        "nifti_maps_masker_extractor": (Maps, {"maps_img_", "mask_img_", "keep_masked_maps"}),
        "nifti_spheres_masker_extractor": (Spheres, {"seeds_", "radius", "mask_img", "allow_overlap", "dtype"}),
    }
    kind, settings = kinds.get(getattr(extract, "func_name", ""), (ByNilearn, set()))
    if not settings <= vars(extract).keys():
        kind = ByNilearn
    return kind(extract, empty, n_volumes)


class ByNilearn:
    """Any reduction, by nilearn's own function, which is called for each block."""

    def __init__(self, extract: Callable, empty: nib.Nifti1Image, n_volumes: int):
        self.extract, self.empty, self.n_volumes = extract, empty, n_volumes
        self.signals: list[np.ndarray] = []
        self.aux: object = None

    def add(self, first: int, values: np.ndarray) -> None:
        """Reduce some volumes, see `Reduction.add`."""
        volumes = values.T.reshape((*self.empty.shape[:3], -1), order="F")
        signals, self.aux = self.extract(as_image(volumes, self.empty))
        self.signals.append(signals)

    def result(self) -> tuple[np.ndarray, object]:
        """Give signals and what comes with them."""
        return np.concatenate(self.signals), self.aux


class Masks:
    """The voxels of a mask."""

    def __init__(self, extract: Any, empty: nib.Nifti1Image, n_volumes: int):
        from nilearn.image import get_data

        none, self.aux = extract(empty)
        self.positions = file_positions(get_data(extract.mask_img_).astype(bool))
        self.signals = np.empty((n_volumes, none.shape[1]), none.dtype)

    def add(self, first: int, values: np.ndarray) -> None:
        """Reduce some volumes, see `Reduction.add`."""
        self.signals[first : first + len(values)] = self.pick(values)

    def pick(self, values: np.ndarray) -> np.ndarray:
        """Take the voxels out of some volumes; values that are not finite become 0."""
        return finite(np.take(values, self.positions, axis=1, mode="clip"))

    def result(self) -> tuple[np.ndarray, object]:
        """Give signals and what comes with them."""
        return self.signals, self.aux


class Labels:
    """One value for each region of a label image."""

    def __init__(self, extract: Any, empty: nib.Nifti1Image, n_volumes: int):
        from nilearn.image import get_data, load_img

        none, self.aux = extract(empty)
        labels = finite(np.array(get_data(load_img(extract.labels_img)))).reshape(empty.shape[:3])
        if extract.mask_img is not None:
            labels[~get_data(load_img(extract.mask_img)).astype(bool).reshape(labels.shape)] = extract.background_label
        wanted = self.aux[0]
        self.positions, regions = locate_regions(labels, wanted)
        self.reduction = LabelReduction(regions, len(wanted), [extract.strategy])
        self.strategy = extract.strategy
        self.signals = np.empty((n_volumes, len(wanted)), none.dtype)
        self.warned = False

    def add(self, first: int, values: np.ndarray) -> None:
        """Reduce some volumes, see `Reduction.add`."""
        picked = np.take(values, self.positions, axis=1, mode="clip")
        self.warned = self.warned or warn_not_finite(picked)
        rows = slice(first, first + len(values))
        self.signals[rows] = self.reduction.reduce(finite(picked))[self.strategy]

    def result(self) -> tuple[np.ndarray, object]:
        """Give signals and what comes with them."""
        self.signals[:, self.reduction.n_voxels == 0] = 0  # labels outside of the mask, where they are kept
        return self.signals, self.aux


class Spheres:
    """The mean of the voxels around each seed."""

    def __init__(self, extract: Any, empty: nib.Nifti1Image, n_volumes: int):
        from nilearn.image import load_img, resample_img

        grid, mask_img = empty.shape[:3], extract.mask_img
        if mask_img is not None:
            mask_img = resample_img(
                load_img(mask_img), target_affine=empty.affine, target_shape=grid, interpolation="nearest"
            )
        self.masked = mask_img is not None
        voxels = voxels_of_spheres(extract.seeds_, extract.radius, empty, extract.allow_overlap, mask_img)
        self.positions, places = np.unique(np.concatenate(voxels), return_inverse=True)
        self.spheres = np.split(places, np.cumsum([of_sphere.size for of_sphere in voxels])[:-1])
        self.n_volumes = n_volumes
        self.signals = np.empty((n_volumes, len(self.spheres)), np.asarray(empty.dataobj).dtype)  # byte order included
        # Without a mask, nilearn puts 0 for infinite values only where there is a NaN, or both infinities, anywhere.
        self.undefined = False
        self.infinite: set[int] = set()
        self.without_infinite: dict[int, np.ndarray] = {}

    def add(self, first: int, values: np.ndarray) -> None:
        """Reduce some volumes, see `Reduction.add`."""
        rows = slice(first, first + len(values))
        if self.masked or values.dtype.kind != "f" or np.isfinite(values).all():
            self.signals[rows] = self.means(values)
        else:
            self.undefined = self.undefined or bool(np.isnan(values).any())
            self.infinite |= {sign for sign in (1, -1) if (values == sign * np.inf).any()}
            whole = values.copy()
            whole[np.isnan(whole)] = 0
            self.signals[rows] = self.means(whole, keep_infinite=True)
            self.without_infinite[first] = self.means(whole)

    def means(self, values: np.ndarray, keep_infinite: bool = False) -> np.ndarray:
        """Average some volumes."""
        picked = np.take(values, self.positions, axis=1, mode="clip")
        if self.masked and picked.dtype.kind != "f":
            picked = picked.astype(np.float32)
        picked = picked if keep_infinite else finite(picked)
        return average(picked, self.spheres, self.signals.dtype, alone=self.n_volumes == 1)

    def result(self) -> tuple[np.ndarray, object]:
        """Give signals and what comes with them."""
        if self.undefined or len(self.infinite) == 2:
            warnings.warn("The images contain NaN values, which count as zeroes.", stacklevel=2)
            for first, signals in self.without_infinite.items():
                self.signals[first : first + len(signals)] = signals
        return self.signals, None


def voxels_of_spheres(
    seeds: Any,
    radius: float | None,
    empty: nib.Nifti1Image,
    allow_overlap: bool = True,
    mask_img: nib.Nifti1Image | None = None,
) -> list[np.ndarray]:
    """Find the voxels around each seed, by nilearn's own search.

    Parameters
    ----------
    seeds : sequence of triplets
        In mm.
    radius : float, optional
        In mm; by default a sphere is the voxel in which its seed lies.
    empty : nibabel image
        4D, one volume of zeros, on the grid of the volumes.
    allow_overlap : bool
        Whether a voxel may belong to several.
    mask_img : nibabel image, optional
        On the same grid.

    Returns
    -------
    list of numpy.ndarray
        Where the voxels of each lie in a volume of the file (x fastest), in C order of the volume (z fastest).

    Raises
    ------
    ValueError
        By nilearn, of a sphere without a voxel, or of two that overlap and must not.
    """
    from nilearn.image import get_data

    inside = None if mask_img is None else get_data(mask_img) != 0
    # nilearn searches among all voxels; those around the seeds are enough.
    near = near_seeds(seeds, radius or 0.0, empty)
    near = near if inside is None else near & inside
    if np.count_nonzero(near) > ENOUGH:
        inside = near
        mask_img = nib.Nifti1Image(near.astype(np.uint8), empty.affine)
    _, adjacency = internals.apply_mask_and_get_affinity(seeds, empty, radius, allow_overlap, mask_img=mask_img)
    positions = file_positions(np.ones(empty.shape[:3], bool) if inside is None else inside)
    return [positions[row] for row in adjacency.rows]


ENOUGH = 20
"""Voxels from which on scikit-learn searches among them as among many: its ways differ by rounding."""


def near_seeds(seeds: Any, radius: float, image: nib.Nifti1Image) -> np.ndarray:
    """Find the voxels in a box around each seed, with room to spare for how nilearn rounds to voxels and to millimetres."""
    near = np.zeros(image.shape[:3], bool)
    to_voxels = np.linalg.inv(image.affine)
    reach = (radius + 2) * np.linalg.norm(to_voxels[:3, :3], axis=1) + 2
    for seed in seeds:
        centre = to_voxels[:3, :3] @ np.asarray(seed, float) + to_voxels[:3, 3]
        low, high = np.floor(centre - reach), np.ceil(centre + reach) + 1
        near[tuple(slice(int(max(0, a)), int(max(0, b))) for a, b in zip(low, high, strict=True))] = True
    return near


def file_positions(mask: np.ndarray) -> np.ndarray:
    """Locate the voxels of a mask in a volume of a file (x fastest), in C order of the mask (z fastest)."""
    return np.ravel_multi_index(np.nonzero(mask), mask.shape, order="F")
