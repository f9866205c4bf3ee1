"""Labels on another grid, against exact arithmetic voxel by voxel and against nilearn where it loses nothing."""

import itertools
import math
import tracemalloc
import warnings
from fractions import Fraction

import hypothesis.extra.numpy as hnp
import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nibabel.affines import apply_affine, from_matvec
from nibabel.eulerangles import euler2mat
from nilearn.image import resample_img
from nilearn.image.resampling import BoundingBoxError

from roistream.images.grids import same_grid
from roistream.regions.atlas import read_atlas
from roistream.regions.placement import ON_FACE, locate_atlas_voxels, place_labels
from roistream.samples import adhd

# Grids along the axes, whose centres lie on faces time and again, and oblique ones; 3-4-5 triangles do both.
TURNS = [
    np.eye(3),
    np.array([[0.6, -0.8, 0], [0.8, 0.6, 0], [0, 0, 1]]),
    euler2mat(0.1, 0.2, 0.3),
    euler2mat(-1.3, 0.02, 2.2),
]
affines = st.builds(
    lambda permutation, signs, zooms, turn, shift: from_matvec(
        TURNS[turn] @ (np.eye(3)[permutation] * np.multiply(signs, zooms)), shift
    ),
    st.permutations(range(3)),
    st.tuples(*[st.sampled_from([-1, 1])] * 3),
    st.tuples(*[st.sampled_from([0.5, 1.0, 2.0, 2.5, 3.0])] * 3),
    st.sampled_from([0, 0, 1, 2, 3]),
    st.tuples(*[st.sampled_from([-5.25, -2.0, -1.1, 0.0, 0.2, 0.5, 0.75, 4.3])] * 3),
)
straight = affines.filter(lambda affine: (np.count_nonzero(affine[:3, :3], axis=0) == 1).all())
shapes = hnp.array_shapes(min_dims=3, max_dims=3, max_side=6)
label_images = shapes.flatmap(lambda shape: hnp.arrays(np.int32, shape, elements=st.integers(0, 5)))


def exactly(matrix):
    return [[Fraction(value) for value in row] for row in matrix.tolist()]


def inverse(rows):
    """Invert by Gauss and Jordan."""
    n = len(rows)
    rows = [[*row, *(Fraction(i == j) for j in range(n))] for i, row in enumerate(rows)]
    for i in range(n):
        pivot = next(j for j in range(i, n) if rows[j][i])
        rows[i], rows[pivot] = rows[pivot], rows[i]
        rows[i] = [value / rows[i][i] for value in rows[i]]
        for j in set(range(n)) - {i}:
            rows[j] = [a - rows[j][i] * b for a, b in zip(rows[j], rows[i], strict=True)]
    return [row[n:] for row in rows]


def containing(position, n):
    """Give the voxel of a row in which a position lies, None outside of it."""
    face = round(position + Fraction(1, 2))  # between the voxels face - 1 and face
    if abs(position + Fraction(1, 2) - face) <= Fraction(ON_FACE):
        candidates = [face, face - 1]
    else:
        candidates = [math.floor(position + Fraction(1, 2))]
    return next((voxel for voxel in candidates if 0 <= voxel < n), None)


def containing_voxel(index, to_other, shape):
    voxels = [
        containing(sum(a * b for a, b in zip(row, (*index, 1), strict=True)), n)
        for row, n in zip(to_other[:3], shape, strict=True)
    ]
    return None if None in voxels else tuple(voxels)


def by_hand(shape, affine, other_shape, other_affine):
    """Find for each voxel that of the other grid in which its centre lies."""
    to_mm, from_mm = exactly(affine), inverse(exactly(other_affine))
    to_other = [
        [sum(a * b for a, b in zip(row, column, strict=True)) for column in zip(*to_mm, strict=True)] for row in from_mm
    ]
    return {index: containing_voxel(index, to_other, other_shape) for index in itertools.product(*map(range, shape))}


@settings(max_examples=150, deadline=None)
@given(labels=label_images, affine=affines, grid=shapes, target=affines)
def test_each_voxel_has_the_label_in_which_its_centre_lies(labels, affine, grid, target):
    placed = place_labels(labels, affine, grid, target)
    assert placed.dtype == np.int32
    assert placed.shape == grid
    assert placed.flags.f_contiguous
    for index, found in by_hand(grid, target, labels.shape, affine).items():
        assert placed[index] == (0 if found is None else labels[found])


@settings(max_examples=100, deadline=None)
@given(labels=label_images, affine=affines, grid=shapes, target=affines)
def test_each_atlas_voxel_is_located(labels, affine, grid, target):
    wanted = [4, 2, 9, 5]
    region_number, position = locate_atlas_voxels(labels, affine, grid, target, wanted)
    assert region_number.dtype == position.dtype == np.int32
    expected = []
    for index, found in by_hand(labels.shape, affine, grid, target).items():
        if labels[index] in wanted:
            number = wanted.index(labels[index])
            at = -1 if found is None else np.ravel_multi_index(found, grid, order="F")
            expected.append((np.ravel_multi_index(index, labels.shape, order="F"), number, at))
    expected.sort()  # the order of the file
    assert list(zip(region_number.tolist(), position.tolist(), strict=True)) == [row[1:] for row in expected]


@settings(max_examples=100, deadline=None)
@given(labels=label_images, affine=straight, grid=shapes, target=straight, seed=st.integers(0, 99))
def test_noise_decides_nothing(labels, affine, grid, target, seed):
    """Half of these grids have centres on faces, or on the border of the atlas."""
    rng = np.random.default_rng(seed)

    def noisy(affine):
        voxels = np.vstack([rng.uniform(-1e-6, 1e-6, (3, 4)), np.zeros(4)])
        return affine @ (np.eye(4) + voxels)

    assert np.array_equal(
        place_labels(labels, noisy(affine), grid, noisy(target)), place_labels(labels, affine, grid, target)
    )
    located = locate_atlas_voxels(labels, noisy(affine), grid, noisy(target), [1, 2, 3])
    assert np.array_equal(located, locate_atlas_voxels(labels, affine, grid, target, [1, 2, 3]))


@settings(max_examples=100, deadline=None)
@given(labels=label_images, affine=affines, seed=st.integers(0, 99))
def test_on_the_same_grid_nothing_changes(labels, affine, seed):
    rng = np.random.default_rng(seed)
    target = affine @ from_matvec(np.eye(3) + rng.uniform(-5e-5, 5e-5, (3, 3)), rng.uniform(-2e-4, 2e-4, 3))
    assert same_grid(labels.shape, affine, labels.shape, target)
    assert np.array_equal(place_labels(labels, affine, labels.shape, target), labels)
    _, position = locate_atlas_voxels(labels, affine, labels.shape, target, range(6))
    assert np.array_equal(position, np.arange(labels.size))


def by_nilearn(labels, affine, grid, target):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        placed = resample_img(
            nib.Nifti1Image(labels.astype(np.int32), affine),
            target_affine=target,
            target_shape=grid,
            interpolation="nearest",
            force_resample=True,
            copy_header=True,
        )
    return np.asarray(placed.dataobj)


def amid_background(labels, affine):
    """Put background around an atlas: its own outermost voxels are no longer outermost, and nilearn loses none of them."""
    return np.pad(labels, 1), affine @ from_matvec(np.eye(3), [-1, -1, -1])


def off_faces(affine, grid, target):
    """Tell which centres are not on faces between voxels: there, noise decides for nilearn."""
    position = apply_affine(np.linalg.inv(affine) @ target, np.moveaxis(np.indices(grid), 0, -1))
    return (abs(position % 1 - 0.5) > 1.01 * ON_FACE).all(axis=-1)


@settings(max_examples=100, deadline=None)
@given(labels=label_images, affine=affines, grid=shapes, target=affines)
def test_it_is_as_nilearn_where_that_loses_nothing(labels, affine, grid, target):
    placed = place_labels(labels, affine, grid, target)
    compared = off_faces(affine, grid, target)
    try:
        assert np.array_equal(placed[compared], by_nilearn(*amid_background(labels, affine), grid, target)[compared])
        reference = by_nilearn(labels, affine, grid, target)
    except (
        BoundingBoxError
    ):  # what nilearn says of an atlas outside, and of one that reaches in by its outermost halves
        reference = np.zeros(grid)
    kept = compared & (reference > 0)
    assert np.array_equal(placed[kept], reference[kept])


@pytest.mark.parametrize("step", [1.0, 0.5, -1.0])
def test_on_a_face_between_two_voxels_the_higher_index_is_taken_as_by_scipy(step):
    labels = np.arange(1, 7, dtype=np.int32).reshape(6, 1, 1)
    row = (
        np.array([0.5, 1.5, 2.5, 3.5])
        if step == 1
        else np.array([2.0, 2.5, 3.0])
        if step == 0.5
        else np.array([4.5, 3.5])
    )
    target = from_matvec(np.diag([step, 1, 1]), [row[0], 0, 0])
    placed = place_labels(labels, np.eye(4), (row.size, 1, 1), target)[:, 0, 0]
    assert np.array_equal(placed, np.floor(row + 0.5) + 1)
    assert np.array_equal(placed, by_nilearn(labels, np.eye(4), (row.size, 1, 1), target)[:, 0, 0])


def test_on_the_border_the_outermost_voxel_is_taken():
    labels = np.array([7, 8], np.int32).reshape(2, 1, 1)
    target = from_matvec(np.diag([0.5, 1, 1]), [-1, 0, 0])  # -1, -0.5, 0, 0.5, 1, 1.5, 2
    assert place_labels(labels, np.eye(4), (7, 1, 1), target)[:, 0, 0].tolist() == [0, 7, 7, 8, 8, 8, 0]


@pytest.mark.parametrize("offset", [-0.5, -0.3, 0, 0.2, 0.5])
@pytest.mark.parametrize("turn", TURNS[::2])
def test_a_single_slice_keeps_everything(rng, offset, turn):
    labels = rng.integers(1, 9, (12, 9, 1)).astype(np.int32)
    affine = from_matvec(turn @ np.diag([2, 2, 4]), [3, -2, 7])
    target = affine @ from_matvec(np.eye(3), [0, 0, offset])
    assert np.array_equal(place_labels(labels, affine, labels.shape, target), labels)


def test_a_cropped_atlas_reaches_half_a_voxel_beyond_its_centres(rng):
    """On a grid three times as fine each voxel has 27, the outermost ones too."""
    labels = rng.integers(1, 99, (5, 4, 3)).astype(np.int32)
    fine = from_matvec(np.eye(3) / 3, [-1 - 1 / 3] * 3)
    placed = place_labels(labels, np.eye(4), (21, 18, 15), fine)
    wide = np.kron(labels, np.ones((3, 3, 3), int))
    assert np.array_equal(placed, np.pad(wide, 3))


def test_labels_of_any_type_and_order(rng):
    labels = rng.integers(0, 2**31 - 1, (4, 5, 6))
    target = from_matvec(euler2mat(0.1, 0.2, 0.3), [1, 0, 0])
    placed = place_labels(labels.astype(np.int32), np.eye(4), (6, 6, 6), target)
    for other in (labels, np.asfortranarray(labels, np.int32), labels.astype(">i4")):
        assert np.array_equal(place_labels(other, np.eye(4), (6, 6, 6), target), placed)
        located = locate_atlas_voxels(other, np.eye(4), (6, 6, 6), target, labels[::3, 2, 2].tolist())
        assert np.bincount(located[0]).tolist() == [1, 1]


@pytest.mark.parametrize("turn", TURNS[:3])
def test_memory_is_that_of_the_result(turn):
    labels = np.ones((30, 30, 30), np.int32)
    grid = (100, 110, 120)
    tracemalloc.start()
    place_labels(labels, np.eye(4), grid, from_matvec(turn / 4, [0, 0, 0]))
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < math.prod(grid) * 4 + 2 * 2**20


# The real atlas

USUAL_GRIDS = {
    "ADHD": (adhd.GRID, adhd.AFFINE),
    "MNI 2 mm": ((91, 109, 91), from_matvec(np.diag([-2, 2, 2]), [90, -126, -72])),
    "MNI 2 mm, nilearn's": ((91, 109, 91), from_matvec(np.diag([2, 2, 2]), [-90, -126, -72])),
    "fMRIPrep 2 mm": ((97, 115, 97), from_matvec(np.diag([2, 2, 2]), [-96, -132, -78])),
    "3 mm": ((65, 77, 65), from_matvec(np.diag([3, 3, 3]), [-96, -132, -78])),
    "oblique": ((64, 64, 36), from_matvec(euler2mat(0.2, -0.03, 0.02) @ np.diag([-3.3, 3.3, 4]), [104, -100, -60])),
}


@pytest.mark.parametrize("name", list(USUAL_GRIDS))
def test_basc_loses_no_voxel(shared_data, name):
    grid, target = USUAL_GRIDS[name]
    labels, affine = read_atlas(shared_data / "template_cambridge_basc_multiscale_sym_scale064.nii.gz")
    placed = place_labels(labels, affine, grid, target)
    compared = off_faces(affine, grid, target)
    assert compared.all() or name == "oblique"
    assert compared.mean() > 0.999
    assert np.array_equal(placed[compared], by_nilearn(*amid_background(labels, affine), grid, target)[compared])
    without = by_nilearn(labels, affine, grid, target)
    assert np.array_equal(placed[compared & (without > 0)], without[compared & (without > 0)])
    _, position = locate_atlas_voxels(labels, affine, grid, target, range(1, 65))
    assert position.size == np.count_nonzero(labels)
    assert (position >= 0).all() or name == "oblique"
