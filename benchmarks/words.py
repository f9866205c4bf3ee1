"""The text of the report."""

from benchmarks.comparison_words import word_growth, word_others, word_strategies
from benchmarks.judge import judge
from benchmarks.rows import table
from benchmarks.study_words import word_cleaning, word_dry_runs, word_labels, word_series, word_study

INTRODUCTION = """\
# Benchmark

{warning}![Peak memory and wall time of averaging regions, of the strategies, and how the peak of stream grows](benchmark.png)

Made by `make benchmark` on {date}; the raw figures are in [benchmark.json](benchmark.json).

**How it was measured.** Every figure comes from a fresh process, which is watched from outside together with all its
children: PSS (pages that processes share count once), RSS (they count once for each), growth of /dev/shm, and wall time
from the start of the process until its end.
{repeats}

**On what.** {n_volumes:,} volumes of 61 × 73 × 61 float32, {raw_mib:,.0f} MiB raw and {file_mib:,.0f} MiB as `.nii.gz`:
the embedded default's simulated subjects, {n_subjects} of them, with runs as long as those of the ADHD data.

**What to keep in mind.**

- All input was in the page cache. From a slow disk or over a network every method takes longer, by the same seconds.
- Memory is looked at every 50 ms, and every 500 ms where all workers hold an image of their own (`nifti_masker_path`,
  `nifti_masker_in_memory`, `numpy_path`). A shorter peak may be missed. A look at a GiB takes about 13 ms of one core:
  wall times of those three are too long by up to a tenth, which is why they are looked at less often.
- `mmap` works on an uncompressed copy, and the making of that copy ([below](#the-other-steps-of-the-workflow)) is not
  in its wall time.
- Compare like with like: `NiftiLabelsMasker` and `extract_timeseries.py` give one mean for each region, of all regions in one
  pass; the strategies give every voxel of a few regions, and all but `stream` do it as the reference does, by workers that
  each need the image.
- Cleaning takes libraries and time: figures without and with it stand side by side, and are not interchangeable.
- The simulated data compress as the real ones do: zeros outside the brain, noise inside. Data that compress better are
  decompressed faster.
- A page of a library that other programs have loaded, too, counts for each of them in part: beside other Python
  programs PSS is some MiB less than on a machine that does nothing else.
- On another machine wall times are others; peaks hardly are.
- Growth of /dev/shm is that of the whole machine, by whatever program.

| | |
| --- | --- |
{machine}
"""


def word_report(results: dict) -> str:
    """Word the whole report in Markdown."""
    machine = results["machine"]
    repeats = results["repeats"]
    sections = [
        INTRODUCTION.format(
            warning="**A quick trial of the program on tiny data: the figures mean nothing.**\n\n"
            if results["quick"]
            else "",
            date=results["date"],
            repeats="Everything was measured once."
            if repeats == 1
            else f"Everything was measured {repeats} times in turn; figures are medians, in brackets minimum and maximum.",
            machine="\n".join(f"| {name.replace('_gib', ', GiB')} | {value} |" for name, value in machine.items()),
            **results["image"],
            n_subjects=results["size"]["n_subjects"],
        ),
        "## The bars\n\n"
        + table(
            ["figure", "bar", "measured", "holds"],
            [
                [bar.figure, bar.asked, bar.measured, {True: "yes", False: "**no**", None: "–"}[bar.holds]]
                for bar in judge(results)
            ],
        ),
        word_labels(results),
        word_cleaning(results),
        word_series(results),
        word_study(results),
        word_dry_runs(results),
        word_strategies(results),
        word_growth(results),
        *word_others(results),
    ]
    return "\n".join(sections)
