"""Atlas labels, binary masks and the voxels they select."""

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from roistream.errors import UserError
from roistream.outputs import whole_file
from roistream.volumes import inspect_volume, new_header, open_stream, read_volume, stream_blocks, write_image

MASK_BLOCK_BYTES = 2**16
"""Budget of the pieces in which a mask is read."""


@dataclass(frozen=True)
class Region:
    """One row of ``regions.tsv``.

    Attributes
    ----------
    label : int
        The value in the atlas.
    name : str
        The column in ``timeseries.tsv``.
    n_voxels_atlas, n_voxels : int
        Voxels on the atlas's own grid, and on the image's.
    coverage : float
        Share of the region's voxels in the atlas whose centres lie inside the image's field of view, from 0 to 1.
    status : str
        ``ok``, ``partial`` (a part of the region lies outside the field of view) or ``empty`` (no voxel on the image's
        grid).
    """

    label: int
    name: str
    n_voxels_atlas: int
    n_voxels: int
    coverage: float
    status: str


def write_regions(regions: Sequence[Region], path: str | Path) -> None:
    """Write ``regions.tsv``, one row for each requested region."""
    with whole_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, [field.name for field in fields(Region)], delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows({**asdict(region), "coverage": f"{region.coverage:.4f}"} for region in regions)


def read_regions(path: str | Path) -> list[Region]:
    """Read what `write_regions` wrote."""
    try:
        with Path(path).open(newline="", encoding="utf-8") as stream:
            return [
                Region(
                    int(row["label"]),
                    row["name"],
                    int(row["n_voxels_atlas"]),
                    int(row["n_voxels"]),
                    float(row["coverage"]),
                    row["status"],
                )
                for row in csv.DictReader(stream, delimiter="\t")
            ]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path} is no table of regions ({error}); give the regions.tsv that split_masks wrote."
        ) from error


def read_atlas(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Read a label image.

    Parameters
    ----------
    path : path
        A 3D image (a trailing axis of length 1 is dropped) of whole numbers; 0 is the background, and voxels that are
        not finite belong to it.

    Returns
    -------
    labels : numpy.ndarray
        int32, 3D.
    affine : numpy.ndarray
        4 × 4, in mm.

    Raises
    ------
    UserError
        The image is unreadable, not 3D, or holds values that are no labels.
    """
    values, affine = read_volume(path)
    finite = np.where(np.isfinite(values), values, 0)
    if (finite != np.trunc(finite)).any():
        raise UserError(f"{path} holds values that are not whole numbers; give a label image, not a probability map.")
    if (finite < 0).any():
        raise UserError(f"{path} holds negative labels; number the regions from 1 up.")
    if (finite > np.iinfo(np.int32).max).any():
        raise UserError(f"{path} holds labels beyond {np.iinfo(np.int32).max}; number the regions from 1 up.")
    return finite.astype(np.int32), affine


def read_labels(path: str | Path) -> list[int]:
    """List the labels of an atlas in ascending order, without the background."""
    present = np.unique(read_atlas(path)[0])
    return [int(label) for label in present if label != 0]


def read_label_names(path: str | Path) -> dict[int, str]:
    """Read a table of labels, in its order.

    Parameters
    ----------
    path : path
        TSV with columns ``index`` and ``name`` (BIDS's ``dseg.tsv``); further columns are ignored, index 0 too.

    Raises
    ------
    UserError
        The file is no such table, an index is no whole number, or an index or name occurs twice.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"{path} does not exist; check the config key 'atlas_labels'.")
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, delimiter="\t", strict=True)
            columns = tuple(reader.fieldnames or ())
            rows = [(reader.line_num, row) for row in reader]
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise UserError(f"{path} is not readable as tab-separated text ({error}); save it as TSV in UTF-8.") from error
    missing = {"index", "name"} - set(columns)
    if missing:
        raise UserError(f"{path} lacks the column {min(missing)!r}; atlas_labels is a TSV with columns index and name.")
    names: dict[int, str] = {}
    for line, row in rows:
        index, name = row["index"] or "", (row["name"] or "").strip()
        if not index.strip().isdecimal() or not name:
            raise UserError(f"{path}, line {line}: index {index!r} with name {name!r}; give a whole number and a name.")
        if int(index) in names or name in names.values():
            raise UserError(f"{path}, line {line}: {index} {name!r} occurs twice; make indices and names unique.")
        names[int(index)] = name
    return {index: name for index, name in names.items() if index != 0}


def select_labels(requested: int | str | Sequence[int], available: Sequence[int], atlas: str) -> list[int]:
    """Turn the config key ``regions`` into labels.

    Parameters
    ----------
    requested : int, "all" or list of int
        The first so many labels, all of them, or these.
    available : sequence of int
        The atlas's labels, in order.
    atlas : str
        What messages call the atlas.

    Raises
    ------
    UserError
        There are no labels, more are asked for than there are, or one of them twice.
    """
    if not available:
        raise UserError(f"regions: {atlas} has no labels; check 'atlas' and 'atlas_labels'.")
    if requested == "all":
        return list(available)
    if isinstance(requested, int):
        if requested > len(available):
            raise UserError(
                f"regions: {requested} asked for, but {atlas} has {len(available)} labels; ask for at most that many."
            )
        return list(available[:requested])
    twice = sorted({label for label in requested if list(requested).count(label) > 1})
    if twice:
        raise UserError(f"regions: label {twice[0]} is listed twice; list each label once.")
    return list(requested)


def count_regions(
    atlas: np.ndarray, atlas_affine: np.ndarray, resampled: np.ndarray, affine: np.ndarray, names: dict[int, str]
) -> list[Region]:
    """Count each region's voxels before and after resampling.

    Parameters
    ----------
    atlas, resampled : numpy.ndarray
        Label images on the atlas's grid and on the image's.
    atlas_affine, affine : numpy.ndarray
        Their affines, in mm.
    names : dict
        The requested labels, in order, and their names.
    """
    before, after = count_voxels(atlas), count_voxels(resampled)
    inside = count_voxels(atlas[inside_grid(atlas.shape, atlas_affine, resampled.shape, affine)])
    regions = []
    for label, name in names.items():
        coverage = inside[label] / before[label] if before[label] else 0.0
        status = "empty" if after[label] == 0 else "partial" if inside[label] < before[label] else "ok"
        regions.append(Region(label, name, before[label], after[label], coverage, status))
    return regions


def count_voxels(labels: np.ndarray) -> Counter[int]:
    """Count the voxels of each label; labels may be far apart (those of the Allen atlas go up to 614,454,277)."""
    present, counts = np.unique(labels, return_counts=True)
    return Counter(dict(zip(present.tolist(), counts.tolist(), strict=True)))


def inside_grid(
    shape: tuple[int, ...], affine: np.ndarray, other_shape: tuple[int, ...], other_affine: np.ndarray
) -> np.ndarray:
    """Tell which voxel centres of one grid lie inside another (nearer to one of its voxels than half a voxel).

    Returns
    -------
    numpy.ndarray
        bool, of the first shape.
    """
    to_other = np.linalg.inv(other_affine) @ affine
    indices = np.indices(shape, dtype=np.float32).reshape(3, -1)
    inside = np.ones(indices.shape[1], bool)
    for axis in range(3):
        position = to_other[axis, :3] @ indices + to_other[axis, 3]
        inside &= (position > -0.5) & (position < other_shape[axis] - 0.5)
    return inside.reshape(shape)


def write_mask(mask: np.ndarray, affine: np.ndarray, path: str | Path) -> None:
    """Write a binary mask as uint8."""
    write_image(path, new_header(mask.shape, np.uint8, affine), [mask.astype(np.uint8).ravel(order="F")])


def read_voxels(path: str | Path, grid: tuple[int, int, int], affine: np.ndarray) -> np.ndarray:
    """Read a binary mask, check that it lies on the image's grid, and locate its voxels.

    Parameters
    ----------
    path : path
        A 3D image that is 0 outside the region and one other value inside.
    grid : tuple of int
        The image's voxels along x, y, z.
    affine : numpy.ndarray
        The image's affine.

    Returns
    -------
    numpy.ndarray
        See `Mask.voxels`.

    Raises
    ------
    UserError
        The mask is unreadable, lies on another grid, or is not binary.
    """
    path = Path(path)
    mask = inspect_volume(path)
    if mask.grid != tuple(grid):
        raise UserError(
            f"{path} has the grid {mask.grid}, the image has {tuple(grid)}; resample the mask to the image."
        )
    # NiftiMasker's own criterion; where it fails NiftiMasker resamples the image, at great cost, and calls it masking.
    if not (np.array_equal(mask.affine, affine) or np.allclose(mask.affine, affine)):
        raise UserError(f"{path} has another affine than the image; resample the mask to the image.")
    found, inside = [], []
    # In small pieces: hundreds of masks whose arrays come and go cost the system more than reading them.
    with open_stream(mask.data_path) as stream:
        for block in stream_blocks(stream, mask.layout, str(path), MASK_BLOCK_BYTES):
            [values] = block.values
            positions = np.flatnonzero(values != 0)
            if positions.size:
                found.append(positions + block.first_voxel)
                inside.append(values[positions])
    if not found:
        return np.empty(0, np.int64)
    voxels, inside = np.concatenate(found), np.concatenate(inside)
    if not (inside == inside[0]).all():
        raise UserError(f"{path} holds more than one value beside 0; give one binary mask for each region.")
    in_c_order = np.ravel_multi_index(np.unravel_index(voxels, grid, order="F"), grid)
    return voxels[np.argsort(in_c_order)]


@dataclass(frozen=True)
class Mask:
    """A region's mask as the strategies receive it.

    Attributes
    ----------
    path : pathlib.Path
        The mask's file.
    voxels : numpy.ndarray
        int64; where the region's voxels lie in a volume of the file (x fastest), in the order of the time series' columns,
        which is C order of the mask (z fastest).
    """

    path: Path
    voxels: np.ndarray
