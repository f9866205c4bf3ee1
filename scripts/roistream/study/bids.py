"""The runs of BIDS datasets, raw or preprocessed by fMRIPrep.

Runs are the files named ``…_bold.nii`` or ``…_bold.nii.gz``, nothing else (no sbref, boldref, CIFTI or GIFTI). Versions of a
run (spaces, resolutions, echoes, …) are never mixed by accident: where there are several, one has to be chosen, or all of
them by name.
"""

import json
import logging
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from roistream.errors import UserError
from roistream.paths import absolute, reading
from roistream.study.bidsignore import ignored_by
from roistream.study.names import ACQUISITION, NO_VALUE, VERSIONS, BidsFile, read_name, same_value

NO_RUNS = re.compile(r"\..*|anat|dwi|fmap|perf|figures|freesurfer|code|models|sourcedata|stimuli|log|logs", re.DOTALL)
"""Folders that hold no runs, some of them many files; and what is hidden."""

logger = logging.getLogger("roistream")


@dataclass(frozen=True)
class BidsRun:
    """A run, the image that it belongs to, its table of confounds and its brain mask; paths are absolute."""

    image: str
    path: Path
    confounds: Path | None
    mask: Path | None = None


def find_bids_runs(
    dataset: Path,
    filters: Mapping[str, Sequence[str]] | None = None,
    concatenate: Collection[str] = (),
    with_confounds: bool = True,
    with_masks: bool = True,
    leave_out_incomplete: bool = False,
) -> list[BidsRun]:
    """Find the runs of a BIDS dataset, image by image.

    Parameters
    ----------
    dataset : path
        A raw dataset, or a folder of derivatives with fMRIPrep's file names; a ``dataset_description.json`` is not needed.
    filters : mapping, optional
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
    files = index_files(dataset)
    bold = [file for file in files if file.suffix == "bold" and file.extension in (".nii", ".nii.gz")]
    if not bold:
        raise UserError(
            f"{dataset} has no files named *_bold.nii or *_bold.nii.gz in folders of subjects; give the folder that holds sub-*."
        )
    bold = without_ignored(bold, dataset)
    filters = filters or {}
    runs = sorted(chosen(bold, filters), key=natural_order)
    refuse_mixtures(runs, filters, dataset)
    confounds = match_confounds(runs, files, dataset, leave_out_incomplete) if with_confounds else None
    if confounds is not None:
        runs = [run for run in runs if run.path in confounds]
    masks = match_masks(runs, files) if with_masks else {}
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


def index_files(dataset: Path) -> list[BidsFile]:
    """List the files of a dataset; datasets inside of it, such as its derivatives, are not part of it."""
    if not dataset.is_dir():
        raise UserError(f"{dataset} is no folder; give the folder of a BIDS dataset or of fMRIPrep's results.")
    top = absolute(dataset)
    return [read_name(path, path.relative_to(top)) for path in walk(top) if path != top]


def walk(folder: Path, above: Sequence[os.stat_result] = ()) -> Iterator[Path]:
    """Go through the files below a folder in the order of their names; links count as what they lead to.

    A link back to a folder on the way is not followed again, nor what holds no runs. What cannot be looked into is told.
    """
    try:
        here = folder.stat()
        if any(os.path.samestat(here, other) for other in above):
            return
        with os.scandir(folder) as found:
            entries = sorted((entry.name, entry.is_dir()) for entry in found)
    except OSError as error:
        logger.warning("%s cannot be read (%s): its files are not listed.", folder, error.strerror)
        return
    if not entries and folder.name.startswith("sub-"):
        logger.warning("%s is empty: a part of the dataset that was not fetched?", folder)
    for name, is_folder in entries:
        path = folder / name
        if NO_RUNS.fullmatch(name) or (name == "derivatives" and not above):
            continue
        if is_folder:
            yield from walk(path, (*above, here))
        else:
            if re.fullmatch(r"(sub|ses)-[^_.]*|func", name):
                logger.warning("%s is no folder, perhaps a link whose content was not fetched: nothing below it.", path)
            yield path


def without_ignored(bold: list[BidsFile], dataset: Path) -> list[BidsFile]:
    """Leave out the bold images that the ``.bidsignore`` of a raw dataset excludes, and tell of them.

    Derivatives list there what a validator does not know, among it all that they are made for.
    """
    listing = dataset / ".bidsignore"
    if not listing.is_file() or is_derivative(dataset, bold):
        return bold
    with reading(listing):
        is_ignored = ignored_by(listing.read_text("utf-8", errors="replace").splitlines())
    top = absolute(dataset)
    ignored = [file.path for file in bold if is_ignored(file.path.relative_to(top).as_posix())]
    if len(ignored) == len(bold):
        raise UserError(f"{listing} excludes all {len(bold)} bold images of {dataset}; take the line out that does.")
    if ignored:
        logger.warning(
            "%d bold image(s) are left out, %s excludes them: the first is %s.", *(len(ignored), listing, ignored[0])
        )
    left_out = set(ignored)
    return [file for file in bold if file.path not in left_out]


def is_derivative(dataset: Path, bold: Iterable[BidsFile]) -> bool:
    """Tell whether a dataset is derived from another, by its description or else by the names of its images."""
    try:
        description = json.loads((dataset / "dataset_description.json").read_text("utf-8"))
        if "DatasetType" in description:
            return description["DatasetType"] == "derivative"
        if "PipelineDescription" in description:  # fMRIPrep's until 2020
            return True
    except (OSError, ValueError, TypeError):
        pass
    return any("desc" in file.entities or "space" in file.entities for file in bold)


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
