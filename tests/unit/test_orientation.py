"""An atlas is put on a grid by a guess only where the config says so, and then it says so itself."""

import logging

import nibabel as nib
import numpy as np
import pytest
from extracted import LABELS, save_atlas
from test_plan import plan

from conftest import AFFINE, GRID, run_script, save_run
from roistream.errors import UserError
from roistream.images.image import inspect, inspect_volume
from roistream.regions.masks import read_voxels
from roistream.regions.placed import put_on_grid, read_placed, write_placed


def without_codes(path):
    """Take the codes out of a header that lies in a plain file."""
    content = bytearray(path.read_bytes())
    content[252:256] = bytes(4)
    path.write_bytes(content)
    return path


@pytest.fixture
def files(tmp_path, rng):
    data = rng.standard_normal((*GRID, 4)).astype(np.float32)
    run, atlas = save_run(tmp_path / "run.nii", data), save_atlas(tmp_path / "atlas.nii")
    return {
        "run": run,
        "atlas": atlas,
        "bare run": without_codes(save_run(tmp_path / "bare_run.nii", data)),
        "bare atlas": without_codes(save_atlas(tmp_path / "bare_atlas.nii")),
        "other bare atlas": without_codes(save_atlas(tmp_path / "other_atlas.nii", np.pad(LABELS, 1))),
    }


def place(run, atlas, **options):
    target = inspect(run)
    return put_on_grid(atlas, target.grid, target.affine, run, oriented=target.oriented, **options)


PAIRS = [("bare run", "atlas"), ("run", "bare atlas"), ("bare run", "bare atlas"), ("bare run", "other bare atlas")]


@pytest.mark.parametrize("pair", PAIRS)
def test_a_guess_is_an_error_that_names_the_files_and_the_key(files, pair):
    run, atlas = (files[name] for name in pair)
    with pytest.raises(UserError, match="missing_orientation: guess") as error:
        place(run, atlas)
    for name in pair:
        assert (str(files[name]) in str(error.value).split(":")[0]) == ("bare" in name)


@pytest.mark.parametrize("pair", PAIRS[:3])
def test_grids_of_the_same_shape_are_guessed_to_be_the_same(files, pair, caplog):
    run, atlas = (files[name] for name in pair)
    with caplog.at_level(logging.WARNING, "roistream"):
        placed = place(run, atlas, missing_orientation="guess")
    assert np.array_equal(placed.labels, LABELS)
    assert "same shape and are taken for the same grid" in caplog.text


def test_else_the_centre_is_the_origin(files, caplog):
    placed = place(files["bare run"], files["other bare atlas"], missing_orientation="guess")
    assert np.array_equal(placed.labels, LABELS)  # it was padded on all sides alike
    assert "its centre is taken for the origin" in caplog.text


def test_what_is_odd_about_an_atlas_goes_with_it(files, tmp_path):
    placed = place(files["run"], files["bare atlas"], missing_orientation="guess")
    [remark] = placed.remarks
    assert "bare_atlas.nii: has no orientation code" in remark
    paths = [tmp_path / name for name in ("placed_dseg.nii.gz", "regions.tsv", "coverage.npy")]
    write_placed(placed, inspect(files["run"]).affine, *paths)
    assert read_placed(*paths).remarks == placed.remarks


def test_a_mask_without_code_is_told(files, tmp_path, caplog):
    """A mask is not placed, it lies on the image's grid; one whose affine is a guess does not lie on that of a sound run."""
    mask = without_codes(save_atlas(tmp_path / "region-2_mask.nii", (LABELS == 2).astype(np.uint8)))
    bare = inspect(files["bare run"])
    assert read_voxels(mask, bare.grid, bare.affine).size == 30
    assert "region-2_mask.nii: has no orientation code" in caplog.text
    with pytest.raises(UserError, match="no orientation code"):
        read_voxels(mask, GRID, AFFINE)


@pytest.mark.parametrize("pair", PAIRS)
def test_the_plan_lists_all_files_before_any_job(files, tmp_path, pair):
    run, atlas = (files[name] for name in pair)
    table = tmp_path / "runs.tsv"
    table.write_text(f"image\trun\na\t{run}\nb\t{files['run']}\n")
    config = {"dataset": str(table), "atlas": str(atlas), "regions": "all"}
    with pytest.raises(UserError) as error:
        plan(**config)
    listed = str(error.value).splitlines()[1:]
    assert listed == [str(files[name]) for name in pair if "bare" in name]
    assert plan(**config, missing_orientation="guess").names


def test_programs_have_the_option(files, tmp_path):
    words = ["--runs", files["bare run"], "--atlas", files["atlas"], "--out", "out/scan"]
    done = run_script("extract_timeseries.py", *words, cwd=tmp_path)
    assert done.returncode == 1
    assert "missing-orientation guess" in done.stderr
    assert "Traceback" not in done.stderr
    done = run_script("extract_timeseries.py", *words, "--missing-orientation", "guess", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "bare_run.nii: has no orientation code" in done.stderr
    header = inspect_volume(files["bare atlas"]).header
    assert not header.oriented
    assert np.allclose(header.affine, nib.load(files["bare atlas"]).affine)
