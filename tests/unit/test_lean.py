"""An extraction imports no more than it needs: each job of a study is a process of its own."""

import json
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

from conftest import AFFINE, GRID, ROOT, save_run
from place_atlas import place_atlas

RUN = """
import json, runpy, sys
script, *sys.argv[1:] = sys.argv[1:]
sys.path.insert(0, script.rsplit("/", 1)[0])
runpy.run_path(script, run_name="__main__")
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""
HEAVY = {"nibabel", "nilearn", "scipy", "sklearn", "pandas", "matplotlib", "tqdm", "jsonschema", "yaml", "snakemake"}


@pytest.fixture
def folder(tmp_path, rng):
    """A run, stored as it is and scaled, and an atlas that has been placed."""
    data = rng.integers(50, 900, (*GRID, 20)).astype(np.int16)
    save_run(tmp_path / "run.nii.gz", data)
    image = nib.Nifti1Image(data, AFFINE)
    image.header.set_slope_inter(0.5, 3)
    image.to_filename(tmp_path / "scaled.nii")
    labels = rng.integers(0, 5, GRID).astype(np.int16)
    nib.Nifti1Image(labels, AFFINE).to_filename(tmp_path / "atlas.nii")
    place_atlas(
        *(tmp_path / name for name in ("atlas.nii", "run.nii.gz", "placed.nii.gz", "regions.tsv", "coverage.npy"))
    )
    return tmp_path


def modules(folder, runs, *options, atlas="placed.nii.gz"):
    """Extract in a child process; list the packages that it has loaded."""
    arguments = [
        "--runs",
        *runs,
        "--atlas",
        atlas,
        "--placed",
        "regions.tsv",
        "coverage.npy",
        "--out",
        "out/scan",
    ]
    command = [sys.executable, "-c", RUN, ROOT / "scripts/extract_timeseries.py", *arguments, *options]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert (folder / "out/scan_stat-coverage_bold.tsv").exists()
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("options", [(), ("--statistics", "mean", "median", "variance"), ("--save-voxels",)])
def test_a_plain_extraction_needs_numpy_and_isal(folder, options):
    loaded = modules(folder, ["run.nii.gz", "run.nii.gz"], *options)
    assert {"numpy", "isal", "roistream"} <= loaded
    assert not HEAVY & loaded


def test_scaled_values_need_nibabel(folder):
    """… which scales them as everybody does, and brings scipy along."""
    assert HEAVY & modules(folder, ["scaled.nii"]) <= {"nibabel", "scipy"}


def test_cleaning_needs_nilearn(folder):
    assert {"nilearn", "scipy"} <= modules(folder, ["run.nii.gz"], "--detrend")


def test_placed_maps_need_scipy(folder, rng):
    """What resamples maps, nilearn, has done so once for all images."""
    maps = rng.random((*GRID, 3)).astype(np.float32)
    nib.Nifti1Image(maps, AFFINE).to_filename(folder / "maps.nii")
    place_atlas(*(folder / name for name in ("maps.nii", "run.nii.gz", "placed.npz", "regions.tsv", "coverage.npy")))
    loaded = modules(folder, ["run.nii.gz"], atlas="placed.npz")
    assert HEAVY & loaded == {"scipy"}
