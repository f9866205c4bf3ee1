"""The table of runs inside a concatenated image."""

import csv
from collections.abc import Sequence
from pathlib import Path

from roistream.errors import UserError
from roistream.images.image import Image
from roistream.images.series import files_by_run
from roistream.outputs import whole_file
from roistream.paths import reading


def write_run_lengths(files: Sequence[Image], path: str | Path) -> None:
    """Write where each run lies in the concatenated image: columns ``run``, ``first_volume``, ``n_volumes``.

    3D files next to each other are one run, which has the name of the first.
    """
    with (
        whole_file(path) as partial,
        partial.open("w", newline="", encoding="utf-8", errors="surrogateescape") as stream,
    ):
        writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
        writer.writerow(["run", "first_volume", "n_volumes"])
        first_volume = 0
        for run in files_by_run(files):
            n_volumes = sum(file.n_volumes for file in run)
            writer.writerow([run[0].path, first_volume, n_volumes])
            first_volume += n_volumes


def read_run_lengths(path: str | Path) -> list[int]:
    """Read the number of volumes of each run from what `write_run_lengths` wrote."""
    try:
        with reading(path), Path(path).open(newline="", encoding="utf-8", errors="surrogateescape") as stream:
            return [int(row["n_volumes"]) for row in csv.DictReader(stream, delimiter="\t")]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path} is no table of runs ({error}); give the runs.tsv of the concatenated image."
        ) from error
