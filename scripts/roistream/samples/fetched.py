"""A fetched atlas, whoever offers it: one image or table of spheres, a table of its regions, and a sidecar that says what it is.

A folder holds one of them. The sidecar is written last: where it is, the rest is complete.
"""

import csv
import logging
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.spatialimages import SpatialImage

from roistream.errors import UserError
from roistream.images.image import describe
from roistream.images.volumes import read_blocks
from roistream.images.writing import new_header, write_image
from roistream.outputs import as_json, whole_file
from roistream.regions.atlas import read_labels
from roistream.regions.atlas_sidecar import SIDECARS, sidecar_of
from roistream.regions.coverage import list_labels
from roistream.samples.downloads import place_link

logger = logging.getLogger("roistream")

FILES = {"labels": "atlas_dseg.nii.gz", "maps": "atlas_probseg.nii.gz", "spheres": "atlas_spheres.tsv"}
"""What the atlas itself is called in its folder, by its kind."""

MOST_PER_CENT = 100


@dataclass(frozen=True)
class FetchedAtlas:
    """An atlas as its fetcher gives it.

    Attributes
    ----------
    source : Path or nibabel image or sequence
        A 3D label image or 4D maps, as a file of the cache or in memory; of spheres the rows ``x``, ``y``, ``z``, ``radius``
        in mm.
    names : sequence of pair
        Numbers of regions (labels; of maps and spheres their place, from 1) with their names, as far as there are any.
    facts : mapping
        What the sidecar says of it.
    """

    source: Path | SpatialImage | Sequence[tuple[float, float, float, float]]
    names: Sequence[tuple[int, str]]
    facts: Mapping[str, Any] = field(default_factory=dict)


def write_fetched(atlas: FetchedAtlas, folder: Path) -> None:
    """Write an atlas into its folder: image or spheres, table of regions, sidecar.

    Raises
    ------
    UserError
        It is no atlas of regions.
    ValueError
        The image is damaged, or none.
    """
    remarks: list[str] = []
    for sidecar in folder.glob(SIDECARS):
        sidecar.unlink()
    if isinstance(atlas.source, Path | SpatialImage):
        kind, image = place_image(atlas.source, folder)
        table = image.with_name(f"{image.name.partition('.')[0]}.tsv")
        n_maps = describe(image, 4)[1][3] if kind == "maps" else 0
        present = range(1, n_maps + 1) if n_maps else read_labels(image)
        write_table(table, ["index", "name"], name_all(atlas.names, present, remarks))
    else:
        kind, image = "spheres", folder / FILES["spheres"]
        table = image
        names = name_all(atlas.names, range(1, len(atlas.source) + 1), remarks)
        rows = [(*map(tidy, row), name) for row, (_, name) in zip(atlas.source, names, strict=True)]
        write_table(image, ["x", "y", "z", "radius", "name"], rows)
    for remark in remarks:
        logger.warning("%s: %s.", atlas.facts.get("Name", image), remark)
    about = {"Kind": kind, "Image": image.name, "Labels": None if table == image else table.name}
    with whole_file(sidecar_of(image)) as partial:
        partial.write_text(as_json({**atlas.facts, **about, "Remarks": remarks}), "utf-8")


def place_image(source: Path | SpatialImage, folder: Path) -> tuple[str, Path]:
    """Make a file of the folder of an image, a link where it is a file already, and tell which kind it is."""
    if isinstance(source, SpatialImage):
        kind = kind_of(tuple(source.shape))
        image = folder / FILES[kind]
        data = np.asanyarray(source.dataobj)
        dtype = np.dtype(np.int32 if data.dtype.kind in "iub" and data.dtype.itemsize > 4 else data.dtype)
        stored = data.astype(np.uint8 if dtype.kind == "b" else dtype.newbyteorder("<"), copy=False)
        affine = np.eye(4) if source.affine is None else source.affine
        write_image(image, new_header(data.shape, stored.dtype, affine), [stored.ravel(order="F")])
    else:
        kind = kind_of(describe(source, 3)[1])
        image = folder / FILES[kind]
        if source.suffix != ".gz":
            image = image.with_suffix("")
        place_link(source, image)
    if kind == "maps":
        check_maps(image)
    return kind, image


def kind_of(shape: tuple[int, ...]) -> str:
    """Tell labels, which are 3D, from maps, which are 4D."""
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) not in (3, 4):
        raise UserError(f"The atlas is an image of shape {shape}; only 3D label images and 4D maps are taken.")
    return "labels" if len(shape) == 3 else "maps"


def check_maps(path: Path) -> None:
    """Read maps to their end, and refuse volumes that are label images: taken for maps, labels would be weights.

    Maps of whole numbers are percentages, which end at 100.
    """
    header, shape = describe(path, 4)
    whole, most = True, 0.0
    for block in read_blocks(header):
        whole = whole and bool((block.values == np.rint(block.values)).all() and (block.values >= 0).all())
        most = max(most, float(block.values.max()))
    if whole and most > MOST_PER_CENT:
        raise UserError(
            f"The atlas holds {shape[3]} parcellations, one in each volume, and no maps; save the one that you want as a 3D "
            f"image (nilearn.image.index_img, of {path.resolve()}) and give its path as 'atlas'."
        )


def name_all(names: Iterable[tuple[int, str]], present: Iterable[int], remarks: list[str]) -> list[tuple[int, str]]:
    """Give every region of the atlas a name of its own; what only the list of names has is left out, and told.

    >>> told = []
    >>> name_all([(0, "Background"), (1, "Insula"), (2, "Insula"), (9, "Gone")], [1, 2, 3], told)
    [(1, 'Insula-1'), (2, 'Insula-2'), (3, 'region-3')]
    >>> told
    ['1 name(s) belong to no region and are left out: 9 Gone', '1 region(s) have no name but their number: 3', \
'names that several regions share were completed by their numbers: Insula']
    """
    numbers = list(present)
    known = {number: " ".join(str(name).split()) for number, name in names if is_name(name)}
    if absent := [f"{number} {known[number]}" for number in known if number not in set(numbers) | {0}]:
        remarks.append(f"{len(absent)} name(s) belong to no region and are left out: {', '.join(absent)}")
    if not known:
        remarks.append("its regions have no names, only numbers")
    elif unnamed := [number for number in numbers if number not in known]:
        remarks.append(f"{len(unnamed)} region(s) have no name but their number: {list_labels(unnamed)}")
    found = {number: known.get(number, f"region-{number}") for number in numbers}
    shared = sorted(name for name, times in Counter(found.values()).items() if times > 1)
    if shared:
        remarks.append(f"names that several regions share were completed by their numbers: {', '.join(shared)}")
    return [(number, f"{name}-{number}" if name in shared else name) for number, name in found.items()]


def is_name(name: object) -> bool:
    """Tell whether there is a name at all; tables of pandas have NaN where there is none."""
    return not (name is None or (isinstance(name, float) and math.isnan(name)) or not str(name).strip())


def tidy(number: float) -> str:
    """Word a coordinate, to the last bit."""
    return repr(float(number)).removesuffix(".0")


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a TSV."""
    with whole_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
