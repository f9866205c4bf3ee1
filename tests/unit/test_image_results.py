"""What the files of an image of a study say: tables, sidecars, and nothing of another configuration beside them."""

import gzip
import hashlib
import json
import math

import numpy as np
import pytest
from extracted import LABELS, N_VOLUMES, Extracted, nilearn_signals, save_atlas, save_names
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from conftest import AFFINE, GRID, read_table, save_run
from extract_timeseries import extract_timeseries
from place_atlas import place_atlas
from roistream.errors import UserError
from roistream.study.timeseries import write_signals

pytestmark = pytest.mark.filterwarnings("ignore:.*confounds will be standardized:DeprecationWarning")


@pytest.fixture
def data(rng):
    return rng.normal(100, 10, (*GRID, N_VOLUMES)).astype(np.float32)


# Tables.

NAMES = ["nan", "n/a", "links\tinnen", 'say "front"', "größer, 内側", "1", " "]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_tables_lose_no_digit(tmp_path_factory, dtype, data):
    width = np.dtype(dtype).itemsize * 8
    values = data.draw(arrays(dtype, (3, len(NAMES)), elements=st.floats(width=width)))
    path = tmp_path_factory.mktemp("tables") / "signals.tsv"
    write_signals(values, NAMES, path)
    table = read_table(path)
    assert list(table) == NAMES
    assert np.array_equal(table.to_numpy().astype(dtype), values, equal_nan=True)


def test_missing_values_are_words_and_numbers_are_short(tmp_path):
    write_signals(np.array([[np.nan, 0.1], [0.25, np.nan]], np.float32), ["nan", "b"], tmp_path / "signals.tsv")
    assert (tmp_path / "signals.tsv").read_bytes() == b"nan\tb\nn/a\t0.100000001\n0.25\tn/a\n"
    write_signals(np.array([[np.nan, 0.1]]), ["nan", "b"], tmp_path / "signals.tsv")
    assert (tmp_path / "signals.tsv").read_bytes() == b"nan\tb\nn/a\t0.1\n"


def test_names_go_through_all_files(tmp_path, data):
    names = {40: 'say "nan"', 2: "größer, links", 7: "nan"}
    found = Extracted(tmp_path, data, labels=save_names(tmp_path / "names.tsv", names))
    assert list(found.table()) == list(names.values())
    assert np.array_equal(found.table().to_numpy(np.float32), nilearn_signals(found.run)[:, [2, 0, 1]])
    assert list(read_table(f"{found.out}_stat-coverage_bold.tsv")) == list(names.values())


# Sidecars.


def test_a_sidecar(tmp_path, data):
    confounds = tmp_path / "confounds.tsv"
    confounds.write_text("a\tb\n" + "".join(f"{k % 3}\t{k % 5}\n" for k in range(N_VOLUMES)))
    found = Extracted(
        tmp_path,
        data,
        confounds=[confounds],
        confound_columns=["a"],
        cleaning={"detrend": True, "standardize": None},
        statistics=("median",),
    )
    sidecar = found.sidecar("median")
    assert sidecar["Sources"] == [str(found.run)]
    assert (sidecar["RepetitionTime"], sidecar["SamplingFrequency"]) == (2.0, 0.5)
    assert sidecar["RepetitionTimeSource"] == "header"
    assert (sidecar["Statistic"], sidecar["NumberOfVolumes"], sidecar["NumberOfRegions"]) == ("median", N_VOLUMES, 3)
    [run] = sidecar["Runs"]
    assert run == {
        "Run": str(found.run),
        "FirstVolume": 0,
        "NumberOfVolumes": N_VOLUMES,
        "HeaderSha256": hashlib.sha256(gzip.decompress(found.run.read_bytes())[:348]).hexdigest(),
        "FileSize": found.run.stat().st_size,
    }
    assert sidecar["Cleaning"] == {
        "detrend": True,
        "confounds": [str(confounds)],
        "confound_columns": ["a"],
        "per_run": True,
    }
    assert {"roistream", "python", "numpy", "isal", "nilearn"} <= sidecar["SoftwareVersions"].keys()
    assert sidecar["PredictedPeakMiB"] > 0
    assert sidecar["MeasuredPeakMiB"] > 20
    assert sidecar["Seconds"] >= 0


def test_a_header_without_a_tr(tmp_path, data):
    run = save_run(tmp_path / "run.nii", data, t_r=0)
    extract_timeseries([run], save_atlas(tmp_path / "atlas.nii"), str(tmp_path / "scan"))
    sidecar = json.loads((tmp_path / "scan_stat-mean_timeseries.json").read_text())
    assert not {"RepetitionTime", "SamplingFrequency"} & sidecar.keys(), "it is not guessed"


def test_runs_in_a_sidecar(tmp_path, data):
    runs = [save_run(tmp_path / "a.nii", data), save_run(tmp_path / "b.nii.gz", data[..., :3])]
    extract_timeseries(runs, save_atlas(tmp_path / "atlas.nii"), str(tmp_path / "scan"))
    sidecar = json.loads((tmp_path / "scan_stat-mean_timeseries.json").read_text())
    assert [(run["FirstVolume"], run["NumberOfVolumes"]) for run in sidecar["Runs"]] == [(0, 8), (8, 3)]


def test_the_fingerprint_is_of_the_configuration(tmp_path, data):
    """Not of the runs: by it images of one configuration are known to belong together."""

    def of(name, volumes=data, **options):
        (tmp_path / name).mkdir()
        return Extracted(tmp_path / name, volumes, **options).sidecar()["Fingerprint"]

    plain = of("plain")
    assert of("other data", data + 1) == plain
    assert of("nothing asked for", cleaning={"detrend": False, "low_pass": None}) == plain
    others = {
        of("detrended", cleaning={"detrend": True}),
        of("another TR", cleaning={"detrend": True, "t_r": 3.0}),
        of("fewer regions", regions=2),
        of("other names", labels=save_names(tmp_path / "names.tsv", {2: "a", 7: "b", 40: "c"})),
        of("as one", per_run=False),
    }
    assert len(others | {plain}) == 6


# What lies there already.


def test_results_of_another_configuration_do_not_stay_beside_new_ones(tmp_path, data, caplog):
    caplog.set_level("INFO")
    Extracted(tmp_path, data, statistics=("mean", "median"), save_voxels=True)
    found = Extracted(tmp_path, data, statistics=("mean",), cleaning={"detrend": True})
    assert found.files == ["stat-coverage_bold.tsv", "stat-mean_timeseries.json", "stat-mean_timeseries.tsv"]
    assert "stat-median_timeseries.tsv, which was made with another configuration" in caplog.text


def test_results_of_other_runs_do_not_stay(tmp_path, data):
    Extracted(tmp_path, data, statistics=("median",))
    assert "stat-median_timeseries.tsv" not in Extracted(tmp_path, data[..., :-1]).files


def test_results_of_the_same_configuration_stay(tmp_path, data):
    Extracted(tmp_path, data, statistics=("median",))
    (tmp_path / "out" / "scan_atlas-A_notes.txt").write_text("mine")
    (tmp_path / "out" / "scan_atlas-AB_stat-mean_timeseries.tsv").write_text("another atlas's")
    found = Extracted(tmp_path, data, statistics=("mean",))
    assert {"stat-median_timeseries.tsv", "stat-mean_timeseries.tsv", "notes.txt"} < set(found.files)
    found = Extracted(tmp_path, data, cleaning={"detrend": True})
    assert {"notes.txt", "scan_atlas-AB_stat-mean_timeseries.tsv"} < set(found.files)
    assert "stat-median_timeseries.tsv" not in found.files


def test_voxels_that_no_sidecar_vouches_for_are_removed(tmp_path, data):
    """As Snakemake leaves them, which removes the outputs of a job before it, but only those of now."""
    found = Extracted(tmp_path, data, save_voxels=True)
    for ending in ("json", "tsv"):
        found.path(f"stat-mean_timeseries.{ending}").unlink()
    assert not [name for name in Extracted(tmp_path, data).files if "voxels" in name]


def test_a_run_that_breaks_off_leaves_no_table(tmp_path, data):
    run = save_run(tmp_path / "run.nii.gz", data)
    run.write_bytes(run.read_bytes()[:-1000])
    atlas = save_atlas(tmp_path / "atlas.nii.gz")
    with pytest.raises(UserError, match=r"run\.nii\.gz"):
        extract_timeseries([run], atlas, str(tmp_path / "out/scan"), save_voxels=True, cleaning={"detrend": True})
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["scan_voxels.tsv"], "no numbers, no partial files"


def test_a_placed_atlas_is_the_same_as_one_placed_here(tmp_path, data):
    affine = AFFINE + np.outer([1, 0, 0, 0], [0, 0, 0, 1.2])
    atlas = save_atlas(tmp_path / "atlas.nii.gz", LABELS, affine)
    here = Extracted(tmp_path, data, atlas)
    placed = [tmp_path / name for name in ("placed.nii.gz", "regions.tsv", "coverage.npy")]
    place_atlas(atlas, here.run, *placed)
    extract_timeseries([here.run], placed[0], str(tmp_path / "there"), placed=placed[1:])
    for ending in ("stat-mean_timeseries.tsv", "stat-coverage_bold.tsv"):
        assert (tmp_path / f"there_{ending}").read_bytes() == here.path(ending).read_bytes()
    assert math.isclose(min(here.coverage), here.sidecar()["LeastCoverage"])
    other = save_run(tmp_path / "other.nii", data[:-1])
    with pytest.raises(UserError, match=r"placed.nii.gz has the grid .*place it like these runs"):
        extract_timeseries([other], placed[0], str(tmp_path / "other"), placed=placed[1:])
