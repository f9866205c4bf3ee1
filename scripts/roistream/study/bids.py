"""The runs of BIDS datasets, raw or preprocessed by fMRIPrep.

Runs are the files named ``…_bold.nii`` or ``…_bold.nii.gz``, nothing else (no sbref, boldref, CIFTI or GIFTI). Versions of a
run (spaces, resolutions, echoes, …) are never mixed by accident: where there are several, one has to be chosen, or all of
them by name.
"""

import logging
import os
import re
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bids.exceptions import PyBIDSError
from bids.layout import BIDSLayout, BIDSLayoutIndexer, Config, parse_file_entities

from roistream.errors import UserError

ACQUISITION = {
    "subject": "sub",
    "session": "ses",
    "task": "task",
    "acquisition": "acq",
    "ceagent": "ce",
    "reconstruction": "rec",
    "direction": "dir",
    "run": "run",
}
"""The entities that tell one acquired run from another, in the order of file names, and how file names call them."""

VERSIONS = ("echo", "part", "space", "cohort", "res", "den", "desc")
"""The entities that tell one version of a run from another."""

NO_VALUE = "none"
"""What a filter calls the absence of an entity."""

CONFIG = [
    "bids",
    "derivatives",
    {"name": "cohort", "entities": [{"name": "cohort", "pattern": "_cohort-([a-zA-Z0-9+]+)"}]},
]
"""The entities that pybids looks for: its own and one that it does not know yet."""

NO_RUNS = re.compile(r"/(\.[^/]+|anat|dwi|fmap|perf|figures|freesurfer|code|models|sourcedata|stimuli|log|logs)(/|$)")
"""Folders that hold no runs, some of them many files."""

logger = logging.getLogger("roistream")


@dataclass(frozen=True)
class BidsFile:
    """A file of a dataset.

    Attributes
    ----------
    path : pathlib.Path
        Absolute.
    entities : dict
        What its name says, by pybids's names for the entities; values are text, with leading zeros.
    """

    path: Path
    entities: Mapping[str, str]

    def value(self, entity: str) -> str:
        """Give the value of an entity, or `NO_VALUE`."""
        return self.entities.get(entity, NO_VALUE)


@dataclass(frozen=True)
class BidsRun:
    """A run, the image that it belongs to, and its table of confounds; paths are absolute."""

    image: str
    path: Path
    confounds: Path | None


def find_bids_runs(
    dataset: Path,
    filters: Mapping[str, Sequence[str]] | None = None,
    concatenate: Collection[str] = (),
    with_confounds: bool = True,
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
    bold = [file for file in files if file.value("suffix") == "bold" and file.value("extension") in (".nii", ".nii.gz")]
    if not bold:
        raise UserError(
            f"{dataset} has no files named *_bold.nii or *_bold.nii.gz in folders of subjects; give the folder that holds sub-*."
        )
    filters = filters or {}
    runs = sorted(chosen(bold, filters), key=natural_order)
    refuse_mixtures(runs, filters, dataset)
    confounds = match_confounds(runs, files, dataset) if with_confounds else None
    names: dict[str, Path] = {}
    for run in runs:
        before = names.setdefault(image_name(run), run.path)
        if before != run.path:
            raise UserError(f"{before} and {run.path} are the same run; give the folder of one dataset, or remove one.")
    images: dict[str, list[BidsFile]] = {}
    for run in runs:
        images.setdefault(image_name(run, concatenate), []).append(run)
    return [
        BidsRun(image, part.path, confounds[part.path] if confounds else None)
        for image, parts in images.items()
        for part in parts
    ]


def index_files(dataset: Path) -> list[BidsFile]:
    """List the files of a dataset; datasets inside of it, such as its derivatives, are not part of it."""
    if not dataset.is_dir():
        raise UserError(f"{dataset} is no folder; give the folder of a BIDS dataset or of fMRIPrep's results.")
    indexer = BIDSLayoutIndexer(validate=False, index_metadata=False, ignore=[NO_RUNS])
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The PipelineDescription field", UserWarning)  # fMRIPrep's until 2020
            layout = BIDSLayout(absolute(dataset), validate=False, config=CONFIG, indexer=indexer)
    except PyBIDSError as error:
        raise UserError(f"{dataset} cannot be read as a BIDS dataset ({error}); repair it.") from error
    # Entities are read from the path inside of the dataset: pybids itself takes a folder "ses-2" above it for a session.
    config = [Config.load(entry) for entry in CONFIG]
    return [
        BidsFile(
            Path(file.path),
            {entity: str(value) for entity, value in parse_file_entities(f"/{file.relpath}", config=config).items()},
        )
        for file in layout.files.values()
    ]


def chosen(files: Sequence[BidsFile], filters: Mapping[str, Sequence[str]]) -> list[BidsFile]:
    """Keep the files that pass all filters; refuse a value that none has."""
    files, passed = list(files), []
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


def same_value(entity: str, value: str) -> str:
    """Give what is common to the ways of writing a value: with the prefix or without, a number with zeros or without."""
    value = value.removeprefix(f"{ACQUISITION.get(entity, entity)}-")
    return value.lstrip("0") or "0" if entity in ("run", "echo") and value.isdecimal() else value


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


def match_confounds(runs: Sequence[BidsFile], files: Iterable[BidsFile], dataset: Path) -> dict[Path, Path] | None:
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
        and file.value("suffix") in ("timeseries", "regressors")
        and file.value("extension") == ".tsv"
    ]
    if not tables:
        logger.info("%s has no tables of confounds; the runs table has no column for them.", dataset)
        return None
    by_acquisition: dict[tuple[str, ...], list[BidsFile]] = {}
    for table in tables:
        by_acquisition.setdefault(acquisition(table), []).append(table)
    matched, lacking = {}, []
    for run in runs:
        fitting = [
            table
            for table in by_acquisition.get(acquisition(run), [])
            if all(table.value(entity) in (NO_VALUE, run.value(entity)) for entity in VERSIONS if entity != "desc")
        ]
        if len(fitting) > 1:
            names = " and ".join(sorted(table.path.name for table in fitting))
            raise UserError(f"{run.path} has {len(fitting)} tables of confounds, {names}; move away all but one.")
        if fitting:
            matched[run.path] = fitting[0].path
        else:
            lacking.append(run)
    if lacking:
        raise UserError(
            f"{len(lacking)} of {len(runs)} runs have no table of confounds (*_desc-confounds_timeseries.tsv), the first is "
            f"{lacking[0].path}; leave them out by a filter, or give --no-confounds."
        )
    return matched


def acquisition(file: BidsFile) -> tuple[str, ...]:
    """Tell which acquired run a file belongs to."""
    return tuple(same_value(entity, file.value(entity)) for entity in ACQUISITION)


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


def absolute(path: Path) -> Path:
    """Make a path absolute, without ``..``; links stay, for the places behind them may have other names tomorrow."""
    return Path(os.path.abspath(path))  # noqa: PTH100 (Path.resolve follows links)
