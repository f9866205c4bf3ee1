"""The runs of BIDS datasets, raw or preprocessed by fMRIPrep.

Runs are the files named ``…_bold.nii`` or ``…_bold.nii.gz``, nothing else (no sbref, boldref, CIFTI or GIFTI). Versions of a
run (spaces, resolutions, echoes, …) are never mixed by accident: where there are several, one has to be chosen, or all of
them by name.
"""

import logging
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from roistream.errors import UserError
from roistream.study.bids_files import Dataset
from roistream.study.names import ACQUISITION, NO_VALUE, VERSIONS, BidsFile, same_value

logger = logging.getLogger("roistream")


@dataclass(frozen=True)
class BidsRun:
    """A run, the image that it belongs to, its table of confounds and its brain mask; paths are absolute."""

    image: str
    path: Path
    confounds: Path | None
    mask: Path | None = None


def select_runs(
    dataset: Dataset,
    filters: Mapping[str, Sequence[str]],
    concatenate: Collection[str],
    with_confounds: bool,
    with_masks: bool,
    leave_out_incomplete: bool,
) -> list[BidsRun]:
    """Find the runs of a BIDS dataset, image by image.

    Parameters
    ----------
    dataset : Dataset
        A raw dataset, or a folder of derivatives with fMRIPrep's file names; a ``dataset_description.json`` is not needed.
    filters : mapping
        The values wanted of an entity, with or without its prefix; ``none`` stands for files without the entity.
    concatenate : collection of str
        Entities that tell the parts of one image from each other, such as ``run``: files that differ in nothing else become
        one image, in the natural order of these entities.
    with_confounds : bool
        Give each run its table of confounds, if the dataset has such tables.
    with_masks : bool
        Give each run its brain mask, where there is one.
    leave_out_incomplete : bool
        Leave out runs without a table of confounds where others have one, and name them in the log, instead of an error.

    Returns
    -------
    list of BidsRun
        All with confounds, or none.

    Raises
    ------
    UserError
        There are no such files, a filter matches nothing, versions would be mixed, or a run's confounds are not clear.
    """
    runs = sorted(chosen(dataset.bold, filters), key=natural_order)
    refuse_mixtures(runs, filters, dataset.path)
    confounds = match_confounds(runs, dataset.files, dataset.path, leave_out_incomplete) if with_confounds else None
    if confounds is not None:
        runs = [run for run in runs if run.path in confounds]
    masks = match_masks(runs, dataset.files) if with_masks else {}
    names: dict[str, Path] = {}
    for run in runs:
        before = names.setdefault(image_name(run), run.path)
        if before != run.path:
            raise UserError(f"{before} and {run.path} are the same run; give the folder of one dataset, or remove one.")
    images: dict[str, list[BidsFile]] = {}
    for run in runs:
        images.setdefault(image_name(run, concatenate), []).append(run)
    return [
        BidsRun(image, part.path, confounds[part.path] if confounds else None, masks.get(part.path))
        for image, parts in images.items()
        for part in parts
    ]


def chosen(files: Sequence[BidsFile], filters: Mapping[str, Sequence[str]]) -> list[BidsFile]:
    """Keep the files that pass all filters; refuse a value that none has."""
    files = list(files)
    passed: list[str] = []
    for entity, values in filters.items():
        wanted = [same_value(entity, value) for value in values]
        present = {file.value(entity) for file in files}
        for value, asked in zip(wanted, values, strict=True):
            if value not in {same_value(entity, other) for other in present}:
                among = f" among those with {' and '.join(passed)}" if passed else ""
                raise UserError(
                    f"--{entity} {asked} matches no bold image{among}; there are: "
                    f"{', '.join(sorted(present, key=natural))}."
                )
        files = [file for file in files if same_value(entity, file.value(entity)) in wanted]
        passed.append(f"--{entity} {' '.join(values)}")
    return files


def refuse_mixtures(runs: Iterable[BidsFile], filters: Collection[str], dataset: Path) -> None:
    """Refuse several versions of runs, unless they were asked for by name."""
    mixed = {}
    for entity in VERSIONS:
        values = sorted({run.value(entity) for run in runs}, key=natural)
        if len(values) > 1 and entity not in filters:
            mixed[entity] = values
    if mixed:
        listed = "; ".join(f"{entity}: {', '.join(values)}" for entity, values in mixed.items())
        first, values = next(iter(mixed.items()))
        example = next(value for value in values if value != NO_VALUE)
        raise UserError(
            f"{dataset} has several versions of its bold images ({listed}); choose by "
            f"{' and '.join(f'--{entity}' for entity in mixed)}, for example --{first} {example}."
        )


def match_confounds(
    runs: Sequence[BidsFile], files: Iterable[BidsFile], dataset: Path, leave_out_incomplete: bool = False
) -> dict[Path, Path] | None:
    """Find the table of confounds of each run: it says nothing else of the acquisition, and nothing that the run denies.

    Returns
    -------
    dict or None
        Tables by runs; None if the dataset has no such tables at all.
    """
    tables = [
        file
        for file in files
        if file.value("desc") == "confounds"
        and file.suffix in ("timeseries", "regressors")
        and file.extension == ".tsv"
    ]
    if not tables:
        logger.info("%s has no tables of confounds; the runs table has no column for them.", dataset)
        return None
    by_acquisition: dict[frozenset, list[BidsFile]] = {}
    for table in tables:
        by_acquisition.setdefault(table.acquisition, []).append(table)
    matched, lacking = {}, []
    for run in runs:
        fitting = [table for table in by_acquisition.get(run.acquisition, []) if is_for_version(table, run)]
        if len(fitting) > 1:
            names = " and ".join(sorted(table.path.name for table in fitting))
            raise UserError(f"{run.path} has {len(fitting)} tables of confounds, {names}; move away all but one.")
        if fitting:
            matched[run.path] = fitting[0].path
        else:
            lacking.append(run)
    if lacking and not (leave_out_incomplete and matched):
        raise UserError(
            f"{len(lacking)} of {len(runs)} runs have no table of confounds (*_desc-confounds_timeseries.tsv), the first is "
            f"{lacking[0].path}; leave them out by a filter or --leave-out-incomplete, or give --no-confounds."
        )
    if lacking:
        names = ", ".join(run.path.name for run in lacking)
        logger.warning(
            "%d of %d runs are left out, they have no table of confounds: %s.", len(lacking), len(runs), names
        )
    return matched


def match_masks(runs: Sequence[BidsFile], files: Iterable[BidsFile]) -> dict[Path, Path]:
    """Find the brain masks of runs (``desc-brain_mask``): of the same acquisition, and in the same space and resolution."""
    masks = [file for file in files if file.value("desc") == "brain" and file.suffix == "mask"]
    found = {(mask.acquisition, mask.grid): mask.path for mask in masks if mask.extension in (".nii", ".nii.gz")}
    matched = {run.path: found.get((run.acquisition, run.grid)) for run in runs}
    if found and (lacking := [run for run, mask in matched.items() if mask is None]):
        logger.warning("%d run(s) have no brain mask, the first is %s.", len(lacking), lacking[0])
    return {run: mask for run, mask in matched.items() if mask is not None}


def is_for_version(table: BidsFile, run: BidsFile) -> bool:
    """Tell whether a table is for a version of a run, or for all of them."""
    return all(
        same_value(entity, table.entities[entity]) == same_value(entity, run.value(entity))
        for entity in VERSIONS
        if entity in table.entities and entity != "desc"
    )


def natural(value: str) -> list[tuple[int, int, str]]:
    """Sort numbers inside a text as numbers, and `NO_VALUE` first."""
    if value == NO_VALUE:
        return []
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part) for part in re.findall(r"\d+|\D+", value)]


def natural_order(file: BidsFile) -> tuple:
    """Sort files by their entities, in the order of file names; by their names where these are equal."""
    return (*(natural(file.value(entity)) for entity in (*ACQUISITION, *VERSIONS)), str(file.path))


def image_name(run: BidsFile, concatenate: Collection[str] = ()) -> str:
    """Name an image after its file, without the entities over which files are concatenated."""
    prefixes = tuple(f"{ACQUISITION[entity]}-" for entity in concatenate)
    parts = run.path.name.split("_bold.")[0].split("_")
    return "_".join(part for part in parts if not part.startswith(prefixes)) or "all"
