"""All bars, in the order of the report."""

from benchmarks.bars import Bar, judge_growth, judge_others, judge_strategies
from benchmarks.study_bars import judge_dry_runs, judge_labels, judge_series, judge_study

JUDGES = (
    judge_labels,
    judge_series,
    judge_study,
    judge_dry_runs,
    judge_strategies,
    judge_growth,
    judge_others,
)


def judge(results: dict) -> list[Bar]:
    """Hold the figures against the bars.

    Parameters
    ----------
    results : dict
        What ``benchmark.json`` holds.

    Returns
    -------
    list of Bar
        In the order of the report.
    """
    return [bar for judge_some in JUDGES for bar in judge_some(results)]
