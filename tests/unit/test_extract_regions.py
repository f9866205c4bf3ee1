"""The extraction as a user runs it: a command in a process of its own."""

import csv
import gzip
import json
import re
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
from nilearn import signal

from concatenate_runs import concatenate_runs
from conftest import AFFINE, GRID, ROOT, save_mask, save_run
from roistream import __version__
from roistream.regions.coverage import Region, write_regions
from roistream.strategies import STRATEGIES

N_VOLUMES = 9


@pytest.fixture
def image(tmp_path, rng):
    return save_run(tmp_path / "image_bold.nii", rng.standard_normal((*GRID, N_VOLUMES)).astype(np.float32))


@pytest.fixture
def large_image(tmp_path, rng):
    """More than one step of a reader, so that a cut falls between volumes."""
    grid = (20, 21, 22)
    path = save_run(tmp_path / "large_bold.nii", rng.standard_normal((*grid, 12)).astype(np.float32))
    return path, save_mask(tmp_path / "large-1_mask.nii.gz", [(1, 2, 3), (19, 20, 21)], grid)


@pytest.fixture
def table(tmp_path):
    """The table that belongs to the masks of conftest."""
    names = {1: "Insula, left", 2: "größer", 7: "region-7"}
    write_regions([Region(label, name, 9, 6, 1.0, "ok") for label, name in names.items()], tmp_path / "regions.tsv")
    return tmp_path / "regions.tsv"


def extract(image, masks, out, *options, strategy="numpy_in_memory", cwd=None):
    """Run the script on an image, or on a list of runs; give the finished process."""
    command = [sys.executable, ROOT / "scripts" / "extract_regions.py", "--strategy", strategy]
    command += ["--image", *(image if isinstance(image, list) else [image]), "--out", out, *options]
    command += ["--masks", *masks] if masks else []
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, encoding="utf-8", cwd=cwd)


def fails(out, process, message):
    """Check that a process failed with one sentence and left nothing."""
    assert process.returncode == 1
    assert process.stdout == ""
    [line] = process.stderr.splitlines()
    assert line.startswith("ERROR: ")
    assert message in line
    assert "defect" not in line
    assert files(out) == []


def files(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def read_means(path):
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file, delimiter="\t")
    return header, np.array(rows, float)


def by_indexing(image, mask):
    """What a user of nibabel gets who can load the image."""
    return np.asarray(nib.load(image).dataobj)[np.asarray(nib.load(mask).dataobj) != 0].T


# Results


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_all_outputs(tmp_path, image, masks, table, strategy):
    out = tmp_path / "out" / strategy
    process = extract(image, masks, out, "--regions", table, strategy=strategy)
    assert process.returncode == 0, process.stderr
    assert process.stdout == ""
    assert "WARNING" not in process.stderr
    assert "ERROR" not in process.stderr
    arrays = [np.load(out / f"region-{label}_timeseries.npy") for label in (1, 2, 7)]
    for array, mask in zip(arrays, masks, strict=True):
        assert array.dtype == np.float32
        assert array.flags.c_contiguous
        assert np.array_equal(array, by_indexing(image, mask))
    header, means = read_means(out / "timeseries.tsv")
    assert header == ["Insula, left", "größer", "region-7"]
    expected = np.stack([array.mean(axis=1, dtype=np.float64) for array in arrays], axis=1)
    assert np.allclose(means, expected, rtol=1e-8, atol=0)
    summary = json.loads((out / "extraction.json").read_text())
    assert 20 < summary.pop("predicted_mib") < 300
    assert re.fullmatch("[0-9a-f]{16}", summary.pop("regions_digest"))
    assert summary == {
        "strategy": strategy,
        "n_jobs": 1,
        "n_regions": 3,
        "n_volumes": N_VOLUMES,
        "image_mib": round(N_VOLUMES * 6 * 7 * 5 * 4 / 2**20, 3),
        "sources": [str(image)],
        "run_lengths": [N_VOLUMES],
        "cleaning": {
            "smoothing_fwhm": None,
            "detrend": False,
            "standardize": None,
            "standardize_confounds": True,
            "low_pass": None,
            "high_pass": None,
            "t_r": 2.0,
            "t_r_source": "header",
        },
        "t_r_remarks": [],
        "per_run": True,
        "confounds": [],
        "confound_columns": None,
        "confound_regressors": [],
        "degrees_of_freedom": [],
        "n_constant_voxels": 0,
        "version": __version__,
    }
    assert files(out) == sorted(
        ["extraction.json", "timeseries.tsv", *(f"region-{label}_timeseries.npy" for label in (1, 2, 7))]
    )


@pytest.mark.parametrize("strategy", ["numpy_path", "shared_memory"])
def test_workers_give_the_same(tmp_path, image, masks, strategy):
    process = extract(image, masks, tmp_path / "out", "--n-jobs", 2, strategy=strategy)
    assert process.returncode == 0, process.stderr
    for mask in masks:
        array = np.load(tmp_path / "out" / mask.name.replace("_mask.nii.gz", "_timeseries.npy"))
        assert np.array_equal(array, by_indexing(image, mask))
    assert json.loads((tmp_path / "out" / "extraction.json").read_text())["n_jobs"] == 2


@pytest.mark.filterwarnings("ignore:.*confounds will be standardized:DeprecationWarning")
def test_confounds_are_chosen_by_name_or_pattern(tmp_path, image, masks):
    """Columns that are not chosen may hold anything; what the first row lacks is the second row's."""
    table = np.random.default_rng(1).standard_normal((N_VOLUMES, 3))
    table[0, 1] = table[1, 1]
    rows = [[*map(repr, row), "n/a"] for row in table.tolist()]
    rows[0][1] = "n/a"
    path = tmp_path / "desc-confounds_timeseries.tsv"
    path.write_text("\n".join("\t".join(row) for row in [["csf", "trans_x", "trans_y", "word"], *rows]))
    chosen = ["--confounds", path, "--confound-columns", "trans_[x-z]", "csf"]
    process = extract(image, masks[:1], tmp_path / "out", "--detrend", *chosen)
    assert process.returncode == 0, process.stderr
    assert "1 value(s) missing in the first row of 1 table(s) taken from the second row" in process.stderr
    by_nilearn = signal.clean(
        by_indexing(image, masks[0]), detrend=True, standardize=None, confounds=table[:, [1, 2, 0]], t_r=2.0
    )
    found = np.load(tmp_path / "out" / "region-1_timeseries.npy")
    assert np.array_equal(found, by_nilearn.astype(np.float32))


def test_confound_columns_that_are_not_there(tmp_path, image, masks):
    path = tmp_path / "confounds.tsv"
    path.write_text("csf\n" + "1\n" * N_VOLUMES)
    out = tmp_path / "out"
    process = extract(image, masks, out, "--confounds", path, "--confound-columns", "csv")
    fails(out, process, f"confound_columns: 'csv' matches no column of the confounds {path}; did you mean csf?")
    fails(out, extract(image, masks, out, "--confound-columns", "csf"), "no tables of confounds are given")


def test_means_tell_any_two_float32_apart(tmp_path, masks):
    data = np.full((*GRID, 2), 16777215, np.float32)
    data[..., 1] = np.nextafter(data[..., 0], np.float32(0))
    out = tmp_path / "out"
    assert extract(save_run(tmp_path / "run.nii", data), masks[:1], out, strategy="stream").returncode == 0
    _, means = read_means(out / "timeseries.tsv")
    assert means.astype(np.float32).ravel().tolist() == [16777215, 16777214]


def test_without_a_table_regions_are_named_after_their_masks(tmp_path, image, masks):
    other = save_mask(tmp_path / "hippocampus.nii", [(1, 1, 1)])
    process = extract(image, [*masks, other], tmp_path / "out")
    assert process.returncode == 0, process.stderr
    header, _ = read_means(tmp_path / "out" / "timeseries.tsv")
    assert header == ["region-1", "region-2", "region-7", "hippocampus"]
    assert (tmp_path / "out" / "hippocampus_timeseries.npy").exists()


def test_an_empty_region_keeps_its_column(tmp_path, image, masks):
    empty = save_mask(tmp_path / "region-5_mask.nii.gz", np.empty((0, 3), int))
    regions = [Region(1, "a", 6, 6, 1, "ok"), Region(5, "b", 4, 0, 0, "empty"), Region(7, "c", 1, 1, 1, "ok")]
    write_regions(regions, tmp_path / "regions.tsv")
    chosen = [masks[0], empty, masks[2]]
    process = extract(image, chosen, tmp_path / "out", "--regions", tmp_path / "regions.tsv", strategy="stream")
    assert process.returncode == 0, process.stderr
    nothing = np.load(tmp_path / "out" / "region-5_timeseries.npy")
    assert (nothing.shape, nothing.dtype) == ((N_VOLUMES, 0), np.float32)
    header, means = read_means(tmp_path / "out" / "timeseries.tsv")
    assert header == ["a", "b", "c"]
    assert np.isnan(means[:, 1]).all()
    assert np.allclose(means[:, 2], by_indexing(image, masks[2])[:, 0])
    assert json.loads((tmp_path / "out" / "extraction.json").read_text())["n_regions"] == 3


def test_relative_paths_from_another_working_directory(tmp_path, image, masks):
    work = tmp_path / "work"
    work.mkdir()
    process = extract("../image_bold.nii", [f"../{mask.name}" for mask in masks], "out", cwd=work)
    assert process.returncode == 0, process.stderr
    assert np.array_equal(np.load(work / "out" / "region-2_timeseries.npy"), by_indexing(image, masks[1]))
    assert files(work) == files(work / "out")


def test_outputs_of_an_earlier_run_are_replaced(tmp_path, image, masks):
    out = tmp_path / "out"
    assert extract(image, masks, out).returncode == 0
    before = {name: (out / name).read_bytes() for name in files(out)}
    doubled = np.asarray(nib.load(image).dataobj) * 2
    assert extract(save_run(image, doubled), masks, out).returncode == 0
    assert np.array_equal(np.load(out / "region-1_timeseries.npy"), by_indexing(image, masks[0]))
    assert files(out) == sorted(before)
    assert (out / "timeseries.tsv").read_bytes() != before["timeseries.tsv"]


def save_atlas(path, masks):
    """Save masks that do not overlap as labels; give the labels by the masks' names."""
    labels = np.zeros(GRID, np.int32)
    for mask in masks:
        labels[np.asarray(nib.load(mask).dataobj) != 0] = int(re.search(r"\d+", mask.name)[0])
    nib.Nifti1Image(labels, AFFINE).to_filename(path)
    return path


def test_an_atlas_instead_of_masks(tmp_path, image, masks):
    """The same arrays, whatever the order of the regions; a label that the atlas has not is an empty region."""
    atlas = save_atlas(tmp_path / "atlas.nii.gz", masks)
    inside = np.asarray(nib.load(atlas).dataobj)
    labels = [7, 99, 1, 2]
    counts = [int((inside == label).sum()) for label in labels]
    table = tmp_path / "regions.tsv"
    write_regions([Region(n, f"name {n}", 9, k, 1.0, "ok") for n, k in zip(labels, counts, strict=True)], table)
    options = ["--atlas", atlas, "--regions", table, "--detrend"]
    process = extract(image, [], tmp_path / "atlas", *options, strategy="stream")
    assert process.returncode == 0, process.stderr
    split = [save_mask(tmp_path / f"region-{n}_mask.nii.gz", np.argwhere(inside == n)) for n in labels]
    process = extract(image, split, tmp_path / "masks", "--regions", table, "--detrend", strategy="mmap")
    assert process.returncode == 0, process.stderr
    for name in (*(f"region-{n}_timeseries.npy" for n in labels), "timeseries.tsv"):
        assert (tmp_path / "atlas" / name).read_bytes() == (tmp_path / "masks" / name).read_bytes(), name
    made_with = [json.loads((tmp_path / way / "extraction.json").read_text()) for way in ("atlas", "masks")]
    assert made_with[0]["regions_digest"] == made_with[1]["regions_digest"]

    out = tmp_path / "out"
    fails(out, extract(image, [], out, *options, strategy="numpy_path"), "needs a file for each mask; give --masks")
    write_regions([Region(1, "a", 9, counts[2] + 1, 1.0, "ok")], table)
    fails(out, extract(image, [], out, *options, strategy="stream"), f"{table} counts other voxels than {atlas} has")
    process = extract(image, [], out, "--atlas", atlas, strategy="stream")
    assert (process.returncode, "give --regions as well" in process.stderr) == (2, True)


@pytest.fixture
def runs(tmp_path, rng):
    """Three runs of an image: one of them scaled integers, which makes float32 of all, and one of 3D volumes."""
    first = save_run(tmp_path / "run-1.nii.gz", rng.standard_normal((*GRID, 12)).astype(np.float32))
    second = tmp_path / "run-2.nii"
    scaled = nib.Nifti1Image(rng.integers(0, 2000, (*GRID, 14)).astype(np.int16), AFFINE)
    scaled.header.set_zooms((3, 3, 3, 2))
    scaled.header.set_slope_inter(0.37, 5)
    scaled.to_filename(second)
    volumes = [tmp_path / f"volume-{number}.nii" for number in range(11)]
    for volume in volumes:
        nib.Nifti1Image(rng.standard_normal(GRID), AFFINE).to_filename(volume)
    return [first, second, *volumes]


@pytest.mark.parametrize("cleaning", ["none", "each", "as one"])
def test_runs_are_as_their_concatenation(tmp_path, runs, masks, cleaning):
    """Also cleaned each by itself, which a concatenated image needs its table of runs for."""
    concatenate_runs(runs, tmp_path / "whole.nii.gz", tmp_path / "runs.tsv")
    options = [] if cleaning == "none" else ["--detrend", "--standardize", "zscore_sample"]
    alone = ["--no-per-run"] if cleaning == "as one" else []
    table = ["--runs", tmp_path / "runs.tsv"] if cleaning == "each" else []
    process = extract(runs, masks, tmp_path / "series", *options, *alone, strategy="stream")
    assert process.returncode == 0, process.stderr
    process = extract(tmp_path / "whole.nii.gz", masks, tmp_path / "whole", *options, *table)
    assert process.returncode == 0, process.stderr
    for name in (*(f"region-{n}_timeseries.npy" for n in (1, 2, 7)), "timeseries.tsv"):
        assert (tmp_path / "series" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    made_with = json.loads((tmp_path / "series" / "extraction.json").read_text())
    assert made_with["run_lengths"] == ([37] if cleaning == "as one" else [12, 14, 11])
    assert made_with["sources"] == list(map(str, runs))
    whole = json.loads((tmp_path / "whole" / "extraction.json").read_text())
    assert made_with["image_mib"] == whole["image_mib"], "or a comparison would take them for two images"


def test_several_runs_for_a_strategy_that_needs_one_file(tmp_path, runs, masks):
    out = tmp_path / "out"
    fails(out, extract(runs, masks, out, strategy="mmap"), "needs one file, but 13 are given; concatenate them")


def test_what_was_made_with_another_configuration_is_removed(tmp_path, image, masks):
    out = tmp_path / "out"
    assert extract(image, masks, out).returncode == 0
    foreign = ["notes.txt", "region-7_timeseries.npy.bak", "region-left_timeseries.npy", "region-1_mask.nii.gz"]
    for name in foreign:
        (out / name).write_text("mine")
    process = extract(image, masks[1:2], out, "--detrend", strategy="stream")
    assert process.returncode == 0, process.stderr
    assert files(out) == sorted(["extraction.json", "region-2_timeseries.npy", "timeseries.tsv", *foreign])
    assert json.loads((out / "extraction.json").read_text())["cleaning"]["detrend"] is True


# A user's mistakes


def test_an_absent_image(tmp_path, masks):
    out = tmp_path / "out"
    fails(out, extract(tmp_path / "absent.nii", masks, out), f"{tmp_path / 'absent.nii'} does not exist")


def test_an_absent_mask(tmp_path, image, masks):
    out = tmp_path / "out"
    fails(out, extract(image, [*masks, tmp_path / "no.nii"], out), f"{tmp_path / 'no.nii'} does not exist")


def test_an_absent_table(tmp_path, image, masks):
    out = tmp_path / "out"
    process = extract(image, masks, out, "--regions", tmp_path / "absent.tsv")
    assert process.returncode == 1
    [line] = process.stderr.splitlines()
    assert str(tmp_path / "absent.tsv") in line
    assert files(out) == []


def test_a_3d_image(tmp_path, masks):
    out = tmp_path / "out"
    fails(out, extract(masks[0], masks, out), f"{masks[0]} is 3D")


def test_a_mask_on_another_grid(tmp_path, image, masks):
    out = tmp_path / "out"
    other = save_mask(tmp_path / "other_mask.nii.gz", [(1, 1, 1)], grid=(7, 6, 5))
    fails(out, extract(image, [*masks, other], out), f"{other} has the grid (7, 6, 5), the image has (6, 7, 5)")


def test_a_mask_on_another_affine(tmp_path, image, masks):
    out = tmp_path / "out"
    other = save_mask(tmp_path / "other_mask.nii.gz", [(1, 1, 1)], affine=AFFINE @ np.diag([-1, 1, 1, 1]))
    fails(out, extract(image, [*masks, other], out), f"{other} has another affine")


def test_two_masks_of_one_name(tmp_path, image, masks):
    (tmp_path / "sub").mkdir()
    twin = save_mask(tmp_path / "sub" / "region-1.nii", [(1, 1, 1)])
    out = tmp_path / "out"
    fails(out, extract(image, [*masks, twin], out), "Two masks have the same file name")


def test_an_empty_mask_without_a_table(tmp_path, image, masks):
    empty = save_mask(tmp_path / "none_mask.nii.gz", np.empty((0, 3), int))
    out = tmp_path / "out"
    fails(out, extract(image, [*masks, empty], out), f"{empty} is empty")


@pytest.mark.parametrize("case", ["other order", "one too few", "another table"])
def test_a_table_that_does_not_belong_to_the_masks(tmp_path, image, masks, table, case):
    out = tmp_path / "out"
    if case == "another table":
        table.write_text("index\tname\n1\tA\n")
    chosen = {"other order": masks[::-1], "one too few": masks[:2]}.get(case, masks)
    fails(out, extract(image, chosen, out, "--regions", table), str(table))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_truncated_image(tmp_path, large_image, strategy):
    path, mask = large_image
    path.write_bytes(path.read_bytes()[: 352 + 20 * 21 * 22 * 4 * 7 + 100])
    out = tmp_path / "out"
    fails(out, extract(path, [mask], out, strategy=strategy), str(path))


@pytest.mark.parametrize("strategy", ["numpy_path", "shared_memory", "stream"])
def test_a_truncated_compressed_image(tmp_path, large_image, strategy):
    path, mask = large_image
    nib.load(path).to_filename(tmp_path / "cut.nii.gz")
    content = (tmp_path / "cut.nii.gz").read_bytes()
    (tmp_path / "cut.nii.gz").write_bytes(content[: len(content) * 6 // 10])
    out = tmp_path / "out"
    fails(out, extract(tmp_path / "cut.nii.gz", [mask], out, strategy=strategy), str(tmp_path / "cut.nii.gz"))


def test_results_that_cannot_be_written(tmp_path, image, masks):
    (tmp_path / "out").write_text("a file where the folder should be")
    process = extract(image, masks, tmp_path / "out")
    assert process.returncode == 1
    [line] = process.stderr.splitlines()
    assert str(tmp_path / "out") in line
    assert (tmp_path / "out").read_text() == "a file where the folder should be"


@pytest.mark.parametrize(
    ("strategy", "options", "message"),
    [
        ("streem", [], "streem"),
        ("stream", ["--n-jobs", "0"], "--n-jobs"),
        ("stream", ["--n-jobs", "-3"], "--n-jobs"),
        ("stream", ["--n-jobs", "many"], "--n-jobs"),
        ("stream", ["--njobs", "2"], "--njobs"),
    ],
)
def test_a_wrong_command_line(tmp_path, image, masks, strategy, options, message):
    process = extract(image, masks, tmp_path / "out", *options, strategy=strategy)
    assert process.returncode == 2
    assert process.stderr.startswith("usage: ")
    errors = [line for line in process.stderr.splitlines() if "error: " in line]
    assert len(errors) == 1
    assert message in errors[0]
    assert "Traceback" not in process.stderr
    assert not (tmp_path / "out").exists()


def test_an_unknown_strategy_is_answered_with_the_choices(tmp_path, image, masks):
    process = extract(image, masks, tmp_path / "out", strategy="streem")
    last_line = process.stderr.splitlines()[-1]
    assert all(name in last_line for name in STRATEGIES)


def test_a_second_run_that_fails_leaves_nothing_that_looks_complete(tmp_path, image, masks):
    out = tmp_path / "out"
    assert extract(image, masks, out).returncode == 0
    assert (out / "extraction.json").is_file()
    content = bytearray(gzip.compress(image.read_bytes(), 0))
    content[-100] ^= 1
    image = tmp_path / "damaged.nii.gz"
    image.write_bytes(content)
    assert extract(image, masks, out).returncode == 1
    assert not (out / "extraction.json").exists()
