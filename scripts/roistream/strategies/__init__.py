"""The ways of extracting region time series, and the one registry of them.

A strategy is a function ``(image, masks, n_jobs, cleaning) -> arrays``:

- `image` is a `roistream.images.image.Image`; one that `reads_series` takes a `roistream.images.series.Series` as well;
- `masks` are `roistream.regions.masks.Mask` on its grid, none of them empty; one that `reads_masks` opens their files;
- `n_jobs` is the number of parallel workers, for one that `uses_workers`;
- `cleaning` is a `roistream.cleaning.options.Cleaning`;
- a strategy that `streams` keeps its arrays in files and takes a folder for them as a fifth argument;
- the result, a list or an iterator, has one array for each mask: float32, C order, ``(n_volumes, n_voxels)``, the voxels in
  C order of the mask.

All of `STRATEGIES` return identical arrays, those that ``NiftiMasker`` gives (tests/unit/test_strategies.py says so); all of
`LABEL_STRATEGIES` the signals of ``NiftiLabelsMasker`` (tests/unit/test_label_strategies.py), each as an array of one column. To
add one, write its file, enter it below, say in `roistream.strategies.predictions` what memory it takes, and everything else
(config, workflow, comparison, figure, tests) picks it up here.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Strategy:
    """What the workflow needs to know of a strategy without importing it.

    Attributes
    ----------
    name : str
        The name in the config and in output paths; also the name of the function, and of its prediction.
    label : str
        The name in figures; a comma separates the family from the variant.
    family : str
        The file of this package that holds the function; members of one family share a colour.
    smooths : bool
        Whether it can smooth; a strategy that never sees whole volumes cannot.
    uncompressed : bool
        Whether it needs the image without compression.
    streams : bool
        Whether its arrays are memory maps of files, which lie in a folder that it is given.
    reads_series : bool
        Whether it takes the runs themselves; else it needs one file, in which they are concatenated.
    reads_masks : bool
        Whether it needs a file for each mask; else it is enough to know where the regions' voxels lie.
    uses_workers : bool
        Whether regions are worked on in parallel.
    averages : bool
        Whether it gives the mean of each region, ``(n_volumes, 1)``, instead of its voxels.
    """

    name: str
    label: str
    family: str
    smooths: bool = False
    uncompressed: bool = False
    streams: bool = False
    reads_series: bool = False
    reads_masks: bool = True
    uses_workers: bool = True
    averages: bool = False

    def load(self) -> Callable:
        """Import the strategy's function (nilearn only where the strategy needs it)."""
        return getattr(importlib.import_module(f"roistream.strategies.{self.family}"), self.name)

    def load_prediction(self) -> Callable:
        """Import the function that predicts the strategy's peak memory, without the strategy itself."""
        return getattr(importlib.import_module("roistream.strategies.predictions"), self.name)


STRATEGIES = {
    strategy.name: strategy
    for strategy in (
        Strategy("nifti_masker_path", "NiftiMasker, path", "nifti_masker", smooths=True),
        Strategy("nifti_masker_in_memory", "NiftiMasker, in memory", "nifti_masker", smooths=True),
        Strategy("numpy_path", "numpy, path", "numpy_indexing"),
        Strategy("numpy_in_memory", "numpy, in memory", "numpy_indexing"),
        Strategy("shared_memory", "shared, memory", "shared_segment"),
        Strategy("mmap", "memory, map", "memory_map", uncompressed=True, reads_masks=False),
        Strategy(
            "stream",
            "stream",
            "streaming",
            smooths=True,
            streams=True,
            reads_series=True,
            reads_masks=False,
            uses_workers=False,
        ),
    )
}
"""Those that extract every voxel of each region, which are compared by default."""

LABEL_STRATEGIES = {
    strategy.name: strategy
    for strategy in (
        Strategy(
            "nilearn_labels",
            "NiftiLabelsMasker, nilearn",
            "region_means",
            smooths=True,
            reads_masks=False,
            uses_workers=False,
            averages=True,
        ),
        Strategy(
            "stream_labels",
            "NiftiLabelsMasker, roistream",
            "region_means",
            smooths=True,
            reads_series=True,
            reads_masks=False,
            uses_workers=False,
            averages=True,
        ),
    )
}
"""Those that average each region in each volume, and clean the averages."""

REGISTRY = STRATEGIES | LABEL_STRATEGIES
