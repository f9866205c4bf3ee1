#!/usr/bin/env python3
"""Fetch the ADHD data with nilearn, check every file, and link them into the working directory."""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
from nilearn import datasets

sys.path.insert(0, str(Path(__file__).resolve().parent))  # this version's library, in any environment

from roistream.command_line import add_log_option
from roistream.images.files import open_stream
from roistream.outputs import whole_file
from roistream.paths import reading
from roistream.reporting import reporting
from roistream.samples import adhd
from roistream.samples.cache import alone_in, check_sum
from roistream.samples.downloads import cache_folder, checking, fetching, finding_damage, place_link

logger = logging.getLogger("roistream")


def fetch_adhd(
    runs: Sequence[Path], confounds: Sequence[Path], participants: Path, data_dir: str | None, url: str | None
) -> None:
    """Fetch the first subjects of the ADHD data; what is in nilearn's cache already is not asked for again.

    Parameters
    ----------
    runs, confounds : sequence of path
        The links to make, one for each subject in the order of `roistream.samples.adhd.SUBJECT_IDS`.
    participants : path
        The TSV to write: the phenotypic table of these subjects.
    data_dir : str or None
        nilearn's data folder; None for nilearn's default.
    url : str or None
        A mirror of the archives; None for the original server.

    Raises
    ------
    UserError
        The server cannot be reached or sends something else, or a file of the cache is damaged.
    """
    if data_dir is not None:
        data_dir = str(Path(data_dir).expanduser())
    url = (url or adhd.URL).rstrip("/") + "/"  # nilearn appends to it without a slash
    folder = cache_folder("adhd", data_dir)
    with alone_in(folder):
        fetched, table = fetch_subjects(adhd.SUBJECT_IDS[: len(runs)], folder, data_dir, url)
    for (run, regressors), run_link, confounds_link in zip(fetched, runs, confounds, strict=True):
        place_link(run, run_link)
        place_link(regressors, confounds_link)
    write_participants(table, adhd.SUBJECT_IDS[: len(runs)], participants)


def fetch_subjects(
    subjects: Sequence[str], folder: Path, data_dir: str | None, url: str
) -> tuple[list[tuple[Path, Path]], pd.DataFrame]:
    """Fetch and check the first subjects, one after the other.

    Returns
    -------
    list of tuple of pathlib.Path
        Each one's run and table of regressors, in the cache.
    pandas.DataFrame
        The phenotypic table.
    """
    phenotypes = folder / adhd.PHENOTYPES
    phenotypes_are_new = not phenotypes.exists()
    if not phenotypes_are_new:
        with checking(phenotypes, fetched_now=False, url=url):
            read_phenotypes(phenotypes)
    fetched = []
    # One subject more each time. In one call nilearn keeps all subjects in a temporary folder until the last is there,
    # throws them all away when one archive is damaged, and forgets that folder when the number of subjects changes.
    for n_subjects, subject in enumerate(subjects, start=1):
        logger.info("Subject %s, %d of %d.", subject, n_subjects, len(subjects))
        fetched.append(fetch_subject(subject, n_subjects, folder, data_dir, url))
    with checking(phenotypes, fetched_now=False, url=url):
        table = read_phenotypes(phenotypes)
        check_sum(phenotypes, folder, phenotypes_are_new)
    return fetched, table


def fetch_subject(subject: str, n_subjects: int, folder: Path, data_dir: str | None, url: str) -> tuple[Path, Path]:
    """Fetch and check one subject, the last of `n_subjects`.

    nilearn takes any file that exists for good. One that it left half unpacked in its temporary folder when it was
    killed is moved into the cache by the next call; hence the checks, each time and of every file.

    Returns
    -------
    tuple of pathlib.Path
        The run and the table of regressors, in the cache.
    """
    run_is_new = not (folder / adhd.run_path(subject)).exists()
    regressors_are_new = not (folder / adhd.confounds_path(subject)).exists()
    remedy = "check the network and the config key 'adhd_url', and run again"
    with fetching(f"Subject {subject} of the ADHD data", url, remedy):
        found = datasets.fetch_adhd(n_subjects=n_subjects, data_dir=data_dir, url=url, verbose=0)
    run, regressors = Path(found.func[-1]), Path(found.confounds[-1])
    with checking(run, run_is_new, url):
        n_volumes = read_to_end(run)
        check_sum(run, folder, run_is_new)
    with checking(regressors, regressors_are_new, url):
        check_regressors(regressors, n_volumes)
        check_sum(regressors, folder, regressors_are_new)
    return run, regressors


def read_to_end(path: Path) -> int:
    """Read a run to its end, check sum included, in bounded memory.

    Returns
    -------
    int
        Its number of volumes.

    Raises
    ------
    ValueError
        It is no 4D image, is damaged, or has not the amount of data that its header says.
    """
    size = 0
    with finding_damage(path):
        image: Any = nib.load(path)
        with open_stream(path) as stream:
            while chunk := stream.read(2**20):
                size += len(chunk)
    if image.ndim != 4:
        raise ValueError(f"is {image.ndim}D instead of 4D")
    expected = image.dataobj.offset + np.prod(image.shape, dtype=np.int64) * image.get_data_dtype().itemsize
    if size != expected:
        raise ValueError(f"holds {size} bytes instead of the {expected} that its header tells of")
    return image.shape[3]


def check_regressors(path: Path, n_volumes: int) -> None:
    """Raise a ValueError if a table of regressors is none, or has not one row for each volume."""
    try:
        with reading(path):
            n_rows = len(pd.read_csv(path, sep="\t"))
    except ValueError as error:
        raise ValueError(f"is no tab-separated table ({error})") from error
    if n_rows != n_volumes:
        raise ValueError(f"has {n_rows} rows for the {n_volumes} volumes of its run")


def read_phenotypes(path: Path) -> pd.DataFrame:
    """Read the phenotypic table of all subjects, as text, with the ids as index.

    nilearn's own table lacks subjects: the file's ids have lost their leading zeros (nilearn issue 6190).

    Raises
    ------
    ValueError
        It is no such table.
    """
    try:
        with reading(path):
            table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except ValueError as error:
        raise ValueError(f"is no comma-separated table ({error})") from error
    if "Subject" not in table:
        raise ValueError("has no column 'Subject'")
    n_digits = len(adhd.SUBJECT_IDS[0])
    table["Subject"] = table["Subject"].str.strip().str.zfill(n_digits)
    # The first column is a row number without a name.
    named = [column for column in table if not column.startswith("Unnamed: ")]
    for row in table.index[table["Subject"].duplicated() & ~table[named].duplicated()]:
        logger.warning(
            "%s, line %d: subject %s has had another row, which differs; the first is used.",
            path,
            row + 2,
            table["Subject"][row],
        )
    return table[named].drop_duplicates("Subject").set_index("Subject")


def write_participants(phenotypes: pd.DataFrame, subjects: Sequence[str], path: Path) -> None:
    """Write the rows of these subjects, in order; what is not known is ``n/a``."""
    missing = [subject for subject in subjects if subject not in phenotypes.index]
    if missing:
        logger.warning("The phenotypic table has no row for %s.", ", ".join(missing))
    rows = phenotypes.reindex(subjects).fillna("").replace("", "n/a").rename_axis("Subject")
    with whole_file(path) as partial:
        rows.to_csv(partial, sep="\t", lineterminator="\n")


def parse_arguments() -> dict:
    """Read the command line into the parameters of `fetch_adhd`, and ``log``."""
    parser = argparse.ArgumentParser(
        description="Fetch the first subjects of the ADHD data, as many as there are links to make."
    )
    parser.add_argument(
        "--runs", required=True, type=Path, nargs="+", help="links to make to the runs, one for each subject"
    )
    parser.add_argument(
        "--confounds", required=True, type=Path, nargs="+", help="links to make to the regressors, one for each subject"
    )
    parser.add_argument("--participants", required=True, type=Path, metavar="TSV", help="phenotypic table to write")
    parser.add_argument("--data-dir", metavar="FOLDER", help="data folder of nilearn (default: as nilearn chooses)")
    parser.add_argument("--url", help="mirror of the archives (default: the original server)")
    add_log_option(parser)
    arguments = vars(parser.parse_args())
    if not len(arguments["runs"]) == len(arguments["confounds"]) <= len(adhd.SUBJECT_IDS):
        parser.error(f"arguments --runs and --confounds: give one of each for 1 to {len(adhd.SUBJECT_IDS)} subjects")
    return arguments


if __name__ == "__main__":
    arguments = parse_arguments()
    with reporting(arguments.pop("log")):
        fetch_adhd(**arguments)
