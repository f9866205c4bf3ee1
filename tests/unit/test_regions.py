"""Atlases, tables of labels, regions counted on two grids, and masks."""

import gzip
import tracemalloc

import hypothesis.extra.numpy as hnp
import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import AFFINE, GRID, save_mask
from roistream.errors import UserError
from roistream.images.image import inspect_volume
from roistream.regions.atlas import read_atlas, read_labels, select_labels
from roistream.regions.coverage import Region, count_regions, read_regions, write_regions
from roistream.regions.label_names import read_label_names
from roistream.regions.masks import read_voxels, write_mask
from roistream.regions.placement import locate_atlas_voxels

# nilearn's and FreeSurfer's atlases come in all of these.
LABEL_DTYPES = ["u1", "i2", "u2", "i4", "f4", "f8", ">i2", ">f4"]

LARGER = (12, 13, 14)
"""More bytes than nibabel looks at to recognise a file."""


def save_atlas(path, values, affine=AFFINE, **header):
    """Save a label image in the array's own dtype."""
    image = nib.Nifti1Image(values, affine, dtype=values.dtype)
    for field, value in header.items():
        image.header[field] = value
    image.to_filename(path)
    return path


def save_table(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


# Atlas


@pytest.mark.parametrize("dtype", LABEL_DTYPES)
def test_labels_are_read_whatever_type_they_are_stored_in(tmp_path, rng, dtype):
    labels = rng.integers(0, 200, GRID)
    path = save_atlas(tmp_path / "atlas.nii.gz", labels.astype(dtype))
    found, affine = read_atlas(path)
    assert found.dtype == np.int32
    assert np.array_equal(found, labels)
    assert np.array_equal(affine, AFFINE)
    assert read_labels(path) == sorted(set(labels.ravel().tolist()) - {0})


@pytest.mark.parametrize("background", [np.nan, np.inf, -np.inf])
def test_voxels_that_are_not_finite_are_background(tmp_path, background):
    values = np.full(GRID, background, np.float32)
    values[1, 2, 3], values[3, 2, 1] = 7, 2
    found, _ = read_atlas(save_atlas(tmp_path / "atlas.nii", values))
    assert np.count_nonzero(found) == 2
    assert (found[1, 2, 3], found[3, 2, 1]) == (7, 2)
    assert read_labels(tmp_path / "atlas.nii") == [2, 7]


@pytest.mark.parametrize("trailing", [(1,), (1, 1)])
def test_a_trailing_axis_of_one_is_dropped(tmp_path, rng, trailing):
    labels = rng.integers(0, 9, GRID).astype(np.int16)
    found, _ = read_atlas(save_atlas(tmp_path / "atlas.nii", labels.reshape(*GRID, *trailing)))
    assert np.array_equal(found, labels)


def test_an_atlas_with_scaling_is_read_scaled(tmp_path):
    stored = np.arange(4, dtype=np.int16).reshape(4, 1, 1)
    header = nib.Nifti1Header()
    header.set_data_shape(stored.shape)
    header.set_data_dtype(stored.dtype)
    header["vox_offset"], header["scl_slope"] = 352, 2
    path = tmp_path / "atlas.nii"
    path.write_bytes(header.binaryblock + bytes(4) + stored.tobytes())
    assert read_labels(path) == [2, 4, 6]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.ones((*GRID, 3), np.int16), r"is 4D \(shape \(6, 7, 5, 3\)\)"),
        (np.ones(GRID[:2], np.int16), r"is 2D"),
        (np.full(GRID, 0.5, np.float32), "not whole numbers; give a label image"),
        (np.full(GRID, -1, np.int16), "negative labels"),
        (np.full(GRID, -1, np.float32), "negative labels"),
        (np.full(GRID, 3e9, np.float64), "labels beyond 2147483647"),
        (np.full(GRID, 3_000_000_000, np.uint32), "labels beyond 2147483647"),
        (np.ones(GRID, np.complex64), "its data type, code 32, is none of"),
        (np.zeros(GRID, [("R", "u1"), ("G", "u1"), ("B", "u1")]), "its data type, code 128, is none of"),
    ],
)
def test_what_is_no_atlas_is_refused(tmp_path, values, message):
    path = save_atlas(tmp_path / "atlas.nii", values)
    with pytest.raises(UserError, match=rf"^{path} .*{message}"):
        read_atlas(path)


@pytest.mark.parametrize("name", ["atlas.nii", "atlas.nii.gz"])
@pytest.mark.parametrize("read", [read_atlas, lambda path: read_voxels(path, LARGER, AFFINE)], ids=["atlas", "mask"])
def test_a_truncated_label_image_is_refused_in_one_line(tmp_path, rng, name, read):
    path = save_atlas(tmp_path / name, rng.integers(0, 2, LARGER).astype(np.int16))
    path.write_bytes(path.read_bytes()[: len(path.read_bytes()) * 3 // 4])
    with pytest.raises(UserError, match=rf"^{path} .*again\.$") as error:
        read(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("read", [read_atlas, lambda path: read_voxels(path, LARGER, AFFINE)], ids=["atlas", "mask"])
def test_a_damaged_label_image_is_refused(tmp_path, rng, read):
    plain = save_atlas(tmp_path / "atlas.nii", rng.integers(0, 2, LARGER).astype(np.int16)).read_bytes()
    stored = bytearray(gzip.compress(plain, compresslevel=0))
    stored[-100] ^= 1  # a label turns into another; only the check sum tells
    path = tmp_path / "atlas.nii.gz"
    path.write_bytes(stored)
    with pytest.raises(UserError, match=rf"^{path} is damaged"):
        read(path)


def test_an_absent_atlas_is_named(tmp_path):
    with pytest.raises(UserError, match=r"absent\.nii does not exist"):
        read_atlas(tmp_path / "absent.nii")


# Table of labels


def test_names_keep_the_order_of_the_table(tmp_path):
    path = save_table(
        tmp_path / "labels.tsv",
        "index\tcolor\tname\n0\t#000\tBackground\n30\t#f00\tInsula, left\n4\t#0f0\t Kortex größer \n12\t#00f\tV1\n",
    )
    assert list(read_label_names(path).items()) == [(30, "Insula, left"), (4, "Kortex größer"), (12, "V1")]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_names_from_any_editor(tmp_path, encoding, newline):
    text = newline.join(["index\tname", "1\tA", "", "2\tB", ""])
    assert read_label_names(save_table(tmp_path / "labels.tsv", text, encoding)) == {1: "A", 2: "B"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "lacks the column 'index'"),
        ("label\tname\n1\tA\n", "lacks the column 'index'"),
        ("index\tregion\n1\tA\n", "lacks the column 'name'"),
        ("index\tname\n1\tA\none\tB\n", "line 3: index 'one'"),
        ("index\tname\n1\tA\n2.0\tB\n", "line 3: index '2.0'"),
        ("index\tname\n-1\tA\n", "line 2: index '-1'"),
        ("index\tname\n1\t \n", "line 2: index '1' with name ''"),
        ("index\tname\n1\n", "line 2: index '1' with name ''"),
        ("index\tname\n\tA\n", "line 2: index ''"),
        ("index\tname\n1\tA\n2\tB\n1\tC\n", "line 4: 1 'C' occurs twice"),
        ("index\tname\n1\tA\n\n2\tA\n", "line 4: 2 'A' occurs twice"),
        ('index\tname\n1\t"A\n', "not readable as tab-separated text"),
    ],
)
def test_a_table_of_labels_with_a_mistake_is_refused(tmp_path, text, message):
    path = save_table(tmp_path / "labels.tsv", text)
    with pytest.raises(UserError, match=rf"^{path}.*{message}"):
        read_label_names(path)


def test_a_table_of_labels_that_is_no_text_is_refused(tmp_path):
    latin = save_table(tmp_path / "labels.tsv", "index\tname\n1\tgrößer\n", "latin-1")
    with pytest.raises(UserError, match=rf"^{latin} is not readable .*UTF-8"):
        read_label_names(latin)
    with pytest.raises(UserError, match="is not readable"):
        read_label_names(tmp_path)
    with pytest.raises(UserError, match=r"absent\.tsv does not exist; check the config key 'atlas_labels'"):
        read_label_names(tmp_path / "absent.tsv")


# Choice of labels


@pytest.mark.parametrize(
    ("requested", "chosen"),
    [("all", [3, 5, 9, 12]), (1, [3]), (4, [3, 5, 9, 12]), ([9, 3], [9, 3]), ([3, 77], [3, 77])],
)
def test_labels_are_chosen_in_the_order_asked_for(requested, chosen):
    assert select_labels(requested, [3, 5, 9, 12], "the atlas") == chosen


@pytest.mark.parametrize(
    ("requested", "available", "message"),
    [
        (5, [3, 5, 9, 12], "5 asked for, but the atlas has 4 labels; ask for at most"),
        ([3, 9, 9, 3], [3, 9], "label 3 is listed twice"),
        ("all", [], "the atlas has no labels"),
        (1, [], "the atlas has no labels"),
    ],
)
def test_labels_that_cannot_be_chosen(requested, available, message):
    with pytest.raises(UserError, match=rf"^regions: .*{message}"):
        select_labels(requested, available, "the atlas")


# Regions on two grids


def only(regions):
    [region] = regions
    return region


def count(atlas, atlas_affine, placed, affine, names):
    located = locate_atlas_voxels(atlas, atlas_affine, placed.shape, affine, list(names))
    return count_regions(*located, placed, names)


def test_a_region_half_outside_is_partial():
    atlas = np.zeros((8, 4, 4), np.int32)
    atlas[2:6, 1:3, 1:3] = 5
    shifted = np.diag([1.0, 1, 1, 1])
    shifted[0, 3] = 4  # the image begins where the atlas has x = 4
    placed = np.zeros((4, 4, 4), np.int32)
    placed[:2, 1:3, 1:3] = 5
    region = only(count(atlas, np.eye(4), placed, shifted, {5: "half"}))
    assert region == Region(5, "half", 16, 8, 0.5, "partial")


def test_a_region_lost_between_two_grids_is_empty_with_full_coverage():
    atlas = np.zeros((8, 8, 8), np.int32)
    atlas[:], atlas[3, 3, 3] = 1, 2
    coarse = nib.affines.from_matvec(np.eye(3) * 4, [1.5] * 3)
    placed = atlas[::4, ::4, ::4]
    large, small = count(atlas, np.eye(4), placed, coarse, {1: "large", 2: "small"})
    assert (large.status, large.n_voxels) == ("ok", 8)
    assert small == Region(2, "small", 1, 0, 1.0, "empty")


def test_a_label_that_the_atlas_lacks_is_empty():
    atlas = np.ones((2, 2, 2), np.int32)
    regions = count(atlas, np.eye(4), atlas, np.eye(4), {9: "absent", 1: "all"})
    assert regions == [Region(9, "absent", 0, 0, 0.0, "empty"), Region(1, "all", 8, 8, 1.0, "ok")]


def test_labels_far_apart_cost_no_memory():
    atlas = np.zeros((3, 3, 3), np.int32)
    atlas[0], atlas[2] = 1, 614_454_277  # the Allen atlas's largest: an array with a place for each label takes 4.6 GiB
    tracemalloc.start()
    regions = count(atlas, np.eye(4), atlas, np.eye(4), {614_454_277: "a", 1: "b"})
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [region.n_voxels for region in regions] == [9, 9]
    assert peak_bytes < 2**20


@pytest.mark.parametrize("axes", ["RAS", "LPI", "SAR", "PIR"])
def test_orientation_does_not_matter(rng, axes):
    atlas = rng.integers(0, 4, GRID).astype(np.int32)
    image = nib.Nifti1Image(atlas, AFFINE)
    turn = nib.orientations.ornt_transform(nib.io_orientation(AFFINE), nib.orientations.axcodes2ornt(axes))
    turned = image.as_reoriented(turn)
    values = np.asarray(turned.dataobj)
    names = {1: "a", 2: "b", 3: "c"}
    regions = count(atlas, AFFINE, values, turned.affine, names)
    assert [region.status for region in regions] == ["ok"] * 3
    assert [region.coverage for region in regions] == [1.0] * 3
    assert [region.n_voxels for region in regions] == [region.n_voxels_atlas for region in regions]


def test_half_a_voxel_is_the_border():
    moved, row = np.eye(4), np.ones((3, 1, 1), np.int32)
    for shift, inside in [(0.49, 3), (0.5, 3), (0.51, 2), (-0.49, 3), (-0.5, 3), (-0.51, 2), (2.6, 0)]:
        moved[0, 3] = shift
        assert only(count(row, moved, row, np.eye(4), {1: "row"})).coverage == inside / 3


affines = st.builds(
    lambda permutation, signs, zooms, shift: nib.affines.from_matvec(
        np.eye(3)[permutation] * np.multiply(signs, zooms), shift
    ),
    st.permutations(range(3)),
    st.tuples(*[st.sampled_from([-1, 1])] * 3),
    st.tuples(*[st.sampled_from([1.0, 2.0, 2.5, 3.0])] * 3),
    st.tuples(*[st.sampled_from([-5.3, -1.1, 0.2, 0.7, 4.3])] * 3),
)
label_images = hnp.arrays(np.int32, hnp.array_shapes(min_dims=3, max_dims=3, max_side=6), elements=st.integers(0, 4))


@settings(max_examples=150, deadline=None)
@given(atlas=label_images, atlas_affine=affines, placed=label_images, affine=affines)
def test_counts_and_coverage_of_any_two_grids(atlas, atlas_affine, placed, affine):
    names = {label: f"region-{label}" for label in (3, 1, 4, 2)}
    regions = count(atlas, atlas_affine, placed, affine, names)
    assert {region.label: region.name for region in regions} == names
    assert [region.label for region in regions] == list(names)
    assert sum(region.n_voxels for region in regions) == np.count_nonzero(placed)
    assert sum(region.n_voxels_atlas for region in regions) == np.count_nonzero(atlas)
    for region in regions:
        assert 0 <= region.coverage <= 1
        assert (region.status == "empty") == (region.n_voxels == 0)
        if region.status == "partial":
            assert region.coverage < 1
    # Independently, voxel by voxel: the nearest voxel of the other grid exists. On its border there is one.
    centres = nib.affines.apply_affine(atlas_affine, np.moveaxis(np.indices(atlas.shape), 0, -1))
    position = nib.affines.apply_affine(np.linalg.inv(affine), centres)
    exists = ((position > -0.5001) & (position < np.array(placed.shape) - 0.4999)).all(axis=-1)
    for region in regions:
        if region.n_voxels_atlas:
            assert region.coverage == exists[atlas == region.label].mean()


@settings(max_examples=50, deadline=None)
@given(atlas=label_images, affine=affines)
def test_a_grid_covers_itself(atlas, affine):
    present = {label: str(label) for label in np.unique(atlas).tolist() if label} or {1: "1"}
    for region in count(atlas, affine, atlas, affine, present):
        assert region.n_voxels == region.n_voxels_atlas
        assert region.status == ("ok" if region.n_voxels else "empty")
        assert region.coverage == (1.0 if region.n_voxels else 0.0)


# Table of regions


def test_regions_come_back_as_written(tmp_path):
    regions = [
        Region(12, "Insula, left", 100, 90, 0.9125, "partial"),
        Region(3, "größer\t'quoted' \"name\"", 5, 0, 1.0, "empty"),
        Region(2**31 - 1, "region-2147483647", 7, 7, 1.0, "ok"),
    ]
    write_regions(regions, tmp_path / "below" / "regions.tsv")
    assert read_regions(tmp_path / "below" / "regions.tsv") == regions
    first, *_ = (tmp_path / "below" / "regions.tsv").read_text(encoding="utf-8").splitlines()
    assert first == "label\tname\tn_voxels_atlas\tn_voxels\tcoverage\tstatus"


@pytest.mark.parametrize(
    "content",
    [
        b"label\tname\n1\tA\n",
        b"label\tname\tn_voxels_atlas\tn_voxels\tcoverage\tstatus\none\tA\t1\t1\t1\tok\n",
        b"label\tname\tn_voxels_atlas\tn_voxels\tcoverage\tstatus\n1\tA\t1\n",
        b"label\tname\tn_voxels_atlas\tn_voxels\tcoverage\tstatus\n1\t\xe9\t1\t1\t1\tok\n",
    ],
    ids=["columns missing", "no number", "short row", "no UTF-8"],
)
def test_another_table_is_no_table_of_regions(tmp_path, content):
    path = tmp_path / "regions.tsv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"^{path} is no table of regions .*split_masks"):
        read_regions(path)


# Masks


@pytest.mark.parametrize("affine", [AFFINE, np.diag([2.0, 2.5, 3.1, 1])])
def test_a_mask_is_written_as_uint8_on_its_affine(tmp_path, rng, affine):
    mask = rng.random(GRID) < 0.3
    path = tmp_path / "masks" / "region-1_mask.nii.gz"
    write_mask(mask, affine, path)
    loaded = nib.load(path)
    values = np.asarray(loaded.dataobj)
    assert loaded.get_data_dtype() == np.uint8
    assert values.dtype == np.uint8
    assert set(np.unique(values)) == {0, 1}
    assert np.array_equal(values, mask)
    assert np.allclose(loaded.affine, affine, rtol=1e-7)
    found = read_voxels(path, GRID, affine)
    assert np.array_equal(np.transpose(np.unravel_index(found, GRID, order="F")), np.argwhere(mask))


def test_an_empty_mask_can_be_written_and_read(tmp_path):
    write_mask(np.zeros(GRID, bool), AFFINE, tmp_path / "empty_mask.nii.gz")
    assert read_voxels(tmp_path / "empty_mask.nii.gz", GRID, AFFINE).size == 0


@pytest.mark.parametrize("value", [1, 7, 255])
@pytest.mark.parametrize("dtype", ["u1", "i2", "f4", "f8"])
def test_any_one_value_marks_the_region(tmp_path, value, dtype):
    values = np.zeros(GRID, dtype)
    values[2, 3, 1] = value
    found = read_voxels(save_atlas(tmp_path / "mask.nii.gz", values), GRID, AFFINE)
    assert found.tolist() == [2 + GRID[0] * (3 + GRID[1] * 1)]


def test_a_mask_on_another_grid_is_refused(tmp_path):
    path = save_mask(tmp_path / "mask.nii.gz", [(1, 1, 1)], grid=(6, 7, 4))
    with pytest.raises(UserError, match=rf"^{path} has the grid \(6, 7, 4\), the image has \(6, 7, 5\)"):
        read_voxels(path, GRID, AFFINE)


@pytest.mark.parametrize("element", [(0, 0), (0, 3), (1, 2)])
def test_a_mask_on_another_affine_is_refused(tmp_path, element):
    affine = AFFINE.copy()
    affine[element] += 0.01
    path = save_mask(tmp_path / "mask.nii.gz", [(1, 1, 1)], affine=affine)
    with pytest.raises(UserError, match=rf"^{path} has another affine"):
        read_voxels(path, GRID, AFFINE)


def test_rounding_of_the_affine_to_float32_is_accepted(tmp_path):
    affine = np.diag([1 / 3, 2.2, 3.1, 1.0]) + np.array([[0, 1e-3, 0, 9.7], [0, 0, 0, -12.9], [0, 0, 0, -6.1], [0] * 4])
    path = save_mask(tmp_path / "mask.nii.gz", [(1, 1, 1)], affine=affine)
    assert not np.array_equal(inspect_volume(path).affine, affine)
    assert read_voxels(path, GRID, affine).size == 1


@pytest.mark.parametrize(("one", "other"), [(1, 2), (0.5, 1), (-1, 1)])
def test_a_mask_of_two_values_is_refused(tmp_path, one, other):
    values = np.zeros(GRID, np.float32)
    values[1, 1, 1], values[2, 2, 2] = one, other
    path = save_atlas(tmp_path / "mask.nii.gz", values)
    with pytest.raises(UserError, match=rf"^{path} holds more than one value beside 0"):
        read_voxels(path, GRID, AFFINE)


def test_a_mask_must_be_3d_and_present(tmp_path):
    path = save_atlas(tmp_path / "mask.nii.gz", np.ones((*GRID, 2), np.uint8))
    with pytest.raises(UserError, match=rf"^{path} is 4D"):
        read_voxels(path, GRID, AFFINE)
    with pytest.raises(UserError, match="does not exist"):
        read_voxels(tmp_path / "absent.nii.gz", GRID, AFFINE)


@pytest.mark.parametrize("turn", [(0.2, -0.03, 0.02), (0, 0, 0)])
def test_a_mask_with_a_quaternion_alone_is_on_the_same_grid(tmp_path, turn):
    affine = nib.affines.from_matvec(nib.eulerangles.euler2mat(*turn) @ np.diag([-3, 3, 3.3]), [31.7, -28.3, -14.9])
    mask = nib.Nifti1Image(np.ones(GRID, np.uint8), affine)
    mask.set_sform(None, code=0)
    mask.set_qform(affine, code=1)
    mask.to_filename(tmp_path / "mask.nii")
    assert not np.array_equal(inspect_volume(tmp_path / "mask.nii").affine, affine)
    assert read_voxels(tmp_path / "mask.nii", GRID, affine).size == 210
