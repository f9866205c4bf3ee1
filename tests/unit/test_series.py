"""Several files as one image, against nibabel and against the one file that concatenate_runs writes of them."""

import threading
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from concatenate_runs import concatenate_runs
from conftest import AFFINE, save_run
from roistream.errors import UserError
from roistream.images.image import inspect
from roistream.images.series import open_series, repetition_time
from roistream.images.volumes import read_blocks, read_stored
from unit.test_volumes import DTYPES, read_all, write_raw


@st.composite
def series(draw):
    """Draw runs of one grid, each stored in its own way, some of them as 3D volumes."""
    grid = draw(st.tuples(*[st.integers(1, 5)] * 3))
    same = draw(st.booleans())
    scalings = [None, (1.0, 0.0), (0.0754, 3100.76), (2.0, 0.0), (1.0, -5.5)]
    dtype, scaling = draw(st.sampled_from(DTYPES)), draw(st.sampled_from(scalings))
    runs = []
    for _ in range(draw(st.integers(1, 4))):
        shape = draw(st.sampled_from([grid, *[(*grid, n) for n in (1, 2, 5)]]))
        seed = draw(st.integers(0, 99))
        runs.append(
            {
                "kind": draw(st.sampled_from(["nifti1", "nifti2", "pair1"])),
                "shape": shape,
                "dtype": dtype if same else draw(st.sampled_from(DTYPES)),
                "order": draw(st.sampled_from("<>")),
                "scaling": scaling if same else draw(st.sampled_from(scalings)),
                "compression": draw(st.sampled_from(["", "gz"])),
                "extension": draw(st.booleans()),
                "values": np.random.default_rng(seed).integers(0, 100, shape) + 0.25,
            }
        )
    return runs


@settings(max_examples=150, deadline=None)
@given(runs=series(), max_bytes=st.integers(1, 3000), whole_volumes=st.booleans())
def test_a_series_is_its_files_one_after_the_other(tmp_path_factory, runs, max_bytes, whole_volumes):
    folder = tmp_path_factory.mktemp("series")
    paths = []
    for number, run in enumerate(runs):
        (folder / str(number)).mkdir()
        paths.append(write_raw(folder / str(number), **run))
    loaded = [np.asarray(nib.load(path).dataobj) for path in paths]
    loaded = [values.reshape((*values.shape[:3], -1), order="F") for values in loaded]
    opened = open_series(paths)
    found = read_all(opened, max_bytes=max_bytes, whole_volumes=whole_volumes)
    storages = {(run["dtype"], scaling_of(run)) for run in runs}
    if len(storages) > 1:
        loaded = [values.astype(np.float32) for values in loaded]
        assert found.dtype == np.float32
    expected = np.concatenate(loaded, axis=3)
    assert found.dtype.newbyteorder("=") == expected.dtype.newbyteorder("=")
    assert np.array_equal(found, expected)
    assert opened.n_volumes == expected.shape[3]
    assert opened.widest >= found.dtype.itemsize or opened.dtype == np.float32

    concatenate_runs(paths, folder / "whole.nii", folder / "runs.tsv")
    whole = inspect(folder / "whole.nii")
    assert np.array_equal(found, read_all(whole))
    assert (whole.dtype.newbyteorder("="), whole.grid) == (opened.dtype.newbyteorder("="), opened.grid)
    assert np.array_equal(whole.affine, opened.affine)


def scaling_of(run):
    """Give slope and intercept as a header keeps them: NIfTI-1 in float32."""
    kept = np.float64 if run["kind"] == "nifti2" else np.float32
    return tuple(float(kept(number)) for number in run["scaling"] or (1.0, 0.0))


def save_volumes(folder, data):
    """Save each volume in a file of its own."""
    paths = []
    for number, volume in enumerate(np.moveaxis(data, 3, 0)):
        paths.append(folder / f"volume-{number:03}.nii.gz")
        nib.Nifti1Image(volume, AFFINE).to_filename(paths[-1])
    return paths


def test_volumes_next_to_each_other_are_one_run(tmp_path, rng):
    data = rng.standard_normal((3, 4, 5, 6)).astype(np.float32)
    volumes = save_volumes(tmp_path, data)
    run = save_run(tmp_path / "run.nii", data)
    opened = open_series([*volumes[:4], run, run, *volumes[4:]])
    assert opened.run_lengths == [4, 6, 6, 2]
    assert (opened.n_volumes, len(opened.runs)) == (18, 8)
    assert np.array_equal(read_all(opened), np.concatenate([data[..., :4], data, data, data[..., 4:]], axis=3))
    alone = open_series(volumes[:1])
    assert alone.run_lengths == [1]
    with pytest.raises(UserError, match="is 3D"):
        inspect(volumes[0])


def test_a_single_file_is_as_itself(tmp_path, rng):
    path = save_run(tmp_path / "run.nii.gz", rng.standard_normal((3, 4, 5, 6)).astype(">f4"))
    alone, image = open_series([path]), inspect(path)
    for name in ("path", "grid", "n_volumes", "mib", "n_voxels", "dtype", "widest", "converts", "run_lengths"):
        assert getattr(alone, name) == getattr(image, name), name
    assert [run.path for run in alone.runs] == [run.path for run in image.runs] == [path]


def test_the_tr_is_that_of_the_runs_that_have_one(tmp_path, rng):
    data = rng.standard_normal((3, 4, 5, 2)).astype(np.float32)
    volumes = save_volumes(tmp_path, data)
    two, three = (save_run(tmp_path / f"{t_r}.nii", data, t_r=t_r) for t_r in (2.0, 3.0))
    assert repetition_time(open_series([*volumes, two]).runs).seconds == 2.0
    with pytest.raises(UserError, match=rf"^{three} does not fit {two}: TR 3\.0 s against 2\.0 s"):
        repetition_time(open_series([*volumes, two, three]).runs)


@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 5, 2, 2)])
def test_what_is_no_run_is_refused(tmp_path, shape):
    nib.Nifti1Image(np.zeros(shape, np.float32), AFFINE).to_filename(tmp_path / "run.nii")
    with pytest.raises(UserError, match=rf"run\.nii is {len(shape)}D .*; give a 4D run, or 3D volumes"):
        open_series([tmp_path / "run.nii"])


@pytest.mark.parametrize("ending", ["nii", "nii.gz"])
def test_a_damaged_run_is_named_with_its_own_volumes(tmp_path, rng, ending):
    data = rng.standard_normal((30, 31, 32, 8)).astype(np.float32)
    sound, cut = (save_run(tmp_path / f"{name}.{ending}", data) for name in ("sound", "cut"))
    cut.write_bytes(cut.read_bytes()[: int(cut.stat().st_size * 0.6)])
    with pytest.raises(UserError, match=rf"^{cut} ends early: 8 volumes expected, [34] complete"):
        read_all(open_series([sound, cut, sound]), max_bytes=300_000)


def test_a_value_beyond_float32_names_its_run(tmp_path, rng):
    data = rng.standard_normal((3, 4, 5, 2))
    small = save_run(tmp_path / "small.nii", data.astype(np.float32))
    data[0, 0, 0, 1] = 1e300
    large = save_run(tmp_path / "large.nii", data)
    with pytest.raises(UserError, match=rf"^{large} holds values beyond the range of float32"):
        list(read_blocks(open_series([small, large])))
    assert len(list(read_blocks(open_series([large, large])))) == 2, "nothing is rounded where all store the same"


def test_reading_ahead_goes_on_across_files(tmp_path, rng):
    """While the last block of a file is worked on, the first of the next is read; no file stays open behind it."""
    data = rng.standard_normal((5, 6, 7, 4)).astype(np.float32)
    paths = [save_run(tmp_path / f"{number}.nii.gz", data) for number in range(3)]
    blocks = read_blocks(open_series(paths), data.nbytes)
    before = open_files()
    threads = set(threading.enumerate())
    first = next(blocks)
    [reader] = set(threading.enumerate()) - threads
    kept = first.values.copy()
    for _ in range(1000):  # the reader has the next file open, sooner or later
        if paths[1] in open_files():
            break
        threading.Event().wait(0.01)
    else:
        pytest.fail("the next file was not opened")
    assert np.array_equal(first.values, kept), "a block is valid until the next is asked for"
    blocks.close()
    assert not reader.is_alive()
    assert open_files() == before


def open_files():
    """List the images that this process has open."""
    links = [link.resolve() for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return [path for path in links if ".nii" in path.name]


def test_stored_values_of_a_series(tmp_path, rng):
    data = rng.integers(0, 99, (3, 4, 5, 2)).astype(np.int16)
    little, big = (save_run(tmp_path / f"{name}.nii", data.astype(f"{order}i2")) for name, order in ["l<", "b>"])
    blocks = [block.values.copy() for block in read_stored(open_series([little, big]))]
    assert {values.dtype for values in blocks} == {np.dtype("<i2")}
    assert all(np.array_equal(values, data.reshape(-1, 2, order="F").T) for values in blocks)
