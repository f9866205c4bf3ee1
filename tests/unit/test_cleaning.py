"""Signal cleaning: every strategy gives what NiftiMasker gives with the same parameters."""

import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nilearn import signal
from nilearn.interfaces.fmriprep import load_confounds
from nilearn.maskers import NiftiMasker

from conftest import AFFINE, save_mask, save_run
from roistream.cleaning import signals as cleaning_module
from roistream.cleaning.confounds import read_confounds
from roistream.cleaning.options import Cleaning
from roistream.cleaning.prepare import prepare_cleaning, shortest_filtered
from roistream.errors import UserError
from roistream.images.image import inspect
from roistream.regions.masks import Mask, read_voxels
from roistream.samples import adhd
from roistream.strategies import STRATEGIES

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
        masks.append(Mask(path, read_voxels(path, source.grid, source.affine)))
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
    for found, mask in zip(STRATEGIES["stream"].load()(inspect(images[which]), masks, 1, cleaning), masks, strict=True):
        assert found.dtype == np.float32
        assert np.array_equal(found, nifti_masker(images[which], mask, cleaning))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cleaning=cleanings(n_volumes=20))
def test_stream_cleans_a_real_scaled_run_as_nifti_masker_does(tmp_path, cleaning):
    image = Path(nib.__path__[0]) / "tests/data/functional.nii"
    masks = masks_on(image, tmp_path)
    for found, mask in zip(STRATEGIES["stream"].load()(inspect(image), masks, 1, cleaning), masks, strict=True):
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
    for found, mask in zip(STRATEGIES[name].load()(inspect(images[which]), masks, 2, EVERYTHING), masks, strict=True):
        assert np.array_equal(found, nifti_masker(images[which], mask, EVERYTHING))


@pytest.mark.parametrize("name", [name for name, entry in STRATEGIES.items() if entry.smooths])
def test_strategies_that_smooth(images, tmp_path, name):
    cleaning = Cleaning(smoothing_fwhm=5.0)
    masks = masks_on(images["float"], tmp_path)
    found = STRATEGIES[name].load()(inspect(images["float"]), masks, 1, cleaning)
    unsmoothed = STRATEGIES[name].load()(inspect(images["float"]), masks, 1, Cleaning())
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
    with pytest.raises(UserError, match="cannot be filtered without a TR to rely on"):
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
        (["a\tb\n1\t2\n3\tn/a\n"], r"confounds-0\.tsv, line 3, column 'b': a value is missing"),
        (["a\tb\n1\t2\n\t4\n5\t6\n"], r"confounds-0\.tsv, line 3, column 'a': a value is missing"),
        (["a\tb\n1\t2\n3\t4\nNaN\t6\n"], r"confounds-0\.tsv, line 4, column 'a': a value is missing"),
        (["a\n1\n\n3\n"], r"confounds-0\.tsv, line 3, column 'a': a value is missing"),
        (["a\tb\n1\tn/a\n3\tn/a\n5\t6\n"], r"confounds-0\.tsv, line 2, column 'b': a value is missing"),
        (["a\tb\n1\tnan\n"], r"confounds-0\.tsv, line 2, column 'b': a value is missing"),
        (["a\tb\n1\tinf\n3\t4\n"], r"confounds-0\.tsv, line 2, column 'b': 'inf' is no finite number"),
        (["a\tb\n1\t2\n3\tNone\n"], r"confounds-0\.tsv, line 3, column 'b': 'None' is no finite number"),
        (["a\tb\n1\t2\n3\n"], r"confounds-0\.tsv, line 3: 2 columns expected, found 1"),
        (["a\tb\n1\t2\n\n3\t4\n"], r"confounds-0\.tsv, line 3: 2 columns expected, found 1"),
        (["a\tb\n1\t2\n3\t4\t5\n"], r"confounds-0\.tsv, line 3: 2 columns expected, found 3"),
        (["a\tb\n1\t2\n", 'a\tb\n1\t"2\n'], r"confounds-1\.tsv is not readable"),
    ],
)
def test_unusable_confounds(tmp_path, tables, message):
    paths = []
    for number, text in enumerate(tables):
        paths.append(tmp_path / f"confounds-{number}.tsv")
        paths[-1].write_text(text)
    with pytest.raises(UserError, match=message):
        read_confounds(paths)
    with pytest.raises(UserError, match=r"absent\.tsv does not exist"):
        read_confounds([tmp_path / "absent.tsv"])


FMRIPREP = {
    "csf": ["0.1", "0.7", "-2e-3", "4"],
    "csf_derivative1": ["n/a", "0.6", "-0.702", "4.002"],
    "dvars": ["", "1.5", "1.25", "1.125"],
    "trans_x": ["0", "1", "2", "3"],
    "trans_y": ["0", "1", "4", "9"],
    "rmsd": ["NaN", "0.25", "0.5", "0.125"],
    "a_comp_cor_00": ["1", "2", "1", "2"],
    "a_comp_cor_04": ["3", "2", "1", "0"],
    "a_comp_cor_05": ["3", "3", "1", "0"],
    "edge_comp_00": ["n/a", "n/a", "word", "n/a"],
}
"""What fMRIPrep writes, made short; the last column is of no use."""


def write_fmriprep(path, table=FMRIPREP):
    path.write_text("\n".join("\t".join(row) for row in [list(table), *zip(*table.values(), strict=True)]) + "\n")
    return path


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (["csf"], ["csf"]),
        (["trans_y", "csf"], ["trans_y", "csf"]),
        (["trans_*"], ["trans_x", "trans_y"]),
        (["a_comp_cor_0[0-4]", "trans_?"], ["a_comp_cor_00", "a_comp_cor_04", "trans_x", "trans_y"]),
        (["trans_y", "trans_*", "*_y"], ["trans_y", "trans_x"]),
    ],
)
def test_columns_are_chosen_by_name_or_pattern(tmp_path, caplog, columns, expected):
    caplog.set_level("INFO")
    [table] = read_confounds([write_fmriprep(tmp_path / "confounds.tsv")], columns)
    found = table.values
    assert found.dtype == np.float64
    assert np.array_equal(found, np.transpose([list(map(float, FMRIPREP[name])) for name in expected]))
    assert caplog.messages == []


def test_a_column_may_be_called_like_a_pattern(tmp_path):
    path = write_fmriprep(tmp_path / "confounds.tsv", {"a1": ["1", "2"], "a[1]": ["3", "4"], "b": ["5", "6"]})
    assert read_confounds([path], ["a[1]"])[0].values.tolist() == [[3], [4]]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            ["trans_z"],
            r"'trans_z' matches no column of the confounds .*confounds\.tsv; did you mean trans_y, trans_x\?",
        ),
        (["csf", "x_*"], r"'x_\*' matches no column of .*; its columns are csf, csf_derivative1, .*, edge_comp_00\."),
        (["CSF"], r"'CSF' matches no column"),
        (["TRANS_*"], r"'TRANS_\*' matches no column"),
    ],
)
def test_columns_that_are_not_there(tmp_path, columns, message):
    with pytest.raises(UserError, match=message):
        read_confounds([write_fmriprep(tmp_path / "confounds.tsv")], columns)


def test_a_column_that_is_there_twice(tmp_path):
    path = tmp_path / "confounds.tsv"
    path.write_text("a\tb\ta\n1\t2\t3\n")
    assert read_confounds([path], ["b"])[0].values.tolist() == [[2]]
    with pytest.raises(UserError, match="have the column 'a' twice"):
        read_confounds([path], ["a"])


def test_what_is_missing_in_the_first_row_only_is_the_second_row_s(tmp_path, caplog):
    caplog.set_level("INFO")
    paths = [write_fmriprep(tmp_path / f"confounds-{run}.tsv") for run in range(2)]
    tables = read_confounds(paths, ["csf*", "dvars", "rmsd"])
    for table in tables:
        assert table.values.tolist() == [
            [0.1, 0.6, 1.5, 0.25],
            [0.7, 0.6, 1.5, 0.25],
            [-2e-3, -0.702, 1.25, 0.5],
            [4, 4.002, 1.125, 0.125],
        ]
    assert caplog.messages == [
        "Confounds: 6 value(s) missing in the first row of 2 table(s) taken from the second row, in 3 column(s): "
        "csf_derivative1, dvars, rmsd."
    ]
    with pytest.raises(UserError, match=r"confounds-0\.tsv, line 2, column 'edge_comp_00': a value is missing"):
        read_confounds(paths)


def test_the_first_row_is_filled_as_by_nilearn(tmp_path):
    axes = [f"{motion}_{axis}" for motion in ("trans", "rot") for axis in "xyz"]
    names = [f"{axis}{kind}" for axis in axes for kind in ("", "_derivative1")]
    rng = np.random.default_rng(3)
    numbers = {name: [repr(value) for value in rng.standard_normal(6).tolist()] for name in names}
    for name in names:
        if name.endswith("derivative1"):
            numbers[name][0] = "n/a"
    path = write_fmriprep(tmp_path / "sub-1_task-rest_desc-confounds_timeseries.tsv", numbers)
    image = save_run(tmp_path / "sub-1_task-rest_desc-preproc_bold.nii.gz", np.zeros((2, 2, 2, 6), np.float32))
    expected, _ = load_confounds(str(image), strategy=["motion"], motion="derivatives", demean=False)
    assert sorted(expected.columns) == sorted(names)
    # pandas rounds the last digit of some numbers otherwise.
    np.testing.assert_allclose(read_confounds([path], list(expected.columns))[0].values, expected, rtol=1e-15)


def test_regressors_of_the_adhd_data(tmp_path):
    path = tmp_path / "0010042_regressors.csv"
    values = np.random.default_rng(2).standard_normal((5, len(adhd.REGRESSORS)))
    np.savetxt(path, values, fmt="%.17g", delimiter="\t", header="\t".join(adhd.REGRESSORS), comments="")
    [found] = read_confounds([path], ["motion-*", "compcor[12]", "csf"])
    assert found.names == [*adhd.MOTION, "compcor1", "compcor2", "csf"]
    positions = [adhd.REGRESSORS.index(name) for name in (*adhd.MOTION, "compcor1", "compcor2", "csf")]
    assert np.array_equal(found.values, values[:, positions])
    assert np.array_equal(read_confounds([path])[0].values, values)


@pytest.mark.parametrize("name", ["stream", "nifti_masker_path", "numpy_in_memory"])
def test_chosen_and_filled_confounds_are_regressed_out_as_by_nifti_masker(images, tmp_path, name):
    rng = np.random.default_rng(4)
    lengths, tables, expected = [30, 50], [], []
    for run, length in enumerate(lengths):
        matrix = rng.standard_normal((length, 5)).cumsum(axis=0)
        text = [[repr(value) for value in row] for row in matrix.tolist()]
        text[0][1], text[0][4] = "n/a", ""
        matrix[0, [1, 4]] = matrix[1, [1, 4]]
        columns = ["white_matter", "trans_x_derivative1", "unused", "trans_x", "framewise_displacement"]
        for row in text:
            row[2] = "n/a"
        table = dict(zip(columns, map(list, zip(*text, strict=True)), strict=True))
        tables.append(write_fmriprep(tmp_path / f"confounds-{run}.tsv", table))
        expected.append(matrix[:, [1, 3, 4, 0]])
    source = inspect(images["float"])
    options = {"detrend": True, "standardize": "zscore_sample", "high_pass": 0.01}
    chosen = ["trans_*", "framewise_displacement", "white_matter"]
    cleaning = prepare_cleaning(source, options, lengths, tables, chosen)
    by_hand = Cleaning(**options, t_r=2.0, confounds=np.concatenate(expected), runs=np.repeat([0, 1], lengths))
    masks = masks_on(images["float"], tmp_path)
    for found, mask in zip(STRATEGIES[name].load()(inspect(images["float"]), masks, 1, cleaning), masks, strict=True):
        assert np.array_equal(found, nifti_masker(images["float"], mask, by_hand))


def test_runs_and_tables_must_go_together(images, tmp_path):
    tables = [tmp_path / "long.tsv", tmp_path / "short.tsv"]
    for table, length in zip(tables, (50, 30), strict=True):
        table.write_text("a\n" + "1\n" * length)
    source = inspect(images["float"])
    assert len(prepare_cleaning(source, {}, [50, 30], tables).confounds) == N_VOLUMES
    with pytest.raises(UserError, match=r"short\.tsv have 50, 30 rows, but the runs of .* have 30, 50 volumes"):
        prepare_cleaning(source, {}, [30, 50], tables)
    with pytest.raises(UserError, match="confound_columns chooses columns of the confounds, but no tables"):
        prepare_cleaning(source, {}, [30, 50], confound_columns=["a"])


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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = signal.clean(values, **options)
        monkeypatch.setattr(cleaning_module, "FILTER_BYTES", budget)
        found = cleaning_module.signal_module().clean(values, **options)
    assert found.dtype == expected.dtype == dtype
    assert np.array_equal(found, expected)
