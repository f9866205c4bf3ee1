"""The labels of a study, looked at before any job: what its atlas has, what a table names, and what is asked for."""

from collections.abc import Mapping, Sequence
from typing import Any

from roistream.errors import UserError
from roistream.regions.coverage import list_labels
from roistream.regions.label_names import compare_labels, read_label_names


def check_labels(config: Mapping[str, Any], present: Sequence[int], requested: Sequence[int]) -> None:
    """Hold the table of a user's labels against the atlas, and tell what only one of them has.

    Parameters
    ----------
    config : mapping
        The configuration.
    present : sequence of int
        The labels of the atlas.
    requested : sequence of int
        The labels that are asked for.

    Raises
    ------
    UserError
        The atlas lacks a label that is asked for, and must not.
    """
    atlas, table = config["atlas"], config["atlas_labels"]
    absent = sorted(set(requested) - set(present))
    if absent and config["empty_regions"] == "error":
        raise UserError(
            f"The atlas {atlas} lacks {len(absent)} of the labels that {table} and 'regions' ask for: {list_labels(absent)}; "
            "leave them out, or set 'empty_regions: keep' for columns without values."
        )
    compare_labels(list(read_label_names(table)), present, requested, table, atlas)
