"""The runs of several datasets at once: raw and derived, or what several pipelines have made of the same runs.

Each dataset is listed by itself, as one alone would be: a run gets confounds and mask of its own dataset only. The name of its
image says which dataset that is, by an entity that BIDS does not know: ``sub-01_task-rest_pipeline-fmriprep23``.
"""

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from roistream.errors import UserError
from roistream.paths import absolute
from roistream.study.bids import BidsRun, select_runs
from roistream.study.bids_files import Dataset, index_dataset
from roistream.study.names import same_value

ENTITY = "pipeline"


def find_runs(
    datasets: Sequence[Path],
    pipelines: Sequence[str] = (),
    filters: Mapping[str, Sequence[str]] | None = None,
    concatenate: Collection[str] = (),
    with_confounds: bool = True,
    with_masks: bool = True,
    leave_out_incomplete: bool = False,
) -> list[BidsRun]:
    """Find the runs of one or several datasets, dataset by dataset.

    Parameters
    ----------
    datasets : sequence of path
        See `roistream.study.bids.select_runs`.
    pipelines : sequence of str
        What the images of each dataset are called by; by default the letters and digits of its folder's name. A single dataset
        has none, unless it is given.
    filters : mapping, optional
        A value need not be there in all datasets, if each has one of those that are wanted.
    concatenate, with_confounds, with_masks, leave_out_incomplete
        See `roistream.study.bids.select_runs`.

    Returns
    -------
    list of BidsRun
        With confounds, where their dataset has such tables.

    Raises
    ------
    UserError
        See `roistream.study.bids.select_runs`; or datasets have the same name, or share a file.
    """
    names = name_pipelines(datasets, pipelines)
    indexed = [index_dataset(dataset) for dataset in datasets]
    found: list[BidsRun] = []
    for name, dataset in zip(names, indexed, strict=True):
        how = (concatenate, with_confounds, with_masks, leave_out_incomplete)
        runs = select_runs(dataset, narrowed(filters or {}, dataset, indexed), *how)
        found += [replace(run, image=image_of_pipeline(run.image, name)) for run in runs]
    twice = [path for path, number in Counter(run.path for run in found).items() if number > 1]
    if twice:
        raise UserError(f"{twice[0]} belongs to two of the folders; give folders that do not lie in each other.")
    return found


def name_pipelines(datasets: Sequence[Path], given: Sequence[str]) -> list[str]:
    """Name datasets, each in another way; a single one by nothing."""
    if given and len(given) != len(datasets):
        raise UserError(f"--pipelines has {len(given)} name(s) for {len(datasets)} folder(s); give one for each.")
    if not given and len(datasets) == 1:
        return [""]
    names = list(given) or [re.sub(r"[^A-Za-z0-9]", "", absolute(dataset).name) for dataset in datasets]
    wrong = [name for name in names if not re.fullmatch(r"[A-Za-z0-9]+", name)]
    same = [name for name, number in Counter(names).items() if number > 1]
    if wrong or same:
        problem = f"{wrong[0]!r} is no name of letters and digits" if wrong else f"two folders are called {same[0]!r}"
        raise UserError(f"{problem}; name the folders by --pipelines, in their order.")
    return names


def image_of_pipeline(image: str, name: str) -> str:
    """Put the name of a pipeline into that of an image, before what describes the version.

    >>> image_of_pipeline("sub-01_space-T1w_desc-preproc", "xcpd"), image_of_pipeline("sub-01", "raw")
    ('sub-01_space-T1w_pipeline-xcpd_desc-preproc', 'sub-01_pipeline-raw')
    """
    return re.sub(r"(?=_desc-|$)", f"_{ENTITY}-{name}", image, count=1) if name else image


def narrowed(
    filters: Mapping[str, Sequence[str]], dataset: Dataset, datasets: Sequence[Dataset]
) -> dict[str, Sequence[str]]:
    """Leave out what a filter wants of other datasets; what none has stays, and is refused."""
    result: dict[str, Sequence[str]] = {}
    for entity, values in filters.items():
        here, anywhere = (
            {same_value(entity, file.value(entity)) for each in among for file in each.bold}
            for among in ([dataset], datasets)
        )
        wanted = [value for value in values if same_value(entity, value) in here]
        nowhere = [value for value in values if same_value(entity, value) not in anywhere]
        if not wanted and not nowhere:
            raise UserError(
                f"{dataset.path} has no bold image with --{entity} {' '.join(values)}; there are: {', '.join(sorted(here))}. "
                "Leave out this folder, or name one of these, too."
            )
        result[entity] = [*wanted, *nowhere]
    return result
