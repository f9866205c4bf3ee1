"""What kind of atlas a file is: a label image, an image of maps, or a table of spheres; told by its content, not by a key."""

from collections.abc import Sequence
from pathlib import Path

from roistream.errors import UserError
from roistream.images.files import PROMISED, START_BYTES, content
from roistream.images.image import describe
from roistream.paths import check_file, reading
from roistream.regions.labels import STATISTICS

LEAST_SQUARES = "leastsquares"
"""What becomes of a volume's voxels in the region of a map: the weight of the map."""

OF_KIND = {"labels": STATISTICS, "maps": (LEAST_SQUARES,), "spheres": ("mean",)}
"""The kinds of atlases, and the statistics that each can have; the first is what is made by default."""

TEXT_ENDINGS = (".tsv", ".csv", ".txt")


def kind_of_atlas(path: str | Path) -> str:
    """Tell the kind of an atlas.

    Parameters
    ----------
    path : path
        A 3D image of labels, a 4D image of maps, or a table of spheres.

    Returns
    -------
    str
        A key of `OF_KIND`.

    Raises
    ------
    UserError
        The file is unreadable.
    """
    if is_table(Path(path)):
        return "spheres"
    _, shape = describe(Path(path), 3)
    return "maps" if len(shape) == 4 else "labels"


def is_table(path: Path) -> bool:
    """Tell whether a file is text, where its name does not say that it is an image."""
    endings = [ending.lower() for ending in path.suffixes[-2:]]
    if any(ending in TEXT_ENDINGS for ending in endings):
        return True
    if endings[-1:] and endings[-1] in PROMISED:
        return False
    check_file(path)
    with reading(path), path.open("rb") as stream:
        return content(stream.read(START_BYTES)).startswith("text")


def statistics_of_kind(kind: str, asked: Sequence[str]) -> list[str]:
    """Give the statistics that are made of an atlas's regions; the mean, as the default, stands for the weight of maps.

    Raises
    ------
    UserError
        One is not possible for this kind of atlas.
    """
    possible = OF_KIND[kind]
    if list(asked) == ["mean"]:
        return [possible[0]]
    for statistic in asked:
        if statistic not in possible:
            raise UserError(
                f"statistics: {statistic} is not possible with an atlas of {kind}, which has {', '.join(possible)}; "
                "leave 'statistics' out."
            )
    return list(asked)


def refuse_voxels(kind: str, save_voxels: bool) -> None:
    """Refuse to write the voxels of an atlas whose regions share them."""
    if save_voxels and kind != "labels":
        raise UserError(f"save_voxels is not possible with an atlas of {kind}, only with one of labels; leave it out.")
