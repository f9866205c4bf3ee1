"""What the workflow is going to do: a checked configuration, turned into runs, images, regions and paths.

The rules declare; everything that they ask for is found out here. The process that plans a run looks at every header once and
tells all that is wrong. A job on a cluster makes the same plan again, only for itself: nothing is checked or opened twice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import chain, groupby
from pathlib import Path
from typing import Any

from roistream.cleaning.denoising import find_table
from roistream.errors import Problems, UserError
from roistream.images.grids import grid_id
from roistream.images.image import describe
from roistream.images.repetition_time import RepetitionTime, join
from roistream.images.series import inspect_run, open_series
from roistream.memory.predict import predict_peak_mib
from roistream.memory.predict_timeseries import Weights, predict_timeseries_mib
from roistream.regions.coverage import read_regions
from roistream.regions.kinds import refuse_voxels
from roistream.regions.orientation import check_orientation
from roistream.regions.placed import read_placed_sidecar
from roistream.samples import adhd
from roistream.study.atlas import ATLASES, AtlasOfPlan
from roistream.study.configuration import (
    check_cleaning,
    check_configuration,
    check_denoising,
    chosen_strategies,
    with_safe_paths,
    wrong_inputs,
)
from roistream.study.fetching import with_fetched_atlas
from roistream.study.filters import tell_times
from roistream.study.label_checks import check_labels
from roistream.study.listing import SAMPLES, list_runs
from roistream.study.run import Run, join_volumes
from roistream.study.settings import as_meant
from roistream.study.spaces import tell_spaces
from roistream.study.times import Times


@dataclass(frozen=True)
class Plan(AtlasOfPlan):
    """A checked configuration and what follows from it.

    Attributes
    ----------
    config : mapping
        The configuration, every key of the schema in it.
    runs : dict
        The runs of each image of the comparison, in order.
    study : dict
        The runs of each image of the target ``timeseries``, by what its files are called. Each subject of a sample is an
        image of its own.
    place : callable
        Says where a file of ours lies that is called so below the working directory.
    """

    config: Mapping[str, Any]
    runs: dict[str, list[Run]]
    study: dict[str, list[Run]]
    place: Callable[[str], str] = str

    # The comparison

    @property
    def subjects(self) -> list[str]:
        """Subjects of a sample."""
        return list(adhd.SUBJECT_IDS[: self.config["n_subjects"]])

    @cached_property
    def strategies(self) -> list[str]:
        """Names of the strategies to compare."""
        return chosen_strategies(self.config["strategies"])

    def runs_of(self, image: str) -> list[Run]:
        """Give the runs of an image of either target."""
        runs = self.runs.get(image) or self.study.get(image)
        if runs is None:
            raise UserError(f"There is no image {image!r}; the images are those of the config key 'dataset'.")
        return runs

    def confounds_of(self, image: str) -> list[Path]:
        """List the tables of confounds that an image is cleaned with, one for each run."""
        cleaning = self.config["cleaning"]
        if cleaning.get("strategy"):
            return [find_table(run.path, cleaning["strategy"]) for run in self.runs_of(image)]
        if not cleaning.get("confounds"):
            return []
        tables = [run.confounds for run in self.runs_of(image) if run.confounds is not None]
        return [table for table, _ in groupby(tables)]  # volumes of one run may all name its table

    def masks_of(self, image: str) -> list[Path]:
        """List the different brain masks of the runs of an image."""
        return list(dict.fromkeys(run.mask for run in self.runs_of(image) if run.mask is not None))

    def cleaning_options(self, image: str) -> dict[str, Any]:
        """Give the options of cleaning of an image, named as those of the programs that extract."""
        options = {key: value for key, value in self.config["cleaning"].items() if key != "confounds"}
        if options.get("confound_columns"):
            # A pattern that matches nothing in any table of the study is refused by the plan.
            options["unmatched_patterns"] = "warn"
        return {**options, **self.time_options(image)}

    def time_of(self, image: str) -> RepetitionTime:
        """Find the TR of an image."""
        times = Times(self.config["cleaning"].get("t_r"))
        return join([(run.path, run.time or times.find(inspect_run(run.path), run.t_r)) for run in self.runs_of(image)])

    def time_options(self, image: str) -> dict[str, Any]:
        """Give the TR of an image as options of programs, where somebody says it.

        A header says it to each program by itself; but a concatenated image has no sidecar.
        """
        time = self.time_of(image)
        if time.source in (None, "header", "sample"):
            return {}
        return {"t_r": time.seconds} | ({} if time.source == "option t_r" else {"t_r_source": time.source})

    # The atlas

    def placed_atlas(self, image: str, ending: str = "") -> str:
        """Give the path of the atlas on the grid of an image, which images of one grid share, or of what lies beside it."""
        return f"resources/atlases/{self.atlas_name}_grid-{self.grid_of(image)}{ending and '_'}{ending}"

    def grid_of(self, image: str) -> str:
        """Name the grid of an image."""
        run = self.runs_of(image)[0]
        if run.grid is not None:
            return run.grid
        first = open_series([run.path])
        return grid_id(first.grid, first.affine)

    def run_on(self, grid: str) -> Path:
        """Find a run on a grid."""
        for image, [first, *_] in (self.runs | self.study).items():
            if self.grid_of(image) == grid:
                return first.path
        raise UserError(f"No run lies on the grid {grid}; the runs have changed, start again.")

    # Memory

    def placing_mib(self, grid: str) -> float:
        """Predict what it takes to put the atlas on a grid."""
        sample = self.config["dataset"] in SAMPLES
        return self.placing_mib_on(math.prod(adhd.GRID) if sample else open_series([self.run_on(grid)]).n_voxels)

    def finest(self, image: str) -> int:
        """Count the voxels of a volume, of the image or of the atlas, whichever has more."""
        if self.config["dataset"] in SAMPLES:
            n_voxels = math.prod(adhd.GRID)
        else:
            n_voxels = open_series([self.runs_of(image)[0].path]).n_voxels
        return max(self.atlas_voxels, n_voxels)

    def extraction_mib(self, strategy: str, files: Sequence[str], regions: str, threads: int) -> float:
        """Predict what a strategy takes for an image, given as its runs or as one file."""
        n_voxels = [region.n_voxels for region in read_regions(regions)]
        return predict_peak_mib(strategy, open_series(files), n_voxels, threads, self.config["cleaning"])

    def timeseries_mib(self, image: str) -> float:
        """Predict what the extraction of an image of a study takes."""
        source = open_series([run.path for run in self.runs_of(image)])
        config, masks = self.config, self.masks_of(image)
        return predict_timeseries_mib(
            *(source, len(self.names), len(self.statistics)),
            {**config["cleaning"], "masks": masks},
            config["save_voxels"],
            None if self.atlas_kind == "labels" else weights_of(self.placed_atlas(image, self.placed_endings[0])),
        )


@cache
def weights_of(placed: str) -> Weights:
    """Read what an atlas of maps or spheres has on a grid, as far as memory is concerned."""
    return Weights(*read_placed_sidecar(Path(placed))["Weights"])


def make_plan(
    config: Mapping[str, Any],
    schemas: Mapping[str, Mapping[str, Any]],
    check: bool = True,
    place: Callable[[str], str] = str,
    files: Sequence[str | Path] = (),
    words: Sequence[str] = (),
) -> Plan:
    """Check a configuration and find out what it asks for.

    Parameters
    ----------
    config : mapping
        As Snakemake gives it.
    schemas : mapping
        The JSON schemas ``config`` and ``runs``.
    check : bool
        Look at schemas, files and headers; a job that was planned by a process that did has no need to.
    place : callable
        Says where a file of ours lies, see `Plan`.
    files, words
        What the configuration was read from, see `roistream.study.settings.as_meant`.

    Returns
    -------
    Plan
        Complete.

    Raises
    ------
    UserError
        For what is wrong with the values of the configuration, or all that is wrong with the files which it names.
    """
    config = as_meant(config, schemas["config"], files, words)
    if check:
        check_configuration(config, schemas["config"])
        check_denoising(config["cleaning"])
    config = with_fetched_atlas(config, check, place)
    wrong = wrong_inputs(config) if check else {}
    config = with_safe_paths(config)
    problems = Problems(wrong.values())
    plan = Plan(config, {}, {}, place)
    if check and not wrong.keys() & {"atlas", "atlas_labels"}:
        with problems:
            _ = plan.atlas_voxels  # an atlas that cannot be read is told before any job
            refuse_voxels(plan.atlas_kind, config["save_voxels"])
            _ = plan.statistics
            if plan.atlas_kind == "spheres" and config["atlas_labels"]:
                raise UserError(
                    f"config key 'atlas_labels': the table of spheres {config['atlas']} has names itself; take the key out."
                )
            names = list(plan.names)
            if config["atlas_labels"]:
                check_labels(config, plan.atlas_labels, names)
    if "dataset" not in wrong:
        with problems:
            listed, study = list_runs(config, schemas["runs"], check, place)
            plan = replace(plan, runs=listed, study=study)
    problems.tell()
    if check:
        runs = join_volumes([*chain(*plan.runs.values())])
        check_cleaning(config["cleaning"], plan.strategies, runs)
        tell_times(runs)
        tell_spaces(plan.atlas_space, [(run.path, image) for image, parts in plan.study.items() for run in parts])
        if config["missing_orientation"] == "error":
            is_image = config["atlas"] not in ATLASES and plan.atlas_kind != "spheres"
            check_orientation([*runs, *([describe(Path(config["atlas"]), 3)[0]] if is_image else [])])
    return plan
