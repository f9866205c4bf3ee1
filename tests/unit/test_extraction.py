"""The extraction of one image of a study: what holds data and is covered.

That the numbers are those of NiftiLabelsMasker in all circumstances is shown in test_labels.py.
"""

import numpy as np
import pytest
from extracted import LABELS, N_VOLUMES, Extracted, nilearn_signals, save_atlas
from hypothesis import given, settings
from hypothesis import strategies as st
from nilearn import signal

from conftest import AFFINE, GRID, save_run
from roistream.cleaning.options import Cleaning
from roistream.errors import UserError
from roistream.images.series import open_series
from roistream.regions.placed import put_on_grid
from roistream.study.extraction import clean, extract


@pytest.fixture
def data(rng):
    return rng.normal(100, 10, (*GRID, N_VOLUMES)).astype(np.float32)


# What holds data.


def test_all_is_there(tmp_path, data, caplog):
    found = Extracted(tmp_path, data)
    assert list(found.table()) == ["region-2", "region-7", "region-40"]
    assert np.array_equal(found.table().to_numpy(np.float32), nilearn_signals(found.run))
    assert found.coverage == [1, 1, 1]
    assert found.files == ["stat-coverage_bold.tsv", "stat-mean_timeseries.json", "stat-mean_timeseries.tsv"]
    sidecar = found.sidecar()
    assert (sidecar["RegionsMissing"], sidecar["LeastCoverage"]) == ([], 1)
    assert (sidecar["ValuesNotFinite"], sidecar["ConstantVoxels"]) == (0, 0)
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


@pytest.mark.parametrize("nothing", [0, np.nan])
def test_a_region_without_data_is_no_column_of_zeros(tmp_path, data, caplog, nothing):
    data[LABELS == 7] = nothing
    found = Extracted(tmp_path, data, statistics=("mean", "median", "variance"))
    for statistic in ("mean", "median", "variance"):
        assert found.path(f"stat-{statistic}_timeseries.tsv").read_text().splitlines()[1].split("\t")[1] == "n/a"
        table = found.table(statistic)
        assert table["region-7"].isna().all()
        others = nilearn_signals(found.run, strategy=statistic)[:, [0, 2]]
        assert np.array_equal(table[["region-2", "region-40"]].to_numpy(np.float32), others)
    assert found.coverage == [1, 0, 1]
    assert found.sidecar()["RegionsMissing"] == ["region-7"]
    assert found.sidecar()["LeastCoverage"] == 0
    assert "Region 7 (region-7) has no data in this image" in caplog.text
    assert "RuntimeWarning" not in caplog.text


def test_a_region_of_which_half_is_zero(tmp_path, data, caplog):
    data[3, 2:6, 1] = 0
    found = Extracted(tmp_path, data)
    assert found.coverage == [1, 0.5, 1]
    assert "1 of 3 regions lie or hold data in a part only, least of all region-7: 0.500" in caplog.text
    assert np.array_equal(found.table().to_numpy(np.float32), nilearn_signals(found.run)), "zeros count, as in nilearn"


def test_values_that_are_not_finite(tmp_path, data, caplog):
    data[3, 2, 1, 4], data[3, 3, 1, 0], data[5, 6, 0] = np.nan, -np.inf, np.nan
    found = Extracted(tmp_path, data)
    assert found.coverage == [1, 0.75, 0.8]
    assert found.sidecar()["ValuesNotFinite"] == 2 + N_VOLUMES
    assert "Region 7 (region-7): 2 values were not finite and count as 0." in caplog.text
    assert f"Region 40 (region-40): {N_VOLUMES} values" in caplog.text
    assert np.array_equal(found.table().to_numpy(np.float32), nilearn_signals(found.run))


@pytest.mark.parametrize("detrend", [False, True])
def test_constant_voxels(tmp_path, data, caplog, detrend):
    data[LABELS == 40], data[0, 1, 0] = 55, 7
    found = Extracted(tmp_path, data, cleaning={"detrend": detrend})
    assert found.sidecar()["ConstantVoxels"] == 6
    assert found.coverage == [1, 1, 1]
    assert found.sidecar()["ConstantRegions"] == ["region-40"]
    assert "Region 40 (region-40): its mean is constant over a run" in caplog.text
    assert ("rounding error" in caplog.text) == detrend
    assert "6 voxels of 2 region(s) are constant over a run" in caplog.text
    assert "Region 2" not in caplog.text


def test_smoothing_fills_no_region_without_data(tmp_path, data):
    data[LABELS == 7] = 0
    found = Extracted(tmp_path, data, cleaning={"smoothing_fwhm": 8.0})
    assert found.table()["region-7"].isna().all()
    assert found.coverage == [1, 0, 1]
    smoothed = nilearn_signals(found.run, smoothing_fwhm=8.0)
    assert np.array_equal(found.table()[["region-2", "region-40"]].to_numpy(np.float32), smoothed[:, [0, 2]])


# What is covered: atlases on other grids.


def test_atlas_voxels_outside(tmp_path, data):
    """The atlas is twice as long; region 2 continues beyond the image, region 9 lies beyond it."""
    labels = np.zeros((2 * GRID[0], *GRID[1:]), np.int16)
    labels[: GRID[0]] = LABELS
    labels[5:9, 0, 0], labels[9, 3, 3] = 2, 9
    atlas = save_atlas(tmp_path / "long.nii.gz", labels)
    with pytest.raises(UserError, match=r"1 requested label.* 9;"):
        Extracted(tmp_path, data, atlas)
    assert not (tmp_path / "out").exists()
    found = Extracted(tmp_path, data, atlas, empty_regions="keep")
    assert list(found.table()) == ["region-2", "region-7", "region-9", "region-40"]
    assert found.coverage == pytest.approx([31 / 34, 1, 0, 1], abs=1e-6)
    assert found.table()["region-9"].isna().all()
    assert found.sidecar()["RegionsMissing"] == ["region-9"]


@pytest.mark.parametrize(("value", "covered"), [(100, 1), (0, 2 / 3), (np.nan, 2 / 3)])
def test_an_atlas_voxel_in_a_voxel_of_no_region(tmp_path, data, value, covered):
    """Two atlas voxels go into one of the image, whose label is that of the second; the first counts where it lies."""
    fine = AFFINE @ np.diag([0.5, 1, 1, 1])
    fine[:3, 3] -= 0.25 * AFFINE[:3, 0]
    labels = np.zeros((2 * GRID[0], *GRID[1:]), np.int16)
    labels[0:3, 2, 2] = 1
    data[1, 2, 2] = value
    found = Extracted(tmp_path, data, save_atlas(tmp_path / "fine.nii.gz", labels, fine))
    assert found.coverage == pytest.approx([covered], abs=1e-6)
    assert np.array_equal(found.table()["region-1"].astype(np.float32), data[0, 2, 2]), (
        "of the one voxel with its label"
    )


@settings(max_examples=40, deadline=None)
@given(
    zoom=st.sampled_from([0.6, 1.0, 1.7]),
    shift=st.tuples(*[st.floats(-5, 5).map(lambda value: round(value, 1) + 0.037)] * 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_coverage_counts_atlas_voxels_one_by_one(tmp_path_factory, zoom, shift, seed):
    folder = tmp_path_factory.mktemp("coverage")
    rng = np.random.default_rng(seed)
    data = rng.normal(5, 1, (*GRID, 3)).astype(np.float32)
    data[rng.random(GRID) < 0.2] = 0
    data[rng.random(data.shape) < 0.05] = np.nan
    labels = rng.choice([0, 1, 2, 30], (5, 6, 4)).astype(np.int16)
    affine = AFFINE @ np.diag([zoom, zoom, zoom, 1])
    affine[:3, 3] += shift
    source = open_series([save_run(folder / "run.nii", data)])
    atlas = save_atlas(folder / "atlas.nii", labels, affine)
    try:
        placed = put_on_grid(atlas, source.grid, source.affine, source.path, empty_regions="keep")
    except UserError:
        return  # it lies outside altogether
    found = extract(source, placed.prepare(["mean"], source.n_volumes))
    with_data = np.isfinite(data).all(axis=3) & (data != 0).any(axis=3)
    to_image = np.linalg.inv(AFFINE) @ affine
    for number, label in enumerate(placed.wanted):
        good = 0
        for voxel in np.argwhere(labels == label):
            place = np.floor((to_image @ [*voxel, 1])[:3] + 0.5).astype(int)
            good += all((place >= 0) & (place < GRID)) and with_data[tuple(place)]
        assert found.coverage[number] == pytest.approx(good / (labels == label).sum())
        values = np.nan_to_num(data[placed.labels == label], nan=0)
        assert found.without_data[number] == (not values.any())
        assert np.isnan(found.signals["mean"][:, number]).all() == found.without_data[number]


# Cleaning.


@pytest.mark.parametrize("wanted", [[2, 7, 40], [40, 2, 7]])
def test_cleaning_leaves_out_what_has_no_data(rng, wanted):
    """Columns are cleaned in nilearn's order, that of labels, whatever was asked for, and a missing one touches no other."""
    by_label = rng.normal(size=(50, 3)).cumsum(axis=0)
    options = {"detrend": True, "standardize": "zscore_sample", "high_pass": 0.02, "t_r": 2.0}
    order = [[2, 7, 40].index(label) for label in wanted]
    whole = clean(by_label[:, order], wanted, Cleaning(**options))
    assert np.array_equal(whole, signal.clean(np.asfortranarray(by_label), **options)[:, order])
    lacking = by_label.copy()
    lacking[:, 1] = np.nan
    found = clean(lacking[:, order], wanted, Cleaning(**options))
    others = np.array(wanted) != 7
    assert np.isnan(found[:, ~others]).all()
    expected = np.full(by_label.shape, np.nan)
    expected[:, [0, 2]] = signal.clean(np.asfortranarray(by_label[:, [0, 2]]), **options)
    assert np.array_equal(found, expected[:, order], equal_nan=True)


def test_nothing_to_clean():
    missing = np.full((20, 2), np.nan)
    assert clean(missing, [1, 2], Cleaning(detrend=True)) is missing
