"""Tables of measured figures in pages that are otherwise written by hand."""

from pathlib import Path

from benchmarks.rows import mebibytes, middle, named, seconds, table
from benchmarks.study_bars import OURS
from roistream.outputs import whole_file

BEGIN = "<!-- figures: written by make benchmark -->\n"
END = "<!-- end of figures -->\n"


def fill(page: Path, figures: str) -> None:
    """Replace what stands between the marks of a page."""
    before, _, rest = page.read_text("utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    with whole_file(page) as partial:
        partial.write_text(f"{before}{BEGIN}{figures}{END}{after}", "utf-8")


def figures_of(page: Path) -> str:
    """Give what stands between the marks of a page."""
    return page.read_text("utf-8").partition(BEGIN)[2].partition(END)[0]


def word_headline(results: dict) -> str:
    """Word the table of the README: means of regions, ours beside nilearn's.

    Parameters
    ----------
    results : dict
        What ``benchmark.json`` holds.
    """
    means, cleaned = named(results["label_means"]), named(results["label_cleaning"])
    rows = [
        ("nilearn's `NiftiLabelsMasker`", means["NiftiLabelsMasker, 64 labels"]),
        ("**roistream** (target `timeseries`)", means[OURS]),
        ("… with detrending, filter, confounds and z-score", cleaned["extract_timeseries.py"]),
    ]
    image = results["image"]
    columns = [
        f"64 regions of {image['n_volumes']:,} volumes ({image['raw_mib']:,.0f} MiB, {image['file_mib']:,.0f} as `.nii.gz`)",
        "peak memory, MiB",
        "wall, s",
    ]
    return table(
        columns,
        [[name, mebibytes(middle(row, "peak_pss_mib")), seconds(middle(row, "wall_s"))] for name, row in rows],
    )
