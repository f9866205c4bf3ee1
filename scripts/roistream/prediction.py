"""Predict the peak memory of a strategy from what is known before anything is loaded."""

from collections.abc import Mapping, Sequence
from typing import Any

from roistream.volumes import Image


def predict_peak_mib(
    strategy: str, image: Image, n_voxels: Sequence[int], n_jobs: int, cleaning: Mapping[str, Any]
) -> float:
    """Predict the peak PSS of an extraction's process tree, in MiB.

    Parameters
    ----------
    strategy : str
        A name of the registry.
    image : Image
        The image's header, from `roistream.volumes.inspect`.
    n_voxels : sequence of int
        Voxels of each region.
    n_jobs : int
        Parallel workers.
    cleaning : mapping
        The cleaning options, named as in the config.
    """
    del cleaning
    if strategy == "stream":
        return 80 + image.n_volumes * sum(n_voxels) * 4 / 2**20
    return 250 + 200 * n_jobs + image.mib * (2.5 * n_jobs if strategy.endswith("path") else 3)
