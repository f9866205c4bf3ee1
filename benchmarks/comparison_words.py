"""What the report says of the experiments on the comparison."""

from benchmarks.bars import predicted_error
from benchmarks.rows import FLOORS, code, mebibytes, middle, named, spread, table
from roistream.figures.style import count
from roistream.strategies import STRATEGIES


def word_strategies(results: dict) -> str:
    """Word the first experiment."""
    rows, size = results["strategies"], results["size"]
    floor = next((row for name in FLOORS for row in rows if row["name"] == name), rows[0])
    cells = [
        [
            code(row["name"]),
            *[spread(row, key) for key in ("peak_pss_mib", "peak_rss_mib", "peak_shm_mib", "wall_s")],
            f"{middle(row, 'wall_s') / middle(floor, 'wall_s'):.1f} ×",
        ]
        for row in rows
    ]
    columns = ["method", "peak PSS, MiB", "peak RSS, MiB", "/dev/shm, MiB", "wall, s", f"wall / `{floor['name']}`"]
    return (
        f"## The comparison: every voxel of {count(size['n_regions'], 'region')}, {count(size['n_jobs'], 'job')}\n\n"
        "What nilearn's example `plot_mask_large_fmri` compares: each worker extracts one region after the other.\n"
        "A single pass of `NiftiLabelsMasker`, which gives means only, stands beside it.\n"
        "`gzip -dc` and `igzip -dc` decompress the same image to `/dev/null`: the floor for whoever reads a `.nii.gz`.\n\n"
        + table(columns, cells)
    )


def word_growth(results: dict) -> str:
    """Word the second experiment."""
    cells = [
        [
            row["name"],
            mebibytes(row["image_mib"]),
            *[spread(row, "peak_pss_mib"), mebibytes(middle(row, "output_mib"))],
            mebibytes(middle(row, "peak_pss_mib") - middle(row, "output_mib")),
            spread(row, "wall_s"),
        ]
        for row in results["growth"]
    ]
    columns = ["`stream` on", "raw image, MiB", "peak PSS, MiB", "output, MiB", "peak − output, MiB", "wall, s"]
    return "## Longer images, more regions\n\n" + table(columns, cells)


def word_prediction(results: dict) -> str:
    """Word the experiment on predicted memory, a line for each case."""
    cells = [
        [
            row["name"],
            f"{row['n_volumes']:,}",
            str(row["n_jobs"]),
            mebibytes(row["predicted_mib"]),
            spread(row, "peak_pss_mib"),
            f"{predicted_error(row):+.0%}",
        ]
        for row in results["prediction"]
    ]
    columns = ["", "volumes", "jobs", "predicted, MiB", "measured PSS, MiB", "predicted above"]
    return (
        "## Predicted memory\n\n"
        "What `scripts/roistream/memory` says from the headers, the regions and the number of jobs, before anything is loaded,\n"
        "against what was then measured once. *timeseries* is `extract_timeseries.py`. The longest image is for what reads an\n"
        "image once; the other strategies would take more memory than the machine has.\n\n" + table(columns, cells)
    )


def word_others(results: dict) -> list[str]:
    """Word the remaining experiments, each with its heading."""
    columns = ["", "peak PSS, MiB", "peak RSS, MiB", "wall, s"]
    keys = ("peak_pss_mib", "peak_rss_mib", "wall_s")

    def figures(rows: list[dict]) -> str:
        return table(columns, [[code(row["name"]), *[spread(row, key) for key in keys]] for row in rows])

    options, limit = results["cleaning_options"], results["limit"]
    limited = results["address_space"]
    outcomes = [
        [
            code(row["name"]),
            {0: "finishes", 124: "is not done in time"}.get(row["runs"][0]["exit_status"], "fails"),
            spread(row, "peak_pss_mib"),
            spread(row, "wall_s"),
            row["runs"][0]["message"] or "–",
        ]
        for row in limited
    ]
    left_out = [name for name in STRATEGIES if name not in named(limited)]
    note = f"Left out for want of disk space: {', '.join(left_out)}.\n\n" if left_out else ""
    per_run = ", each run by itself" if options["per_run"] else ""
    return [
        f"## Smoothing and cleaning: {count(results['size']['n_regions'], 'region')}, {count(options['n_jobs'], 'job')}\n\n"
        f"`{options['words']}`{per_run}.\n\n" + figures(results["cleaning"]),
        "## Concatenation of the runs\n\n" + figures(results["concatenation"]),
        word_prediction(results),
        f"## Too little memory: {limit['address_space_mib']} MiB of address space, {limit['n_jobs']} jobs\n\n"
        f"The image has {limited[0]['n_volumes']:,} volumes, {limited[0]['image_mib']:,.0f} MiB raw. No process may have more\n"
        f"address space than that (`ulimit -v`), nor the command more than {limit['seconds']} s.\n\n{note}"
        + table(["strategy", "", "peak PSS, MiB", "wall, s", "what it says"], outcomes),
        word_steps(results),
    ]


def word_steps(results: dict) -> str:
    """Word the experiment on the other steps."""
    cells = [
        [
            code(row["name"]),
            *[spread(row, key) for key in ("peak_pss_mib", "peak_rss_mib")],
            f"{row['asked_mib']:,}" if row["asked_mib"] else "–",
            spread(row, "wall_s"),
        ]
        for row in results["steps"]
    ]
    return (
        "## The other steps of the workflow\n\n"
        "Each in a fresh process, without Snakemake, and how much memory its rule asks a scheduler for (beside the profile's\n"
        "`job_overhead`).\n\n" + table(["", "peak PSS, MiB", "peak RSS, MiB", "asked, MiB", "wall, s"], cells)
    )
