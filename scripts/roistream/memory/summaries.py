"""The memory summaries that measured extractions leave behind, and the table of them."""

import csv
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path

from roistream.errors import UserError
from roistream.strategies import REGISTRY


@dataclass(frozen=True)
class Summary:
    """One strategy's ``memory.json``; the fields are also the columns of the table.

    Attributes
    ----------
    strategy : str
        A name in `roistream.strategies.REGISTRY`.
    n_jobs, n_regions, n_volumes : int
        Parallel workers, extracted regions and volumes of the image.
    image_mib : float
        Size of the image's data in MiB.
    peak_pss_mib, peak_rss_mib, peak_shm_mib : float
        Peaks in MiB of the process tree's proportional and resident set sizes and of the growth of /dev/shm.
    predicted_mib : float or None
        The peak in MiB predicted from the header, None when there is no prediction.
    wall_s : float
        Wall time in seconds.
    """

    strategy: str
    n_jobs: int
    n_regions: int
    n_volumes: int
    image_mib: float
    peak_pss_mib: float
    peak_rss_mib: float
    peak_shm_mib: float
    predicted_mib: float | None
    wall_s: float


COLUMNS = tuple(field.name for field in fields(Summary))
COUNTS = ("n_jobs", "n_regions", "n_volumes")


def read_summary(path: str | Path) -> Summary:
    """Read and check one strategy's ``memory.json``.

    Parameters
    ----------
    path : path
        JSON object with the keys of `Summary`; ``predicted_mib`` may be null or absent, other keys are ignored.

    Returns
    -------
    Summary

    Raises
    ------
    UserError
        When the file cannot be read, a key is missing or has an impossible value, or the strategy is not known.
    """
    remedy = "delete the file to have the strategy measured again."
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"The memory summary {path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise UserError(f"The memory summary {path} is not valid JSON ({error}); {remedy}") from error
    if not isinstance(content, dict):
        raise UserError(f"The memory summary {path} does not hold a JSON object; {remedy}")
    content.setdefault("predicted_mib", None)
    missing = [key for key in COLUMNS if key not in content]
    if missing:
        raise UserError(f"The memory summary {path} lacks {', '.join(missing)}; {remedy}")
    if content["strategy"] not in list(REGISTRY):  # a list, for JSON may hold a value that no dict can look up
        raise UserError(
            f"The memory summary {path} names the unknown strategy {content['strategy']!r}; "
            f"the strategies are {', '.join(REGISTRY)}."
        )
    for key in COLUMNS[1:]:
        value = content[key]
        if key in COUNTS:
            valid = type(value) is int and value >= 1
        else:
            valid = type(value) in (int, float) and math.isfinite(value) and value >= 0
        if not valid and not (key == "predicted_mib" and value is None):
            raise UserError(f"The memory summary {path} has the impossible {key} {value!r}; {remedy}")
    return Summary(**{key: content[key] for key in COLUMNS})


def read_summaries(paths: Iterable[str | Path]) -> list[Summary]:
    """Read the summaries of several strategies that extracted the same regions from the same image.

    Parameters
    ----------
    paths : iterable of path
        One ``memory.json`` for each strategy.

    Returns
    -------
    list of Summary
        In the order of `paths`.

    Raises
    ------
    UserError
        As `read_summary`; also when a strategy comes twice, or when the summaries disagree in the number of volumes,
        the number of regions or the size of the image (in whole MiB).
    """
    paths = list(paths)
    summaries = [read_summary(path) for path in paths]
    first = summaries[0]
    seen: dict[str, str | Path] = {}
    for path, summary in zip(paths, summaries, strict=True):
        if summary.strategy in seen:
            raise UserError(
                f"The memory summary {path} is the second of strategy {summary.strategy} after "
                f"{seen[summary.strategy]}; give one of them."
            )
        seen[summary.strategy] = path
        for key in ("n_volumes", "n_regions", "image_mib"):
            value, expected = getattr(summary, key), getattr(first, key)
            if round(value) != round(expected):
                raise UserError(
                    f"The memory summary {path} has {key} {value} where {paths[0]} has {expected}; "
                    "delete the outdated one to have its strategy measured again."
                )
    return summaries


def write_table(summaries: Iterable[Summary], path: str | Path, images: Iterable[str] | None = None) -> None:
    """Write one row for each summary, tab-separated, in the order given.

    Parameters
    ----------
    summaries : iterable of Summary
        The rows.
    path : path
        The file to write. An unknown prediction reads ``n/a``, as in BIDS tables.
    images : iterable of str, optional
        The image of each summary, for a first column ``image``.
    """
    rows = [
        ["n/a" if value is None else value for value in (getattr(summary, column) for column in COLUMNS)]
        for summary in summaries
    ]
    header = list(COLUMNS)
    if images is not None:
        header = ["image", *header]
        rows = [[image, *row] for image, row in zip(images, rows, strict=True)]
    with Path(path).open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter="\t", lineterminator="\n").writerows([header, *rows])
