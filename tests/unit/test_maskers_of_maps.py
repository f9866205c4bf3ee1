"""Weights of maps: least squares in double precision, no further from the solution than nilearn is."""

from contextlib import nullcontext

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nilearn import maskers as nilearn_maskers

from conftest import save_run
from roistream import maskers
from roistream.maskers import steps
from roistream.maskers.sparse_maps import SparseMaps, sparsely
from roistream.regions import maps as maps_module

pytestmark = pytest.mark.filterwarnings("ignore")

GRID, N_VOLUMES, N_MAPS = (7, 8, 6), 20, 5
AFFINE = np.array([[3.0, 0, 0, -9], [0, 3, 0, -9], [0, 0, 3, -9], [0, 0, 0, 1]])
COARSE = np.array([[4.0, 0, 0, -8], [0, 4, 0, -8], [0, 0, 4, -8], [0, 0, 0, 1]])
RNG = np.random.default_rng(5)
DATA = (RNG.standard_normal((*GRID, N_VOLUMES)) * 50 + 1000).astype(np.float32)
MASK = nib.Nifti1Image((RNG.random(GRID) > 0.3).astype(np.uint8), AFFINE)
COARSE_MASK = nib.Nifti1Image(np.ones((5, 5, 4), np.uint8), COARSE)


def overlapping():
    """Maps of some slabs each, which overlap; mostly 0."""
    maps = np.zeros((*GRID, N_MAPS), np.float32)
    for number in range(N_MAPS):
        maps[number : number + 2, 1:6, :5, number] = RNG.random((2, 5, 5))
    return maps


MAPS = overlapping()


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("maps")
    nib.Nifti1Image(MAPS, AFFINE).to_filename(folder / "maps.nii.gz")
    return save_run(folder / "run.nii.gz", DATA, AFFINE), folder / "maps.nii.gz"


@pytest.fixture(params=[2**22, 3 * 4 * 336], ids=["one block", "many blocks"])
def budget(request, monkeypatch):
    monkeypatch.setattr(steps, "BLOCK_BYTES", request.param)


def solution(maps, data):
    return np.linalg.lstsq(maps.astype(float), data.astype(float), rcond=None)[0].T


@pytest.mark.usefixtures("budget")
@pytest.mark.parametrize("on_disk", [True, False])
def test_least_squares(on_disk, paths):
    run, atlas = paths
    maps_img = atlas if on_disk else nib.Nifti1Image(MAPS, AFFINE)
    masker = maskers.NiftiMapsMasker(maps_img)
    found = masker.fit_transform(run)
    expected = nilearn_maskers.NiftiMapsMasker(maps_img).fit_transform(run)
    assert isinstance(masker.maps_img_.dataobj, SparseMaps) is on_disk
    exact = solution(MAPS.reshape(-1, N_MAPS), DATA.reshape(-1, N_VOLUMES))
    assert found.dtype == expected.dtype == np.float32
    assert np.abs(found - exact).max() <= 1e-6 * np.abs(exact).max()
    assert np.abs(found - exact).max() <= np.abs(expected - exact).max()


@pytest.mark.usefixtures("budget")
@pytest.mark.parametrize(
    "parameters",
    [
        {"mask_img": MASK},
        {"mask_img": COARSE_MASK, "resampling_target": "mask"},
        {"mask_img": MASK, "resampling_target": "maps", "smoothing_fwhm": 5},
        {"detrend": True, "standardize": "zscore_sample", "high_pass": 0.02, "t_r": 2.0},
        {"allow_overlap": True, "dtype": "float64"},
    ],
)
def test_like_nilearn(parameters, paths):
    run, atlas = paths
    ours, theirs = (package.NiftiMapsMasker(atlas, **parameters) for package in (maskers, nilearn_maskers))
    expected = theirs.fit_transform(run)
    found = ours.fit_transform(run)
    assert found.dtype == expected.dtype
    scale = 1 if "detrend" in parameters else 1000
    assert np.abs(found - expected).max() < (2e-3 if scale == 1 else 2e-5 * scale)
    assert np.array_equal(np.asarray(ours.maps_img_.dataobj), np.asarray(theirs.maps_img_.dataobj))
    assert np.allclose(
        ours.inverse_transform(found).dataobj, theirs.inverse_transform(expected).dataobj, rtol=1e-4, atol=1
    )


def test_maps_outside_of_the_mask_are_dropped_as_nilearn_drops_them(paths):
    run, atlas = paths
    mask = np.ones(GRID, np.uint8)
    mask[3:5] = 0  # all of the map 3
    for keep in (False, True):
        parameters = {"mask_img": nib.Nifti1Image(mask, AFFINE), "keep_masked_maps": keep}
        with nullcontext() if keep else pytest.warns(match=r"removed: \{3\}"):
            found = maskers.NiftiMapsMasker(atlas, **parameters).fit_transform(run)
        expected = nilearn_maskers.NiftiMapsMasker(atlas, **parameters).fit_transform(run)
        assert found.shape == expected.shape == (N_VOLUMES, N_MAPS if keep else N_MAPS - 1)
        assert np.allclose(found, expected, rtol=2e-5)


def test_maps_that_depend_on_each_other_get_the_least_weights(paths):
    """Twice the same map, and one that is empty: as nilearn, which halves the weight."""
    twice = np.concatenate([MAPS, MAPS[..., 1:2], np.zeros((*GRID, 1), np.float32)], axis=3)
    found, expected = (
        package.NiftiMapsMasker(nib.Nifti1Image(twice, AFFINE)).fit_transform(paths[0])
        for package in (maskers, nilearn_maskers)
    )
    assert np.allclose(found[:, 1], found[:, N_MAPS])
    assert not found[:, -1].any()
    assert np.allclose(found, expected, rtol=1e-5, atol=1e-2)


@settings(max_examples=30, deadline=None)
@given(closeness=st.floats(1e-7, 1), seed=st.integers(0, 2**16), dense=st.booleans())
def test_nearly_dependent_maps(closeness, seed, dense):
    """The nearer two maps are to each other, the more digits are lost; still no more than by a good solver."""
    from scipy import sparse

    rng = np.random.default_rng(seed)
    maps = rng.random((200, 4)) * (rng.random((200, 4)) > 0.5)
    maps[:, 3] = maps[:, 2] + closeness * maps[:, 3]
    data = rng.standard_normal((200, 3)) * 50 + 1000
    given = maps if dense else sparse.csr_array(maps)
    factor, refines = maps_module.pseudo_inverse_of_gram(given, np.float64)
    weights = factor @ (given.T @ data)
    if refines:
        weights += factor @ (given.T @ (data - given @ weights))
    exact = np.linalg.lstsq(maps, data, rcond=None)[0]
    assert np.abs(weights - exact).max() <= 1e-6 * np.abs(exact).max()


def test_an_atlas_that_is_not_sparse_is_held_as_it_is(tmp_path):
    nib.Nifti1Image(MAPS + 1, AFFINE).to_filename(tmp_path / "full.nii")
    assert sparsely(nib.load(tmp_path / "full.nii")) is None
    found, expected = (
        package.NiftiMapsMasker(tmp_path / "full.nii").fit_transform(nib.Nifti1Image(DATA, AFFINE))
        for package in (maskers, nilearn_maskers)
    )
    assert np.allclose(found, expected, rtol=1e-4, atol=1e-2)


def test_sparse_maps_are_an_image(paths):
    maps_img = sparsely(nib.load(paths[1]))
    assert np.array_equal(np.asarray(maps_img.dataobj), MAPS)
    assert np.array_equal(maps_img.slicer[..., 2:4].dataobj, MAPS[..., 2:4])
    assert np.array_equal(maps_img.dataobj[..., 2], MAPS[..., 2])


def test_reports_and_several_images(paths):
    run, atlas = paths
    masker = maskers.NiftiMapsMasker(atlas)
    masker.fit_transform(run)
    assert "masker" in str(masker.generate_report(displayed_maps=[0, 2]))
    several = maskers.MultiNiftiMapsMasker(atlas).fit_transform([run, run])
    assert np.array_equal(several[0], masker.transform(run))
