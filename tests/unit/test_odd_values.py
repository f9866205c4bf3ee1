"""Odd values of masks, atlases and images: one policy each, and a word in the log."""

import logging

import nibabel as nib
import numpy as np
import pytest
from extracted import LABELS, N_VOLUMES, Extracted, save_atlas
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import AFFINE, GRID, read_table, save_run
from roistream.cleaning.options import Cleaning
from roistream.errors import UserError
from roistream.images.image import inspect
from roistream.regions.atlas import read_label_image
from roistream.regions.masks import Mask, read_mask, read_voxels
from roistream.strategies import STRATEGIES


def save_scaled(path, stored, slope, inter=0.0):
    """Save integers with a scale factor."""
    image = nib.Nifti1Image(stored, AFFINE)
    image.header.set_slope_inter(1, 0)
    image.to_filename(path)
    content = bytearray(path.read_bytes())
    content[112:120] = np.array([slope, inter], "<f4").tobytes()
    path.write_bytes(content)
    return path


# Backgrounds that are not finite


@pytest.mark.parametrize("background", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("inside", [1, 7.5])
def test_a_background_that_is_not_finite_is_outside_of_a_mask(tmp_path, background, inside, caplog):
    values = np.full(GRID, background, np.float32)
    values[1:3, 2, 3], values[0, 0, 0] = inside, 0
    path = save_atlas(tmp_path / "region-1_mask.nii", values)
    assert read_voxels(path, GRID, AFFINE).tolist() == [1 + 6 * (2 + 7 * 3), 2 + 6 * (2 + 7 * 3)]
    assert np.array_equal(read_mask(path), values == inside)
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: {values.size - 3} voxels are not finite and count as background."
    ]


@pytest.mark.parametrize("strategy", list(STRATEGIES))
def test_every_strategy_takes_such_a_mask(tmp_path, rng, strategy):
    data = rng.standard_normal((*GRID, 5)).astype(np.float32)
    values = np.full(GRID, np.nan, np.float32)
    values[1:3, 2, 3] = 1
    path = save_atlas(tmp_path / "region-1_mask.nii", values)
    source = inspect(save_run(tmp_path / "run.nii", data))
    masks = [Mask(path, read_voxels(path, source.grid, source.affine))]
    [found] = STRATEGIES[strategy].load()(source, masks, 1, Cleaning())
    assert np.array_equal(found, data[1:3, 2, 3].T)


def test_an_atlas_has_the_same_policy_and_tells_it(tmp_path):
    values = np.where(LABELS, LABELS, np.nan).astype(np.float32)
    found = read_label_image(save_atlas(tmp_path / "atlas.nii", values))
    assert np.array_equal(found.labels, LABELS)
    assert found.remarks == (
        f"{tmp_path / 'atlas.nii'}: {np.isnan(values).sum()} voxels are not finite and count as background",
    )


# Labels off whole numbers


@settings(max_examples=60, deadline=None)
@given(
    labels=st.lists(st.integers(1, 2000), min_size=1, max_size=8, unique=True),
    dtype=st.sampled_from([np.int16, np.uint16]),
)
def test_labels_that_nibabel_has_scaled_come_back(tmp_path_factory, labels, dtype):
    """nibabel, SPM and others save floats in integers by a scale factor; each label stands for a whole number."""
    path = tmp_path_factory.mktemp("s") / "atlas.nii"
    values = np.zeros(GRID)
    values.flat[: len(labels)] = labels
    image = nib.Nifti1Image(values, AFFINE)
    image.header.set_data_dtype(dtype)
    image.to_filename(path)
    found = read_label_image(path)
    off = np.abs(np.asarray(nib.load(path).dataobj) - values).max()
    assert np.array_equal(found.labels, values)
    assert bool(found.remarks) == bool(off)


@pytest.mark.parametrize("slope", [0.1, 0.01, 0.7 / 7, 1 / 3 / 100])
def test_a_factor_that_float32_cannot_hold(tmp_path, slope):
    stored = np.round(LABELS / slope).astype(np.int16)
    found = read_label_image(save_scaled(tmp_path / "atlas.nii", stored, slope))
    assert np.array_equal(found.labels, LABELS)


@pytest.mark.parametrize(
    ("stored", "slope"),
    [
        (np.arange(210, dtype=np.int16).reshape(GRID), 0.1),
        (np.arange(210, dtype=np.int16).reshape(GRID), 0.5),
        (np.arange(210, dtype=np.int16).reshape(GRID), 1.5),
        ((LABELS > 0) * np.int16(200), 1 / 255),
    ],
    ids=["tenths", "halves", "one and a half", "a map of probability"],
)
def test_real_fractions_are_an_error_that_says_what_to_use(tmp_path, stored, slope):
    with pytest.raises(UserError, match=r"not whole numbers.*put several maps into a 4D image"):
        read_label_image(save_scaled(tmp_path / "atlas.nii", stored, slope))


def test_rounding_of_a_float_image(tmp_path):
    values = LABELS * (1 + 3e-6)
    assert np.array_equal(read_label_image(save_atlas(tmp_path / "atlas.nii", values)).labels, LABELS)
    with pytest.raises(UserError, match="not whole numbers"):
        read_label_image(save_atlas(tmp_path / "other.nii", LABELS * 1.01))


@pytest.mark.parametrize("n_maps", [2, 30])
def test_a_4d_atlas_is_an_error_that_says_what_to_use(tmp_path, n_maps):
    with pytest.raises(UserError, match=r"is 4D .*NiftiMapsMasker"):
        read_label_image(save_atlas(tmp_path / "atlas.nii", np.ones((*GRID, n_maps), np.float32)))


def test_a_mask_off_by_a_scale_factor(tmp_path, caplog):
    """0 is stored as -32768 and 1 as 32767: 0 does not come back as it was."""
    stored = np.where(LABELS == 2, 32767, -32768).astype(np.int16)
    path = save_scaled(tmp_path / "region-2_mask.nii", stored, 1 / 65535, 0.5)
    assert 0 not in np.asarray(nib.load(path).dataobj)
    assert np.array_equal(read_mask(path), LABELS == 2)
    assert read_voxels(path, GRID, AFFINE).size == np.count_nonzero(LABELS == 2)
    assert "off by rounding" in caplog.text


# Images under smoothing


@pytest.mark.parametrize("strategy", [name for name, entry in STRATEGIES.items() if entry.smooths])
def test_values_not_finite_are_told_under_smoothing(tmp_path, rng, strategy, caplog):
    data = rng.standard_normal((*GRID, 5)).astype(np.float32)
    data[1, 2, 3, :2], data[5, 6, 4, 4] = np.nan, np.inf  # in the region, and elsewhere
    values = np.zeros(GRID, np.uint8)
    values[1:3, 2, 3] = 1
    path = save_atlas(tmp_path / "region-1_mask.nii", values)
    source = inspect(save_run(tmp_path / "run.nii.gz", data))
    masks = [Mask(path, read_voxels(path, source.grid, source.affine))]
    cleaning = Cleaning(smoothing_fwhm=4.0)
    with caplog.at_level(logging.WARNING, "roistream"):
        [found] = STRATEGIES[strategy].load()(source, masks, 1, cleaning)
    assert np.isfinite(found).all()
    assert f"{source.path}: 3 values of the whole image were not finite" in caplog.text
    assert "region-1_mask.nii: 2 of 10 values were not finite" in caplog.text


def test_a_study_tells_of_values_not_finite_under_smoothing(tmp_path, rng, caplog):
    data = rng.standard_normal((*GRID, N_VOLUMES)).astype(np.float32)
    data[0, 1, 0, :2], data[5, 0, 4, 4] = np.nan, np.inf
    with caplog.at_level(logging.WARNING, "roistream"):
        found = Extracted(tmp_path, data, cleaning={"smoothing_fwhm": 4.0, "t_r": None})
    assert found.sidecar()["ValuesNotFinite"] == 2
    assert "3 values of the whole image were not finite" in caplog.text
    assert np.isfinite(found.table().to_numpy()).all()


def test_remarks_reach_the_sidecar_and_the_table(tmp_path, rng):
    from roistream.study.summary import summarise_image, write_study

    atlas = save_atlas(tmp_path / "bare.nii", np.where(LABELS, LABELS, np.nan).astype(np.float32))
    found = Extracted(tmp_path, rng.standard_normal((*GRID, N_VOLUMES)).astype(np.float32), atlas)
    [remark] = found.sidecar()["Remarks"]
    assert "not finite" in remark
    row = summarise_image("scan", found.path("stat-mean_timeseries.json"), tmp_path / "no.log")
    write_study([row], tmp_path / "study.tsv")
    assert read_table(tmp_path / "study.tsv")["remarks"].tolist() == [remark]
