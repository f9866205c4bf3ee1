"""Tiny images that the tests share, and where the real ones lie."""

import gc
import subprocess
import sys
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).parent.parent
AFFINE = np.array([[-3.0, 0, 0, 9], [0, 3, 0, -12], [0, 0, 3, -6], [0, 0, 0, 1]])
GRID = (6, 7, 5)


@pytest.fixture(autouse=True, scope="module")
def small_heap():
    """Spare Python's collector, which nilearn calls seven times for each extraction, all that is loaded already."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def rng():
    return np.random.default_rng(42)


@pytest.fixture
def shared_data():
    """The folder with a real run and the real BASC atlas, which stands beside the project in CI."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("../shared/data is absent")
    return folder


def save_run(path, data, affine=AFFINE, t_r=2.0, **header):
    """Save an array as a 4D NIfTI with a TR, stored in its own dtype, unscaled."""
    image = nib.Nifti1Image(data, affine, dtype=data.dtype)
    image.header.set_xyzt_units("mm", "sec")
    image.header.set_zooms((*image.header.get_zooms()[:3], t_r))
    for field, value in header.items():
        image.header[field] = value
    image.to_filename(path)
    return Path(path)


def save_mask(path, voxels, grid=GRID, affine=AFFINE):
    """Save a binary mask of the given voxels."""
    mask = np.zeros(grid, np.uint8)
    mask[tuple(np.transpose(voxels))] = 1
    nib.Nifti1Image(mask, affine).to_filename(path)
    return Path(path)


def read_table(path):
    """Read a TSV with pandas, each number as the very one that was written: newer versions do so unasked, and warn."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The 'float_precision' argument is deprecated")
        return pd.read_csv(path, sep="\t", float_precision="round_trip")


def run_script(name, *arguments, cwd):
    """Run a script in a folder, as from a shell."""
    command = [sys.executable, ROOT / "scripts" / name, *arguments]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, encoding="utf-8", cwd=cwd)


@pytest.fixture
def masks(tmp_path):
    """Three masks on the tiny grid: a compact one, a scattered one that overlaps it, a single voxel."""
    return [
        save_mask(tmp_path / "region-1_mask.nii.gz", [(x, y, 2) for x in (1, 2, 3) for y in (1, 2)]),
        save_mask(tmp_path / "region-2_mask.nii.gz", [(5, 0, 4), (0, 6, 0), (2, 2, 2), (1, 5, 3)]),
        save_mask(tmp_path / "region-7_mask.nii.gz", [(3, 3, 3)]),
    ]
