"""Put maps and spheres on the grid of an image, to what nilearn's maskers make of them; see `roistream.regions.placed_maps`."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import sparse

from roistream.errors import UserError
from roistream.images.grids import same_grid
from roistream.images.image import Image, describe, tell
from roistream.images.volumes import BLOCK_BYTES, read_blocks
from roistream.maskers.lazy import as_image
from roistream.maskers.maps import resampled
from roistream.maskers.reductions import near_seeds, voxels_of_spheres
from roistream.maskers.sparse_maps import SparseMaps, columns_of
from roistream.regions.atlas import name_regions, not_finite_remark
from roistream.regions.coverage import Region, check_regions
from roistream.regions.maps import gather
from roistream.regions.orientation import affine_of_atlas, check_orientation_of_image
from roistream.regions.placed import name_labels
from roistream.regions.placed_maps import DIGITS, PlacedMaps
from roistream.regions.placement import containing_voxels
from roistream.regions.seeds import Seed, read_seeds

AT_A_TIME = 32
"""Spheres that are looked for at a time: nilearn goes through the voxels around all of them for each."""

logger = logging.getLogger("roistream")


def put_maps_on_grid(
    atlas: Path,
    grid: tuple[int, int, int],
    affine: np.ndarray,
    image: str | Path,
    requested: int | str | Sequence[int] = "all",
    names_table: Path | None = None,
    empty_regions: str = "error",
    oriented: bool = True,
    missing_orientation: str = "error",
) -> PlacedMaps:
    """Put a 4D image of maps on a grid: as it is on the same grid, else resampled as NiftiMapsMasker does.

    Parameters and errors are those of `roistream.regions.placed.put_on_grid`; the label of a map is its number, from 1.
    """
    header, _ = describe(Path(atlas), 4)
    columns, remarks = read_maps(header)
    tell(remarks)
    place = affine_of_atlas(header, grid, affine, image, oriented, missing_orientation)
    numbers = range(1, columns.shape[1] + 1)
    names = name_labels(requested, numbers, names_table, atlas)
    weights = abs(columns).astype(np.float64)
    with np.errstate(invalid="ignore"):
        inside = inside_grid(header.grid, place, grid, affine).astype(np.float64)
        shares = np.round((weights.T @ inside) / weights.sum(axis=0), DIGITS)
    placed = columns if same_grid(header.grid, place, grid, affine) else resample(columns, header, place, grid, affine)
    # The label of a map that is not there stands for the empty column behind the last one.
    last = len(numbers)
    of_regions = [label - 1 if label in numbers else last for label in names]
    others = sorted(set(range(last)) - set(of_regions))
    n_before, shares = np.append(np.diff(columns.indptr), 0), np.append(shares, np.nan)
    placed = with_empty_column(placed)[:, [*of_regions, *others]]
    regions = make_regions(names, n_before[of_regions], np.diff(placed.indptr), shares[of_regions])
    check_regions(regions, atlas, image, empty_regions)
    logger.info("%s %s put on the grid %s: %d maps.", atlas, (*header.grid, last), tuple(grid), len(names))
    return PlacedMaps("maps", tuple(grid), placed, regions, shares[of_regions], remarks, str(atlas))


def read_maps(header: Image) -> tuple[sparse.csc_array, tuple[str, ...]]:
    """Read maps one after the other, and keep what of them is not 0; give also what is odd about them."""
    n_not_finite = 0

    def volumes() -> Iterator[np.ndarray]:
        nonlocal n_not_finite
        for block in read_blocks(header, BLOCK_BYTES, whole_volumes=True):
            if block.values.dtype.kind == "f":
                n_not_finite += block.values.size - int(np.count_nonzero(np.isfinite(block.values)))
            yield from block.values

    columns = gather(volumes(), header.grid)
    assert columns is not None
    if not columns.nnz:
        raise UserError(f"{header.path} holds no map: all its values are 0 or not finite; give another atlas.")
    return columns, (*header.remarks, *([not_finite_remark(n_not_finite, header.path)] if n_not_finite else []))


def resample(
    columns: sparse.csc_array, header: Image, place: np.ndarray, grid: tuple[int, int, int], affine: np.ndarray
) -> sparse.csc_array:
    """Put maps on another grid, see `roistream.maskers.maps.resampled`."""
    before = nib.Nifti1Image(np.broadcast_to(np.zeros((), columns.dtype), header.grid), place)
    after = nib.Nifti1Image(np.broadcast_to(np.uint8(0), grid), affine)
    return columns_of(resampled(as_image(SparseMaps(columns, header.grid), before), after))


def inside_grid(
    grid: tuple[int, ...], affine: np.ndarray, target_grid: tuple[int, ...], target_affine: np.ndarray
) -> np.ndarray:
    """Tell which voxels of a grid have their centres inside of another one: bool, in the order of a file (x fastest)."""
    to_target = np.linalg.solve(target_affine, affine)
    x, y = np.ogrid[: grid[0], : grid[1]]
    found = np.empty(grid, bool, order="F")
    for z in range(grid[2]):
        found[:, :, z] = containing_voxels(to_target, (x, y, z), target_grid)[1]
    return found.ravel(order="F")


def with_empty_column(columns: sparse.csc_array) -> sparse.csc_array:
    """Add a column in which there is nothing."""
    return sparse.csc_array(sparse.hstack([columns, sparse.csc_array((columns.shape[0], 1), dtype=columns.dtype)]))


def make_regions(names: dict[int, str], n_before: np.ndarray, n_after: np.ndarray, shares: np.ndarray) -> list[Region]:
    """Make the table of regions; a share is NaN for a label that the atlas does not have."""
    regions = []
    for (label, name), n_atlas, n, share in zip(names.items(), n_before, n_after, shares, strict=False):
        status = "empty" if n == 0 else "partial" if share < 1 else "ok"
        regions.append(Region(label, name, int(n_atlas), int(n), float(np.nan_to_num(share)), status))
    return regions


def put_spheres_on_grid(
    atlas: Path,
    grid: tuple[int, int, int],
    affine: np.ndarray,
    image: str | Path,
    requested: int | str | Sequence[int] = "all",
    names_table: Path | None = None,
    empty_regions: str = "error",
    oriented: bool = True,
    missing_orientation: str = "error",
) -> PlacedMaps:
    """Find the voxels of spheres on a grid, as NiftiSpheresMasker does; spheres may overlap, which is told.

    Parameters and errors are those of `roistream.regions.placed.put_on_grid`; `atlas` is a table, see
    `roistream.regions.seeds.read_seeds`, which has the names as well. The label of a sphere is the number of its row, from 1.

    To a sphere belongs, too, the first voxel whose place in whole mm is that of its seed: nilearn's way to have at least one. Of
    voxels smaller than 2 mm several may have the same; if a brain mask leaves out the first, nilearn takes another, and here it
    is gone.
    """
    if names_table:
        raise UserError(f"The table of spheres {atlas} has names itself; take 'atlas_labels' (--labels) out.")
    check_orientation_of_image(atlas, image, oriented, missing_orientation)
    seeds = {seed.label: seed for seed in read_seeds(atlas)}
    names = name_regions(requested, {label: seed.name for label, seed in seeds.items()}, str(atlas))
    wanted = [seeds[label] for label in names if label in seeds]
    empty = nib.Nifti1Image(np.zeros((*grid, 1), np.float32), affine)
    voxels: dict[int, np.ndarray] = {}
    for radius in dict.fromkeys(seed.radius for seed in wanted):
        alike = [seed for seed in wanted if seed.radius == radius]
        voxels |= zip((seed.label for seed in alike), search(alike, empty), strict=True)
    inside = np.array([voxels[label].size if label in voxels else 0 for label in names])
    outside = np.array([n_outside(seeds[label], grid, affine) if label in seeds else 0 for label in names])
    n_atlas = np.maximum(inside + outside, [label in seeds for label in names])
    shares = np.divide(inside, n_atlas, out=np.full(len(names), np.nan), where=n_atlas > 0)
    rows = [np.sort(voxels.get(label, np.empty(0, np.int64))).astype(np.int32) for label in names]
    ones = np.ones(inside.sum(), np.float32)
    columns = sparse.csc_array(
        (ones, np.concatenate(rows), np.cumsum([0, *inside])), (empty.dataobj[..., 0].size, len(names))
    )
    regions = make_regions(names, n_atlas, inside, shares)
    check_regions(regions, atlas, image, empty_regions)
    remarks = overlaps(columns, list(names.values()), atlas)
    tell(remarks)
    logger.info("%s put on the grid %s: %d spheres.", atlas, tuple(grid), len(names))
    return PlacedMaps("spheres", tuple(grid), columns, regions, shares, remarks, str(atlas))


def search(seeds: Sequence[Seed], empty: nib.Nifti1Image) -> list[np.ndarray]:
    """Find the voxels of spheres of one radius; where one among several has none, nilearn gives those of none."""
    if len(seeds) <= AT_A_TIME:
        radius, places = seeds[0].radius, [seed.place for seed in seeds]
        if not near_seeds(places, radius or 0.0, empty).any():
            return [np.empty(0, np.int64) for _ in seeds]
        try:
            return voxels_of_spheres(places, radius, empty)
        except ValueError:
            if len(seeds) == 1:
                return [np.empty(0, np.int64)]
    half = len(seeds) // 2
    return [*search(seeds[:half], empty), *search(seeds[half:], empty)]


def n_outside(seed: Seed, grid: tuple[int, ...], affine: np.ndarray) -> int:
    """Count the voxels of a sphere that would lie outside of a grid, if it went on."""
    to_voxels, radius = np.linalg.inv(affine), seed.radius or 0.0
    centre = to_voxels[:3, :3] @ seed.place + to_voxels[:3, 3]
    if not radius:
        nearest = np.round(centre)
        return int(((nearest < 0) | (nearest >= grid)).any())
    reach = radius * np.linalg.norm(to_voxels[:3, :3], axis=1) + 1
    axes = [np.arange(np.floor(a), np.ceil(b) + 1) for a, b in zip(centre - reach, centre + reach, strict=True)]
    voxels = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    within = np.linalg.norm((voxels - centre) @ affine[:3, :3].T, axis=1) <= radius
    return int(np.count_nonzero(within & ((voxels < 0) | (voxels >= grid)).any(axis=1)))


def overlaps(columns: sparse.csc_array, names: Sequence[str], atlas: Path) -> tuple[str, ...]:
    """Word which spheres share voxels, if some do."""
    first, second = sparse.triu(columns.T @ columns, 1).nonzero()
    if not first.size:
        return ()
    pair = f"{names[first[0]]} and {names[second[0]]}"
    return (f"{atlas}: {first.size} pair(s) of spheres share voxels, {pair} are the first",)
