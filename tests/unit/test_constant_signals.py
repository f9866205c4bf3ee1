"""Voxels and regions that are constant over a run: counted alike by every strategy and in studies, their numbers nilearn's."""

import numpy as np
import pytest
from extracted import LABELS, Extracted, nilearn_signals
from hypothesis import given
from hypothesis import strategies as st

from conftest import AFFINE, save_mask, save_run
from extract_regions import extract_regions
from roistream.cleaning.options import Cleaning
from roistream.images.image import inspect
from roistream.regions.constant import ConstantWatch, constant_signals
from roistream.regions.masks import Mask, read_voxels
from roistream.strategies import STRATEGIES
from roistream.study.summary import COLUMNS, summarise_image

pytestmark = [pytest.mark.filterwarnings(f"ignore::{kind}") for kind in ("UserWarning", "DeprecationWarning")]


@given(
    run_lengths=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    n_signals=st.integers(0, 5),
    cuts=st.lists(st.integers(0, 24), max_size=6),
    dtype=st.sampled_from([np.float32, np.int16]),
    seed=st.integers(0, 999),
)
def test_blocks_of_any_size_find_what_is_constant_in_a_run(run_lengths, n_signals, cuts, dtype, seed):
    values = np.random.default_rng(seed).integers(0, 2, (sum(run_lengths), n_signals)).astype(dtype)
    runs = np.split(values, np.cumsum(run_lengths)[:-1])
    expected = np.zeros(n_signals, bool)
    for run in runs:
        if len(run) > 1:
            expected |= (run == run[0]).all(axis=0)
    assert np.array_equal(constant_signals(values, run_lengths), expected)
    watch = ConstantWatch(n_signals, run_lengths)
    for block in np.split(values, sorted(min(cut, len(values)) for cut in cuts)):
        watch.look(block)
    assert np.array_equal(watch.found, expected)


def test_nan_is_not_constant():
    assert constant_signals(np.full((3, 1), np.nan), [3]).tolist() == [False]


# The comparison's strategies

VOXELS = [(1, 1, 1), (2, 1, 1), (3, 1, 1), (4, 1, 1), (5, 1, 1)]


@pytest.fixture
def image(tmp_path, rng):
    """Two runs of 40 volumes: a voxel is 0, one filled, one constant in the second run only, two vary."""
    data = rng.normal(900, 20, (6, 7, 5, 80)).astype(np.float32)
    data[1, 1, 1], data[2, 1, 1], data[3, 1, 1, 40:] = 0, 2214.8345, 7.3
    return save_run(tmp_path / "image.nii", data)


@pytest.fixture
def mask(tmp_path, image):
    path, source = save_mask(tmp_path / "region-1_mask.nii.gz", VOXELS, (6, 7, 5), AFFINE), inspect(image)
    return Mask(path, read_voxels(path, source.grid, source.affine))


@pytest.mark.parametrize("name", list(STRATEGIES))
def test_every_strategy_tells_of_constant_voxels(image, mask, caplog, name):
    runs = np.repeat([0, 1], 40)
    for cleaning, n_constant, word in (
        (Cleaning(detrend=True, standardize="zscore_sample", runs=runs), 3, "rounding error, scaled up"),
        (Cleaning(detrend=True, standardize="zscore_sample"), 2, "rounding error, scaled up"),
        (Cleaning(), 2, "constant over a run."),
    ):
        caplog.clear()
        list(STRATEGIES[name].load()(inspect(image), [mask], 1, cleaning))
        assert mask.seen == {"n_constant_voxels": n_constant}
        [told] = [text for text in caplog.messages if "constant" in text]
        assert f"region-1_mask.nii.gz: {n_constant} of 5 voxels are constant over a run" in told
        assert word in told


def test_nothing_is_told_where_all_vary(tmp_path, rng, caplog):
    image = save_run(tmp_path / "image.nii", rng.normal(900, 20, (6, 7, 5, 40)).astype(np.float32))
    path = save_mask(tmp_path / "region-1_mask.nii.gz", VOXELS, (6, 7, 5), AFFINE)
    extract_regions("stream", [image], tmp_path / "out", [path], cleaning={"detrend": True})
    assert "constant" not in caplog.text
    assert '"n_constant_voxels": 0' in (tmp_path / "out/extraction.json").read_text()


@pytest.mark.parametrize("strategy", ["stream", "nifti_masker_path", "numpy_path"])
def test_the_summary_of_an_extraction_counts_them(tmp_path, image, mask, strategy):
    extract_regions(strategy, [image], tmp_path / "out", [mask.path], cleaning={"high_pass": 0.02})
    assert '"n_constant_voxels": 2' in (tmp_path / "out/extraction.json").read_text()


# Studies


def test_a_study_counts_voxels_and_regions_by_run(tmp_path, rng, caplog):
    data = rng.normal(100, 10, (6, 7, 5, 8)).astype(np.float32)
    data[LABELS == 7] = 55  # a region
    data[0, 1, 0] = 7  # a voxel of another
    found = Extracted(tmp_path, data, statistics=("mean", "variance"), cleaning={"detrend": True})
    assert found.sidecar()["ConstantVoxels"] == 9
    assert found.sidecar()["ConstantRegions"] == found.sidecar("variance")["ConstantRegions"] == ["region-7"]
    assert (
        "Region 7 (region-7): its mean is constant over a run; what cleaning makes of that is 0 or rounding"
        in caplog.text
    )
    assert np.array_equal(found.table().to_numpy(np.float32), nilearn_signals(found.run, detrend=True))
    row = summarise_image("scan", found.path("stat-mean_timeseries.json"), tmp_path / "none.log")
    assert (row.n_constant_voxels, row.n_constant_regions) == (9, 1)
    assert {"n_constant_voxels", "n_constant_regions"} <= set(COLUMNS)


def test_a_region_that_is_constant_in_one_of_two_runs(tmp_path, rng, caplog):
    from extracted import save_atlas

    from extract_timeseries import extract_timeseries

    runs = [rng.normal(100, 10, (6, 7, 5, length)).astype(np.float32) for length in (6, 9)]
    runs[1][LABELS == 40] = 0  # no data in this run, data in the other
    paths = [save_run(tmp_path / f"{number}.nii.gz", run) for number, run in enumerate(runs)]
    atlas = save_atlas(tmp_path / "atlas.nii.gz")
    for per_run, constant in ((True, ["region-40"]), (False, [])):
        extract_timeseries(paths, atlas, str(tmp_path / "out"), per_run=per_run, cleaning={"detrend": True})
        text = (tmp_path / "out_stat-mean_timeseries.json").read_text()
        assert ('"region-40"' in text) == bool(constant)
        assert f'"ConstantVoxels": {5 * len(constant)}' in text
