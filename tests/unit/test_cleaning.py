"""Signal cleaning: every strategy gives what NiftiMasker gives with the same parameters."""

import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nilearn import signal
from nilearn.maskers import NiftiMasker

from conftest import AFFINE, save_mask, save_run
from roistream import cleaning as cleaning_module
from roistream.cleaning import Cleaning, prepare_cleaning, read_confounds, shortest_filtered
from roistream.errors import UserError
from roistream.regions import Mask, find_voxels, read_mask
from roistream.strategies import STRATEGIES
from roistream.volumes import inspect

# nilearn's own remarks on its defaults and on unwise combinations of options.
pytestmark = [pytest.mark.filterwarnings(f"ignore::{kind}") for kind in ("UserWarning", "DeprecationWarning")]

GRID = (9, 10, 8)
N_VOLUMES = 80
VOXELS = {
    1: [(x, y, 4) for x in range(2, 6) for y in range(3, 7)],
    2: [(0, 0, 0), (8, 9, 7), (3, 3, 4), (5, 1, 6)],
}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A float32 run and a scaled int16 run of a slow signal and noise, with a few values that are not finite."""
    folder = tmp_path_factory.mktemp("cleaning")
    rng = np.random.default_rng(7)
    slow = np.sin(np.arange(N_VOLUMES) / 6) * 20 + np.arange(N_VOLUMES) / 2
    data = 500 + slow + 10 * rng.standard_normal((*GRID, N_VOLUMES))
    scaled = nib.Nifti1Image(data, AFFINE)
    scaled.set_data_dtype(np.int16)
    scaled.header.set_zooms((3, 3, 3, 2.0))
    scaled.to_filename(folder / "scaled.nii")
    assert nib.load(folder / "scaled.nii").dataobj.slope != 1
    data[2, 3, 4, 5:7] = np.nan
    save_run(folder / "float.nii", data.astype(np.float32))
    return {"float": folder / "float.nii", "scaled": folder / "scaled.nii"}


def masks_on(image, folder):
    """Save the masks of this file on the grid of an image, prepared as strategies receive them."""
    source = inspect(image)
    masks = []
    for label, voxels in VOXELS.items():
        inside = [voxel for voxel in voxels if all(np.array(voxel) < source.grid)]
        path = save_mask(Path(folder) / f"region-{label}_mask.nii.gz", inside, source.grid, source.affine)
        masks.append(Mask(path, find_voxels(read_mask(path, source.grid, source.affine))))
    return masks


def nifti_masker(image, mask, cleaning):
    """Use nilearn itself."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*Generation of a mask", UserWarning)
        masker = NiftiMasker(
            mask_img=mask.path,
            smoothing_fwhm=cleaning.smoothing_fwhm,
            detrend=cleaning.detrend,
            standardize=cleaning.standardize,
            standardize_confounds=cleaning.standardize_confounds,
            low_pass=cleaning.low_pass,
            high_pass=cleaning.high_pass,
            t_r=cleaning.t_r,
            runs=cleaning.runs,
        )
        return masker.fit_transform(image, confounds=cleaning.confounds).astype(np.float32)


@st.composite
def cleanings(draw, n_volumes=N_VOLUMES):
    """Draw a combination of options that NiftiMasker accepts."""
    with_confounds, n_runs = draw(st.booleans()), draw(st.sampled_from([1, 2]))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    bands = [(None, None), (0.1, None), (None, 0.02), (0.1, 0.02)]
    low_pass, high_pass = draw(
        st.sampled_from([band for band in bands if n_volumes // n_runs > shortest_filtered(*band)])
    )
    return Cleaning(
        smoothing_fwhm=draw(st.sampled_from([None, 4.0, 6.0])),
        detrend=draw(st.booleans()),
        standardize=draw(st.sampled_from([None, "zscore_sample", "psc"])),
        standardize_confounds=draw(st.booleans()) if with_confounds and n_runs == 1 else True,
        low_pass=low_pass,
        high_pass=high_pass,
        t_r=2.0,
        confounds=rng.standard_normal((n_volumes, 3)).cumsum(axis=0) if with_confounds else None,
        runs=None if n_runs == 1 else np.repeat([0, 1], [n_volumes // 2, n_volumes - n_volumes // 2]),
    )


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cleaning=cleanings(), which=st.sampled_from(["float", "scaled"]))
def test_stream_cleans_as_nifti_masker_does(images, tmp_path, cleaning, which):
    masks = masks_on(images[which], tmp_path)
    for found, mask in zip(STRATEGIES["stream"].load()(images[which], masks, 1, cleaning), masks, strict=True):
        assert found.dtype == np.float32
        assert np.array_equal(found, nifti_masker(images[which], mask, cleaning))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cleaning=cleanings(n_volumes=20))
def test_stream_cleans_a_real_scaled_run_as_nifti_masker_does(tmp_path, cleaning):
    image = Path(nib.__path__[0]) / "tests/data/functional.nii"
    masks = masks_on(image, tmp_path)
    for found, mask in zip(STRATEGIES["stream"].load()(image, masks, 1, cleaning), masks, strict=True):
        assert np.array_equal(found, nifti_masker(image, mask, cleaning))


EVERYTHING = Cleaning(
    detrend=True,
    standardize="zscore_sample",
    low_pass=0.1,
    high_pass=0.02,
    t_r=2.0,
    confounds=np.random.default_rng(3).standard_normal((N_VOLUMES, 3)),
    runs=np.repeat([0, 1], N_VOLUMES // 2),
)


@pytest.mark.parametrize("which", ["float", "scaled"])
@pytest.mark.parametrize("name", list(STRATEGIES))
def test_every_strategy_cleans_along_time(images, tmp_path, name, which):
    masks = masks_on(images[which], tmp_path)
    for found, mask in zip(STRATEGIES[name].load()(images[which], masks, 2, EVERYTHING), masks, strict=True):
        assert np.array_equal(found, nifti_masker(images[which], mask, EVERYTHING))


@pytest.mark.parametrize("name", [name for name, entry in STRATEGIES.items() if entry.smooths])
def test_strategies_that_smooth(images, tmp_path, name):
    cleaning = Cleaning(smoothing_fwhm=5.0)
    masks = masks_on(images["float"], tmp_path)
    found = STRATEGIES[name].load()(images["float"], masks, 1, cleaning)
    unsmoothed = STRATEGIES[name].load()(images["float"], masks, 1, Cleaning())
    for array, raw, mask in zip(found, unsmoothed, masks, strict=True):
        assert np.array_equal(array, nifti_masker(images["float"], mask, cleaning))
        assert not np.array_equal(array, raw)


def test_options_are_completed_from_the_image(images, tmp_path):
    tables = []
    for run, n_volumes in enumerate((35, 45)):
        path = tmp_path / f"confounds-{run}.tsv"
        path.write_text("a\tb\n" + "".join(f"{run}\t{volume}\n" for volume in range(n_volumes)))
        tables.append(path)
    cleaning = prepare_cleaning(inspect(images["float"]), {"high_pass": 0.01}, [35, 45], tables)
    assert cleaning.t_r == 2.0
    assert cleaning.runs.tolist() == [0] * 35 + [1] * 45
    assert cleaning.confounds.tolist() == [[0, v] for v in range(35)] + [[1, v] for v in range(45)]
    assert prepare_cleaning(inspect(images["float"]), {"t_r": 1.5}, [N_VOLUMES]).t_r == 1.5
    assert prepare_cleaning(inspect(images["float"]), {}, [N_VOLUMES]).runs is None


@pytest.mark.parametrize(
    ("options", "run_lengths", "message"),
    [
        ({"high_pass": 0.25}, None, r"high_pass 0\.25 Hz is not below half the sampling rate of .*, 0\.25 Hz"),
        ({"low_pass": 0.4}, None, "low_pass 0.4 Hz is not below half"),
        ({}, [3, 4], "The table of runs counts 7 volumes"),
        (
            {"high_pass": 0.01, "low_pass": 0.1},
            [33, 47],
            "has a run of 33 volumes, too short for the filter, which needs 34",
        ),
        ({"high_pass": 0.01}, [18, 62], "has a run of 18 volumes, too short for the filter, which needs 19"),
    ],
)
def test_impossible_options(images, options, run_lengths, message):
    with pytest.raises(UserError, match=message):
        prepare_cleaning(inspect(images["float"]), options, run_lengths)


@pytest.mark.parametrize("band", [{"high_pass": 0.02}, {"low_pass": 0.1}, {"high_pass": 0.02, "low_pass": 0.1}])
def test_the_shortest_run_for_a_filter_is_nilearns(band):
    n_volumes = shortest_filtered(band.get("low_pass"), band.get("high_pass"))
    signals = np.random.default_rng(1).standard_normal((n_volumes + 1, 2))
    signal.clean(signals, detrend=False, standardize=None, t_r=2.0, **band)
    with pytest.raises(ValueError, match="padlen"):
        signal.clean(signals[:-1], detrend=False, standardize=None, t_r=2.0, **band)


def test_filters_need_a_repetition_time(tmp_path):
    image = inspect(save_run(tmp_path / "run.nii", np.zeros((2, 2, 2, 9), np.float32), t_r=0))
    assert prepare_cleaning(image, {"detrend": True}).t_r is None
    with pytest.raises(UserError, match="no TR in its header"):
        prepare_cleaning(image, {"high_pass": 0.01})


def test_an_option_that_nilearn_would_lose_is_refused(images, tmp_path):
    table = tmp_path / "confounds.csv"
    table.write_text("a\n" + "1\n" * N_VOLUMES)
    options = {"standardize_confounds": False}
    assert prepare_cleaning(inspect(images["float"]), options, None, [table]).standardize_confounds is False
    with pytest.raises(UserError, match="standardize_confounds: false has no effect in nilearn"):
        prepare_cleaning(inspect(images["float"]), options, [40, 40], [table])


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        (["a\tb\n1\t2\n", "a\tc\n1\t2\n"], r"confounds-1\.tsv have other columns than .*confounds-0\.tsv"),
        (["a\tb\n1\t2\n3\tn/a\n"], r"confounds-0\.tsv, line 3: 2 finite numbers"),
        (["a\tb\n1\t2\n3\n"], r"confounds-0\.tsv, line 3: 2 finite numbers"),
        (["a\tb\n1\tnan\n"], r"confounds-0\.tsv, line 2"),
    ],
)
def test_unusable_confounds(tmp_path, tables, message):
    paths = []
    for number, text in enumerate(tables):
        paths.append(tmp_path / f"confounds-{number}.tsv")
        paths[-1].write_text(text)
    with pytest.raises(UserError, match=message):
        read_confounds(paths)
    with pytest.raises(UserError, match=r"absent\.tsv cannot be read"):
        read_confounds([tmp_path / "absent.tsv"])


def test_confounds_must_have_a_row_for_each_volume(images, tmp_path):
    table = tmp_path / "confounds.tsv"
    table.write_text("a\tb\n" + "1\t2\n" * 79)
    with pytest.raises(UserError, match=r"confounds\.tsv have 79 rows, but .* has 80 volumes"):
        prepare_cleaning(inspect(images["float"]), {}, None, [table])


@pytest.mark.parametrize("budget", [1, 3 * 8 * 40, 2**20])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_filtering_many_voxels_at_once_gives_the_same_bits(rng, monkeypatch, dtype, budget):
    values = (rng.standard_normal((40, 11)) * 50 + 1000).astype(dtype)
    options = {
        "confounds": rng.standard_normal((40, 2)),
        "runs": np.repeat([0, 1], 20),
        "detrend": True,
        "high_pass": 0.03,
        "t_r": 2.0,
        "standardize": "psc",
    }
    butterworth = signal.butterworth
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = signal.clean(values, **options)
        monkeypatch.setattr(cleaning_module, "FILTER_BYTES", budget)
        with cleaning_module.filtering_many_at_once():
            assert signal.butterworth is not butterworth
            found = signal.clean(values, **options)
    assert found.dtype == expected.dtype == dtype
    assert np.array_equal(found, expected)
    assert signal.butterworth is butterworth
