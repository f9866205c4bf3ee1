"""The extraction of one image of a study: what holds data and is covered, and what its files say of it.

That the numbers are those of NiftiLabelsMasker in all circumstances is shown in test_labels.py.
"""

import gzip
import hashlib
import json
import math
import warnings

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from nilearn import signal
from nilearn.maskers import NiftiLabelsMasker

from conftest import AFFINE, GRID, read_table, save_run
from extract_timeseries import extract_timeseries
from place_atlas import place_atlas
from roistream.cleaning.options import Cleaning
from roistream.errors import UserError
from roistream.images.series import open_series
from roistream.regions.placed import put_on_grid
from roistream.study.extraction import clean, extract
from roistream.study.timeseries import write_signals

pytestmark = pytest.mark.filterwarnings("ignore:.*confounds will be standardized:DeprecationWarning")

N_VOLUMES = 8
LABELS = np.zeros(GRID, np.int16)
LABELS[0:2, 1:4], LABELS[3, 2:6, 1:3], LABELS[5, 6] = 2, 7, 40
"""Regions 2, 7 and 40 of 30, 8 and 5 voxels."""


def save_atlas(path, labels=LABELS, affine=AFFINE):
    nib.Nifti1Image(labels, affine).to_filename(path)
    return path


def save_names(path, names):
    path.write_text("index\tname\n" + "".join(f"{label}\t{name}\n" for label, name in names.items()), "utf-8")
    return path


def nilearn_signals(image, **options):
    """Let nilearn extract all regions of the atlas."""
    masker = NiftiLabelsMasker(nib.Nifti1Image(LABELS, AFFINE), **{"standardize": None, "reports": False, **options})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return masker.fit_transform(image)


class Extracted:
    """An image of some data, extracted, and the files that came of it."""

    def __init__(self, folder, data, atlas=None, **options):
        self.out = folder / "out" / "scan_atlas-A"
        self.run = save_run(folder / "run.nii.gz", data)
        atlas = atlas or save_atlas(folder / "atlas.nii.gz")
        extract_timeseries([self.run], atlas, str(self.out), **options)

    def table(self, statistic="mean"):
        return read_table(f"{self.out}_stat-{statistic}_timeseries.tsv")

    @property
    def coverage(self):
        [row] = read_table(f"{self.out}_stat-coverage_bold.tsv").to_numpy()
        return row.tolist()

    def sidecar(self, statistic="mean"):
        return json.loads(self.path(f"stat-{statistic}_timeseries.json").read_text("utf-8"))

    def path(self, ending):
        return self.out.with_name(f"{self.out.name}_{ending}")

    @property
    def files(self):
        return sorted(path.name.removeprefix("scan_atlas-A_") for path in self.out.parent.iterdir())


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
    assert ("Region 40 (region-40) is constant over the image" in caplog.text) == detrend
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
    found = extract(source, placed.labels, placed.wanted, placed.atlas_voxels, ["mean"])
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
    assert sidecar["Seconds"] > 0


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
