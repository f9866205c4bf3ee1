"""The experiment on predicted memory: what is predicted before anything is loaded, and what is then measured."""

from dataclasses import replace

from benchmarks import studies
from benchmarks.bench import INTERVAL_S, Bench
from benchmarks.data import Data
from roistream.strategies import STRATEGIES


def prediction(bench: Bench, data: Data) -> list[dict]:
    """Let every strategy work on three lengths of image with two numbers of workers, and average labels of the same images.

    What reads the image once works on the longest one, too; for the others that would take a machine of another size.
    """
    commands = {}
    few = data.masks[: bench.size.n_regions]
    _, longest = max(data.longer.items())
    for n_jobs in (2, bench.size.n_jobs):
        for compressed, plain in (*data.shorter.values(), (data.image, data.plain)):
            for name, strategy in STRATEGIES.items():
                image = plain if strategy.uncompressed else compressed
                row = f"{name}, {image.parent.name}, {n_jobs} jobs"
                commands[row] = bench.extraction(name, image, few, n_jobs)
        commands[f"stream, {longest.parent.name}, {n_jobs} jobs"] = bench.extraction("stream", longest, few, n_jobs)
    for atlas, n_labels in ((data.atlas, 64), (data.finer_atlas, 444)):
        for image in (data.shorter[1][0], data.half, data.image, longest):
            title = f"timeseries, {image.parent.name}, {n_labels} labels"
            commands[title] = studies.extraction(bench, title.replace(", ", "-"), [image], atlas)
        options = [*studies.CLEANING, "--confounds", data.confounds]
        title = f"timeseries, {data.image.parent.name}, {n_labels} labels, cleaned"
        commands[title] = studies.extraction(bench, title.replace(", ", "-"), [data.image], atlas, options)
    # Memory is what counts here: also what is slower for being looked at often is, or a short peak would be missed.
    often = {title: replace(command, interval_s=INTERVAL_S) for title, command in commands.items()}
    return bench.rounds("prediction", often, repeats=1)
