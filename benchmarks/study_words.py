"""What the report says of the experiments on studies."""

from benchmarks.rows import code, mebibytes, middle, named, spread, table
from benchmarks.study_bars import OURS

COLUMNS = ["", "peak PSS, MiB", "peak RSS, MiB", "wall, s"]
KEYS = ("peak_pss_mib", "peak_rss_mib", "wall_s")

LABELS = """\
## Region means of a whole atlas

One signal for each label, from the `.nii.gz` of {n_volumes:,} volumes to a table: what a study does with each image. *Ours* is
`extract_timeseries.py` with 64 labels. `NiftiLabelsMasker` does the same in one pass. Workbench and MRtrix3 average one
region for each call, the table's first; what is not listed is not installed. `igzip -dc` decompresses to `/dev/null` and does
nothing else. Here, for cleaned means and for runs as a series, walls come from runs that nobody watches, each just before the
watched one: twenty looks at memory in a second take a part of a core, and ours has work for two.

"""

STUDY = """\
## A study, everything included

{n_images} images of {study_volumes} volumes, 64 labels, 2 cores. `snakemake timeseries` plans, puts the atlas on their grid,
extracts one image in each job, two at a time, and summarises; its memory is that of Snakemake and of both jobs. From the shell
one extraction follows the other, and leaves every voxel's series.

"""

PLANS = """\
## Planning many images

`snakemake --dry-run` for tables of tiny images, of one run each, measured once: what a dry run does with an image does not
depend on the image's size. The comparison (target `all`) has a file for each region, strategy and image.

"""


def word_labels(results: dict) -> str:
    """Word the experiment on label means."""
    rows = named(results["label_means"])
    ours = rows[OURS]
    cells = [
        [
            code(row["name"]),
            *[spread(row, key) for key in KEYS],
            f"{middle(row, 'peak_pss_mib') / middle(ours, 'peak_pss_mib'):.1f} ×",
            f"{middle(row, 'wall_s') / middle(ours, 'wall_s'):.1f} ×",
            word_agreement(row),
        ]
        for row in rows.values()
    ]
    columns = [*COLUMNS, "memory / ours", "wall / ours", "values"]
    return LABELS.format(n_volumes=results["image"]["n_volumes"]) + table(columns, cells)


def word_agreement(row: dict) -> str:
    """Word how far another program's values are from ours."""
    if "identical" not in row:
        return "–"
    return "identical, bit by bit" if row["identical"] else f"differ by at most {row['largest_difference']:.0e}"


def word_cleaning(results: dict) -> str:
    """Word label means with cleaning, beside those without."""
    without = named(results["label_means"])
    cells = [
        [
            code(row["name"]),
            *[
                spread(each, key)
                for key in ("peak_pss_mib", "wall_s")
                for each in (without[f"{row['name']}, 64 labels"], row)
            ],
        ]
        for row in results["label_cleaning"]
    ]
    columns = ["", "peak PSS, MiB", "… cleaned", "wall, s", "… cleaned"]
    return (
        "## Region means, cleaned\n\n"
        f"The same with `{' '.join(results['label_cleaning_options'])}` and a table of confounds. Signals\n"
        "are cleaned when they are all there, by `nilearn.signal`: most of what that takes more is libraries, not data.\n\n"
        + table(columns, cells)
    )


def word_series(results: dict) -> str:
    """Word the experiment on runs that are read as one image."""
    cells = [
        [
            row["name"],
            *[spread(row, key) for key in KEYS],
            f"{mebibytes(row['written_mib'])} of {mebibytes(row['input_mib'])}",
        ]
        for row in results["series"]
    ]
    return "## Runs as one image\n\n64 labels, without the time to make the concatenation.\n\n" + table(
        [*COLUMNS, "written of read, MiB"], cells
    )


def word_study(results: dict) -> str:
    """Word the study that is carried out."""
    cells = [
        [
            code(row["name"]),
            *[spread(row, key) for key in KEYS],
            str(row["files_per_image"]),
            f"{mebibytes(row['disk_mib'])} of {mebibytes(row['input_mib'])}",
        ]
        for row in results["study"]
    ]
    return STUDY.format(**results["size"]) + table([*COLUMNS, "files for an image", "disk / input, MiB"], cells)


def word_dry_runs(results: dict) -> str:
    """Word the experiment on planning."""
    cells = [[row["name"], *[spread(row, key) for key in KEYS]] for row in results["dry_runs"]]
    return PLANS + table(COLUMNS, cells)
