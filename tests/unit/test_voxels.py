"""Every voxel's series in one file is, to the last bit, what NiftiMasker gives for each region."""

import nibabel as nib
import numpy as np
import pytest
from nilearn.maskers import NiftiMasker

from conftest import AFFINE, GRID, read_table, save_run
from extract_timeseries import extract_timeseries
from roistream.study import voxels

# nilearn's own remarks, on its defaults and on the values given here.
pytestmark = [pytest.mark.filterwarnings(f"ignore::{kind}") for kind in ("UserWarning", "DeprecationWarning")]

LABELS = np.zeros(GRID, np.int16)
LABELS[1:6, 1:4], LABELS[0, 2:6, 1:3], LABELS[5, 6], LABELS[4, 0, 0] = 40, 7, 2, 9
SIZES = {40: 75, 2: 5, 7: 8, 9: 1}
LENGTHS = [35, 40]

CLEANING = {
    "none": {},
    "detrended, z-scored": {"detrend": True, "standardize": "zscore_sample"},
    "filtered": {"high_pass": 0.02, "low_pass": 0.1},
    "smoothed": {"smoothing_fwhm": 6.0},
    "all of it": {"smoothing_fwhm": 5.0, "detrend": True, "standardize": "psc", "high_pass": 0.02},
}
DTYPES = [np.float32, np.float64, np.int16, ">f4"]


def save_runs(folder, rng, dtype):
    """Save two runs with a trend, and values that are not finite where the type has them."""
    paths = []
    for number, length in enumerate(LENGTHS):
        data = (rng.normal(500, 30, (*GRID, length)) + np.arange(length)).astype(dtype)
        if data.dtype.kind == "f":
            data[0, 1, 0, 3] = np.nan
        path = folder / f"run-{number}.nii.gz"
        if data.dtype.byteorder == ">":
            header = nib.Nifti1Header(endianness=">")
            header.set_data_dtype(data.dtype)
            header.set_xyzt_units("mm", "sec")
            image = nib.Nifti1Image(data, AFFINE, header)
            image.header.set_zooms((*image.header.get_zooms()[:3], 2.0))
            image.to_filename(path)
        else:
            save_run(path, data)
        paths.append(path)
    return paths


def nifti_masker(paths, label, confounds=None, per_run=True, **options):
    """Let nilearn extract the voxels of a region from the runs, which are put together first."""
    runs = [nib.load(path) for path in paths]
    whole = nib.Nifti1Image(np.concatenate([np.asarray(run.dataobj) for run in runs], axis=3), AFFINE)
    mask = nib.Nifti1Image((label == LABELS).astype(np.uint8), AFFINE)
    masker = NiftiMasker(
        mask,
        **{"standardize": None, "reports": False, "t_r": 2.0, **options},
        runs=np.repeat(range(len(LENGTHS)), LENGTHS) if per_run else None,
    )
    return masker.fit_transform(whole, confounds=confounds).astype(np.float32)


def extract(folder, paths, **options):
    nib.Nifti1Image(LABELS, AFFINE).to_filename(folder / "atlas.nii")
    out = folder / "scan"
    extract_timeseries(paths, folder / "atlas.nii", str(out), save_voxels=True, **options)
    return np.load(f"{out}_voxels.npy"), read_table(f"{out}_voxels.tsv")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", list(CLEANING))
def test_each_region_is_what_nifti_masker_gives(tmp_path, rng, dtype, name):
    options = CLEANING[name]
    paths = save_runs(tmp_path, rng, dtype)
    found, table = extract(tmp_path, paths, cleaning=options)
    assert found.dtype == np.dtype("<f4")
    assert found.shape == (sum(LENGTHS), (LABELS != 0).sum())
    assert found.flags.c_contiguous
    for label in SIZES:
        columns = table["column"][table["label"] == label]
        assert np.array_equal(found[:, columns], nifti_masker(paths, label, **options)), label


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("columns", [64, 74, 2])
def test_a_large_region_is_cleaned_in_parts(tmp_path, rng, monkeypatch, dtype, columns):
    """Region 40 has 75 voxels, none of which comes alone; at least 64 are cleaned at a time.

    How a product of float32 matrices rounds a column may depend on the columns beside it: on the processor and its threads.
    """
    monkeypatch.setattr(voxels, "COLUMNS", columns)
    monkeypatch.setattr(voxels, "CLEANED_BYTES", 1)
    paths = save_runs(tmp_path, rng, dtype)
    options = {"detrend": True, "standardize": "zscore_sample", "high_pass": 0.02}
    found, table = extract(tmp_path, paths, cleaning=options)
    tolerance = 0 if dtype == np.float64 else 4 * np.finfo(np.float32).eps
    expected = nifti_masker(paths, 40, **options)
    assert np.allclose(found[:, table["label"] == 40], expected, rtol=0, atol=tolerance * abs(expected).max())


@pytest.mark.parametrize("per_run", [True, False])
@pytest.mark.parametrize("budget", [2**30, 1])
def test_confounds(tmp_path, rng, monkeypatch, per_run, budget):
    """Of a region in parts the products with the confounds may be rounded otherwise."""
    monkeypatch.setattr(voxels, "CLEANED_BYTES", budget)
    paths = save_runs(tmp_path, rng, np.float32)
    matrix = rng.normal(size=(sum(LENGTHS), 2)).cumsum(axis=0)
    tables = []
    for number, part in enumerate(np.split(matrix, LENGTHS[:1])):
        tables.append(tmp_path / f"confounds-{number}.tsv")
        tables[-1].write_text("a\tb\n" + "".join(f"{a!r}\t{b!r}\n" for a, b in part.tolist()))
    options = {"detrend": True, "standardize": "zscore_sample"}
    found, table = extract(tmp_path, paths, cleaning=options, confounds=tables, per_run=per_run)
    for label in SIZES:
        expected = nifti_masker(paths, label, matrix, per_run, **options)
        of_region = found[:, table["label"] == label]
        if budget == 1 and SIZES[label] > voxels.COLUMNS:
            assert np.allclose(of_region, expected, rtol=0, atol=1e-5)
        else:
            assert np.array_equal(of_region, expected), label


def test_the_table_tells_which_voxel_is_where(tmp_path, rng):
    paths = save_runs(tmp_path, rng, np.float32)
    found, table = extract(tmp_path, paths, regions=[40, 2])
    assert list(table) == ["column", "label", "name", "i", "j", "k", "x", "y", "z"]
    assert table["column"].tolist() == list(range(found.shape[1]))
    assert table["label"].tolist() == [40] * 75 + [2] * 5, "region by region, as asked for"
    places = table[["i", "j", "k"]].to_numpy()
    assert (LABELS[tuple(places.T)] == table["label"]).all()
    assert places[:75].tolist() == np.argwhere(LABELS == 40).tolist(), "within a region as in a masked array"
    assert np.allclose(table[["x", "y", "z"]], nib.affines.apply_affine(AFFINE, places))
    whole = np.concatenate([np.asarray(nib.load(path).dataobj) for path in paths], axis=3)
    assert np.array_equal(found, np.nan_to_num(whole[tuple(places.T)].T, nan=0))


def test_a_region_without_voxels_has_no_columns(tmp_path, rng):
    paths = save_runs(tmp_path, rng, np.int16)
    names = tmp_path / "names.tsv"
    names.write_text("index\tname\n99\tnowhere\n7\there\n")
    found, table = extract(tmp_path, paths, labels=names, empty_regions="keep", cleaning={"detrend": True})
    assert found.shape == (75, 8)
    assert set(table["name"]) == {"here"}
    assert not list(tmp_path.glob(".partial*"))
