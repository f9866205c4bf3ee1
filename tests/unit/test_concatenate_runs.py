"""Concatenation against nilearn's, and in memory that does not grow with the image."""

import subprocess
import sys
import textwrap
import warnings

import nibabel as nib
import numpy as np
import pytest
from nilearn.image import concat_imgs

from concatenate_runs import concatenate_runs
from conftest import AFFINE, GRID, ROOT, save_run
from roistream.errors import UserError
from roistream.study.run_lengths import read_run_lengths


def save_stored(path, stored, scaling=None, affine=AFFINE, t_r=2.0, kind=nib.Nifti1Header):
    """Save values as they are, with a scaling in the header and in the array's byte order."""
    header = kind(endianness=">" if stored.dtype.str[0] == ">" else "<")
    header.set_data_shape(stored.shape)
    header.set_data_dtype(stored.dtype)
    header.set_sform(affine, code="mni")
    header.set_xyzt_units("mm", "sec")
    header.set_zooms((*nib.affines.voxel_sizes(affine), t_r))
    if scaling:
        header["scl_slope"], header["scl_inter"] = scaling
    header["vox_offset"] = header.single_vox_offset
    path.write_bytes(header.binaryblock + bytes(4) + stored.tobytes(order="F"))
    return path


def random_run(rng, dtype, n_volumes, grid=GRID):
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return rng.standard_normal((*grid, n_volumes)).astype(dtype) * 1000
    limits = np.iinfo(dtype)
    low, high = max(limits.min, -(2**31)), min(limits.max, 2**31)
    return rng.integers(low, high, (*grid, n_volumes), endpoint=True).astype(dtype)


def nilearn_values(paths):
    """Concatenate with nilearn, in float32."""
    with warnings.catch_warnings():
        # It warns of headers that differ and of types it cannot keep; the values are what counts here.
        warnings.simplefilter("ignore")
        return np.asarray(concat_imgs([str(path) for path in paths], dtype=np.float32).dataobj)


def concatenate(folder, paths, name="image_bold.nii.gz"):
    image = folder / "results" / name
    concatenate_runs(paths, image, image.with_name("runs.tsv"))
    return nib.load(image)


STORAGES = {
    "float32": [("<f4", None)] * 3,
    "float64": [("<f8", None)] * 2,
    "uint8": [("u1", None)] * 2,
    "int16": [("<i2", None)] * 2,
    "uint16": [("<u2", None)] * 2,
    "int32": [("<i4", None)] * 2,
    "scaled int16": [("<i2", (0.0754, 3100.76))] * 2,
    "scaled float32": [("<f4", (2.0, 1.5))] * 2,
    "big-endian float32": [(">f4", None)] * 2,
    "big-endian scaled int16": [(">i2", (0.01, -3.0))] * 2,
    "both byte orders": [("<i2", (0.5, 3.0)), (">i2", (0.5, 3.0)), ("<i2", (0.5, 3.0))],
}
MIXTURES = {
    "int16 and float32": [("<i2", None), ("<f4", None)],
    "float32 and float64": [("<f4", None), ("<f8", None)],
    "int16 scaled twice": [("<i2", (0.5, 3.0)), ("<i2", (0.25, 3.0))],
    "int16 with two intercepts": [("<i2", (0.5, 3.0)), ("<i2", (0.5, 4.0))],
    "int16 scaled and not": [("<i2", (0.5, 3.0)), ("<i2", None)],
    "uint8, int32 and float64, in both byte orders": [("u1", None), (">i4", (0.1, 0.0)), (">f8", None)],
}


def save_runs(folder, rng, storages):
    return [
        save_stored(folder / f"run-{number}.nii", random_run(rng, dtype, 2 + number), scaling)
        for number, (dtype, scaling) in enumerate(storages)
    ]


@pytest.mark.parametrize("storages", STORAGES.values(), ids=STORAGES)
def test_runs_of_one_storage_keep_it(tmp_path, rng, storages):
    paths = save_runs(tmp_path, rng, storages)
    image = concatenate(tmp_path, paths)
    assert image.get_data_dtype() == np.dtype(storages[0][0]).newbyteorder("<")
    stored = [np.asarray(nib.load(path).dataobj.get_unscaled()) for path in paths]
    assert np.array_equal(image.dataobj.get_unscaled(), np.concatenate(stored, axis=3))
    values = np.asarray(image.dataobj)
    assert np.array_equal(values, np.concatenate([np.asarray(nib.load(path).dataobj) for path in paths], axis=3))
    assert np.array_equal(values.astype(np.float32), nilearn_values(paths))


@pytest.mark.parametrize("storages", MIXTURES.values(), ids=MIXTURES)
def test_runs_of_several_storages_become_float32(tmp_path, rng, storages):
    paths = save_runs(tmp_path, rng, storages)
    image = concatenate(tmp_path, paths)
    assert image.get_data_dtype() == np.float32
    assert image.header.get_slope_inter() in [(1.0, 0.0), (None, None)]
    assert np.array_equal(np.asarray(image.dataobj), nilearn_values(paths))


def test_values_that_are_not_finite_stay(tmp_path, rng):
    first, second = random_run(rng, "f4", 2), random_run(rng, "f8", 3)
    first[0, 0, 0, 0], second[1, 1, 1, :2] = np.nan, [np.inf, -np.inf]
    paths = [save_stored(tmp_path / "1.nii", first), save_stored(tmp_path / "2.nii", second)]
    values = np.asarray(concatenate(tmp_path, paths).dataobj)
    assert np.array_equal(values, np.concatenate([first, second.astype("f4")], axis=3), equal_nan=True)


def test_compressed_pairs_and_nifti2_can_be_runs(tmp_path, rng):
    data = [random_run(rng, "f4", n) for n in (2, 3, 4)]
    paths = [
        save_run(tmp_path / "1.nii.gz", data[0]),
        save_stored(tmp_path / "2.nii", data[1], kind=nib.Nifti2Header),
        tmp_path / "3.img",
    ]
    pair = nib.Nifti1Pair(data[2], AFFINE)
    pair.header.set_zooms((3, 3, 3, 2))
    pair.to_filename(paths[2])
    assert np.array_equal(np.asarray(concatenate(tmp_path, paths).dataobj), np.concatenate(data, axis=3))


def test_a_single_run(tmp_path, rng):
    data = random_run(rng, "f4", 5)
    path = save_run(tmp_path / "run.nii", data)
    image = concatenate(tmp_path, [path], "image_bold.nii")
    assert np.array_equal(np.asarray(image.dataobj), data)
    assert read_run_lengths(tmp_path / "results" / "runs.tsv") == [5]


@pytest.mark.parametrize("name", ["run.nii.gz", "run.nii", "five.nii.gz", "volume.nii.gz"])
def test_a_single_run_that_can_be_read_is_not_copied(tmp_path, rng, name):
    """What is no 4D .nii.gz is converted, for the strategies that need that; an earlier link's run is left alone."""
    data = random_run(rng, "f4", 1)
    if name == "volume.nii.gz":
        nib.Nifti1Image(data[..., 0], AFFINE).to_filename(tmp_path / name)
    elif name == "five.nii.gz":
        nib.Nifti1Image(data[..., None], AFFINE).to_filename(tmp_path / name)
    else:
        save_run(tmp_path / name, data)
    for _ in range(2):
        image = concatenate(tmp_path, [tmp_path / name])
        assert image.shape == data.shape
        assert np.array_equal(np.asarray(image.dataobj), data)
    linked = tmp_path / "results/image_bold.nii.gz"
    assert linked.is_symlink() == (name == "run.nii.gz")
    before = (tmp_path / name).read_bytes()
    concatenate(tmp_path, [tmp_path / name] * 2)
    assert not linked.is_symlink()
    assert (tmp_path / name).read_bytes() == before


def test_geometry_time_and_codes_are_the_first_runs(tmp_path, rng):
    affine = np.array([[-3.3, 0.1, 0, 90.25], [0, 3.3, 0.2, -126.5], [0.1, 0, 3.1, -72.75], [0, 0, 0, 1]])
    paths = [
        save_stored(tmp_path / f"{order}.nii", random_run(rng, f"{order}f4", 2), None, affine, 2.52) for order in "><"
    ]
    first, image = nib.load(paths[0]), concatenate(tmp_path, paths)
    assert np.array_equal(image.affine, first.affine)
    assert np.array_equal(image.header.get_zooms(), first.header.get_zooms())
    assert image.header.get_zooms()[3] == np.float32(2.52)
    assert image.header.get_xyzt_units() == ("mm", "sec")
    assert int(image.header["sform_code"]) == nib.nifti1.xform_codes["mni"]
    assert int(image.header["qform_code"]) == int(first.header["qform_code"])
    assert image.shape == (*GRID, 4)


def test_the_table_of_runs_says_where_each_lies(tmp_path, rng):
    paths = save_runs(tmp_path, rng, [("<f4", None)] * 3)
    image = concatenate(tmp_path, paths)
    rows = [line.split("\t") for line in (tmp_path / "results" / "runs.tsv").read_text().splitlines()]
    assert rows[0] == ["run", "first_volume", "n_volumes"]
    for path, first_volume, n_volumes in rows[1:]:
        part = image.dataobj[..., int(first_volume) : int(first_volume) + int(n_volumes)]
        assert np.array_equal(part, np.asarray(nib.load(path).dataobj))
    assert [row[0] for row in rows[1:]] == list(map(str, paths))


def test_a_real_run_of_nibabel_twice(tmp_path):
    """A real scaled int16 run: nilearn's result, saved, would be quantised; this one is the run's own values."""
    path = nib.__path__[0] + "/tests/data/functional.nii"
    image = concatenate(tmp_path, [path, path])
    values = np.asarray(nib.load(path).dataobj)
    assert image.get_data_dtype() == np.int16
    assert np.array_equal(np.asarray(image.dataobj), np.concatenate([values, values], axis=3))


@pytest.mark.parametrize("case", ["grid", "affine", "TR", "truncated", "truncated gz", "5D", "absent"])
def test_nothing_is_left_when_a_run_cannot_be_used(tmp_path, rng, case):
    data = random_run(rng, "f4", 8, (10, 11, 12))
    first, other = save_run(tmp_path / "first.nii", data), tmp_path / "other.nii"
    if case == "grid":
        save_run(other, data[:-1])
    elif case == "affine":
        save_run(other, data, AFFINE + np.eye(4)[:, [0]] @ np.eye(4)[[3]])
    elif case == "TR":
        save_run(other, data, t_r=1.0)
    elif case == "5D":
        nib.Nifti1Image(np.stack([data, data], axis=4), AFFINE).to_filename(other)
    elif case.startswith("truncated"):
        other = other.with_name("other.nii.gz") if "gz" in case else other
        content = save_run(other, data).read_bytes()
        other.write_bytes(content[: len(content) * 3 // 4])
    expected = {
        "grid": rf"^{other} does not fit {first}: the grid",
        "affine": rf"^{other} does not fit {first}: another affine",
        "TR": rf"^{other} does not fit {first}: TR",
        "5D": rf"^{other} is 5D",
        "absent": rf"^{other} does not exist",
    }.get(case, rf"^{other} ends early: 8 volumes expected, [0-6] complete")
    with pytest.raises(UserError, match=expected):
        concatenate(tmp_path, [first, other])
    results = tmp_path / "results"
    assert not results.exists() or list(results.iterdir()) == []


MEASURED_IN_A_CHILD = """
    import re, sys
    from pathlib import Path
    import nibabel  # is imported only when an image is written, and is no part of what grows
    from concatenate_runs import concatenate_runs

    def peak_mib():
        return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024

    *runs, image = map(Path, sys.argv[1:])
    before = peak_mib()
    concatenate_runs(runs, image, image.with_name("runs.tsv"))
    print(peak_mib() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the peak from /proc")
@pytest.mark.parametrize("dtypes", [("<i2", "<i2"), ("<i2", "<f4")], ids=["copied", "converted"])
def test_memory_does_not_grow_with_the_image(tmp_path, dtypes):
    """Peak memory of a child that concatenates about 300 MiB; the runs are files with holes, quick to make."""
    grid, mib = (91, 109, 91), 150
    paths = []
    for number, dtype in enumerate(map(np.dtype, dtypes)):
        n_volumes = mib * 2**20 // (int(np.prod(grid)) * dtype.itemsize)
        path = save_stored(tmp_path / f"run-{number}.nii", np.zeros((*grid, 0), dtype))
        header = nib.Nifti1Header(path.read_bytes()[:348])
        header.set_data_shape((*grid, n_volumes))
        with path.open("r+b") as file:
            file.write(header.binaryblock)
            file.truncate(352 + n_volumes * int(np.prod(grid)) * dtype.itemsize)
        paths.append(path)
    child = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(MEASURED_IN_A_CHILD), *paths, tmp_path / "image.nii.gz"],
        env={"PYTHONPATH": str(ROOT / "scripts")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert nib.load(tmp_path / "image.nii.gz").shape[:3] == grid
    assert float(child.stdout) < 40
