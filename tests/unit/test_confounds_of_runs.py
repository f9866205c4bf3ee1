"""Columns that only some runs have: each run is cleaned with its own, to the bit as nilearn cleans it alone."""

import gzip
import warnings
from dataclasses import replace

import numpy as np
import pytest
from extracted import Extracted
from hypothesis import given, settings
from hypothesis import strategies as st
from nilearn import signal

from conftest import AFFINE, save_mask, save_run
from roistream.cleaning.confounds import Confounds, read_confounds
from roistream.cleaning.options import Cleaning
from roistream.cleaning.prepare import join_confounds, look_at_parts, prepare_cleaning, split_confounds
from roistream.cleaning.signals import clean_signals, clean_time_series
from roistream.errors import UserError
from roistream.images.image import inspect
from roistream.images.series import open_series
from roistream.regions.masks import Mask, read_voxels
from roistream.strategies import STRATEGIES

pytestmark = [pytest.mark.filterwarnings(f"ignore::{kind}") for kind in ("UserWarning", "DeprecationWarning")]

LENGTHS = [40, 50]


def write_table(path, columns):
    rows = zip(*(values.tolist() for values in columns.values()), strict=True)
    path.write_text("\n".join("\t".join(map(str, row)) for row in [list(columns), *rows]) + "\n")
    return path


def motion(rng, n_volumes, outliers=0, cosines=0):
    columns = {name: rng.normal(size=n_volumes).cumsum() for name in ("trans_x", "trans_y", "rot_z", "csf")}
    columns |= {f"motion_outlier{number:02}": np.eye(n_volumes)[5 + number] for number in range(outliers)}
    volume = np.arange(n_volumes) + 0.5
    return columns | {f"cosine{n:02}": np.cos(np.pi * volume * (n + 1) / n_volumes) for n in range(cosines)}


@pytest.fixture
def tables(tmp_path, rng):
    """Two runs, of which one has outliers and the other cosines."""
    columns = [motion(rng, 40, outliers=3), motion(rng, 50, cosines=2)]
    return [write_table(tmp_path / f"run-{run}.tsv", of_run) for run, of_run in enumerate(columns)]


PATTERNS = ["trans_[xyz]", "csf", "motion_outlier*", "cosine*"]


def test_each_table_gives_its_own(tables):
    one, two = read_confounds(tables, PATTERNS)
    assert one.names == ["trans_x", "trans_y", "csf", "motion_outlier00", "motion_outlier01", "motion_outlier02"]
    assert two.names == ["trans_x", "trans_y", "csf", "cosine00", "cosine01"]
    assert [len(each.names) for each in read_confounds(tables)] == [7, 6]


def test_a_pattern_must_match_somewhere_and_a_name_everywhere(tables, caplog):
    with pytest.raises(
        UserError, match=r"'non_steady\*' matches no column of the confounds .*run-0\.tsv, .*run-1\.tsv"
    ):
        read_confounds(tables, ["csf", "non_steady*"])
    with pytest.raises(UserError, match=r"'motion_outlier00' matches no column of the confounds .*run-1\.tsv"):
        read_confounds(tables, ["csf", "motion_outlier00"])
    assert not caplog.messages
    found = read_confounds(tables, ["csf", "non_steady*", "a_comp_cor_0[0-4]"], unmatched="warn")
    assert [each.names for each in found] == [["csf"], ["csf"]]
    assert "matches non_steady*, a_comp_cor_0[0-4]" in caplog.text


def save_image(folder, rng, dtype=np.float32):
    paths = []
    for run, n_volumes in enumerate(LENGTHS):
        slow = rng.normal(size=(4, 5, 3, n_volumes)).cumsum(axis=-1)
        paths.append(save_run(folder / f"run-{run}.nii.gz", (700 + slow).astype(dtype)))
    return paths


@settings(max_examples=30, deadline=None)
@given(
    n_columns=st.tuples(st.integers(0, 24), st.integers(0, 24)),
    dtype=st.sampled_from([np.float32, np.float64]),
    detrend=st.booleans(),
    high_pass=st.sampled_from([None, 0.01]),
    standardize=st.sampled_from([None, "zscore_sample", "psc"]),
    seed=st.integers(0, 999),
)
def test_runs_are_cleaned_to_the_bit_as_alone(n_columns, dtype, detrend, high_pass, standardize, seed):
    rng = np.random.default_rng(seed)
    values = (500 + rng.normal(size=(sum(LENGTHS), 7)).cumsum(axis=0)).astype(dtype)
    tables = [
        Confounds("table", [f"c{column}" for column in range(n)], rng.normal(size=(length, n)).cumsum(axis=0))
        for length, n in zip(LENGTHS, n_columns, strict=True)
    ]
    options = {"detrend": detrend, "standardize": standardize, "high_pass": high_pass, "t_r": 2.0}
    cleaning = Cleaning(**options, confounds=join_confounds(tables, True), runs=np.repeat([0, 1], LENGTHS))
    cleaning = replace(
        cleaning, removals=look_at_parts(tables, LENGTHS, cleaning), run_confounds=split_confounds(tables, LENGTHS)
    )
    for order, clean in (("C", clean_time_series), ("F", clean_signals)):
        ordered, expected = np.array(values, order=order), []
        for number, table in enumerate(tables):
            own = table.values if table.names else None
            expected.append(signal.clean(ordered[cleaning.runs == number], confounds=own, **options))
        found, expected = clean(ordered, cleaning), np.vstack(expected)
        assert np.array_equal(found, expected.astype(found.dtype))


@pytest.mark.parametrize("columns", [PATTERNS, None, ["motion_outlier*"]])
def test_runs_of_one_image_are_cleaned_with_their_own_columns(tmp_path, rng, tables, columns):
    """Without a choice of columns, too; and a run that has none of them is cleaned without."""
    source = open_series(save_image(tmp_path, rng))
    cleaning = prepare_cleaning(source, {"detrend": True}, source.run_lengths, tables, columns)
    names = [list(removal.names) for removal in cleaning.removals]
    assert names == [each.names for each in read_confounds(tables, columns)]
    assert [removal.n_volumes - removal.n_left for removal in cleaning.removals] == [2 + len(each) for each in names]


def test_runs_that_are_cleaned_as_one_must_have_the_same(tmp_path, rng, tables):
    source = open_series(save_image(tmp_path, rng))
    with pytest.raises(UserError, match=r"run-1\.tsv have other columns than .*run-0\.tsv; .*per_run"):
        prepare_cleaning(source, {}, None, tables, PATTERNS)
    assert prepare_cleaning(source, {}, None, tables, ["csf", "trans_*"]).confounds.shape == (90, 3)


@pytest.mark.parametrize("name", list(STRATEGIES))
def test_every_strategy_cleans_runs_with_their_own(tmp_path, rng, tables, name):
    paths = save_image(tmp_path, rng)
    data = np.concatenate([np.asarray(open_data(path)) for path in paths], axis=-1)
    image = inspect(save_run(tmp_path / "image.nii", data))
    mask = save_mask(tmp_path / "region-1_mask.nii.gz", [(1, 2, 1), (2, 2, 1), (3, 4, 2)], (4, 5, 3), AFFINE)
    mask = Mask(mask, read_voxels(mask, image.grid, image.affine))
    options = {"detrend": True, "standardize": "zscore_sample"}
    cleaning = prepare_cleaning(image, options, LENGTHS, tables, PATTERNS)
    [found] = STRATEGIES[name].load()(image, [mask], 1, cleaning)
    values = data[[1, 2, 3], [2, 2, 4], [1, 1, 2]].T
    parts = zip(np.split(values, LENGTHS[:1]), read_confounds(tables, PATTERNS), strict=True)
    expected = [signal.clean(np.ascontiguousarray(part), confounds=each.values, **options) for part, each in parts]
    assert np.array_equal(found, np.vstack(expected).astype(np.float32))


def open_data(path):
    import nibabel as nib

    return nib.load(path).dataobj


def test_a_sidecar_says_what_was_regressed_out_and_what_is_left(tmp_path, rng, caplog):
    data = rng.normal(100, 10, (6, 7, 5, 30)).astype(np.float32)
    columns = motion(rng, 30, outliers=2)
    columns["linear"] = np.arange(30) * 0.25
    table = write_table(tmp_path / "confounds.tsv", columns)
    found = Extracted(tmp_path, data, confounds=[table], cleaning={"detrend": True})
    assert found.sidecar()["ConfoundRegressors"] == list(columns)
    assert found.sidecar()["DegreesOfFreedom"] == [30 - 2 - 7]
    assert f"Confounds {table}: linear is linear, which detrend removes already" in caplog.text
    found = Extracted(tmp_path, data)
    assert not {"ConfoundRegressors", "DegreesOfFreedom"} & set(found.sidecar())


def test_confounds_that_leave_nothing_end_the_extraction(tmp_path, rng):
    data = rng.normal(100, 10, (6, 7, 5, 8)).astype(np.float32)
    table = write_table(tmp_path / "confounds.tsv", {f"c{number}": rng.normal(size=8) for number in range(6)})
    with pytest.raises(
        UserError, match=r"confounds\.tsv leave nothing of the signal: 6 columns of rank 6 .* for 8 volumes"
    ):
        Extracted(tmp_path, data, confounds=[table], cleaning={"detrend": True, "standardize": "zscore_sample"})
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


# Values


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a;b\n1;2\n3;0,25\n",
            r"line 3, column 'b': '0,25' has a decimal comma \(the columns are separated by semicolons\)",
        ),
        ("a\tb\n1\t-1,5e-3\n3\t4\n", "line 2, column 'b': .* decimal comma .* tabs"),
        ("a,b\n0,5,1,5\n", "2 columns expected, found 4; .*decimal commas"),
        ("a\tb\n1\t2\n3\t1_000\n", "line 3, column 'b': '1_000' is no finite number"),
        ("a\tb\n1\t2\nx\tn/a\n\t1\n", r"line 3, column 'a': 'x' is no finite number; .* \(2 more like it\)"),
        ("a\t\tb\n1\t2\t3\n5\t2\t3\n", "no name for column 2"),
        ("a\tb\n1\t2\n" * 2, "line 3, column 'a': 'a' is no finite number"),
    ],
)
def test_values_that_are_none(tmp_path, text, message):
    path = tmp_path / "confounds.tsv"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_confounds([path])


def test_an_unnamed_column_is_no_matter_where_columns_are_chosen(tmp_path, caplog):
    caplog.set_level("INFO")
    path = tmp_path / "confounds.tsv"
    path.write_text("a\t\tb\n1\tx\t3\n5\ty\t3\n")
    assert read_confounds([path], ["*"])[0].names == ["a", "b"]
    path.write_bytes(gzip.compress(b"\ta\tb\n0\t7\t3\n1\t5\t3\n"))
    [found] = read_confounds([path])
    assert (found.names, found.values.tolist()) == (["a", "b"], [[7, 3], [5, 3]])
    assert "row numbers is no confound" in caplog.text
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_confounds([path], ["b*"])[0].values.shape == (2, 1)
