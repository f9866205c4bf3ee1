"""The strategies that average regions give, to the last bit, what a user of nilearn's NiftiLabelsMasker gets."""

import logging
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from nilearn.maskers import NiftiLabelsMasker

from conftest import AFFINE, GRID, save_mask, save_run
from roistream.cleaning.options import Cleaning
from roistream.cleaning.prepare import prepare_cleaning
from roistream.errors import UserError
from roistream.images.image import inspect
from roistream.images.series import open_series
from roistream.memory.limits import Available
from roistream.memory.predict import predict_peaks_mib, tell_shortage
from roistream.regions.masks import Mask, read_voxels
from roistream.strategies import LABEL_STRATEGIES, REGISTRY, STRATEGIES

N_VOLUMES = 40
REGIONS = [[(0, 0, 0), (1, 2, 2), (5, 2, 1)], [(2, 2, 2)], [(3, y, z) for y in range(3) for z in range(3)]]

pytestmark = pytest.mark.filterwarnings("ignore:From release 0.14.0", "ignore:Non-finite values detected")


@pytest.fixture(params=list(LABEL_STRATEGIES))
def strategy(request):
    return LABEL_STRATEGIES[request.param].load()


@pytest.fixture
def masks(tmp_path):
    paths = [save_mask(tmp_path / f"region-{number}_mask.nii.gz", voxels) for number, voxels in enumerate(REGIONS, 1)]
    return [Mask(path, read_voxels(path, GRID, AFFINE)) for path in paths]


def label_masker(**options):
    labels = np.zeros(GRID, np.int32)
    for number, voxels in enumerate(REGIONS, 1):
        labels[tuple(np.transpose(voxels))] = number
    return NiftiLabelsMasker(
        nib.Nifti1Image(labels, AFFINE), resampling_target=None, **{"standardize": None, "reports": False, **options}
    )


def save_values(path, rng, dtype=np.float32):
    values = 100 + 10 * rng.standard_normal((*GRID, N_VOLUMES))
    return save_run(path, values.astype(dtype), t_r=2.0)


def assert_same(arrays, signals):
    assert [array.shape for array in arrays] == [(len(signals), 1)] * signals.shape[1]
    assert {array.dtype for array in arrays} == {np.dtype(np.float32)}
    assert np.array_equal(np.hstack(arrays), signals.astype(np.float32))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16])
@pytest.mark.parametrize("smoothing_fwhm", [None, 4.0])
def test_means_are_those_of_nilearn(strategy, tmp_path, masks, rng, dtype, smoothing_fwhm):
    run = save_values(tmp_path / "run.nii.gz", rng, dtype)
    arrays = strategy(inspect(run), masks, 1, replace(Cleaning(), smoothing_fwhm=smoothing_fwhm))
    assert_same(arrays, label_masker(smoothing_fwhm=smoothing_fwhm).fit_transform(run))


def test_signals_are_averaged_first_and_then_cleaned(strategy, tmp_path, masks, rng):
    run = save_values(tmp_path / "run.nii.gz", rng)
    confounds = rng.standard_normal((N_VOLUMES, 2))
    np.savetxt(tmp_path / "confounds.tsv", confounds, delimiter="\t", header="a\tb", comments="", fmt="%.17g")
    options = {"detrend": True, "high_pass": 0.02, "standardize": "zscore_sample"}
    cleaning = prepare_cleaning(inspect(run), options, [N_VOLUMES], [tmp_path / "confounds.tsv"], None, "error")
    expected = label_masker(**options, t_r=2.0).fit_transform(run, confounds=confounds)
    assert_same(strategy(inspect(run), masks, 1, cleaning), expected)


def test_runs_are_read_one_after_the_other(tmp_path, masks, rng):
    runs = [save_values(tmp_path / f"{number}.nii.gz", rng) for number in (1, 2)]
    arrays = LABEL_STRATEGIES["stream_labels"].load()(open_series(runs), masks, 1, Cleaning())
    assert_same(arrays, np.vstack([label_masker().fit_transform(run) for run in runs]))


def test_what_is_odd_is_told(strategy, tmp_path, masks, rng, caplog):
    values = 100 + rng.standard_normal((*GRID, N_VOLUMES)).astype(np.float32)
    values[1, 2, 2, 3:5] = np.nan, np.inf
    values[2, 2, 2] = 7
    values[0, 1, 0, 0] = np.nan  # in no region
    run = save_run(tmp_path / "run.nii.gz", values)
    with caplog.at_level(logging.WARNING, "roistream"):
        arrays = strategy(inspect(run), masks, 1, Cleaning())
    assert_same(arrays, label_masker().fit_transform(run))
    assert "2 of 520 values of the regions were not finite and count as 0" in caplog.text
    assert "region-2_mask.nii.gz: its mean is constant over a run" in caplog.text


def test_regions_that_overlap_are_refused(strategy, tmp_path, masks, rng):
    run = save_values(tmp_path / "run.nii.gz", rng)
    with pytest.raises(UserError, match=r"region-2_mask\.nii\.gz has voxels of another region"):
        strategy(inspect(run), [masks[1], masks[1]], 1, Cleaning())


def test_they_are_compared_only_when_they_are_named(tmp_path, rng):
    assert all(entry.averages for entry in LABEL_STRATEGIES.values())
    assert not any(entry.averages for entry in STRATEGIES.values())
    image = inspect(save_values(tmp_path / "run.nii.gz", rng))
    predicted = predict_peaks_mib(image, [3, 1, 9], 1, {})
    assert predicted.keys() == REGISTRY.keys()
    assert predicted["stream_labels"] < predicted["nilearn_labels"] + 30  # of this image there is next to nothing
    limits = [Available(mib=predicted["stream_labels"] + 1, limited_by="a test")]
    told = tell_shortage("nilearn_labels", predicted | {"nilearn_labels": 5000.0}, 1, image.mib, limits)
    assert "use stream_labels (" in told  # and not stream, which is smaller, but gives voxels
