"""The files of a BIDS dataset, and which of them are its bold images."""

import json
import logging
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from roistream.errors import UserError
from roistream.paths import absolute, reading
from roistream.study.bidsignore import ignored_by
from roistream.study.names import BidsFile, read_name

NO_RUNS = re.compile(r"\..*|anat|dwi|fmap|perf|figures|freesurfer|code|models|sourcedata|stimuli|log|logs", re.DOTALL)
"""Folders that hold no runs, some of them many files; and what is hidden."""

logger = logging.getLogger("roistream")


@dataclass(frozen=True)
class Dataset:
    """A dataset: its folder, all of its files, and its bold images."""

    path: Path
    files: list[BidsFile]
    bold: list[BidsFile]


def index_dataset(path: Path) -> Dataset:
    """List the files of a dataset.

    Raises
    ------
    UserError
        It has no bold images.
    """
    files = index_files(path)
    bold = [file for file in files if file.suffix == "bold" and file.extension in (".nii", ".nii.gz")]
    if not bold:
        raise UserError(
            f"{path} has no files named *_bold.nii or *_bold.nii.gz in folders of subjects; give the folder that holds sub-*."
        )
    return Dataset(path, files, without_ignored(bold, path))


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
