"""An atlas of any kind, put on the grid of an image. What only some kinds need is imported for these alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from roistream.images.image import Image
from roistream.images.series import Series
from roistream.regions.kinds import kind_of_atlas
from roistream.regions.placed import PlacedAtlas, put_on_grid, read_placed

if TYPE_CHECKING:
    from roistream.regions.placed_maps import PlacedMaps

ARRAY = ".npz"
"""How a placed atlas is called that is no label image."""


def place(
    atlas: Path,
    target: Image | Series,
    regions: int | str | Sequence[int] = "all",
    labels: Path | None = None,
    empty_regions: str = "error",
    missing_orientation: str = "error",
) -> PlacedAtlas | PlacedMaps:
    """Put an atlas on the grid of an image.

    Parameters
    ----------
    atlas : path
        A 3D label image, a 4D image of maps, or a table of spheres.
    target : Image or Series
        The image.
    regions, labels, empty_regions, missing_orientation
        See `roistream.regions.placed.put_on_grid`.

    Raises
    ------
    UserError
        The atlas is unusable, lies outside of the image, or a region is empty and must not be.
    """
    kind = kind_of_atlas(atlas)
    put: Callable[..., PlacedAtlas | PlacedMaps] = put_on_grid
    if kind != "labels":
        from roistream.maskers import placing

        put = {"maps": placing.put_maps_on_grid, "spheres": placing.put_spheres_on_grid}[kind]
    return put(
        *(atlas, target.grid, target.affine, target.path, regions, labels, empty_regions),
        oriented=target.oriented,
        missing_orientation=missing_orientation,
    )


def read(atlas: Path, regions: Path, coverage: Path) -> PlacedAtlas | PlacedMaps:
    """Read what place_atlas.py has written."""
    if atlas.suffix != ARRAY:
        return read_placed(atlas, regions, coverage)
    from roistream.regions.placed_maps import read_placed_maps

    return read_placed_maps(atlas, regions, coverage)
