"""Masks and the table of regions, from an atlas and its twin on the image's grid."""

import logging

import nibabel as nib
import numpy as np
import pytest

from conftest import AFFINE, GRID
from place_atlas import place_atlas
from roistream.errors import UserError
from roistream.images.image import inspect
from roistream.regions.atlas import read_atlas
from roistream.regions.coverage import read_regions
from roistream.regions.masks import read_voxels
from split_masks import split_masks

NAMES = {3: "Insula, left", 1: "region-1", 2: "tiny"}


def save_atlas(path, labels, affine=AFFINE):
    nib.Nifti1Image(labels.astype(np.int16), affine).to_filename(path)
    return path


@pytest.fixture
def atlases(tmp_path):
    """An atlas of 12 × 7 × 5 voxels, and the image's grid: its first half. Label 2 lies outside, 3 by a half."""
    labels = np.zeros((12, *GRID[1:]), np.int16)
    labels[1:4, 1:3, 1:3], labels[8, 1, 1], labels[4:8, 4:6, 2:4] = 1, 2, 3
    return save_atlas(tmp_path / "atlas.nii.gz", labels), save_atlas(tmp_path / "resampled.nii.gz", labels[: GRID[0]])


def split(folder, atlases, names=NAMES, empty_regions="keep"):
    """Put the atlas on the grid of the other image, and split it; give the masks of the regions."""
    atlas, like = atlases
    table, out = folder / "labels.tsv", folder / "out"
    table.write_text("index\tname\n" + "".join(f"{label}\t{name}\n" for label, name in names.items()))
    placed = [folder / name for name in ("placed_dseg.nii.gz", "placed_regions.tsv", "placed_coverage.npy")]
    place_atlas(atlas, like, *placed, list(names), table, empty_regions)
    split_masks(*placed[:2], out / "masks", out / "atlas_dseg.nii.gz", out / "regions.tsv")
    return [out / "masks" / f"region-{label}_mask.nii.gz" for label in names]


def outputs(folder):
    return [path for path in (folder / "out").rglob("*") if path.is_file()]


def test_masks_are_the_labels(tmp_path, atlases):
    masks = split(tmp_path, atlases)
    labels, _ = read_atlas(atlases[1])
    for mask, label in zip(masks, NAMES, strict=True):
        loaded = nib.load(mask)
        assert loaded.get_data_dtype() == np.uint8
        assert np.array_equal(np.asarray(loaded.dataobj), labels == label)
        assert np.array_equal(loaded.affine, AFFINE)
    copies = [tmp_path / "out" / name for name in ("atlas_dseg.nii.gz", "regions.tsv")]
    assert sorted(outputs(tmp_path)) == sorted([*masks, *copies])
    assert copies[0].read_bytes() == (tmp_path / "placed_dseg.nii.gz").read_bytes()


def test_masks_of_other_labels_do_not_stay(tmp_path, atlases):
    split(tmp_path, atlases)
    foreign = tmp_path / "out" / "masks" / "brain_mask.nii.gz"
    foreign.write_bytes(b"mine")
    split(tmp_path, atlases, {1: "one"})
    assert {path.name for path in foreign.parent.iterdir()} == {"region-1_mask.nii.gz", "brain_mask.nii.gz"}


def test_the_table_has_each_region_in_the_order_asked_for(tmp_path, atlases):
    split(tmp_path, atlases)
    assert (tmp_path / "out" / "regions.tsv").read_text() == (
        "label\tname\tn_voxels_atlas\tn_voxels\tcoverage\tstatus\n"
        "3\tInsula, left\t16\t8\t0.5000\tpartial\n"
        "1\tregion-1\t12\t12\t1.0000\tok\n"
        "2\ttiny\t1\t0\t0.0000\tempty\n"
    )


def test_an_empty_region_is_an_error_by_default(tmp_path, atlases):
    expected = rf"^1 requested label\(s\) of {atlases[0]} have no voxel on the image's grid: 2; .*empty_regions: keep"
    with pytest.raises(UserError, match=expected):
        split(tmp_path, atlases, empty_regions="error")
    assert outputs(tmp_path) == []
    split(tmp_path, atlases, {1: "one", 3: "three"}, "error")
    assert len(outputs(tmp_path)) == 4


def test_many_empty_regions_are_listed_shortly(tmp_path, atlases):
    names = {label: str(label) for label in [1, *range(10, 23)]}
    with pytest.raises(UserError, match=r"^13 requested label.*: 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, …; "):
        split(tmp_path, atlases, names, "error")


def test_an_empty_region_can_be_kept(tmp_path, atlases):
    masks = split(tmp_path, atlases, empty_regions="keep")
    assert [int(np.asarray(nib.load(mask).dataobj).sum()) for mask in masks] == [8, 12, 0]
    assert [region.status for region in read_regions(tmp_path / "out" / "regions.tsv")] == ["partial", "ok", "empty"]


@pytest.mark.parametrize("empty_regions", ["error", "keep"])
def test_all_regions_empty_is_an_error_in_any_case(tmp_path, atlases, empty_regions):
    expected = rf"^None of the requested regions has a voxel on the grid of {atlases[1]}"
    with pytest.raises(UserError, match=expected):
        split(tmp_path, atlases, {2: "tiny", 99: "absent"}, empty_regions)
    assert outputs(tmp_path) == []


def test_without_masks_none_stay(tmp_path, atlases):
    [mask, *_] = split(tmp_path, atlases)
    foreign = mask.with_name("lesion_mask.nii.gz")
    foreign.write_text("mine")
    copies = [tmp_path / "out" / name for name in ("atlas_dseg.nii.gz", "regions.tsv")]
    placed = [tmp_path / "placed_dseg.nii.gz", tmp_path / "placed_regions.tsv"]
    split_masks(*placed, None, *copies)
    assert sorted(outputs(tmp_path)) == sorted([foreign, *copies])
    assert [region.label for region in read_regions(copies[1])] == list(NAMES)
    foreign.unlink()
    split_masks(*placed, None, *copies)
    assert not foreign.parent.exists()


def test_what_is_lost_is_in_the_log(tmp_path, atlases, caplog):
    with caplog.at_level(logging.INFO, logger="roistream"):
        split(tmp_path, atlases)
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        "Region 3 (Insula, left) is partial: coverage 0.500.",
        "Region 2 (tiny) is empty: coverage 0.000.",
        f"1 of the 3 labels of {atlases[0]} have no voxel on the grid of {atlases[1]}: 2.",
    ]


def test_the_real_atlas_on_a_real_run_gives_64_regions(tmp_path, shared_data):
    atlas = shared_data / "template_cambridge_basc_multiscale_sym_scale064.nii.gz"
    image = inspect(shared_data / "sub-001_task-rest_bold.nii.gz")
    names = {label: f"region-{label}" for label in range(1, 65)}
    masks = split(tmp_path, (atlas, image.path), names, "error")
    regions = read_regions(tmp_path / "out" / "regions.tsv")
    n_voxels = [read_voxels(mask, image.grid, image.affine).size for mask in masks]
    assert regions == read_regions(tmp_path / "placed_regions.tsv")
    assert [region.label for region in regions] == list(names)
    assert [region.n_voxels for region in regions] == n_voxels
    assert min(n_voxels) > 0
    labels, _ = read_atlas(atlas)
    assert [region.n_voxels_atlas for region in regions] == np.bincount(labels.ravel())[1:].tolist()
    assert all(0.5 < region.coverage <= 1 for region in regions)
    # 5 mm voxels hold 125/27 of the atlas's 3 mm voxels.
    covered = sum(region.n_voxels_atlas * region.coverage for region in regions)
    assert sum(n_voxels) == pytest.approx(covered * 27 / 125, rel=0.02)
