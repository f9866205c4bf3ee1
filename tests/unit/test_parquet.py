"""The study as one dataset: read by pandas in one line, with the very numbers of the tables."""

import json

import numpy as np
import pandas as pd
import pytest
from nilearn.connectome import ConnectivityMeasure

from connect_regions import connect_regions
from roistream.errors import UserError
from roistream.study.derivatives import image_prefix
from roistream.study.leftovers import remove_parquet
from roistream.study.matrices import read_matrix
from roistream.study.signals import read_signals
from roistream.study.timeseries import write_signals
from write_parquet import write_parquet

pytest.importorskip("pyarrow", reason="pyarrow is not installed")

from roistream.study.parquet import write_connectivity

REGIONS = ["V1", "größer, links", "last"]
RUNS = [{"FirstVolume": 0}, {"FirstVolume": 4}]


@pytest.fixture
def study(tmp_path, rng):
    """Tables of signals of three images, one of them with a region that is missing and without a TR."""
    folder = tmp_path / "derivatives" / "roistream"
    for image, dtype in (("sub-01_task-rest", np.float32), ("sub-02_task-rest", np.float32), ("pilot", np.float64)):
        values = rng.standard_normal((12, 3)).astype(dtype)
        sidecar = {"DataType": str(values.dtype), "NumberOfRegions": 3, "Fingerprint": "f", "Runs": RUNS}
        if image == "pilot":
            values[:, 2] = np.nan
        else:
            sidecar["RepetitionTime"] = 2.5
        table = tmp_path / f"{image_prefix(image, 'A')}_stat-mean_timeseries.tsv"
        write_signals(values, REGIONS, table)
        table.with_suffix(".json").write_text(json.dumps(sidecar))
    return folder


IMAGES = ["sub-01_task-rest", "sub-02_task-rest", "pilot"]


def signals_of(study, image):
    return read_signals(study.parent.parent / f"{image_prefix(image, 'A')}_stat-mean_timeseries.tsv")


def test_signals_in_one_line(study):
    write_parquet(study, "A", images=IMAGES)
    table = pd.read_parquet(study / "study_timeseries")
    assert list(table) == ["image", "volume", "time", *REGIONS]
    assert sorted(set(table["image"])) == sorted(IMAGES)
    for image in IMAGES:
        of_image, expected = table[table["image"] == image], signals_of(study, image)
        assert np.array_equal(of_image[REGIONS].to_numpy(expected.values.dtype), expected.values, equal_nan=True)
        assert list(of_image["volume"]) == list(range(12))
        times = [*np.arange(4) * 2.5, *np.arange(8) * 2.5]
        assert of_image["time"].isna().all() if image == "pilot" else list(of_image["time"]) == times
    assert {path.name for path in study.iterdir() if path.name.startswith((".", "study_"))} == {"study_timeseries"}
    one = pd.read_parquet(study / "study_timeseries" / "sub-01_task-rest.parquet")
    assert (one.dtypes[REGIONS] == np.float32).all()


def test_volumes_that_are_left_out_keep_their_time(study):
    table = study / "pilot/pilot_atlas-A_stat-mean_timeseries.tsv"
    header, *rows = table.read_text("utf-8").splitlines()
    kept = [0, 1, 3, 4, 6]
    lines = [f"volume\t{header}", *(f"{number}\t{rows[number]}" for number in kept)]
    table.write_text("\n".join(lines) + "\n", "utf-8")
    sidecar = json.loads(table.with_suffix(".json").read_text())
    table.with_suffix(".json").write_text(json.dumps({**sidecar, "RepetitionTime": 2}))
    write_parquet(study, "A", images=["pilot"])
    found = pd.read_parquet(study / "study_timeseries")
    assert list(found["volume"]) == kept
    assert list(found["time"]) == [0, 2, 6, 0, 4]


@pytest.mark.parametrize("fisher_z", [False, True])
def test_connectivity_in_one_line(study, fisher_z):
    kinds = ["correlation", "covariance"]
    connect_regions(study, "A", IMAGES, kinds, fisher_z=fisher_z)
    write_parquet(study, "A", images=IMAGES, kinds=kinds, fisher_z=fisher_z)
    table = pd.read_parquet(study / "study_connectivity.parquet").set_index("image")
    assert list(table.index) == IMAGES
    statistic = "pearsoncorrelation (Fisher's z)" if fisher_z else "pearsoncorrelation"
    assert list(table)[:3] == [
        f"{statistic}: größer, links ~ V1",
        f"{statistic}: last ~ V1",
        f"{statistic}: last ~ größer, links",
    ]
    assert len(table.columns) == 3 + 6
    assert table.loc["pilot"].notna().sum() == 1 + 3
    for image in IMAGES:
        _, covariance = read_matrix(study.parent.parent / f"{image_prefix(image, 'A')}_stat-covariance_relmat.tsv")
        for row, first in enumerate(REGIONS):
            for column, second in enumerate(REGIONS[: row + 1]):
                found = table.loc[image, f"covariance: {first} ~ {second}"]
                assert np.array_equal(found, covariance[row, column], equal_nan=True)


@pytest.mark.filterwarnings("ignore:The default strategy")
def test_a_row_is_nilearns_vector(study):
    connect_regions(study, "A", IMAGES, ["correlation"])
    write_parquet(study, "A", images=IMAGES[:2], kinds=["correlation"])
    table = pd.read_parquet(study / "study_connectivity.parquet").set_index("image")
    measure = ConnectivityMeasure(kind="correlation", vectorize=True, discard_diagonal=True)
    expected = measure.fit_transform([signals_of(study, image).values.astype(np.float64) for image in IMAGES[:2]])
    np.testing.assert_allclose(table.to_numpy(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("n_images", [1, 99, 230])
def test_groups_of_rows_are_put_together(study, tmp_path, n_images):
    connect_regions(study, "A", IMAGES, ["correlation"])
    files = [tmp_path / f"{image_prefix(image, 'A')}_stat-pearsoncorrelation_relmat.tsv" for image in IMAGES[:2]]
    images = [(f"image {number}", [files[number % 2]]) for number in range(n_images)]
    write_connectivity(images, ["correlation"], False, tmp_path / "out.parquet")
    table = pd.read_parquet(tmp_path / "out.parquet")
    assert list(table["image"]) == [image for image, _ in images]
    values = table.drop(columns="image").to_numpy()
    assert all(np.array_equal(values[number], values[number % 2]) for number in range(n_images))
    if n_images > 1:
        assert not np.array_equal(values[0], values[1])


def test_images_without_results_are_left_out(study):
    write_parquet(study, "A", images=IMAGES, pending=["pilot"])
    assert sorted(path.name for path in (study / "study_timeseries").iterdir()) == [
        "sub-01_task-rest.parquet",
        "sub-02_task-rest.parquet",
    ]
    with pytest.raises(UserError, match="has no image with results"):
        write_parquet(study, "A", images=["pilot"], pending=["pilot"])


def test_a_mistake_leaves_what_was_there(study):
    write_parquet(study, "A", images=IMAGES)
    before = sorted(study.rglob("*.parquet"))
    (study / "pilot/pilot_atlas-A_stat-mean_timeseries.tsv").write_text("")
    with pytest.raises(UserError, match="cannot be used"):
        write_parquet(study, "A", images=IMAGES)
    assert sorted(study.rglob("*.parquet")) == before


def test_matrices_of_other_regions_are_refused(study, tmp_path):
    connect_regions(study, "A", IMAGES, ["correlation"])
    files = [tmp_path / f"{image_prefix(image, 'A')}_stat-pearsoncorrelation_relmat.tsv" for image in IMAGES]
    files[1].write_text(files[1].read_text("utf-8").replace("V1", "V2"), "utf-8")
    with pytest.raises(UserError, match="has other regions"):
        write_connectivity([("a", files[:1]), ("b", files[1:2])], ["correlation"], False, tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()


def test_a_region_that_is_called_as_a_column(study):
    table = study / "pilot/pilot_atlas-A_stat-mean_timeseries.tsv"
    table.write_text(table.read_text("utf-8").replace("V1", "time"), "utf-8")
    with pytest.raises(UserError, match="A region is called 'time'"):
        write_parquet(study, "A", images=["pilot"])


def test_what_is_not_asked_for_goes(study):
    for keep in ((True, True), (True, False), (False, False)):
        connect_regions(study, "A", IMAGES, ["correlation"])
        write_parquet(study, "A", images=IMAGES, kinds=["correlation"])
        remove_parquet(study, *keep)
        assert ((study / "study_timeseries").exists(), (study / "study_connectivity.parquet").exists()) == keep
