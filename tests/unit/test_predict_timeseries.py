"""The predicted peak memory of an extraction is near what the kernel has measured of it, wherever most of it goes."""

import json
import math

import nibabel as nib
import numpy as np
import pytest

from conftest import AFFINE, run_script, save_run
from roistream.images.series import open_series
from roistream.memory.predict_timeseries import predict_timeseries_mib

GRID = (61, 73, 61)
SMALL = (20, 22, 18)

CASES = {
    "small": (SMALL, 30, np.float32, []),
    "as in a study": (GRID, 40, np.float32, []),
    "many statistics": (GRID, 30, np.float32, ["--statistics", "mean", "median", "maximum", "variance"]),
    "scaled": (GRID, 30, np.int16, []),
    "double": (GRID, 20, np.float64, []),
    "cleaned": (GRID, 40, np.float32, ["--detrend", "--standardize", "zscore_sample", "--high-pass", "0.01"]),
    "long": (SMALL, 3000, np.int16, ["--detrend"]),
    "smoothed": (GRID, 20, np.float32, ["--smoothing-fwhm", "6"]),
    "voxels": (GRID, 30, np.float32, ["--save-voxels"]),
    "cleaned voxels": (GRID, 60, np.float32, ["--save-voxels", "--detrend", "--high-pass", "0.01"]),
}


@pytest.mark.parametrize("name", list(CASES))
def test_it_is_near_what_is_measured(tmp_path, name, record_property):
    grid, n_volumes, dtype, options = CASES[name]
    rng = np.random.default_rng(1)
    values = rng.normal(300, 20, grid).astype(dtype)
    data = np.broadcast_to(values[..., np.newaxis], (*grid, n_volumes)).copy(order="F")
    data[..., ::2] += 1
    run = save_run(tmp_path / "run.nii.gz", data)
    if name == "scaled":
        image = nib.Nifti1Image(data, AFFINE)
        image.header.set_slope_inter(0.1, 3)
        image.to_filename(run)
    labels = np.zeros(grid, np.int16)
    inside = tuple(slice(n // 6, n - n // 6) for n in grid)
    labels[inside] = 1 + np.arange(labels[inside].size).reshape(labels[inside].shape) * 64 // labels[inside].size
    nib.Nifti1Image(labels, AFFINE).to_filename(tmp_path / "atlas.nii")
    regions = ["--atlas", "atlas.nii", "--like", "run.nii.gz", "--out", "placed.nii.gz"]
    made = run_script("place_atlas.py", *regions, "--table", "r.tsv", "--coverage", "c.npy", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    placed = ["--runs", "run.nii.gz", "--atlas", "placed.nii.gz", "--placed", "r.tsv", "c.npy", "--out", "scan"]
    done = run_script("extract_timeseries.py", *placed, *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    sidecar = json.loads((tmp_path / "scan_stat-mean_timeseries.json").read_text())
    predicted, measured = sidecar["PredictedPeakMiB"], sidecar["MeasuredPeakMiB"]
    record_property("predicted and measured", (predicted, measured))
    assert 0.8 * measured < predicted < 1.6 * measured, (predicted, measured)


@pytest.fixture
def source(tmp_path):
    """A long run, of which only the header is there."""
    header = nib.Nifti1Header()
    header.set_data_shape((*GRID, 900))
    header.set_data_dtype(np.float32)
    header["vox_offset"] = 352
    path = tmp_path / "run.nii"
    with path.open("wb") as stream:
        stream.write(header.binaryblock + b"\0" * 4)
        stream.truncate(352 + math.prod(GRID) * 900 * 4)
    return open_series([path])


def test_length_and_regions_cost_little(source):
    """A signal is 4 bytes for each volume of float32: 444 regions of 900 volumes are 1.5 MiB."""
    few, many = (predict_timeseries_mib(source, n_regions, 1, {}) for n_regions in (1, 444))
    assert 1 < many - few < 2
    twice = open_series([source.path, source.path])
    assert predict_timeseries_mib(twice, 64, 1, {}) - predict_timeseries_mib(source, 64, 1, {}) < 3


def test_what_is_done_more_costs_more(source):
    def predicted(n_statistics=1, save_voxels=False, **cleaning):
        return predict_timeseries_mib(source, 64, n_statistics, cleaning, save_voxels)

    plain = predicted()
    assert plain < 65
    assert predicted(3) > plain
    assert predicted(detrend=True) > plain + 90, "nilearn.signal"
    assert predicted(detrend=True) == predicted(confounds=True)
    assert predicted(smoothing_fwhm=6) > predicted(detrend=True)
    assert predicted(detrend=False, standardize=None) == plain
    assert predicted(save_voxels=True, detrend=True) >= predicted(detrend=True)
