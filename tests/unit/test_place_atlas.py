"""The atlas on an image's grid, against nilearn's own resampling, and the program that puts it there."""

import logging
import subprocess
import sys
import warnings

import nibabel as nib
import numpy as np
import pytest
from nibabel.affines import from_matvec
from nibabel.eulerangles import euler2mat
from nilearn.image import resample_to_img

from conftest import AFFINE, ROOT, save_run
from place_atlas import place_atlas
from roistream.errors import UserError
from roistream.regions.atlas import read_atlas, read_labels
from roistream.regions.coverage import read_regions

ATLAS_AFFINE = np.array([[2.0, 0, 0, -9], [0, 2, 0, -11], [0, 0, 2, -7], [0, 0, 0, 1]])


@pytest.fixture
def atlas(tmp_path, rng):
    """Labels 1 to 8 in the octants of a grid of its own, and a few voxels of noise; all around is background."""
    labels = sum(2**axis * (index // 6) for axis, index in enumerate(np.indices((12, 12, 12)))) + 1
    labels[rng.random(labels.shape) < 0.05] = 0
    return save_atlas(tmp_path / "atlas.nii.gz", np.pad(labels[1:-1, 1:-1, 1:-1], 1).astype(np.int16), ATLAS_AFFINE)


@pytest.fixture
def place(tmp_path):
    """Give a function that places an atlas and returns it: labels, regions, located voxels."""

    def call(atlas, like, *arguments, ending=".nii.gz", **options):
        out = tmp_path / "below" / f"atlas_dseg{ending}"
        table, coverage = out.with_name("regions.tsv"), out.with_name("coverage.npy")
        place_atlas(atlas, like, out, table, coverage, *arguments, **options)
        return read_atlas(out)[0], read_regions(table), np.load(coverage)

    return call


def nothing_written(tmp_path):
    return not (tmp_path / "below").exists()


def save_atlas(path, labels, affine=AFFINE, **codes):
    image = nib.Nifti1Image(labels, affine, dtype=labels.dtype)
    for kind, code in codes.items():
        (image.set_sform if kind == "sform" else image.set_qform)(affine, code=code)
    image.to_filename(path)
    return path


def save_grid(path, grid, affine):
    """Save an image of which only the grid matters."""
    return save_run(path, np.zeros((*grid, 2), np.int16), affine)


def nilearn_labels(atlas, image):
    """Resample as a user of nilearn would."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        like, options = nib.load(image).slicer[..., 0], {"force_resample": True, "copy_header": True}
        on_grid = resample_to_img(str(atlas), like, interpolation="nearest", **options)
    return np.asarray(on_grid.dataobj)


OBLIQUE = from_matvec(euler2mat(0.1, 0.2, 0.3) @ np.diag([2.3, 1.9, 2.7]), [-9.13, -10.71, -6.57])


@pytest.mark.parametrize(
    ("grid", "affine"),
    [
        ((7, 7, 8), from_matvec(np.eye(3) * 3.1, [-9.4, -11.2, -7.2])),
        ((25, 24, 23), from_matvec(np.eye(3) * 0.97, [-9.05, -11.07, -6.94])),
        ((9, 9, 9), from_matvec(np.diag([-3.1, 3.1, 3.1]), [13.2, -11.2, -7.1])),
        ((8, 9, 7), OBLIQUE),
        ((12, 12, 12), ATLAS_AFFINE),
    ],
    ids=["coarser", "finer", "flipped", "oblique", "the same"],
)
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_labels_are_those_of_nilearn(tmp_path, atlas, place, grid, affine, ending):
    image = save_grid(tmp_path / f"image{ending}", grid, affine)
    labels, _, _ = place(atlas, image, ending=ending)
    written = nib.load(tmp_path / "below" / f"atlas_dseg{ending}")
    assert written.shape == grid
    assert written.get_data_dtype() == np.int32
    assert np.array_equal(written.affine, nib.load(image).affine)
    assert np.array_equal(labels, nilearn_labels(atlas, image))
    assert set(np.unique(labels)) == set(range(9))


def test_on_the_atlas_s_own_grid_nothing_changes(tmp_path, atlas, place):
    image = save_grid(tmp_path / "image.nii", (12, 12, 12), ATLAS_AFFINE)
    labels, regions, coverage = place(atlas, image)
    before = read_atlas(atlas)[0]
    assert np.array_equal(labels, before)
    assert {region.status for region in regions} == {"ok"}
    # Each voxel lies in itself, and has the number of its region, which is one less than its label.
    assert coverage.dtype == np.int32
    assert np.array_equal(coverage[:, 1], np.flatnonzero(before.ravel(order="F")))
    assert np.array_equal(coverage[:, 0] + 1, before.ravel(order="F")[coverage[:, 1]])


RUN = from_matvec(euler2mat(0.2, -0.03, 0.02) @ np.diag([-3, 3, 3.3]), [31.7, -28.3, -14.9])


@pytest.mark.parametrize("like", ["qform alone", "straight, off by 1e-5 mm", "one slice", "cropped", "4D atlas of one"])
def test_no_voxel_is_lost_on_the_run_s_own_grid(tmp_path, place, like):
    """Case A26: 787 of 3,960 voxels, or all of a slice, used to vanish at coverage 1.0000."""
    labels = np.ones((20, 22, 9), np.int16)
    labels[10:] = 2
    affine, atlas_affine, codes = RUN, RUN, {}
    if like == "qform alone":
        codes = {"sform": 0, "qform": 1}
    elif like == "straight, off by 1e-5 mm":
        affine = from_matvec(np.diag([2.1, 2.1, 2.7]), [0.1, 0.2, 0.3])
        atlas_affine = from_matvec(np.diag([2.1, 2.1, 2.7]), [0.10001, 0.19999, 0.30001])
    elif like == "one slice":
        labels, codes = labels[:, :, 4:5], {"sform": 0, "qform": 1}
    elif like == "cropped":
        atlas_affine = RUN @ from_matvec(np.eye(3), [0.3] * 3)
    elif like == "4D atlas of one":
        labels = labels[..., np.newaxis]
    atlas = save_atlas(tmp_path / "atlas.nii.gz", labels, atlas_affine, **codes)
    placed, regions, coverage = place(atlas, save_grid(tmp_path / "run.nii.gz", labels.shape[:3], affine))
    assert np.array_equal(placed, labels.reshape(placed.shape))
    assert [(region.status, region.coverage) for region in regions] == [("ok", 1.0)] * 2
    assert (coverage[:, 1] >= 0).all()


def test_large_labels_survive(tmp_path, place):
    labels = np.zeros((6, 6, 6), np.int32)
    labels[:3], labels[3:] = 2**24 + 1, 2**31 - 1  # no float32 holds them
    atlas = save_atlas(tmp_path / "atlas.nii.gz", labels)
    image = save_grid(tmp_path / "image.nii", (8, 8, 8), AFFINE @ np.diag([0.7, 0.7, 0.7, 1]))
    placed, _, _ = place(atlas, image)
    assert set(np.unique(placed)) == {2**24 + 1, 2**31 - 1}


@pytest.mark.parametrize("shape", [(7, 7, 8), (7, 7, 8, 2)])
def test_only_the_image_s_header_is_read(tmp_path, atlas, place, shape):
    image = tmp_path / "image.nii.gz"
    nib.Nifti1Image(np.random.default_rng(1).integers(0, 999, shape, np.int16), ATLAS_AFFINE).to_filename(image)
    image.write_bytes(image.read_bytes()[:600])  # more than the header, less than the data
    assert place(atlas, image)[0].shape == (7, 7, 8)


def test_the_regions_asked_for(tmp_path, atlas, place):
    image = save_grid(tmp_path / "image.nii", (12, 12, 12), ATLAS_AFFINE)
    table = tmp_path / "labels.tsv"
    table.write_text("index\tname\n8\tInsula\n3\tV1\n1\tV2\n", "utf-8")

    def chosen(*arguments):
        return [(region.label, region.name) for region in place(atlas, image, *arguments)[1]]

    assert chosen() == [(label, f"region-{label}") for label in range(1, 9)]
    assert chosen(2) == [(1, "region-1"), (2, "region-2")]
    assert chosen([5, 2]) == [(5, "region-5"), (2, "region-2")]
    assert chosen("all", table) == [(8, "Insula"), (3, "V1"), (1, "V2")]
    assert chosen(2, table) == [(8, "Insula"), (3, "V1")]
    assert chosen([1, 7], table) == [(1, "V2"), (7, "region-7")]
    labels, regions, coverage = place(atlas, image, [5, 2])
    assert set(np.unique(labels)) == set(range(9))  # all of them stay in the image
    assert np.bincount(coverage[:, 0]).tolist() == [region.n_voxels_atlas for region in regions]
    with pytest.raises(UserError, match=rf"^regions: 9 asked for, but {atlas} has 8 labels"):
        place(atlas, image, 9)


# What gets lost


@pytest.fixture
def half(tmp_path):
    """An atlas of 12 voxels along x, and an image with half of them: label 2 lies outside, 3 by a half."""
    labels = np.zeros((12, 7, 5), np.int16)
    labels[1:4, 1:3, 1:3], labels[8, 1, 1], labels[4:8, 4:6, 2:4] = 1, 2, 3
    return save_atlas(tmp_path / "atlas.nii.gz", labels), save_grid(tmp_path / "image.nii", (6, 7, 5), AFFINE)


def test_what_is_lost_is_counted_and_told(half, place, caplog):
    with caplog.at_level(logging.WARNING, logger="roistream"):
        _, regions, coverage = place(*half, [3, 1, 2, 99], empty_regions="keep")
    rows = [(region.n_voxels_atlas, region.n_voxels, region.coverage, region.status) for region in regions]
    assert rows == [(16, 8, 0.5, "partial"), (12, 12, 1.0, "ok"), (1, 0, 0.0, "empty"), (0, 0, 0.0, "empty")]
    assert np.bincount(coverage[:, 0]).tolist() == [16, 12, 1]
    assert np.bincount(coverage[coverage[:, 1] < 0, 0]).tolist() == [8, 0, 1]
    assert [record.getMessage() for record in caplog.records] == [
        "Region 3 (region-3) is partial: coverage 0.500.",
        "Region 2 (region-2) is empty: coverage 0.000.",
        "Region 99 (region-99) is empty: coverage 0.000.",
        f"1 of the 3 labels of {half[0]} have no voxel on the grid of {half[1]}: 2.",
    ]


def test_labels_that_the_table_lacks_are_told(tmp_path, half, place, caplog):
    table = tmp_path / "labels.tsv"
    table.write_text("index\tname\n1\tV1\n", "utf-8")
    with caplog.at_level(logging.WARNING, logger="roistream"):
        place(*half, "all", table)
    told = f"2 of the 3 labels of {half[0]} are not in {table}, and are left out unless 'regions' lists them: 2, 3."
    assert told in caplog.messages


def test_an_empty_region_is_an_error_by_default(tmp_path, half, place):
    expected = rf"^2 requested label\(s\) of {half[0]} have no voxel on the image's grid: 2, 99; .*empty_regions: keep"
    with pytest.raises(UserError, match=expected):
        place(*half, [1, 2, 99])
    assert nothing_written(tmp_path)
    assert len(place(*half, [1, 3])[1]) == 2


@pytest.mark.parametrize("empty_regions", ["error", "keep"])
def test_all_regions_empty_is_an_error_in_any_case(tmp_path, half, place, empty_regions):
    with pytest.raises(UserError, match=rf"^None of the requested regions has a voxel on the grid of {half[1]}"):
        place(*half, [2, 99], empty_regions=empty_regions)
    assert nothing_written(tmp_path)


@pytest.mark.parametrize("by", [[500, 0, 0], [0, -40, 0], [0, 0, 24.1]])
@pytest.mark.parametrize("empty_regions", ["error", "keep"])
def test_an_atlas_outside_the_image_is_refused(tmp_path, atlas, place, by, empty_regions):
    affine = ATLAS_AFFINE + from_matvec(np.zeros((3, 3)), by) * [[1], [1], [1], [0]]
    image = save_grid(tmp_path / "image.nii", (12, 12, 12), affine)
    expected = rf"^No region of the atlas {atlas} lies inside {image}; check that both are in the same space"
    with pytest.raises(UserError, match=expected) as error:
        place(atlas, image, empty_regions=empty_regions)
    assert "\n" not in str(error.value)
    assert nothing_written(tmp_path)


def test_an_atlas_without_labels_is_refused(tmp_path, place):
    atlas = save_atlas(tmp_path / "atlas.nii.gz", np.zeros((6, 6, 6), np.int16))
    with pytest.raises(UserError, match=rf"^regions: {atlas} has no labels"):
        place(atlas, save_grid(tmp_path / "image.nii", (6, 6, 6), AFFINE))


def test_unusable_inputs_are_named(tmp_path, atlas, place):
    image = save_grid(tmp_path / "image.nii", (7, 7, 8), ATLAS_AFFINE)
    with pytest.raises(UserError, match=rf"^{image} holds no map"):
        place(image, image)
    flat = tmp_path / "flat.nii"
    nib.Nifti1Image(np.zeros((7, 7), np.int16), ATLAS_AFFINE).to_filename(flat)
    with pytest.raises(UserError, match=rf"^{flat} is 2D .*; give a 4D run, or 3D volumes"):
        place(atlas, flat)
    with pytest.raises(UserError, match=r"absent\.nii does not exist"):
        place(atlas, tmp_path / "absent.nii")
    assert nothing_written(tmp_path)


def test_the_real_atlas_on_a_real_run_keeps_all_64_labels(tmp_path, shared_data, place):
    atlas = shared_data / "template_cambridge_basc_multiscale_sym_scale064.nii.gz"
    image = shared_data / "sub-001_task-rest_bold.nii.gz"
    labels, regions, _ = place(atlas, image)
    assert read_labels(tmp_path / "below" / "atlas_dseg.nii.gz") == list(range(1, 65))
    assert min(region.n_voxels for region in regions) > 0
    # nilearn loses voxels, and alters none.
    reference = nilearn_labels(atlas, image)
    assert np.array_equal(labels[reference > 0], reference[reference > 0])


# The program


def run(*arguments):
    command = [sys.executable, ROOT / "scripts" / "place_atlas.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_from_a_shell(tmp_path, half):
    out = {"--out": tmp_path / "x_dseg.nii.gz", "--table": tmp_path / "x_regions.tsv", "--coverage": tmp_path / "x.npy"}
    files = [str(word) for pair in out.items() for word in pair]
    given = ["--atlas", half[0], "--like", half[1], *files, "--log", tmp_path / "logs" / "x.log"]
    ended = run(*given, "--regions", "[3, 1]")
    assert ended.returncode == 0, ended.stderr
    assert all(path.exists() for path in out.values())
    assert [region.label for region in read_regions(out["--table"])] == [3, 1]
    assert (tmp_path / "logs" / "x.log").read_text("utf-8") == ended.stderr
    assert "Region 3 (region-3) is partial" in ended.stderr
    ended = run(*given)
    assert ended.returncode == 1
    assert ended.stderr.startswith("ERROR: 1 requested label(s)")
    assert len(ended.stderr.splitlines()) == 1
    assert run(*given, "--empty-regions", "keep").returncode == 0
    assert run(*given, "--regions", "1").returncode == 0


@pytest.mark.parametrize("regions", ["some", "0", "-1", "2.5", "[]", "[1, 'a']", "[true]", "3 4"])
def test_regions_that_are_none(regions):
    ended = run("--regions", regions)
    assert ended.returncode == 2
    assert f"{regions!r} is none of 'all', a number" in ended.stderr


def test_no_more_is_imported_than_is_needed():
    code = "import sys, place_atlas; print({'nilearn', 'scipy', 'pandas', 'nibabel'} & set(sys.modules))"
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT / "scripts", capture_output=True, text=True, check=True
    )
    assert ended.stdout == "set()\n"
