"""Our maskers give what nilearn's give: the same bits, but for maps, which are computed in double precision."""

import os
import subprocess
import sys
import warnings

import nibabel as nib
import numpy as np
import pytest
from nilearn import maskers as nilearn_maskers
from nilearn.image import concat_imgs

from conftest import ROOT, save_run
from roistream import maskers
from roistream.maskers import blocks, extraction, inputs, lazy, steps

pytestmark = pytest.mark.filterwarnings("ignore")

GRID, N_VOLUMES = (7, 8, 6), 40
AFFINE = np.array([[3.0, 0, 0, -9], [0, 3, 0, -9], [0, 0, 3, -9], [0, 0, 0, 1]])
COARSE = np.array([[4.0, 0, 0, -8], [0, 4, 0, -8], [0, 0, 4, -8], [0, 0, 0, 1]])
RNG = np.random.default_rng(3)
DATA = RNG.standard_normal((*GRID, N_VOLUMES)) * 50 + 1000
MASK = nib.Nifti1Image((RNG.random(GRID) > 0.5).astype(np.uint8), AFFINE)
COARSE_MASK = nib.Nifti1Image((RNG.random((5, 5, 4)) > 0.2).astype(np.uint8), COARSE)
LABELS = nib.Nifti1Image(RNG.integers(0, 6, GRID).astype(np.int32), AFFINE)
COARSE_LABELS = nib.Nifti1Image(RNG.integers(0, 6, (5, 5, 4)).astype(np.int32), COARSE)
SEEDS = [(0, 0, 0), (3, 6, 3), (-3, 9, 6)]
CLEANING = {"detrend": True, "standardize": "zscore_sample", "high_pass": 0.02, "t_r": 2.0}
CONFOUNDS = RNG.standard_normal((N_VOLUMES, 3))

CASES = {
    "mask": ("NiftiMasker", {"mask_img": MASK}),
    "mask of the background": ("NiftiMasker", {}),
    "mask of an EPI": ("NiftiMasker", {"mask_strategy": "epi", "mask_args": {"opening": 0}}),
    "mask on another grid": ("NiftiMasker", {"mask_img": COARSE_MASK}),
    "mask on a wanted grid": ("NiftiMasker", {"mask_img": MASK, "target_affine": COARSE}),
    "mask, smoothed and cleaned": ("NiftiMasker", {"mask_img": MASK, "smoothing_fwhm": 6, **CLEANING}),
    "mask, runs": ("NiftiMasker", {"mask_img": MASK, "runs": np.repeat([0, 1], 20), "detrend": True}),
    "labels": ("NiftiLabelsMasker", {"labels_img": LABELS}),
    "labels, masked": ("NiftiLabelsMasker", {"labels_img": LABELS, "mask_img": MASK, "background_label": 2}),
    "labels, cleaned": ("NiftiLabelsMasker", {"labels_img": LABELS, "smoothing_fwhm": 5, **CLEANING}),
    "data on the grid of labels": (
        "NiftiLabelsMasker",
        {"labels_img": COARSE_LABELS, "resampling_target": "labels", "smoothing_fwhm": 4},
    ),
    "labels on the grid of data": ("NiftiLabelsMasker", {"labels_img": COARSE_LABELS}),
    "labels, another type": ("NiftiLabelsMasker", {"labels_img": LABELS, "dtype": "auto"}),
    "spheres": ("NiftiSpheresMasker", {"seeds": SEEDS, "radius": 7, "allow_overlap": True}),
    "single voxels": ("NiftiSpheresMasker", {"seeds": SEEDS}),
    "spheres, masked": ("NiftiSpheresMasker", {"seeds": SEEDS, "radius": 7, "allow_overlap": True, "mask_img": MASK}),
}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """The same values in all ways in which nilearn takes an image."""
    folder = tmp_path_factory.mktemp("images")
    floats = DATA.astype(np.float32)
    single = nib.Nifti1Image(DATA.astype(np.int16), AFFINE)
    single.header.set_slope_inter(0.5, 3)
    single.to_filename(folder / "scaled.nii.gz")
    volumes = [folder / f"volume-{number:02}.nii.gz" for number in range(N_VOLUMES)]
    for number, path in enumerate(volumes):
        nib.Nifti1Image(floats[..., number], AFFINE).to_filename(path)
    return {
        "path": str(save_run(folder / "run.nii.gz", floats, AFFINE)),
        "path of integers": save_run(folder / "integers.nii", DATA.astype(np.int16), AFFINE),
        "path of scaled integers": folder / "scaled.nii.gz",
        "path of float64, big-endian": save_run(folder / "big.nii.gz", DATA.astype(">f8"), AFFINE),
        "image on disk": nib.load(folder / "run.nii.gz"),
        "array": nib.Nifti1Image(floats, AFFINE),
        "array, big-endian": nib.Nifti1Image(floats.astype(">f4"), AFFINE),
        "array in C order": nib.Nifti1Image(np.ascontiguousarray(DATA), AFFINE),
        "list of paths": volumes,
        "pattern": str(folder / "volume-*.nii.gz"),
        "list of arrays": [nib.Nifti1Image(floats[..., number], AFFINE) for number in range(N_VOLUMES)],
        "one volume": volumes[3],
    }


@pytest.fixture(params=[2**22, 3 * 4 * 336], ids=["one block", "many blocks"])
def budget(request, monkeypatch):
    """Blocks that hold the whole image, and blocks of a few volumes."""
    monkeypatch.setattr(steps, "BLOCK_BYTES", request.param)
    monkeypatch.setattr(steps, "SMOOTHING_BLOCK_BYTES", request.param)


def both(kind, parameters, imgs, **options):
    """Extract with nilearn's class and with ours."""
    masked = [getattr(package, kind)(**parameters) for package in (nilearn_maskers, maskers)]
    return [masker.fit_transform(imgs, **options) for masker in masked]


def assert_same(found, expected):
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    assert np.array_equal(found, expected, equal_nan=True)


@pytest.fixture
def streamed(monkeypatch):
    """Nilearn's own extraction is not to be needed."""
    monkeypatch.setattr(extraction.internals, "filter_and_extract", None)


@pytest.mark.usefixtures("budget")
@pytest.mark.parametrize("case", CASES)
def test_the_same_bits_as_nilearn(case, images):
    kind, parameters = CASES[case]
    cleans = "detrend" in parameters
    options = {"confounds": CONFOUNDS, "sample_mask": np.arange(3, N_VOLUMES)} if "high_pass" in parameters else {}
    expected, found = both(kind, parameters, images["path"], **options)
    assert_same(found, expected)
    assert not cleans or not np.array_equal(found[:30], DATA[:30, :0])


@pytest.mark.usefixtures("streamed")
@pytest.mark.parametrize(
    "case", ["mask", "mask of the background", "labels", "labels, cleaned", "spheres", "spheres, masked"]
)
@pytest.mark.parametrize(
    "kind_of_image",
    [
        "path of integers",
        "path of scaled integers",
        "path of float64, big-endian",
        "array",
        "array, big-endian",
        "list of paths",
    ],
)
def test_every_type(case, kind_of_image, images, monkeypatch):
    kind, parameters = CASES[case]
    monkeypatch.setattr(steps, "BLOCK_BYTES", 3 * 4 * 336)
    found = getattr(maskers, kind)(**parameters).fit_transform(images[kind_of_image])
    assert_same(found, getattr(nilearn_maskers, kind)(**parameters).fit_transform(images[kind_of_image]))


@pytest.mark.usefixtures("budget")
@pytest.mark.parametrize(
    "kind_of_image", ["image on disk", "array in C order", "pattern", "list of arrays", "one volume"]
)
def test_every_way_to_give_an_image(kind_of_image, images):
    for case in ("mask", "labels"):
        expected, found = both(*CASES[case], images[kind_of_image])
        assert_same(found, expected)


def test_a_list_of_volumes_is_never_put_together(images, monkeypatch):
    monkeypatch.setattr(lazy.SeriesData, "__array__", None)
    assert maskers.NiftiLabelsMasker(LABELS).fit_transform(images["list of paths"]).shape == (N_VOLUMES, 5)


@pytest.mark.parametrize("strategy", ["mean", "median", "sum", "minimum", "maximum", "standard_deviation", "variance"])
def test_statistics(strategy, images, monkeypatch):
    monkeypatch.setattr(steps, "BLOCK_BYTES", 3 * 4 * 336)
    expected, found = both("NiftiLabelsMasker", {"labels_img": LABELS, "strategy": strategy}, images["path"])
    assert_same(found, expected)


def test_masked_labels_can_be_kept(images):
    values = np.asarray(LABELS.dataobj)
    mask = nib.Nifti1Image((values != 3).astype(np.uint8), AFFINE)
    parameters = {"labels_img": LABELS, "mask_img": mask, "keep_masked_labels": True}
    expected, found = both("NiftiLabelsMasker", parameters, images["path"])
    assert not found[:, 2].any()
    assert_same(found, expected)


def test_no_label_is_left(images):
    """The mask, or the image, has none: no columns, or the error that newer versions of nilearn raise."""
    background = nib.Nifti1Image((np.asarray(LABELS.dataobj) == 0).astype(np.uint8), AFFINE)
    empty = nib.Nifti1Image(np.zeros(GRID, np.int32), AFFINE)
    for parameters in ({"labels_img": LABELS, "mask_img": background}, {"labels_img": empty}):
        ended = []
        for package in (nilearn_maskers, maskers):
            try:
                ended.append(package.NiftiLabelsMasker(**parameters).fit_transform(images["path"]).shape)
            except ValueError as error:
                ended.append(str(error))
        assert ended[0] == ended[1]
        assert ended[0] == (N_VOLUMES, 0) or "label" in ended[0]


@pytest.mark.parametrize("values", [[np.nan], [np.inf], [np.inf, -np.inf], [np.nan, np.inf]])
@pytest.mark.parametrize("case", ["mask", "labels", "spheres", "spheres, masked"])
def test_values_that_are_not_finite(case, values, tmp_path, monkeypatch):
    """Spread over the blocks: what becomes of an infinite value in a sphere depends on the other values."""
    monkeypatch.setattr(steps, "BLOCK_BYTES", 3 * 4 * 336)
    data = DATA.astype(np.float32)
    for number, value in enumerate(values):
        data[3:5, 3:5, 3:5, 5 + 20 * number] = value
    path = save_run(tmp_path / "run.nii", data, AFFINE)
    expected, found = both(*CASES[case], path)
    assert_same(found, expected)


def test_several_images(images):
    several = [images["path"], images["path of integers"]]
    for kind, parameters in (
        ("MultiNiftiMasker", {}),
        ("MultiNiftiMasker", {"mask_img": MASK, "n_jobs": 2}),
        ("MultiNiftiLabelsMasker", {"labels_img": LABELS}),
    ):
        for found, expected in zip(*reversed(both(kind, parameters, several)), strict=True):
            assert_same(found, expected)


def test_an_array_in_memory_is_not_changed(tmp_path):
    data = DATA.astype(np.float32)
    data[3, 3, 3, 5] = np.nan
    maskers.NiftiLabelsMasker(LABELS).fit_transform(nib.Nifti1Image(data, AFFINE))
    assert np.isnan(data[3, 3, 3, 5])


def test_what_depends_on_all_values_nilearn_does(images, monkeypatch):
    """Integers of 64 bit become 32 bit where all of them fit."""
    image = nib.Nifti1Image(DATA.astype(np.int64), AFFINE, dtype=np.int64)
    used = []
    own = extraction.internals.filter_and_extract
    monkeypatch.setattr(
        extraction.internals, "filter_and_extract", lambda *args, **options: used.append(1) or own(*args, **options)
    )
    found, expected = reversed(both("NiftiMasker", {"mask_img": MASK, "smoothing_fwhm": 4}, image))
    assert_same(found, expected)
    assert used


# Reports


@pytest.fixture
def reads(monkeypatch):
    """Count how often the data of an image file are read."""
    counted = []
    read = blocks.read_blocks

    def count(*args, **options):
        counted.append(args[0].path)
        return read(*args, **options)

    monkeypatch.setattr(blocks, "read_blocks", count)
    return counted


@pytest.mark.parametrize(
    "case", ["mask", "labels", "spheres", "spheres, masked", "mask on another grid", "mask on a wanted grid"]
)
def test_a_report_shows_what_was_taken_along(case, images, reads):
    kind, parameters = CASES[case]
    masker = getattr(maskers, kind)(**parameters)
    masker.fit_transform(images["path"])
    n_reads = len(reads)
    shown = [masker._reporting_data["images"], *filter(None, masker._reporting_data.get("transform", []))]
    expected = getattr(nilearn_maskers, kind)(**parameters).fit(images["path"])
    wanted = [expected._reporting_data["images"], *filter(None, expected._reporting_data.get("transform", []))]
    for one, other in zip(shown, wanted, strict=True):
        assert np.array_equal(one.affine, other.affine)
        assert np.array_equal(np.asarray(one.dataobj), np.asarray(other.dataobj))
    assert len(reads) == n_reads == (2 if "grid" in case else 1)  # resampling looks for the range of values first


def test_fitting_alone_reads_nothing_until_a_report_is_made(images, reads):
    masker = maskers.NiftiLabelsMasker(LABELS).fit(images["path"])
    assert not reads
    assert np.array_equal(masker._reporting_data["images"].dataobj, DATA[..., N_VOLUMES // 2].astype(np.float32))
    assert len(reads) == 1


# Into a file


@pytest.mark.usefixtures("budget")
@pytest.mark.parametrize("case", ["mask", "mask on another grid", "mask, smoothed and cleaned", "mask, runs"])
def test_signals_are_written_while_reading(case, images, tmp_path):
    _, parameters = CASES[case]
    options = {"confounds": CONFOUNDS} if "high_pass" in parameters else {}
    expected = nilearn_maskers.NiftiMasker(**parameters).fit_transform(images["path"], **options)
    out = tmp_path / "made" / "signals.npy"
    found = maskers.NiftiMasker(**parameters).fit_transform(images["path"], output=out, **options)
    assert isinstance(found, np.memmap)
    assert_same(found, expected)
    assert [path.name for path in out.parent.iterdir()] == ["signals.npy"]
    assert np.array_equal(np.load(out), expected)


def test_a_file_of_signals_appears_whole_or_not_at_all(tmp_path):
    path = save_run(tmp_path / "run.nii.gz", DATA.astype(np.float32), AFFINE)
    whole = path.read_bytes()
    masker = maskers.NiftiMasker(MASK).fit()
    path.write_bytes(whole[:-100])
    with pytest.raises(Exception, match="ends early"):
        masker.transform(path, output=tmp_path / "signals.npy")
    assert [file.name for file in tmp_path.iterdir()] == ["run.nii.gz"]
    with pytest.raises(Exception, match=r"signals\.txt does not end in \.npy"):
        masker.transform(path, output=tmp_path / "signals.txt")


WRITE = """
import sys, resource, warnings
warnings.simplefilter("ignore")
import nibabel, numpy
from roistream.maskers import NiftiMasker
mask = nibabel.Nifti1Image(numpy.ones((40, 40, 40), "u1"), numpy.eye(4))
masker = NiftiMasker(mask, reports=False, standardize=None).fit()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
masker.transform(sys.argv[1], output=sys.argv[2])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_what_is_written_is_no_memory_of_the_process(tmp_path):
    """Not even for a while, as pages of a map would be: 100 MiB of signals."""
    path, out = save_run(tmp_path / "run.nii", np.ones((40, 40, 40, 400), np.float32)), tmp_path / "signals.npy"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "scripts")}
    done = subprocess.run([sys.executable, "-c", WRITE, path, out], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert out.stat().st_size > 95 * 2**20
    assert int(done.stdout) < 50 * 1024  # KiB


# What stays


def test_caching(images, tmp_path, reads):
    """The second time nothing is read."""
    for _ in range(2):
        masker = maskers.NiftiLabelsMasker(LABELS, memory=str(tmp_path / "cache"), memory_level=1, reports=False)
        found = masker.fit_transform(images["path"])
    assert len(reads) == 1
    assert_same(found, nilearn_maskers.NiftiLabelsMasker(LABELS).fit_transform(images["path"]))


def test_a_lazy_image_is_pickled_as_names_of_files(images):
    import pickle

    series = inputs.as_series(images["list of paths"])
    pickled = pickle.dumps(series)
    assert len(pickled) < 2**17
    assert np.array_equal(np.asarray(pickle.loads(pickled).dataobj), concat_imgs(images["list of paths"]).dataobj)


def test_set_output(images):
    with warnings.catch_warnings():
        found = maskers.NiftiMasker(MASK).set_output(transform="pandas").fit_transform(images["path"])
    assert list(found.columns[:2]) == ["niftimasker0", "niftimasker1"]
