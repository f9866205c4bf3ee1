"""The report of `benchmarks`: bars, tables and figure, all from its ``benchmark.json``.

An experiment is a list of rows, one for each measured command: its ``name``, facts about it, and ``runs`` with what each
repeat took (``peak_pss_mib``, ``peak_rss_mib``, ``peak_shm_mib``, ``wall_s``, ``output_mib``, ``exit_status``, ``message``).
A figure is the median of the repeats; beside it in brackets are the smallest and the largest.
"""

from pathlib import Path

from benchmarks.figure import write_figure
from benchmarks.pages import fill, word_headline
from benchmarks.words import word_report
from roistream.outputs import whole_file


def write_report(results: dict, out: Path) -> None:
    """Write ``benchmark.md``, ``.png`` and ``.svg``, and the table of the README, if one lies above the folder.

    Parameters
    ----------
    results : dict
        What ``benchmark.json`` holds.
    out : path
        The folder.
    """
    with whole_file(out / "benchmark.md") as partial:
        partial.write_text(word_report(results), encoding="utf-8")
    with whole_file(out / "benchmark.png") as png, whole_file(out / "benchmark.svg") as svg:
        write_figure(results, png, svg)
    readme = out.resolve().parent / "README.md"
    if readme.exists() and not results["quick"]:
        fill(readme, word_headline(results))
