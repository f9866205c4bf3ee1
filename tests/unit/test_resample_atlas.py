"""The atlas on an image's grid, against nilearn's own resampling."""

import warnings

import nibabel as nib
import numpy as np
import pytest
from nilearn.image import resample_to_img

from conftest import AFFINE, save_run
from resample_atlas import resample_atlas
from roistream.errors import UserError
from roistream.regions.atlas import read_atlas, read_labels

ATLAS_AFFINE = np.array([[2.0, 0, 0, -9], [0, 2, 0, -11], [0, 0, 2, -7], [0, 0, 0, 1]])


@pytest.fixture
def atlas(tmp_path, rng):
    """Labels 1 to 8 in the octants of a grid of its own, and a few voxels of noise."""
    labels = sum(2**axis * (index // 6) for axis, index in enumerate(np.indices((12, 12, 12)))) + 1
    labels[rng.random(labels.shape) < 0.05] = 0
    return save_atlas(tmp_path / "atlas.nii.gz", labels.astype(np.int16), ATLAS_AFFINE)


def save_atlas(path, labels, affine=AFFINE):
    nib.Nifti1Image(labels, affine, dtype=labels.dtype).to_filename(path)
    return path


def save_grid(path, grid, affine):
    """Save an image of which only the grid matters."""
    return save_run(path, np.zeros((*grid, 2), np.int16), affine)


def nilearn_labels(atlas, image):
    """Resample as a user of nilearn would."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        on_grid = resample_to_img(
            str(atlas),
            nib.load(image).slicer[..., 0],
            interpolation="nearest",
            force_resample=True,
            copy_header=True,
        )
    return np.asarray(on_grid.dataobj)


OBLIQUE = nib.affines.from_matvec(
    nib.eulerangles.euler2mat(0.1, 0.2, 0.3) @ np.diag([2.3, 1.9, 2.7]), [-9.13, -10.71, -6.57]
)


@pytest.mark.parametrize(
    ("grid", "affine"),
    [
        ((7, 7, 8), nib.affines.from_matvec(np.eye(3) * 3.1, [-9.3, -11.2, -7.1])),
        ((25, 24, 23), nib.affines.from_matvec(np.eye(3) * 0.97, [-9.05, -11.07, -6.94])),
        ((9, 9, 9), nib.affines.from_matvec(np.diag([-3.1, 3.1, 3.1]), [13.2, -11.2, -7.1])),
        ((8, 9, 7), OBLIQUE),
        ((12, 12, 12), ATLAS_AFFINE),
    ],
    ids=["coarser", "finer", "flipped", "oblique", "the same"],
)
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_labels_are_those_of_nilearn(tmp_path, atlas, grid, affine, ending):
    image = save_grid(tmp_path / f"image{ending}", grid, affine)
    resampled = tmp_path / "below" / f"atlas_dseg{ending}"
    resample_atlas(atlas, image, resampled)
    loaded = nib.load(resampled)
    assert loaded.shape == grid
    assert loaded.get_data_dtype() == np.int32
    assert np.array_equal(loaded.affine, nib.load(image).affine)
    labels = np.asarray(loaded.dataobj)
    assert np.array_equal(labels, nilearn_labels(atlas, image))
    assert set(np.unique(labels)) == set(range(9))


def test_on_the_atlas_s_own_grid_nothing_changes(tmp_path, atlas):
    image = save_grid(tmp_path / "image.nii", (12, 12, 12), ATLAS_AFFINE)
    resample_atlas(atlas, image, tmp_path / "resampled.nii.gz")
    assert np.array_equal(read_atlas(tmp_path / "resampled.nii.gz")[0], read_atlas(atlas)[0])


def test_large_labels_survive(tmp_path):
    labels = np.zeros((6, 6, 6), np.int32)
    labels[:3], labels[3:] = 2**24 + 1, 2**31 - 1  # no float32 holds them
    atlas = save_atlas(tmp_path / "atlas.nii.gz", labels)
    image = save_grid(tmp_path / "image.nii", (8, 8, 8), AFFINE @ np.diag([0.7, 0.7, 0.7, 1]))
    resample_atlas(atlas, image, tmp_path / "resampled.nii.gz")
    assert read_labels(tmp_path / "resampled.nii.gz") == [2**24 + 1, 2**31 - 1]


def test_only_the_image_s_header_is_read(tmp_path, atlas):
    image = save_grid(tmp_path / "image.nii", (7, 7, 8), ATLAS_AFFINE)
    image.write_bytes(image.read_bytes()[:352])
    resample_atlas(atlas, image, tmp_path / "resampled.nii.gz")
    assert nib.load(tmp_path / "resampled.nii.gz").shape == (7, 7, 8)


@pytest.mark.parametrize("by", [[500, 0, 0], [0, -40, 0], [0, 0, 24.1]])
def test_an_atlas_outside_the_image_is_refused(tmp_path, atlas, by):
    affine = ATLAS_AFFINE + nib.affines.from_matvec(np.zeros((3, 3)), by) * [[1], [1], [1], [0]]
    image = save_grid(tmp_path / "image.nii", (12, 12, 12), affine)
    expected = rf"^No region of the atlas {atlas} lies inside {image}; check that both are in the same space"
    with pytest.raises(UserError, match=expected) as error:
        resample_atlas(atlas, image, tmp_path / "resampled.nii.gz")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "resampled.nii.gz").exists()


def test_an_atlas_without_labels_is_refused(tmp_path):
    atlas = save_atlas(tmp_path / "atlas.nii.gz", np.zeros((6, 6, 6), np.int16))
    with pytest.raises(UserError, match="No region of the atlas"):
        resample_atlas(atlas, save_grid(tmp_path / "image.nii", (6, 6, 6), AFFINE), tmp_path / "resampled.nii.gz")


def test_unusable_inputs_are_named(tmp_path, atlas):
    image = save_grid(tmp_path / "image.nii", (7, 7, 8), ATLAS_AFFINE)
    with pytest.raises(UserError, match=rf"^{atlas} is 3D"):
        resample_atlas(atlas, atlas, tmp_path / "resampled.nii.gz")
    with pytest.raises(UserError, match=rf"^{image} is 4D"):
        resample_atlas(image, image, tmp_path / "resampled.nii.gz")
    assert not (tmp_path / "resampled.nii.gz").exists()


def test_the_real_atlas_on_a_real_run_keeps_all_64_labels(tmp_path, shared_data):
    atlas = shared_data / "template_cambridge_basc_multiscale_sym_scale064.nii.gz"
    image = shared_data / "sub-001_task-rest_bold.nii.gz"
    resample_atlas(atlas, image, tmp_path / "resampled.nii.gz")
    assert read_labels(tmp_path / "resampled.nii.gz") == list(range(1, 65))
    assert np.array_equal(read_atlas(tmp_path / "resampled.nii.gz")[0], nilearn_labels(atlas, image))
