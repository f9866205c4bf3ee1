"""The bars: what is asked of a figure, what was measured, and whether it holds."""

from dataclasses import dataclass

from benchmarks.rows import mebibytes, middle, named, seconds
from roistream.strategies import STRATEGIES

REFERENCE_FAMILIES = ("nifti_masker", "numpy_indexing", "shared_segment")
REFERENCES = tuple(name for name, strategy in STRATEGIES.items() if strategy.family in REFERENCE_FAMILIES)
"""The methods of nilearn's example ``plot_mask_large_fmri``."""


@dataclass(frozen=True)
class Bar:
    """A figure, what is asked of it, what was measured, and whether that is enough (None: not measured)."""

    figure: str
    asked: str
    measured: str
    holds: bool | None


def share(wall: float, floor: float, most: float) -> tuple[str, bool]:
    """Word how many times longer than another something takes, and tell whether that is at most what is asked."""
    return f"{wall / floor:.2f} × ({seconds(wall)} s, {seconds(floor)} s)", wall <= most * floor


def judge_strategies(results: dict) -> list[Bar]:
    """Judge memory and wall of `stream` against the other strategies and against plain decompression."""
    rows = named(results["strategies"])
    peak, wall = (middle(rows["stream"], key) for key in ("peak_pss_mib", "wall_s"))
    best = min(REFERENCES, key=lambda name: middle(rows[name], "peak_pss_mib"))
    fastest = min((name for name in STRATEGIES if name != "stream"), key=lambda name: middle(rows[name], "wall_s"))
    references = [("the best reference method", best, 10), ("nifti_masker_path", "nifti_masker_path", 100)]
    bars = [Bar("peak PSS of `stream`, whole process tree", "≤ 110 MiB", f"{mebibytes(peak)} MiB", peak <= 110)]
    for called, name, times in references:
        other = middle(rows[name], "peak_pss_mib")
        measured = f"1/{other / peak:.1f} of {mebibytes(other)} MiB (`{name}`)"
        bars.append(Bar(f"… against {called}", f"≤ 1/{times}", measured, peak <= other / times))
    if "igzip -dc" in rows:
        floor = middle(rows["igzip -dc"], "wall_s")
        measured, holds = share(wall, floor, 1.6)
    else:
        measured, holds = "igzip is not installed", None
    bars.append(Bar("wall of `stream` from the .nii.gz", "≤ 1.6 × `igzip -dc`", measured, holds))
    other = middle(rows[fastest], "wall_s")
    measured = f"{seconds(wall)} s, next `{fastest}` {seconds(other)} s"
    bars.append(Bar("… against the other strategies", "faster than every one", measured, wall < other))
    different = [name for name in STRATEGIES if not rows[name]["identical"]]
    measured = "all identical" if not different else "another result: " + ", ".join(different)
    bars.append(Bar("time series of all strategies", "identical, bit by bit", measured, not different))
    return bars


def judge_growth(results: dict) -> list[Bar]:
    """Judge how `stream` takes more volumes and more regions."""
    rows = results["growth"]
    first = rows[0]
    longest = max(rows, key=lambda row: row["n_volumes"])
    most = max(rows, key=lambda row: row["n_regions"])
    growth, output = (middle(longest, key) - middle(first, key) for key in ("peak_pss_mib", "output_mib"))
    times = middle(most, "wall_s") / middle(first, "wall_s")
    return [
        Bar(
            f"peak of `stream` from {first['n_volumes']:,} to {longest['n_volumes']:,} volumes "
            f"({longest['image_mib'] / 1024:.1f} GiB raw)",
            "grows by the output's size, + ≤ 10 MiB",
            f"+ {mebibytes(growth)} MiB; output + {mebibytes(output)} MiB; difference {growth - output:+.1f} MiB",
            growth <= output + 10,
        ),
        Bar(
            f"wall of `stream` for {most['n_regions']} regions against {first['n_regions']}",
            "≤ 1.5 ×",
            f"{times:.2f} × ({seconds(middle(most, 'wall_s'))} s, {seconds(middle(first, 'wall_s'))} s)",
            times <= 1.5,
        ),
    ]


def judge_others(results: dict) -> list[Bar]:
    """Judge cleaning, concatenation and the limit of address space."""
    bars = []
    for figure, ours, other, most_mib in (
        ("smoothing and cleaning: `stream`", "stream", "nifti_masker_path", 300),
        ("concatenation of the runs", "concatenate_runs", "concat_imgs", 120),
    ):
        rows = named(results["cleaning" if ours == "stream" else "concatenation"])
        peak = middle(rows[ours], "peak_pss_mib")
        walls = [middle(rows[name], "wall_s") for name in (other, ours)]
        measured = f"{walls[0] / walls[1]:.1f} × ({seconds(walls[1])} s, {seconds(walls[0])} s)"
        bars.append(Bar(figure, f"≤ {most_mib} MiB", f"{mebibytes(peak)} MiB", peak <= most_mib))
        bars.append(Bar(f"… against `{other}`", "≥ 4 × less wall", measured, walls[0] >= 4 * walls[1]))
        if ours == "stream":
            same = rows[ours]["identical"]
            bars.append(Bar("… its time series", "identical, bit by bit", "identical" if same else "others", same))
    errors = [predicted_error(row) for row in results["prediction"]]
    measured = f"{min(errors):+.0%} to {max(errors):+.0%} in {len(errors)} cases"
    bars.append(
        Bar(
            "predicted peak against the measured one",
            "−5 % to +40 %",
            measured,
            round(min(errors), 4) >= -0.05 and round(max(errors), 4) <= 0.4,
        )
    )
    limited = named(results["address_space"])
    size = f"{limited['stream']['image_mib'] / 1024:.1f} GiB image, address space limited to 1 GiB"
    failed = [name for name, row in limited.items() if row["runs"][0]["exit_status"] and name != "stream"]
    unclear = [name for name in failed if not one_sentence(limited[name]["runs"][0])]
    finished = limited["stream"]["runs"][0]["exit_status"] == 0
    measured = f"{len(failed)} fail, " + (f"not so: {', '.join(unclear)}" if unclear else "each with one sentence")
    bars.append(Bar(f"{size}: `stream`", "finishes", "finishes" if finished else "fails", finished))
    bars.append(Bar("… the other strategies", "failures are one clear sentence", measured, not unclear))
    return bars


def predicted_error(row: dict) -> float:
    """Give by which share of the measured peak (PSS) the predicted one is above it."""
    return row["predicted_mib"] / middle(row, "peak_pss_mib") - 1


def one_sentence(run: dict) -> bool:
    """Tell whether a failed run said one line and no more, worded for a user."""
    return run["exit_status"] == 1 and run["n_lines"] == 1 and run["message"].startswith("ERROR: ")
