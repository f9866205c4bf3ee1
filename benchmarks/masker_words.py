"""The table of `benchmarks.maskers`."""

from benchmarks.rows import mebibytes, middle, seconds, table

LONGER = "NiftiLabelsMasker, 64 labels"
"""What is also measured on a longer image."""

NOISE_MIB = 15
"""By so much two measurements of one thing differ."""

PRECISION = 1e-6
"""How near weights of maps must be to the solution, as a part of the largest."""


def report(results: dict) -> str:
    """Word the table.

    Parameters
    ----------
    results : dict
        What ``maskers.json`` holds.
    """
    ours, theirs = results["imports"]
    lines = [
        f"nilearn's maskers and ours on {results['n_volumes']} volumes, each in a fresh process, imports included. "
        f"The import alone: nilearn {seconds(middle(theirs, 'wall_s'))} s, {mebibytes(middle(theirs, 'peak_pss_mib'))} MiB; "
        f"ours {seconds(middle(ours, 'wall_s'))} s, {mebibytes(middle(ours, 'peak_pss_mib'))} MiB.",
        "",
    ]
    columns = [
        "masker",
        "nilearn",
        "ours",
        "memory (bar)",
        "wall (bar)",
        "without the import (bar)",
        "results",
        "holds",
    ]
    lines.append(table(columns, [row(name, found, results["imports"]) for name, found in results["cases"].items()]))
    lines += ["", word_growth(results)]
    return "\n".join(lines) + "\n"


def row(name: str, found: dict, imports: list[dict]) -> list[str]:
    """Word what was measured of one masker."""
    ours, theirs = found["rows"]
    bars = found["bars"]
    alone = [middle(one, "wall_s") - middle(load, "wall_s") for one, load in zip((ours, theirs), imports, strict=True)]
    shares = {
        "memory": middle(ours, "peak_pss_mib") / middle(theirs, "peak_pss_mib"),
        "wall": middle(ours, "wall_s") / middle(theirs, "wall_s"),
        "without_import": max(alone[0], 0.01) / max(alone[1], 0.01),
    }
    if "apart_ours" in found:
        equal = f"{found['apart_ours']:.0e} from the solution, nilearn's {found['apart_nilearns']:.0e}"
        right = found["apart_ours"] <= min(PRECISION, found["apart_nilearns"])
    else:
        equal, right = "same bits" if found["same"] else "**other bits**", found["same"]
    holds = right and all(bars[key] is None or share <= bars[key] for key, share in shares.items())
    return [
        name,
        *(
            f"{mebibytes(middle(one, 'peak_pss_mib'))} MiB, {seconds(middle(one, 'wall_s'))} s"
            for one in (theirs, ours)
        ),
        *(f"1/{1 / share:.1f}" + (f" (1/{1 / bars[key]:.3g})" if bars[key] else "") for key, share in shares.items()),
        equal,
        "yes" if holds else "**no**",
    ]


def word_growth(results: dict) -> str:
    """Word what a longer image takes: more by what its result takes, and no more."""
    [longer] = results["longer"]["rows"]
    before = results["cases"][LONGER]["rows"][0]
    memory, result = (middle(longer, key) - middle(before, key) for key in ("peak_pss_mib", "output_mib"))
    holds = "yes" if memory <= result + NOISE_MIB else "**no**"
    return (
        f"{LONGER}, {results['longer']['factor']} times as many volumes: {mebibytes(middle(longer, 'peak_pss_mib'))} MiB "
        f"instead of {mebibytes(middle(before, 'peak_pss_mib'))}, with a result that is larger by {mebibytes(result)} MiB. "
        f"Memory grows by the result only: {holds}."
    )
