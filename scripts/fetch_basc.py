#!/usr/bin/env python3
"""Fetch the BASC atlas with nilearn, check it, and link it into the working directory."""

import argparse
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nilearn import datasets

sys.path.insert(0, str(Path(__file__).resolve().parent))  # this version's library, in any environment

from roistream.command_line import add_log_option
from roistream.reporting import reporting
from roistream.samples.cache import alone_in, check_sum
from roistream.samples.downloads import cache_folder, checking, fetching, finding_damage, place_link

DATASET = "basc_multiscale_2015"
RESOLUTIONS = (7, 12, 20, 36, 64, 122, 197, 325, 444)
URL = "https://ndownloader.figshare.com/files/1861819"


def fetch_basc(atlas: Path, data_dir: str | None, resolution: int) -> None:
    """Fetch the symmetric BASC parcellation; a file that is in nilearn's cache already is used without network.

    Parameters
    ----------
    atlas : path
        The link to make.
    data_dir : str or None
        nilearn's data folder; None for nilearn's default.
    resolution : int
        Number of parcels, one of `RESOLUTIONS`.

    Raises
    ------
    UserError
        The server cannot be reached or sends something else, or the file in the cache is no such atlas.
    """
    if data_dir is not None:
        data_dir = str(Path(data_dir).expanduser())
    file_name = f"template_cambridge_basc_multiscale_sym_scale{resolution:03}.nii.gz"
    folder = cache_folder(DATASET, data_dir)
    cached = folder / "template_cambridge_basc_multiscale_nii_sym" / file_name
    with alone_in(folder), checking(cached, is_new := not cached.exists(), URL):
        try:
            with fetching("The BASC atlas", URL, f"run again, or place the file by hand as {cached.absolute()}"):
                datasets.fetch_atlas_basc_multiscale_2015(data_dir=data_dir, resolution=resolution, verbose=0)
        finally:
            # Also when it has failed: nilearn reads the atlas, too, and its errors do not name the file.
            if cached.exists():
                check_labels(cached, resolution)
                check_sum(cached, folder, is_new)
    place_link(cached, atlas)


def check_labels(path: Path, n_labels: int) -> None:
    """Raise a ValueError if an image is not readable, not 3D, or does not hold exactly the labels 1 to `n_labels`."""
    with finding_damage(path):
        image: Any = nib.load(path)
        labels = np.unique(np.asanyarray(image.dataobj))
    if image.ndim != 3:
        raise ValueError(f"is {image.ndim}D instead of 3D")
    if not np.array_equal(labels, np.arange(n_labels + 1)):
        raise ValueError(f"does not hold exactly the labels 1 to {n_labels} and 0 for the background")


def parse_arguments() -> dict:
    """Read the command line into the parameters of `fetch_basc`, and ``log``."""
    parser = argparse.ArgumentParser(description="Fetch the BASC atlas of one resolution.")
    parser.add_argument("--atlas", required=True, type=Path, help="link to make to the atlas")
    parser.add_argument("--resolution", required=True, type=int, choices=RESOLUTIONS, help="number of parcels")
    parser.add_argument("--data-dir", metavar="FOLDER", help="data folder of nilearn (default: as nilearn chooses)")
    add_log_option(parser)
    return vars(parser.parse_args())


if __name__ == "__main__":
    arguments = parse_arguments()
    with reporting(arguments.pop("log")):
        fetch_basc(**arguments)
