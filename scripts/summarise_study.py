#!/usr/bin/env python3
"""Put all images of a study into one table and one figure, and complete the dataset around their results.

Images without results are named, too: it can be run at any time, also on a study that was interrupted.
"""

import argparse
import csv
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # this version's library, in any environment

from roistream.command_line import add_log_option, parse
from roistream.figures.study import write_study_figure
from roistream.outputs import whole_file
from roistream.paths import reading
from roistream.regions.coverage import Region, read_regions
from roistream.reporting import reporting
from roistream.study.derivatives import IGNORED, dataset_description, image_folder, image_prefix, image_stem
from roistream.study.leftovers import remove_matrices, remove_parquet, remove_records
from roistream.study.matrices import ESTIMATORS, MEASURES, matrix_name
from roistream.study.summary import WITH_RESULTS, remove_outdated, summarise_image, write_study
from roistream.study.tables import folder_of_runs, list_images

LOGS = Path("logs/extract_timeseries")
MOST_LINES = 20
"""Images without results that the log names."""

logger = logging.getLogger("roistream")


def summarise_study(
    study: Path,
    atlas_name: str,
    regions: Path,
    statistic: str = "mean",
    images: Sequence[str] = (),
    runs_table: Path | None = None,
    logs: Path = LOGS,
    source: str | None = None,
    pending: Sequence[str] = (),
    kinds: Sequence[str] = (),
    estimator: str = "ledoit_wolf",
    fisher_z: bool = False,
    records: Path | None = None,
    parquet: bool = False,
    atlas_sidecar: Path | None = None,
) -> None:
    """Write ``study.tsv``, ``study.png`` and what makes the folder a BIDS dataset; remove what is outdated.

    Parameters
    ----------
    study : path
        The folder of the results.
    atlas_name : str
        What file names call the atlas.
    regions : path
        A table of regions that place_atlas has made; all have the same regions.
    statistic : str
        The statistic whose sidecars are read; every one of them tells the same of its image.
    images : sequence of str
        The study's images, or
    runs_table : path, optional
        the table that names them.
    logs : path
        Where the logs of the extractions lie.
    source : str, optional
        Where the runs come from; by default the folder of the runs table.
    pending : sequence of str
        Images that are to be extracted again; results that they have are outdated.
    kinds, estimator, fisher_z
        The matrices that are asked for, see connect_regions.py; others are removed.
    records : path, optional
        The folder of the records of connect_regions.py; those of which a file is missing are removed.
    parquet : bool
        Keep what write_parquet.py has written.
    atlas_sidecar : path, optional
        What the JSON file beside the atlas says of it, which goes along.

    Raises
    ------
    UserError
        A sidecar or a table cannot be read.
    """
    stems = [image_stem(image) for image in (list_images(runs_table) if runs_table else images)]
    root, awaited = study.parent.parent, set(pending)
    rows = [
        summarise_image(
            image,
            root / f"{image_prefix(image, atlas_name)}_stat-{statistic}_timeseries.json",
            logs / image_folder(image) / f"{image}.log",
            image in awaited,
        )
        for image in stems
    ]
    remove_outdated(study, atlas_name, stems)
    remove_matrices(study, atlas_name, [matrix_name(kind, fisher_z) for kind in kinds], ESTIMATORS[estimator])
    if records:
        remove_records(records, study)
    remove_parquet(study, parquet, parquet and bool(kinds))
    with (
        whole_file(study / "study.tsv") as table,
        whole_file(study / "study.png") as figure,
        whole_file(study / f"atlas-{atlas_name}_dseg.tsv") as labels,
        whole_file(study / "dataset_description.json") as description,
        whole_file(study / ".bidsignore") as ignored,
    ):
        write_study(rows, table)
        write_study_figure(rows, atlas_name, figure)
        write_labels(read_regions(regions), labels)
        found = source or (folder_of_runs(runs_table) if runs_table else None)
        description.write_text(json.dumps(dataset_description([found] if found else []), indent=2) + "\n", "utf-8")
        ignored.write_text("\n".join(IGNORED) + "\n", "utf-8")
    copy_sidecar(atlas_sidecar, study / f"atlas-{atlas_name}_dseg.json")
    missing = [row for row in rows if row.status not in WITH_RESULTS]
    for row in missing[:MOST_LINES]:
        logger.warning("%s has no results: %s.", row.image, row.reason.rstrip("."))
    if len(missing) > MOST_LINES:
        logger.warning("%d more images have no results; study.tsv names them.", len(missing) - MOST_LINES)
    logger.info("%d of %d image(s) done.", len(rows) - len(missing), len(rows))


def copy_sidecar(sidecar: Path | None, path: Path) -> None:
    """Let the dataset say of its atlas what the atlas's own sidecar says; remove what another one has said."""
    if sidecar is None:
        path.unlink(missing_ok=True)
        return
    with whole_file(path) as partial, reading(sidecar):
        partial.write_bytes(sidecar.read_bytes())


def write_labels(regions: Sequence[Region], path: Path) -> None:
    """Write the regions asked for, in the order of the columns: ``index`` and ``name``."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
        writer.writerow(["index", "name"])
        writer.writerows([region.label, region.name] for region in regions)


def parse_arguments() -> dict:
    """Read the command line into the parameters of `summarise_study`."""
    parser = argparse.ArgumentParser(description="Put all images of a study into one table and one figure.")
    parser.add_argument("--study", required=True, type=Path, help="folder of the results")
    parser.add_argument("--atlas-name", required=True, help="what file names call the atlas")
    parser.add_argument("--regions", required=True, type=Path, help="regions.tsv that place_atlas.py has written")
    parser.add_argument("--statistic", default="mean", help="the statistic whose sidecars are read (default: mean)")
    images = parser.add_mutually_exclusive_group(required=True)
    images.add_argument("--images", nargs="+", help="the study's images")
    images.add_argument("--runs-table", type=Path, help="the runs table that names them")
    parser.add_argument("--logs", type=Path, default=LOGS, help=f"logs of the extractions (default: {LOGS})")
    parser.add_argument("--source", help="where the runs come from (default: the folder that has all runs below it)")
    parser.add_argument(
        "--pending",
        nargs="+",
        default=(),
        metavar="IMAGE",
        help="images to be extracted again: their results are outdated",
    )
    parser.add_argument(
        "--kinds",
        nargs="+",
        choices=MEASURES,
        default=(),
        metavar="KIND",
        help="matrices that are asked for (default: none)",
    )
    parser.add_argument("--estimator", choices=ESTIMATORS, default="ledoit_wolf", help="what they are estimated by")
    parser.add_argument("--fisher-z", action="store_true", help="they are Fisher's z")
    parser.add_argument("--parquet", action="store_true", help="keep the Parquet files (default: remove them)")
    parser.add_argument("--atlas-sidecar", type=Path, metavar="JSON", help="what is said of the atlas")
    parser.add_argument("--records", type=Path, help="folder of the records of connect_regions.py")
    add_log_option(parser)
    return parse(parser)


if __name__ == "__main__":
    arguments = parse_arguments()
    with reporting(arguments.pop("log")):
        summarise_study(**arguments)
