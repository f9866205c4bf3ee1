"""Connectivity matrices: nilearn's numbers, regions without a signal, and what becomes of those not asked for any more."""

import json
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nilearn.connectome import ConnectivityMeasure
from sklearn.covariance import EmpiricalCovariance

from conftest import GRID
from connect_regions import connect_regions
from extract_timeseries import extract_timeseries
from roistream.errors import UserError
from roistream.study.batches import in_batches
from roistream.study.connectivity import connect
from roistream.study.derivatives import image_prefix
from roistream.study.leftovers import remove_matrices, remove_records
from roistream.study.matrices import MEASURES, matrix_name, read_matrix
from roistream.study.signals import Signals, read_signals
from unit.extracted import save_atlas, save_names
from unit.extracted import save_run as save_image

NAMES = ["V1", "größer, links", "3", "n/a too", "last"]


def nilearns(values, kind, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ConnectivityMeasure(kind=kind, **options).fit_transform([np.asarray(values, np.float64)])[0]


@pytest.fixture
def signals(rng):
    values = rng.standard_normal((40, 5)) @ rng.standard_normal((5, 5)) + 100
    return Signals(NAMES, values.astype(np.float32), {"Fingerprint": "f"})


def without(signals, names):
    return signals.values[:, [name not in names for name in signals.names]]


@pytest.mark.parametrize("kind", MEASURES)
def test_the_numbers_are_those_of_nilearn(signals, kind):
    found = connect(signals, kind)
    np.testing.assert_allclose(found, nilearns(signals.values, kind), rtol=0, atol=1e-12)
    assert found.dtype == np.float64


@pytest.mark.parametrize("kind", MEASURES)
def test_empirical_is_the_plain_sample(signals, kind):
    found = connect(signals, kind, "empirical")
    expected = nilearns(signals.values, kind, cov_estimator=EmpiricalCovariance(store_precision=False))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    if kind == "correlation":
        np.testing.assert_allclose(found, np.corrcoef(signals.values.T.astype(float)), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", MEASURES)
def test_regions_without_a_signal_are_missing_and_spoil_no_other(signals, kind):
    """Outside of the image, constant, beyond the range of their type, constant over a run before they were cleaned."""
    signals.values[:, 1] = np.nan
    signals.values[:, 3] = 7
    signals.values[4, 0] = np.inf
    odd = Signals(NAMES, signals.values, {"ConstantRegions": ["last"], "Fingerprint": "f"})
    found = connect(odd, kind)
    assert np.isnan(np.delete(found, 2, axis=0)).all()
    assert np.isnan(np.delete(found, 2, axis=1)).all()
    np.testing.assert_allclose(found[2, 2], nilearns(signals.values[:, 2:3], kind)[0, 0])
    two = Signals(NAMES, signals.values, {"Fingerprint": "f"})
    found = connect(two, kind)[np.ix_([2, 4], [2, 4])]
    np.testing.assert_allclose(found, nilearns(signals.values[:, [2, 4]], kind), rtol=0, atol=1e-12)


def test_no_region_with_a_signal(signals):
    nothing = Signals(NAMES, np.full((9, 5), np.nan, np.float32), {})
    assert np.isnan(connect(nothing, "correlation")).all()


def test_fishers_z_has_no_diagonal(signals):
    signals.values[:, 1] = signals.values[:, 0]
    found = connect(signals, "correlation", "empirical", fisher_z=True)
    plain = connect(signals, "correlation", "empirical")
    assert np.isnan(np.diag(found)).all()
    assert found[0, 1] > 15, "signals that are the same: without end, but for rounding"
    lower = np.tril_indices(5, -1)
    others = np.array([pair != (1, 0) for pair in zip(*lower, strict=True)])
    np.testing.assert_allclose(np.tanh(found[lower][others]), plain[lower][others], rtol=0, atol=1e-12)
    assert np.array_equal(connect(signals, "covariance", fisher_z=True), connect(signals, "covariance"))


@pytest.mark.parametrize(("n_volumes", "kind", "estimator", "made"), [
    (1, "correlation", "ledoit_wolf", False),
    (2, "correlation", "ledoit_wolf", True),
    (5, "partial correlation", "empirical", False),
    (6, "partial correlation", "empirical", True),
    (5, "precision", "empirical", False),
    (5, "precision", "ledoit_wolf", True),
    (5, "covariance", "empirical", True),
])  # fmt: skip
def test_too_few_volumes_give_no_number(signals, n_volumes, kind, estimator, made):
    found = connect(Signals(NAMES, signals.values[:n_volumes], {}), kind, estimator)
    assert np.isfinite(found).all() if made else np.isnan(found).all()


# Files


@pytest.fixture
def study(tmp_path, rng):
    """Two images that have been extracted, float32 and scaled; of the second one region is missing."""
    folder = tmp_path / "derivatives" / "roistream"
    atlas = save_atlas(tmp_path / "atlas.nii.gz")
    names = save_names(tmp_path / "names.tsv", {2: "größer, links", 7: "b", 40: 'with "quotes"'})
    for image, dtype in (("sub-01_task-rest", np.float32), ("pilot", np.float64)):
        data = rng.normal(100, 10, (*GRID, 20)).astype(dtype)
        if image == "pilot":
            data[5, 6] = 0
        run = save_image(tmp_path / f"{image}.nii.gz", data)
        extract_timeseries([run], atlas, str(tmp_path / image_prefix(image, "A")), labels=names)
    return folder


def path_of(study, image, ending):
    return study.parent.parent / f"{image_prefix(image, 'A')}_{ending}"


def test_a_table_gives_the_very_numbers_that_were_extracted(study):
    for image, dtype in (("sub-01_task-rest", np.float32), ("pilot", np.float64)):
        signals = read_signals(path_of(study, image, "stat-mean_timeseries.tsv"))
        assert signals.values.dtype == dtype
        assert signals.names == ["größer, links", "b", 'with "quotes"']
        assert list(signals.present()) == [True, True, image != "pilot"]


def test_a_column_that_counts_volumes_is_no_region(study):
    table = path_of(study, "pilot", "stat-mean_timeseries.tsv")
    header, *rows = table.read_text("utf-8").splitlines()
    table.write_text("".join([f"volume\t{header}\n", *(f"{2 * n}\t{row}\n" for n, row in enumerate(rows))]), "utf-8")
    signals = read_signals(table)
    assert signals.names[0] == "größer, links"
    assert signals.values.shape == (20, 3)
    assert list(signals.volumes[:3]) == [0, 2, 4]


def test_matrices_and_their_sidecars(study, tmp_path):
    images, record = ["sub-01_task-rest", "pilot"], tmp_path / "records" / "one.json"
    connect_regions(study, "A", images, ["correlation", "precision"], fisher_z=True, record=record)
    z, precision = "stat-pearsoncorrelation_desc-fisherz_relmat", "stat-precision_relmat"
    made = json.loads(record.read_text())
    assert made[0] == f"sub-01/func/sub-01_task-rest_atlas-A_{z}.tsv"
    assert len(made) == 4
    for image in images:
        signals = read_signals(path_of(study, image, "stat-mean_timeseries.tsv"))
        for kind, ending in (("correlation", z), ("precision", precision)):
            names, matrix = read_matrix(path_of(study, image, f"{ending}.tsv"))
            assert names == signals.names
            assert np.array_equal(matrix, connect(signals, kind, fisher_z=True), equal_nan=True)
            text = path_of(study, image, f"{ending}.tsv").read_text("utf-8")
            assert text.startswith("Node\tgrößer, links\tb\t")
            assert [line.split("\t")[0] for line in text.splitlines()[1:3]] == names[:2]
            assert "nan" not in text
    sidecar = json.loads(path_of(study, "pilot", f"{z}.json").read_text("utf-8"))
    expected = {
        "Sources": ["bids::pilot/pilot_atlas-A_stat-mean_timeseries.tsv"],
        "RelationshipMeasure": "Fisher's z of Pearson correlation",
        "Weighted": True,
        "Directed": False,
        "ValidDiagonal": False,
        "StorageFormat": "Full",
        "NodeFiles": ["bids::atlas-A_dseg.tsv"],
        "NodesMissing": ['with "quotes"'],
        "CovarianceEstimator": "LedoitWolf",
        "NumberOfVolumes": 20,
    }
    assert sidecar.items() >= expected.items()
    assert "nilearn" in sidecar["SoftwareVersions"]
    assert json.loads(path_of(study, "pilot", f"{precision}.json").read_text())["ValidDiagonal"] is True


def test_too_few_volumes_are_told(study, caplog):
    table = path_of(study, "pilot", "stat-mean_timeseries.tsv")
    table.write_text("".join(table.read_text("utf-8").splitlines(keepends=True)[:3]), "utf-8")
    connect_regions(study, "A", ["pilot"], ["precision"], estimator="empirical")
    assert "pilot: no precision: the covariance of 2 regions over 2 volumes has no inverse" in caplog.text
    sidecar = json.loads(path_of(study, "pilot", "stat-precision_relmat.json").read_text())
    assert sidecar["Remarks"][0] in caplog.text
    assert np.isnan(read_matrix(path_of(study, "pilot", "stat-precision_relmat.tsv"))[1]).all()


@pytest.mark.parametrize("damage", ["empty", "cut", "word", "no sidecar", "no type"])
def test_a_table_that_cannot_be_used_is_named(study, damage):
    table = path_of(study, "pilot", "stat-mean_timeseries.tsv")
    sidecar, text = table.with_suffix(".json"), table.read_text("utf-8")
    if damage == "no sidecar":
        sidecar.unlink()
    elif damage == "no type":
        sidecar.write_text("{}")
    else:
        table.write_text({"empty": "", "cut": text[:-30], "word": text.replace(".", "x", 1)}[damage], "utf-8")
    with pytest.raises(UserError, match=r"pilot_atlas-A_stat-mean_timeseries\.tsv and its sidecar cannot be used"):
        connect_regions(study, "A", ["pilot"], ["correlation"])


def test_matrices_that_are_not_asked_for_go(study, tmp_path):
    records = tmp_path / "records"
    connect_regions(study, "A", ["pilot"], ["correlation", "precision"], record=records / "a.json")
    connect_regions(study, "A", ["sub-01_task-rest"], ["precision"], estimator="empirical", record=records / "b.json")
    kept = [matrix_name("precision", False)]
    removed = remove_matrices(study, "A", kept, "LedoitWolf")
    assert {path.name.split("_atlas")[0] for path in removed} == {"pilot", "sub-01_task-rest"}
    assert [path.name for path in study.rglob("*_relmat.*")] in (
        ["pilot_atlas-A_stat-precision_relmat.tsv", "pilot_atlas-A_stat-precision_relmat.json"],
        ["pilot_atlas-A_stat-precision_relmat.json", "pilot_atlas-A_stat-precision_relmat.tsv"],
    )
    assert remove_matrices(study, "B", [], "LedoitWolf") == [], "another atlas's"
    remove_records(records, study)
    assert not list(records.iterdir()), "both jobs have to run again for what they are asked for"


def test_a_record_stays_while_its_files_are_there(study, tmp_path):
    records = tmp_path / "records"
    connect_regions(study, "A", ["pilot"], ["correlation"], record=records / "a.json")
    remove_records(records, study)
    assert (records / "a.json").exists()
    (records / "b.json").write_text("{")
    path_of(study, "pilot", "stat-pearsoncorrelation_relmat.tsv").unlink()
    remove_records(records, study)
    assert not list(records.iterdir())


def test_an_extraction_anew_removes_the_matrices_of_before(study, tmp_path):
    connect_regions(study, "A", ["pilot"], ["correlation"])
    out, atlas = str(tmp_path / image_prefix("pilot", "A")), tmp_path / "atlas.nii.gz"
    extract_timeseries([tmp_path / "pilot.nii.gz"], atlas, out, labels=tmp_path / "names.tsv")
    assert len(list(study.rglob("*_relmat.*"))) == 2, "the same once more"
    extract_timeseries([tmp_path / "pilot.nii.gz"], atlas, out, cleaning={"detrend": True})
    assert not list(study.rglob("*_relmat.*"))


# Batches

IMAGES = st.lists(st.from_regex(r"sub-[0-9a-f]{1,4}", fullmatch=True), unique=True, max_size=60)


@given(IMAGES, st.integers(1, 10))
def test_every_image_is_in_one_batch(images, most):
    batches = in_batches(images, most)
    assert sorted(image for batch in batches.values() for image in batch) == sorted(images)
    assert all(batches.values())


@given(IMAGES.filter(len), st.integers(1, 10))
def test_one_image_less_changes_its_own_batch_only(images, most):
    before, after = in_batches(images, most), in_batches(images[1:], most)
    if {name.split("-of-")[1] for name in after} <= {name.split("-of-")[1] for name in before}:
        changed = {name for name in before if after.get(name) != before[name]}
        assert changed == {name for name, batch in before.items() if images[0] in batch}


def test_batches_are_of_about_the_same_size():
    batches = in_batches([f"sub-{number:05}_task-rest" for number in range(10_000)])
    assert len(batches) == 128
    assert max(map(len, batches.values())) < 130
