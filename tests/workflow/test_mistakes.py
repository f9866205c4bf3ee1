"""A user's mistake costs one sentence: it names the file or key and what to do, and nothing that looks finished is left."""

import csv
import math
import re

import nibabel as nib
import numpy as np
import pytest

from conftest import AFFINE, save_run
from roistream.images.grids import grid_id
from roistream.strategies import STRATEGIES
from workflow.conftest import (
    ATLAS_AFFINE,
    BLOCKS,
    GRID,
    NAMES,
    assert_no_traceback,
    files_below,
    save_atlas,
    save_small_data,
    side_by_side,
    snakemake,
    write_table,
)

SHIFTED = AFFINE + np.outer([1, 0, 0, 0], [0, 0, 0, 1])
FAR_AWAY = ATLAS_AFFINE + np.outer([1, 1, 1, 0], [0, 0, 0, 500])


@pytest.fixture(scope="module")
def bad_data(tmp_path_factory):
    """Small data and, beside them, what can be wrong with files and tables."""
    data = save_small_data(tmp_path_factory.mktemp("mistakes") / "data")
    folder = data.folder
    values = np.random.default_rng(1).standard_normal((*GRID, 5)).astype(np.float32)
    save_run(folder / "other_grid.nii.gz", values[:, :, :-1], t_r=2.5)
    save_run(folder / "other_affine.nii.gz", values, SHIFTED, t_r=2.5)
    save_run(folder / "other_tr.nii.gz", values, t_r=2.0)
    save_run(folder / "cut.nii.gz", values, t_r=2.5)
    content = (folder / "cut.nii.gz").read_bytes()
    (folder / "cut.nii.gz").write_bytes(content[: len(content) // 2])
    (folder / "no_image.nii.gz").write_bytes(b"not compressed")
    save_atlas(folder / "elsewhere.nii.gz", BLOCKS, FAR_AWAY)
    write_table(folder / "missing.tsv", [("first", "a1.nii.gz"), ("first", "a9.nii.gz")])
    write_table(folder / "one_name.tsv", [("first", "a1.nii.gz"), ("first_bold", "b.nii.gz")])
    write_table(
        folder / "several.tsv",
        [("first", "a1.nii.gz"), ("../up", "b.nii.gz"), ("first", "no_image.nii.gz"), ("first", "a1.nii.gz")],
    )
    (folder / "several.tsv").write_text((folder / "several.tsv").read_text() + "first\n")
    write_table(
        folder / "unfit.tsv", [("first", f"{run}.nii.gz") for run in ("a1", "other_grid", "other_affine", "other_tr")]
    )
    (folder / "short.tsv").write_text("trans_x\ttrans_y\n1\t2\n3\t4\n")
    save_run(folder / "two.nii.gz", values[..., :2], t_r=2.5)
    (folder / "one_confound.tsv").write_text("image\trun\tconfounds\nfirst\ttwo.nii.gz\tshort.tsv\n")
    (folder / "confounds.tsv").write_text(
        "image\trun\tconfounds\nfirst\ta1.nii.gz\tshort.tsv\nsecond\tb.nii.gz\tnone.tsv\n"
    )
    (folder / "spaces.tsv").write_text("image run\nfirst a1.nii.gz\n")
    (folder / "two_names.tsv").write_text("index\tname\n1\tfront\n2\tfront\n")
    return data


# What is wrong, the config, and what the sentence must say.
BEFORE_ANY_JOB = {
    "key": ({"n_subject": 3}, ["'n_subject'", "did you mean 'n_subjects'?"]),
    "strategy": ({"strategies": ["numpy_path", "numpy_pth"]}, ["'numpy_pth'", "did you mean 'numpy_path'?", *STRATEGIES]),
    "dataset": ({"dataset": "simulatd"}, ["'dataset'", "'simulatd'", "did you mean 'simulated'?"]),
    "value": ({"n_jobs": "many"}, ["'n_jobs'", "'many'", "must be a whole number from 1 up"]),
    "no table": ({"dataset": "absent.tsv"}, ["'dataset'", "'absent.tsv'", "relative to the working directory"]),
    "no atlas": ({"atlas": "absent.nii.gz"}, ["'atlas'", "'absent.nii.gz'", "relative to the working directory"]),
    "no labels": ({"atlas": "atlas.nii.gz", "atlas_labels": "absent.tsv"}, ["absent.tsv", "'atlas_labels'"]),
    "one name twice": ({"atlas": "atlas.nii.gz", "atlas_labels": "two_names.tsv"}, ["two_names.tsv, line 3", "'front'"]),
    "atlas is no atlas": ({"atlas": "a1.nii.gz"}, ["one 3D label image", "a1.nii.gz is an atlas of maps"]),
    "cleaning key": ({"cleaning": {"low_pas": 0.1}}, ["cleaning", "'low_pas'", "did you mean 'low_pass'?"]),
    "cleaning value": ({"cleaning": {"standardize": True}}, ["cleaning: standardize", "True", "zscore_sample"]),
    "cleaning and strategy": ({"cleaning": {"smoothing_fwhm": 6}}, ["smoothing_fwhm", "numpy_path", "stream"]),
    "cleaning and runs": ({"dataset": "runs.tsv", "cleaning": {"confounds": True}}, ["confounds", "runs.tsv", "add the column"]),
    "too many regions": ({"regions": 65}, ["regions: 65 asked for", "has 64 labels", "at most"]),
    "no such label": ({"regions": [1, 65]}, ["regions", "no label 65", "empty_regions: keep"]),
    "no such label of mine": ({"atlas": "atlas.nii.gz", "regions": [1, 4]}, ["atlas.nii.gz has no label 4", "leave it out"]),
    "no run": ({"dataset": "missing.tsv"}, ["missing.tsv", "line 3", "a9.nii.gz does not exist", "check the path"]),
    "name of the atlas": ({"atlas_name": "my atlas"}, ["'atlas_name'", "'my atlas'", "letters and digits"]),
    "statistic": ({"statistics": ["mean", "average"]}, ["'statistics'", "'average'", "mean, median, sum"]),
    "no list": ({"statistics": "mean"}, ["'statistics'", "'mean'", "a list of some of"]),
    "voxels": ({"save_voxels": "maybe"}, ["'save_voxels'", "'maybe'", "true or false"]),
    "names": ({"dataset": "one_name.tsv"}, ["'first'", "'first_bold'", "would both be called", "rename one"]),
    "several": (
        {"dataset": "several.tsv"},
        [
            "several.tsv has 4 problems; correct them:\n",
            "\nline 3: image '../up' must be a name for a folder",
            "no_image.nii.gz cannot be read as an image",
            "\nline 5: ",
            "a1.nii.gz is already a run of 'first', in line 2",
            "\nline 6: 2 columns expected",
        ],
    ),
    "runs that do not fit": (
        {"dataset": "unfit.tsv"},
        [
            "unfit.tsv has 3 problems; correct them:\n",
            "\nline 3: ",
            "other_grid.nii.gz does not fit",
            "a1.nii.gz: the grid (12, 13, 10) against (12, 13, 11)",
            "\nline 4: ",
            "other_affine.nii.gz does not fit",
            "another affine, by 0.333 voxels at a corner",
            "resample it",
            "\nline 5: ",
            "other_tr.nii.gz does not fit",
            "TR 2.0 s against 2.5 s",
            "an image of its own",
        ],
    ),
    "confounds of another run": (
        {"dataset": "confounds.tsv"},
        [
            "confounds.tsv has 2 problems",
            "\nline 2: the confounds",
            "short.tsv have 2 rows",
            "a1.nii.gz has 10 volumes",
            "\nline 3: ",
            "none.tsv does not exist",
        ],
    ),
    "no such confound": (
        {"dataset": "one_confound.tsv", "cleaning": {"confounds": True, "confound_columns": ["tranz_*"]}},
        ["confound_columns: 'tranz_*' matches no column", "short.tsv", "did you mean trans_y, trans_x?"],
    ),
    "no tabs": ({"dataset": "spaces.tsv"}, ["spaces.tsv", "'image'", "tab-separated"]),
}  # fmt: skip


def located(config, folder):
    """Replace the names of files that exist in `folder` by their paths."""
    return {key: str(folder / value) if (folder / str(value)).is_file() else value for key, value in config.items()}


def sentences(text):
    """List what our own programs complain of, with a list of lines where there is one; Snakemake's words begin otherwise."""
    return re.findall(r"^ERROR: (.*(?:\nline .*)*)$", text, re.MULTILINE)


@pytest.fixture(scope="module")
def stopped_at_once(tmp_path_factory, bad_data):
    def of_mistake(name):
        folder = tmp_path_factory.mktemp("mistake")
        return folder, snakemake(folder, config=located(BEFORE_ANY_JOB[name][0], bad_data.folder))

    return side_by_side(of_mistake, BEFORE_ANY_JOB)


@pytest.mark.parametrize("name", list(BEFORE_ANY_JOB))
def test_before_any_job(stopped_at_once, name):
    folder, ended = stopped_at_once[name]
    assert ended.status == 1, ended.output
    [sentence] = sentences(ended.output)
    for words in BEFORE_ANY_JOB[name][1]:
        assert words in sentence
    assert_no_traceback(folder, ended)
    assert {path.parts[0] for path in files_below(folder)} == {"settings.yaml", ".snakemake"}


@pytest.fixture(scope="module")
def one_damaged_run(tmp_path_factory, bad_data):
    """Run two images: one of a sound run and one that breaks off, which its header cannot tell, and a sound one."""
    folder = tmp_path_factory.mktemp("damaged")
    rows = [("cut", bad_data.runs["a1"]), ("cut", bad_data.folder / "cut.nii.gz"), ("sound", bad_data.runs["b"])]
    table = write_table(folder / "runs.tsv", rows)
    config = {"dataset": table, "atlas": bad_data.atlas, "regions": [1], "strategies": ["numpy_path"], "n_jobs": 1}
    return folder, snakemake(folder, "--keep-going", config=config)


def test_a_damaged_run(one_damaged_run):
    folder, ended = one_damaged_run
    assert ended.status == 1
    [sentence] = sentences((folder / "logs/concatenate_runs/cut.log").read_text("utf-8"))
    for words in ("cut.nii.gz ends early", "5 volumes expected", "copy or download it again"):
        assert words in sentence
    assert sentences(ended.output) == [sentence]
    assert not list(folder.glob("results/cut/cut_bold*"))
    assert not list(folder.glob("results/cut/numpy_path/*"))


def test_an_image_that_is_sound_goes_on_beside_it(one_damaged_run):
    folder, ended = one_damaged_run
    assert_no_traceback(folder, ended)
    assert (folder / "results/sound/memory_comparison.tsv").is_file()
    assert not (folder / "results/study_memory.tsv").exists()


def test_regions_that_get_lost_on_the_way(tmp_path, bad_data):
    """An atlas somewhere else, then a label that resampling loses, then both the lost and an absent one kept."""
    keep = {"empty_regions": "keep"}
    table = write_table(tmp_path / "runs.tsv", [("scan", bad_data.runs["b"])])
    config = {"dataset": table, "regions": [5, 8, 99], "strategies": ["numpy_path"], "n_jobs": 1}
    names = {"atlas_labels": bad_data.folder / "more_labels.tsv"}
    names["atlas_labels"].write_text(bad_data.labels.read_text("utf-8") + "99\tnowhere\n", "utf-8")
    results = tmp_path / "results/scan"
    grid = grid_id(GRID, AFFINE)

    ended = snakemake(tmp_path, config={**config, **names, **keep, "atlas": bad_data.folder / "elsewhere.nii.gz"})
    assert ended.status == 1
    [sentence] = sentences(ended.output)
    for words in ("elsewhere.nii.gz", "lies inside", "b.nii.gz", "same space"):
        assert words in sentence
    assert sentences((tmp_path / f"logs/place_atlas/elsewhere_grid-{grid}.log").read_text("utf-8")) == [sentence]
    assert_no_traceback(tmp_path, ended)
    assert {path.name for path in results.glob("*")} <= {"scan_bold.nii.gz", "runs.tsv"}

    ended = snakemake(tmp_path, config={**config, **names, "atlas": bad_data.atlas, "regions": [5, 8]})
    assert ended.status == 1
    [sentence] = sentences(ended.output)
    for words in (
        "atlas.nii.gz",
        "1 requested label(s)",
        ": 8;",
        "leave them out of 'regions'",
        "empty_regions: keep",
    ):
        assert words in sentence
    assert sentences((tmp_path / f"logs/place_atlas/atlas_grid-{grid}.log").read_text("utf-8")) == [sentence]
    assert_no_traceback(tmp_path, ended)
    assert [path for path in (tmp_path / "resources").rglob("*") if path.is_file()] == []
    assert not results.joinpath("masks").exists()
    assert not (results / "regions.tsv").exists()

    ended = snakemake(tmp_path, config={**config, **names, **keep, "atlas": bad_data.atlas})
    assert ended.status == 0, ended.output
    with (results / "regions.tsv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    kept = [(row["label"], row["n_voxels_atlas"], row["status"]) for row in rows]
    assert kept == [("5", "125", "ok"), ("8", "9", "empty"), ("99", "0", "empty")]
    assert [row["n_voxels"] for row in rows[1:]] == ["0", "0"]
    with (results / "numpy_path/timeseries.tsv").open(newline="", encoding="utf-8") as stream:
        header, *means = csv.reader(stream, delimiter="\t")
    assert header == [NAMES[5], NAMES[8], "nowhere"]
    assert len(means) == 8
    assert [[math.isnan(float(mean)) for mean in row] for row in means] == [[False, True, True]] * 8
    for label in (8, 99):
        assert np.load(results / f"numpy_path/region-{label}_timeseries.npy").shape == (8, 0)
        assert not np.asarray(nib.load(results / f"masks/region-{label}_mask.nii.gz").dataobj).any()
