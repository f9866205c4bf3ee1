"""Experiments on the comparison of strategies.

An experiment is a function that words commands and gives the rows that `Bench.rounds` makes of them.
"""

from benchmarks.bench import QUICK, Bench, Limit, same_time_series
from benchmarks.data import Data, concatenate_runs, temporary_copy
from benchmarks.peers import concat_imgs, decompression, labels_masker
from roistream.strategies import STRATEGIES

CLEANING = ("--smoothing-fwhm=6", "--detrend", "--high-pass=0.01", "--standardize=zscore_sample")
CLEANING_JOBS = 2
"""NiftiMasker takes more than 3 GiB for each of them."""

LIMIT = Limit(address_space_mib=1024, seconds=600)
LIMIT_JOBS = 2


def strategies(bench: Bench, data: Data) -> list[dict]:
    """Let every strategy extract the regions; beside them plain decompression as the floor, and nilearn's own single pass."""
    commands = decompression(bench, data.image, ["gzip", "igzip"])
    commands["NiftiLabelsMasker"] = labels_masker(bench, data.image, data.atlas)
    for name in STRATEGIES:
        commands[name] = bench.extraction(name, data.readable(name), data.masks[: bench.size.n_regions])
    rows = bench.rounds("strategies", commands)
    folders = [commands[name].writes for name in STRATEGIES]
    for row in rows:
        if row["name"] in STRATEGIES:
            row["identical"] = same_time_series(folders[0], commands[row["name"]].writes)
    return rows


def growth(bench: Bench, data: Data) -> list[dict]:
    """Let `stream` work on ever longer images and ever more regions."""
    few = data.masks[: bench.size.n_regions]
    cases = [(1, data.image, few), *[(factor, image, few) for factor, image in data.longer.items()]]
    cases += [(1, data.image, data.masks), (1, data.image, data.finer_masks)]
    commands = {
        f"{factor * data.n_volumes:,} volumes, {len(masks)} regions": bench.extraction("stream", image, masks)
        for factor, image, masks in cases
    }
    return bench.rounds("growth", commands)


def cleaning(bench: Bench, data: Data) -> list[dict]:
    """Smooth and clean, each run by itself, with `stream` and with NiftiMasker."""
    # A quick trial's runs are too short to be filtered by themselves.
    options = CLEANING if bench.size is QUICK else (*CLEANING, "--runs", data.run_lengths)
    few = data.masks[: bench.size.n_regions]
    commands = {
        name: bench.extraction(name, data.image, few, CLEANING_JOBS, options)
        for name in ("nifti_masker_path", "stream")
    }
    rows = bench.rounds("cleaning", commands)
    rows[1]["identical"] = same_time_series(*[command.writes for command in commands.values()])
    return rows


def concatenation(bench: Bench, data: Data) -> list[dict]:
    """Put the runs into one image, by nilearn's function and by our own."""
    commands = {
        "concat_imgs": concat_imgs(bench, data.runs),
        "concatenate_runs": concatenate_runs(bench, data.runs),
    }
    return bench.rounds("concatenation", commands)


def address_space(bench: Bench, data: Data) -> list[dict]:
    """Let every strategy work on the longest image when no process may have more than 1 GiB of address space."""
    factor, image = max(data.longer.items())
    commands = {}
    with temporary_copy(bench, image, factor * data.mib) as plain:
        for name, strategy in STRATEGIES.items():
            if source := plain if strategy.uncompressed else image:
                commands[name] = bench.extraction(name, source, data.masks[: bench.size.n_regions], LIMIT_JOBS)
        rows = bench.rounds("address space", commands, LIMIT)
    size = {"image_mib": round(factor * data.mib, 1), "n_volumes": factor * data.n_volumes}
    return [row | size for row in rows]
