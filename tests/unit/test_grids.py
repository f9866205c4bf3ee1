"""Which grids are the same, and their names."""

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nibabel.affines import apply_affine, from_matvec
from nibabel.eulerangles import euler2mat

from roistream.images.grids import SAME_GRID, corner_distance, grid_id, same_grid
from roistream.images.image import inspect_volume
from roistream.samples import adhd

GRID = (20, 22, 9)


def save(path, affine, grid=GRID, kind=nib.Nifti1Image, **codes):
    image = kind(np.zeros(grid, np.uint8), affine)
    image.set_sform(affine, code=codes.get("sform", 1))
    image.set_qform(affine, code=codes.get("qform", 1))
    image.to_filename(path)
    return inspect_volume(path)


affines = st.builds(
    lambda angles, zooms, signs, shift: from_matvec(euler2mat(*angles) @ np.diag(np.multiply(zooms, signs)), shift),
    st.tuples(*[st.floats(-3, 3)] * 3),
    st.tuples(*[st.floats(0.3, 6)] * 3),
    st.tuples(*[st.sampled_from([-1, 1])] * 3),
    st.tuples(*[st.floats(-200, 200)] * 3),
)
grids = st.tuples(*[st.integers(1, 300)] * 3)
moves = st.tuples(*[st.floats(-1, 1)] * 3)


def turned(grid, affine, move, turn):
    """Move a grid by some voxels, and turn it about its corner."""
    return affine @ from_matvec(euler2mat(*turn), move)


@given(grid=grids, affine=affines, move=moves, turn=moves, by=st.sampled_from([0, 1e-6, 1e-4, 1e-3, 1e-2, 1]))
def test_the_distance_is_that_of_the_farthest_corner(grid, affine, move, turn, by):
    other = turned(grid, affine, np.multiply(move, by), np.multiply(turn, by / 300))
    corners = np.array([[-0.5, n - 0.5] for n in grid])
    corners = np.stack(np.meshgrid(*corners), axis=-1).reshape(-1, 3)
    in_mm = apply_affine(other, corners) - apply_affine(affine, corners)
    in_voxels = np.linalg.norm(in_mm @ np.linalg.inv(affine[:3, :3]).T, axis=1)
    assert corner_distance(grid, affine, other) == pytest.approx(in_voxels.max(), abs=1e-9)
    # No voxel moves more than the corners do.
    rng = np.random.default_rng(0)
    points = rng.uniform(-0.5, np.array(grid) - 0.5, (20, 3))
    in_mm = apply_affine(other, points) - apply_affine(affine, points)
    assert np.linalg.norm(in_mm @ np.linalg.inv(affine[:3, :3]).T, axis=1).max() <= in_voxels.max() + 1e-9
    if abs(in_voxels.max() - SAME_GRID) > 1e-5:
        same = in_voxels.max() <= SAME_GRID
        assert same_grid(grid, affine, grid, other) == same_grid(grid, other, grid, affine) == same


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize(("voxels", "same"), [(0, True), (0.00099, True), (-0.00099, True), (0.00101, False)])
def test_a_thousandth_of_a_voxel_is_the_limit(axis, voxels, same):
    affine = np.diag([0.7, 3, 5, 1.0])
    shift = np.zeros(3)
    shift[axis] = voxels
    assert same_grid(GRID, affine, GRID, affine @ from_matvec(np.eye(3), shift)) == same


def test_a_small_turn_counts_where_it_is_largest():
    """A thousandth of a degree is nothing for 9 slices, and 0.0035 voxels at the far side of 200."""
    turn = from_matvec(euler2mat(z=np.deg2rad(0.001)))
    assert same_grid((9, 9, 9), np.eye(4), (9, 9, 9), turn)
    assert not same_grid((200, 9, 9), np.eye(4), (200, 9, 9), turn)


def test_other_shapes_are_other_grids():
    assert not same_grid((3, 4, 5), np.eye(4), (3, 5, 4), np.eye(4))
    assert same_grid((3, 4, 5), np.eye(4), [3, 4, 5], np.eye(4))
    assert not same_grid((3, 4, 5), np.eye(4), (3, 4, 5), np.full((4, 4), np.nan))


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_a_quaternion_is_the_sform_that_it_was_made_from(tmp_path, kind):
    affine = from_matvec(euler2mat(0.2, -0.03, 0.02) @ np.diag([-3, 3, 3.3]), [31.7, -28.3, -14.9])
    whole = save(tmp_path / "sform.nii", affine, kind=kind)
    quaternion = save(tmp_path / "qform.nii", affine, kind=kind, sform=0)
    assert not np.array_equal(whole.affine, quaternion.affine)
    assert same_grid(whole.grid, whole.affine, quaternion.grid, quaternion.affine)


def test_a_quaternion_that_loses_digits_is_told(tmp_path):
    """NIfTI's quaternions lose half of their digits where they turn by nearly 180°: what the header says really is off."""
    affine = from_matvec(euler2mat(0, 0.001, 0) @ np.diag([-2, 2, 2]), [97, -131, -70])
    grid = (97, 115, 97)
    quaternion = save(tmp_path / "qform.nii", affine, grid, sform=0)
    assert np.array_equal(quaternion.affine, nib.load(quaternion.path).affine)
    assert 0.01 < corner_distance(grid, affine, quaternion.affine) < 0.2


# Names


def test_a_grid_has_a_name_of_twelve_digits():
    name = grid_id(adhd.GRID, adhd.AFFINE)
    assert len(name) == 12
    assert set(name) <= set("0123456789abcdef")
    # It stands in paths: not even its byte may change with the machine.
    assert name == grid_id(np.array(adhd.GRID, ">i4"), adhd.AFFINE.astype(">f4"))
    assert name == grid_id(list(adhd.GRID), np.asfortranarray(adhd.AFFINE))


def test_noise_and_negative_zero_change_no_name():
    affine = adhd.AFFINE.copy()
    affine[affine == 0] = -0.0
    assert grid_id(adhd.GRID, affine) == grid_id(adhd.GRID, adhd.AFFINE)
    affine[0, 1], affine[1, 0], affine[2, 1] = 1e-16, -1e-16, -1e-12
    assert grid_id(adhd.GRID, affine) == grid_id(adhd.GRID, adhd.AFFINE)


def test_other_grids_have_other_names():
    other = adhd.AFFINE.copy()
    other[0, 3] += 0.003
    names = {
        grid_id(grid, affine)
        for grid in ((61, 73, 61), (61, 61, 73), (73, 61, 61), (61, 73, 1), (61, 73, 0x3D00))
        for affine in (adhd.AFFINE, other, np.diag([-1, 1, 1, 1]) @ adhd.AFFINE)
    }
    assert len(names) == 15


@given(grid=grids, affine=affines, move=moves, by=st.sampled_from([0, 1e-12, 1e-10, 1e-9, 1e-7, 1e-3]))
def test_equal_names_mean_the_same_grid(grid, affine, move, by):
    other = turned(grid, affine, np.multiply(move, by), np.multiply(move, by / 300))
    if grid_id(grid, affine) == grid_id(grid, other):
        assert same_grid(grid, affine, grid, other)
    if by == 1e-3 and corner_distance(grid, affine, other) > SAME_GRID:
        assert grid_id(grid, affine) != grid_id(grid, other)
