"""One conformance suite for all strategies: each gives, to the last bit, what a user of NiftiMasker gets."""

import logging
import math
import re
import subprocess
import sys
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nilearn.maskers import NiftiMasker

from conftest import AFFINE, GRID, ROOT, save_mask, save_run
from roistream.cleaning.options import Cleaning
from roistream.errors import UserError
from roistream.images.image import inspect
from roistream.images.volumes import read_blocks
from roistream.images.writing import new_header, write_image
from roistream.regions.masks import Mask, read_voxels
from roistream.strategies import STRATEGIES, streaming

N_VOLUMES = 9
ENDING = {name: "run.nii" if entry.uncompressed else "run.nii.gz" for name, entry in STRATEGIES.items()}

# nilearn warns of 64-bit integers, rightly: few tools read them.
pytestmark = pytest.mark.filterwarnings("ignore:Data array used to create a new image contains 64-bit ints:UserWarning")


@pytest.fixture(params=list(STRATEGIES))
def strategy(request):
    return STRATEGIES[request.param].load()


REFERENCES = {}


def nifti_masker(image, mask):
    """Extract one region with nilearn itself, as float32; once for all strategies that get the same files."""
    key = (image.read_bytes(), mask.read_bytes())
    if key not in REFERENCES:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*Generation of a mask", UserWarning)
            REFERENCES[key] = NiftiMasker(mask_img=mask, standardize=None).fit_transform(image).astype(np.float32)
    return REFERENCES[key]


def located(image, masks):
    """Prepare masks as strategies receive them."""
    source = inspect(image)
    return [Mask(mask, read_voxels(mask, source.grid, source.affine)) for mask in masks]


def assert_conforms(strategy, image, masks, n_jobs=1):
    """Compare all regions with NiftiMasker; return them."""
    arrays = list(strategy(inspect(image), located(image, masks), n_jobs, Cleaning()))
    assert len(arrays) == len(masks)
    for array, mask in zip(arrays, masks, strict=True):
        assert array.dtype == np.dtype("=f4")
        assert array.flags.c_contiguous
        assert np.array_equal(array, nifti_masker(image, mask))
    return arrays


STORED = {
    "float32": ("<f4", None),
    "float64": ("<f8", None),
    "int16": ("<i2", None),
    "scaled int16": ("<i2", (0.0754, 3100.76)),
    "int16 plus an intercept": ("<i2", (1.0, 5.0)),
    "uint8": ("u1", None),
    "uint16": ("<u2", None),
    "int32": ("<i4", None),
    "int64": ("<i8", None),
    "scaled float32": ("<f4", (2.0, 1.5)),
    "big-endian float32": (">f4", None),
    "big-endian scaled int16": (">i2", (0.01, -3.0)),
}


def save_stored(path, dtype, scaling, rng):
    """Save random values in the given type, with the scaling only in the header."""
    dtype = np.dtype(dtype)
    header = nib.Nifti1Header(endianness=">" if dtype.byteorder == ">" else "<")
    header.set_data_shape((*GRID, N_VOLUMES))
    header.set_data_dtype(dtype)
    header.set_sform(AFFINE, code=1)
    if scaling:
        header["scl_slope"], header["scl_inter"] = scaling
    header["vox_offset"] = 352
    # Beyond the 24 bits that float32 keeps, where the type goes so far: rounding twice would show.
    top = 100 if dtype.itemsize == 1 else 2**15 if dtype.itemsize == 2 else 2**31 if dtype.itemsize == 4 else 2**60
    values = rng.standard_normal((*GRID, N_VOLUMES)) if dtype.kind == "f" else rng.integers(0, top, (*GRID, N_VOLUMES))
    path.write_bytes(header.binaryblock + b"\0" * 4 + values.astype(dtype).tobytes(order="F"))
    return path


@pytest.mark.parametrize("stored", list(STORED))
def test_every_type_of_image(strategy, tmp_path, masks, rng, stored):
    assert_conforms(strategy, save_stored(tmp_path / "run.nii", *STORED[stored], rng), masks)


def test_a_mask_whose_affine_is_off_by_rounding(strategy, tmp_path, masks, rng):
    """NiftiMasker alone would resample the image, for its criterion is another one than ours."""
    run = save_run(tmp_path / ENDING[strategy.__name__], rng.standard_normal((*GRID, N_VOLUMES)).astype(np.float32))
    voxels = [(x, y, 2) for x in (0, 1, 5) for y in (0, 2)]
    off = AFFINE + 1e-4 * np.array([[1, -1, 1, 2], [1, 1, -1, -2], [-1, 1, 1, 2], [0, 0, 0, 0]])
    exact, rounded = (save_mask(tmp_path / f"{i}_mask.nii.gz", voxels, affine=a) for i, a in enumerate((AFFINE, off)))
    [array] = strategy(inspect(run), located(run, [rounded]), 1, Cleaning())
    assert np.array_equal(array, nifti_masker(run, exact))
    assert not np.allclose(off, AFFINE)


@pytest.mark.parametrize("n_jobs", [1, 2, 5])
def test_parallel_workers(strategy, tmp_path, masks, rng, n_jobs):
    run = save_run(tmp_path / ENDING[strategy.__name__], rng.standard_normal((*GRID, N_VOLUMES)).astype(np.float32))
    assert_conforms(strategy, run, masks, n_jobs)


def test_images_of_more_than_joblib_hands_over_by_value(strategy, tmp_path, rng):
    grid = (20, 21, 22)
    run = save_run(tmp_path / ENDING[strategy.__name__], rng.standard_normal((*grid, 40)).astype(np.float32))
    mask = save_mask(tmp_path / "region-1_mask.nii.gz", [(1, 2, 3), (19, 20, 21), (4, 0, 9)], grid)
    assert_conforms(strategy, run, [mask, mask], n_jobs=2)


def test_a_single_volume(strategy, tmp_path, masks, rng):
    run = save_run(tmp_path / "run.nii", rng.standard_normal((*GRID, 1)).astype(np.float32))
    assert [len(array) for array in assert_conforms(strategy, run, masks)] == [1, 1, 1]


def test_an_unused_fifth_dimension(strategy, tmp_path, masks, rng):
    data = rng.standard_normal((*GRID, N_VOLUMES)).astype(np.float32)
    expected = assert_conforms(strategy, save_run(tmp_path / "run.nii", data), masks)
    nib.Nifti1Image(data[..., None], AFFINE).to_filename(tmp_path / "five.nii")
    assert nib.load(tmp_path / "five.nii").ndim == 5
    found = list(strategy(inspect(tmp_path / "five.nii"), located(tmp_path / "five.nii", masks), 1, Cleaning()))
    assert all(map(np.array_equal, found, expected))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_that_are_not_finite_count_as_zero_and_are_reported(strategy, tmp_path, masks, rng, caplog, dtype):
    data = rng.standard_normal((*GRID, N_VOLUMES)).astype(dtype)
    data[2, 2, 2, 3:5] = np.nan, np.inf  # in the first two masks
    data[0, 0, 0, 0] = np.nan  # in none
    with caplog.at_level(logging.WARNING, "roistream"):
        arrays = assert_conforms(strategy, save_run(tmp_path / "run.nii", data), masks)
    assert [int((array == 0).sum()) for array in arrays] == [2, 2, 0]
    assert "region-1_mask.nii.gz: 2 of 54 values were not finite" in caplog.text
    assert "region-2_mask.nii.gz: 2 of 36 values were not finite" in caplog.text
    assert "region-7" not in caplog.text


def test_values_beyond_float32_are_refused(strategy, tmp_path, masks, rng):
    data = rng.standard_normal((*GRID, N_VOLUMES))
    data[2, 2, 2, 3] = 1e300
    run = save_run(tmp_path / "run.nii", data)
    with pytest.raises(UserError, match="beyond the range of float32"):
        list(strategy(inspect(run), located(run, masks), 1, Cleaning()))


def test_the_real_scaled_run_of_nibabel(strategy, tmp_path):
    run = Path(nib.__path__[0]) / "tests/data/functional.nii"
    loaded = nib.load(run)
    grid = loaded.shape[:3]
    masks = [
        save_mask(tmp_path / f"region-{label}_mask.nii.gz", voxels, grid, loaded.affine)
        for label, voxels in {1: [(x, 9, 1) for x in range(grid[0])], 2: [(0, 0, 0), (8, 8, 2)]}.items()
    ]
    assert_conforms(strategy, run, masks, n_jobs=2)


def test_shared_memory_does_not_outlive_the_job(tmp_path, masks, rng):
    before = set(Path("/dev/shm").iterdir())
    run = save_run(tmp_path / "run.nii", rng.standard_normal((*GRID, N_VOLUMES)))
    usable = located(run, masks)
    STRATEGIES["shared_memory"].load()(inspect(run), usable, 2, Cleaning())
    with pytest.raises(UserError):
        STRATEGIES["shared_memory"].load()(
            inspect(run), [*usable, Mask(tmp_path / "absent.nii", usable[0].voxels)], 2, Cleaning()
        )
    assert {path for path in Path("/dev/shm").iterdir() if path.name.startswith("psm_")} <= before


@pytest.mark.parametrize("n_volumes", [1, 7, 8, 9, 24, 25])
def test_stream_writes_in_batches(tmp_path, masks, rng, monkeypatch, n_volumes):
    """Whatever the lengths of blocks and batches: here 3 volumes and 4 of them."""
    n_voxels = sum(mask.voxels.size for mask in located(save_run(tmp_path / "one.nii", np.zeros((*GRID, 1))), masks))
    monkeypatch.setattr(streaming, "BATCH_BYTES", 4 * 4 * n_voxels + 3)
    monkeypatch.setattr(streaming, "read_blocks", lambda image: read_blocks(image, 3 * 4 * math.prod(GRID)))
    run = save_run(tmp_path / "run.nii.gz", rng.standard_normal((*GRID, n_volumes)).astype(np.float32))
    assert_conforms(streaming.stream, run, masks)


def test_stream_keeps_its_arrays_in_files_of_the_folder(tmp_path, masks, rng):
    run = save_run(tmp_path / "run.nii.gz", rng.standard_normal((*GRID, 9)).astype(np.float32))
    left_behind = tmp_path / "out/.partial-stream-x/0.npy"
    left_behind.parent.mkdir(parents=True)
    left_behind.write_bytes(b"what a killed process left")
    for array in streaming.stream(inspect(run), located(run, masks), 1, Cleaning(), tmp_path / "out"):
        assert not left_behind.exists()
        assert Path(array.filename).parent.parent == tmp_path / "out"
        assert np.array_equal(np.load(array.filename), array)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_stream_that_was_given_up_fails_and_spoils_nothing(tmp_path, masks, rng, monkeypatch):
    """On a cluster it may run on while its successor is at work in the same folder."""
    run = save_run(tmp_path / "run.nii.gz", rng.standard_normal((*GRID, 9)).astype(np.float32))
    monkeypatch.setattr(streaming, "BATCH_BYTES", 1)  # a batch for each volume
    monkeypatch.setattr(streaming, "read_blocks", lambda image: read_blocks(image, 1000))
    arguments = (inspect(run), located(run, masks), 1, Cleaning(), tmp_path / "out")
    append, successors = streaming.append, []

    def overtaken(*files):
        """Append; before the third time let a successor do all of its work."""
        if len(successors) == 2:
            monkeypatch.setattr(streaming, "append", append)
            successors.append([array.copy() for array in streaming.stream(*arguments)])
        successors.append(None)
        append(*files)

    monkeypatch.setattr(streaming, "append", overtaken)
    with pytest.raises(FileNotFoundError):
        list(streaming.stream(*arguments))
    assert all(map(np.array_equal, successors[2], assert_conforms(streaming.stream, run, masks)))
    assert not list((tmp_path / "out").glob("*"))


def test_the_registry_names_its_functions():
    for name, entry in STRATEGIES.items():
        assert entry.name == name
        assert entry.load().__name__ == name
        assert entry.load().__doc__


DAMAGED = {
    "cut off": (lambda content: content[: len(content) // 2], r"ends early: 64 volumes expected, \d+ complete"),
    "corrupt": (
        lambda content: content[:200_000] + b"\x55" * 400 + content[200_400:],
        r"(is damaged .*|ends early): 64 volumes expected, \d+ ",
    ),
}


@pytest.mark.parametrize("damage", list(DAMAGED))
@pytest.mark.parametrize("name", list(STRATEGIES))
def test_a_damaged_image_is_told_in_one_sentence(tmp_path, rng, name, damage):
    spoil, message = DAMAGED[damage]
    if STRATEGIES[name].uncompressed and damage == "corrupt":
        pytest.skip("a plain file has no check sum")
    run = save_run(tmp_path / ENDING[name], rng.standard_normal((20, 20, 20, 64)).astype(np.float32))
    run.write_bytes(spoil(run.read_bytes()))
    mask = save_mask(tmp_path / "region-1_mask.nii.gz", [(1, 2, 3)], (20, 20, 20))
    command = [sys.executable, str(ROOT / "scripts/extract_regions.py"), "--strategy", name, "--n-jobs", "2"]
    options = ["--image", str(run), "--masks", str(mask), "--out", str(tmp_path / "out")]
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 1
    assert re.fullmatch(rf"ERROR: .*{re.escape(run.name)} {message}.*\n", done.stderr), done.stderr
    assert not (tmp_path / "out").exists()


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (600 * 2**20, 600 * 2**20))
sys.argv = sys.argv[1:]
import runpy
sys.path.insert(0, sys.argv[0].rsplit("/", 1)[0])
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def long_run(tmp_path_factory):
    """A run of 800 MiB, which compresses well, and a mask on it."""
    folder = tmp_path_factory.mktemp("long")
    grid, n_volumes = (64, 64, 50), 1024
    volume = np.arange(math.prod(grid), dtype=np.float32)
    header = new_header((*grid, n_volumes), np.float32, AFFINE, 2.0)
    write_image(folder / "run.nii.gz", header, (volume + t for t in range(n_volumes)))
    return folder / "run.nii.gz", save_mask(folder / "region-1_mask.nii.gz", [(1, 2, 3), (60, 50, 40)], grid)


@pytest.mark.parametrize("name", ["stream", "nifti_masker_in_memory", "numpy_path", "numpy_in_memory", "shared_memory"])
def test_under_a_hard_limit_of_memory(long_run, tmp_path, name):
    """Stream extracts what the others cannot even load, here all of it; they are refused, or fail, with one sentence."""
    run, *masks = long_run
    if name == "stream":
        for label in range(10):
            slab = np.zeros(inspect(run).grid, np.uint8)
            slab[..., 5 * label : 5 * label + 5] = 1
            masks.append(tmp_path / f"slab-{label}_mask.nii.gz")
            nib.Nifti1Image(slab, AFFINE).to_filename(masks[-1])
    command = [sys.executable, "-c", LIMITED, str(ROOT / "scripts/extract_regions.py")]
    options = ["--strategy", name, "--image", str(run), "--masks", *map(str, masks), "--out", str(tmp_path / "out")]

    def extract(*more):
        return subprocess.run([*command, *options, *more], capture_output=True, text=True, timeout=300, check=False)

    done = extract()
    if name == "stream":
        assert done.returncode == 0, done.stderr
        found = np.load(tmp_path / "out/region-1_timeseries.npy")
        first = [1 + 64 * (2 + 64 * 3), 60 + 64 * (50 + 64 * 40)]
        assert np.array_equal(found, np.add.outer(np.arange(1024), first).astype(np.float32))
        slabs = [np.load(tmp_path / f"out/slab-{label}_timeseries.npy", mmap_mode="r") for label in range(10)]
        assert [slab.shape for slab in slabs] == [(1024, 64 * 64 * 5)] * 10
        assert np.array_equal(slabs[9][1023, 4::5], 49 * 64 * 64 + np.arange(64 * 64).reshape(64, 64).T.ravel() + 1023)
    else:
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1
        assert done.stderr.startswith(f"ERROR: The strategy {name} ")
        assert "address space" in done.stderr
        assert "use stream" in done.stderr
        tried = extract("--memory-shortage", "warn")
        assert tried.returncode == 1
        warning, error = tried.stderr.splitlines()
        assert warning.startswith(f"WARNING: The strategy {name} ")
        assert error.startswith("ERROR: Not enough memory")
        assert not (tmp_path / "out").exists()
