"""What nilearn's fetchers give, taken apart: where the image or the coordinates are, and what regions are called."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from nibabel.spatialimages import SpatialImage

from roistream.errors import UserError
from roistream.samples.fetched import FetchedAtlas, kind_of

RADIUS = "radius"
"""The option of ours where there are coordinates: the radius of all spheres, in mm."""


def take_apart(
    name: str, bunch: Mapping[str, Any], facts: Mapping[str, Any], options: Mapping[str, Any]
) -> FetchedAtlas:
    """Find image or coordinates, names and description in what a fetcher gives.

    Parameters
    ----------
    name : str
        What messages call the atlas.
    bunch : mapping
        What the fetcher gives.
    facts : mapping
        What is known of it before.
    options : mapping
        Those of the atlas: ``radius``, where the coordinates have none.

    Raises
    ------
    UserError
        There are surfaces only, several images, or coordinates without a radius.
    """
    about = {**facts, "Template": bunch.get("template"), **describe_text(bunch.get("description"))}
    if isinstance(bunch.get("rois"), pd.DataFrame):
        return FetchedAtlas(list(spheres(name, bunch, options)), names_of_spheres(bunch), about)
    maps = bunch.get("maps")
    if isinstance(maps, list | tuple) and len(maps) == 1:
        [maps] = maps
    source = Path(maps) if isinstance(maps, str | Path) else maps
    if not isinstance(source, Path | SpatialImage):
        raise UserError(
            f"The atlas {name} has no volume, but {', '.join(key for key in bunch if key != 'description')}; "
            "roistream reads volumes, no surfaces: choose an atlas of labels, maps or coordinates."
        )
    return FetchedAtlas(source, names_of_regions(bunch, source), about)


def names_of_regions(bunch: Mapping[str, Any], source: Path | SpatialImage) -> list[tuple[int, str]]:
    """Give names by labels, or by the place of a map: of a look-up table, or else of a list, without the background."""
    table = bunch.get("lut")
    if isinstance(table, pd.DataFrame) and {"index", "name"} <= set(table.columns):
        return [(int(label), name) for label, name in zip(table["index"], table["name"], strict=True)]
    names = list_of_names(bunch.get("labels"))
    if not names:
        return []
    is_background = str(names[0]).strip().lower() == "background"
    if kind_of(shape_of(source)) == "labels":
        return list(enumerate(names, 0 if is_background else 1))
    return list(enumerate(names[is_background:], 1))


def list_of_names(labels: Any) -> list[Any]:
    """List names that are a list, an array, or the column of a table that is called name, or ends so."""
    if labels is None:
        return []
    if isinstance(labels, pd.DataFrame):
        columns = [column for column in labels.columns if re.search(r"(^|_)names?$", str(column).lower())]
        return list(labels[columns[0]]) if columns else []
    return list(labels)


def shape_of(source: Path | SpatialImage) -> tuple[int, ...]:
    """Read the shape of an image."""
    from roistream.images.image import describe

    return describe(source, 3)[1] if isinstance(source, Path) else tuple(source.shape)


def spheres(
    name: str, bunch: Mapping[str, Any], options: Mapping[str, Any]
) -> Iterator[tuple[float, float, float, float]]:
    """Give centre and radius of each sphere."""
    rois = bunch["rois"]
    given = bunch.get(RADIUS, rois.get(RADIUS))
    if given is None and RADIUS not in options:
        raise UserError(
            f"The atlas {name} has coordinates and no radius; set it in mm, atlas_options: {{{RADIUS}: 5}}."
        )
    if given is not None and RADIUS in options:
        raise UserError(
            f"The atlas {name} has a radius for each of its coordinates; take {RADIUS!r} out of atlas_options."
        )
    radii = [options[RADIUS]] * len(rois) if given is None else list(given)
    if not all(isinstance(radius, int | float) or hasattr(radius, "item") for radius in radii) or min(radii) <= 0:
        raise UserError(f"atlas_options: {RADIUS!r} is {options.get(RADIUS)!r}; give a number of mm above 0.")
    for x, y, z, radius in zip(rois["x"], rois["y"], rois["z"], radii, strict=True):
        yield float(x), float(y), float(z), float(radius)


def names_of_spheres(bunch: Mapping[str, Any]) -> list[tuple[int, str]]:
    """Give names by the place of a sphere."""
    named: Sequence[Any] = list_of_names(bunch.get("labels", bunch.get("regions")))
    return list(enumerate(named, 1))


def files_of(bunch: Mapping[str, Any]) -> list[Path]:
    """List the files that a fetcher names, or that its images were read from."""
    values = [part for value in bunch.values() for part in (value if isinstance(value, list | tuple) else [value])]
    named = [value.get_filename() if isinstance(value, SpatialImage) else value for value in values]
    paths = [
        Path(value) for value in named if isinstance(value, Path) or (isinstance(value, str) and len(value) < 4096)
    ]
    return [path for path in paths if path.is_absolute() and path.is_file()]


def describe_text(text: object) -> dict[str, str]:
    r"""Take the licence out of nilearn's description of a dataset, which has a section for it, and keep the whole.

    >>> describe_text("Atlas\n=====\n\nLicense\n-------\nMIT\n")["License"]
    'MIT'
    """
    if not isinstance(text, str):
        return {}
    section = re.search(r"^Licen[cs]e[ \t]*\n-+[ \t]*\n(.*?)(?=^\S[^\n]*\n[-=]{3,}|\Z)", text, re.MULTILINE | re.DOTALL)
    licence = " ".join(section[1].split()) if section else ""
    return {"License": licence or "unknown", "Description": text.strip()}
