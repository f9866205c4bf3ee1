"""The target timeseries with cleaning, several statistics and voxels; and what of it runs again after a change."""

import json
import shutil
import warnings

import nibabel as nib
import numpy as np
import pytest
from nilearn import signal
from nilearn.maskers import NiftiLabelsMasker, NiftiMasker

from conftest import AFFINE, read_table, save_run
from roistream.images.grids import grid_id
from roistream.study.derivatives import image_prefix
from workflow.conftest import (
    BLOCKS,
    GRID,
    NAMES,
    T_R,
    assert_no_traceback,
    copy_project,
    counts,
    files_below,
    plan,
    save_atlas,
    side_by_side,
    snakemake,
)

OTHER_GRID, OTHER_AFFINE = (11, 12, 12), AFFINE @ np.diag([1.1, 1.1, 1.0, 1])
RUNS = {"sub-01_ses-1_task-rest": ["a", "b"], "pilot": ["c"], "sub-02_task-rest": ["d"]}
LENGTHS = {"a": 40, "b": 35, "c": 30, "d": 37}
LABELS = [5, 1, 13]
STATISTICS = ["mean", "median", "standard_deviation", "maximum"]
CLEANING = {"detrend": True, "standardize": "zscore_sample", "high_pass": 0.02}
CONFOUNDS = ["csf", "trans_*"]
CONFIG = {
    "dataset": "runs.tsv",
    "atlas": "atlas.nii.gz",
    "atlas_labels": "labels.tsv",
    "regions": LABELS,
    "statistics": STATISTICS,
    "save_voxels": True,
    "cleaning": {**CLEANING, "confounds": True, "confound_columns": CONFOUNDS},
}


def write_runs(folder, runs):
    lines = [f"{image}\t{name}.nii.gz\t{name}.tsv\n" for image, names in runs.items() for name in names]
    (folder / "runs.tsv").write_text("image\trun\tconfounds\n" + "".join(lines), "utf-8")


def write_confounds(folder, name, seed):
    """Write three columns of which two are used; give these."""
    values = np.random.default_rng(seed).normal(size=(LENGTHS[name], 3)).cumsum(axis=0)
    lines = ["\t".join(map(repr, row)) for row in values.tolist()]
    (folder / f"{name}.tsv").write_text("\n".join(["csf\tother\ttrans_x", *lines]) + "\n")
    return values[:, [0, 2]]


@pytest.fixture(scope="module")
def cleaned(tmp_path_factory):
    """Run it; look but do not touch."""
    folder = tmp_path_factory.mktemp("cleaned") / "a study"
    folder.mkdir()
    rng = np.random.default_rng(5)
    for name, length in LENGTHS.items():
        grid, affine = (OTHER_GRID, OTHER_AFFINE) if name == "c" else (GRID, AFFINE)
        values = 100 + rng.normal(size=(*grid, length)).cumsum(axis=3)
        save_run(folder / f"{name}.nii.gz", values.astype(np.float32), affine, T_R)
    save_atlas(folder / "atlas.nii.gz", BLOCKS)
    rows = "".join(f"{label}\t{name}\n" for label, name in NAMES.items())
    (folder / "labels.tsv").write_text(f"index\tname\n{rows}", "utf-8")
    confounds = {name: write_confounds(folder, name, seed) for seed, name in enumerate(LENGTHS)}
    write_runs(folder, RUNS)
    ended = snakemake(folder, "timeseries", config=CONFIG)
    assert ended.status == 0, ended.output
    assert_no_traceback(folder, ended)
    return folder, confounds


def path_of(folder, image, ending):
    return folder / f"{image_prefix(image, 'atlas')}_{ending}"


@pytest.fixture(scope="module", params=list(RUNS))
def image(request, cleaned):
    """An image, put together in memory, with the atlas on its grid and nilearn's parameters."""
    folder, confounds = cleaned
    names = RUNS[request.param]
    runs = [nib.load(folder / f"{name}.nii.gz") for name in names]
    whole = nib.Nifti1Image(np.concatenate([np.asarray(run.dataobj) for run in runs], axis=3), runs[0].affine)
    atlas = folder / f"resources/atlases/atlas_grid-{grid_id(whole.shape[:3], whole.affine)}_dseg.nii.gz"
    options = {**CLEANING, "t_r": T_R, "reports": False}
    if len(names) > 1:
        options["runs"] = np.repeat(range(len(names)), [LENGTHS[name] for name in names])
    return request.param, whole, atlas, options, np.concatenate([confounds[name] for name in names])


@pytest.mark.parametrize("statistic", STATISTICS)
def test_signals_are_those_of_nilearn(cleaned, image, statistic):
    name, whole, atlas, options, confounds = image
    labels = np.asarray(nib.load(atlas).dataobj)
    chosen = nib.Nifti1Image(np.where(np.isin(labels, LABELS), labels, 0), nib.load(atlas).affine)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if (
            "runs" in options
        ):  # which NiftiLabelsMasker does not know; its signals are then cleaned by nilearn's function
            signals = NiftiLabelsMasker(chosen, strategy=statistic, standardize=None, reports=False).fit_transform(
                whole
            )
            cleaning = {key: value for key, value in options.items() if key != "reports"}
            expected = signal.clean(np.asfortranarray(signals), confounds=confounds, **cleaning)
        else:
            masker = NiftiLabelsMasker(chosen, strategy=statistic, **options)
            expected = masker.fit_transform(whole, confounds=confounds)
    table = read_table(path_of(cleaned[0], name, f"stat-{statistic}_timeseries.tsv"))
    assert list(table) == [NAMES[label] for label in LABELS], "in the order that was asked for"
    ascending = [NAMES[label] for label in sorted(LABELS)]
    assert np.array_equal(table[ascending].to_numpy().astype(expected.dtype), expected)


def test_voxels_are_those_of_nilearn(cleaned, image):
    name, whole, atlas, options, confounds = image
    found = np.load(path_of(cleaned[0], name, "voxels.npy"), mmap_mode="r")
    assert found.dtype == np.float32
    table = read_table(path_of(cleaned[0], name, "voxels.tsv"))
    assert len(table) == found.shape[1]
    labels = nib.load(atlas)
    for label in LABELS:
        mask = nib.Nifti1Image((np.asarray(labels.dataobj) == label).astype(np.uint8), labels.affine)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = NiftiMasker(mask, **options).fit_transform(whole, confounds=confounds)
        assert np.array_equal(found[:, table["label"] == label], expected.astype(np.float32))


def test_sidecars_tell_of_cleaning(cleaned):
    folder, _ = cleaned
    for name, runs in RUNS.items():
        for statistic in STATISTICS:
            sidecar = json.loads(path_of(folder, name, f"stat-{statistic}_timeseries.json").read_text("utf-8"))
            assert sidecar["Statistic"] == statistic
            assert sidecar["Cleaning"].items() >= CLEANING.items()
            assert sidecar["Cleaning"]["confounds"] == [f"{run}.tsv" for run in runs]
            assert sidecar["Cleaning"]["confound_columns"] == CONFOUNDS
            assert sidecar["SoftwareVersions"].keys() >= {"nilearn", "numpy", "roistream"}


def test_a_second_run_does_nothing(cleaned):
    ended = snakemake(cleaned[0], "timeseries", config=CONFIG)
    assert "Nothing to be done" in ended.output


# What runs again. Each case changes the config, the code, or a copy of the study's folder.

SUMMARY = {"summarise_study": 1}
FROM_EXTRACTION = {"extract_timeseries": len(RUNS), **SUMMARY}
FROM_ATLAS = {"place_atlas": 2, **FROM_EXTRACTION}
ONE = {"extract_timeseries": 1, **SUMMARY}

CHANGES = {
    "cleaning": ({"cleaning": {"detrend": True}}, FROM_EXTRACTION),
    "the confounds that are used": (
        {"cleaning": {**CLEANING, "confounds": True, "confound_columns": ["csf"]}},
        FROM_EXTRACTION,
    ),
    "statistics": ({"statistics": ["mean"]}, FROM_EXTRACTION),
    "no voxels": ({"save_voxels": False}, FROM_EXTRACTION),
    "the order of regions": ({"regions": sorted(LABELS)}, FROM_ATLAS),
    "the atlas's name": ({"atlas_name": "Other"}, FROM_ATLAS),
    "what concerns the comparison": ({"n_jobs": 2, "strategies": ["stream"], "n_subjects": 2, "seed": 4}, {}),
}
CODE = {
    "extract_timeseries.py": FROM_EXTRACTION,
    "roistream/study/extraction.py": FROM_EXTRACTION,
    "roistream/regions/placement.py": FROM_ATLAS,
    "roistream/figures/study.py": SUMMARY,
    "roistream/memory/measure.py": {},
    "roistream/study/plan.py": {},
}


def change_nothing(folder):
    for path in folder.glob("*.*"):
        path.touch()


def change_a_run(folder):
    path = folder / "d.nii.gz"
    values = np.asarray(nib.load(path).dataobj)
    save_run(path, values + 1, AFFINE, T_R)


INPUTS = {
    "files that were only touched": (change_nothing, {}),
    "a run": (change_a_run, ONE),
    "confounds": (lambda folder: write_confounds(folder, "b", 99), ONE),
    "the atlas": (
        lambda folder: save_atlas(folder / "atlas.nii.gz", {**BLOCKS, 5: BLOCKS[1], 1: BLOCKS[5]}),
        FROM_ATLAS,
    ),
    "another order of images": (lambda folder: write_runs(folder, dict(reversed(RUNS.items()))), {}),
    "another order of runs": (lambda folder: write_runs(folder, {**RUNS, "sub-01_ses-1_task-rest": ["b", "a"]}), ONE),
    "the first image less": (lambda folder: write_runs(folder, dict(list(RUNS.items())[1:])), SUMMARY),
    "an image more": (lambda folder: write_runs(folder, {"new": ["d"], **RUNS}), ONE),
}


@pytest.fixture(scope="module")
def plans(cleaned, tmp_path_factory):
    """Plan all of it, two at a time: {(kind, name): jobs}."""
    cases = [(kind, name) for kind, names in (("key", CHANGES), ("code", CODE), ("input", INPUTS)) for name in names]

    def of_case(case):
        kind, name = case
        folder = shutil.copytree(cleaned[0], tmp_path_factory.mktemp("again") / "a study")
        config, options = CONFIG, {}
        if kind == "key":
            config = {**CONFIG, **CHANGES[name][0]}
        elif kind == "code":
            options["root"] = copy_project(tmp_path_factory.mktemp("projects") / "my copy")
            with (options["root"] / "scripts" / name).open("a", encoding="utf-8") as stream:
                stream.write("\n\nADDED = 1\n")
        else:
            INPUTS[name][0](folder)
        return plan(folder, "timeseries", config=config, **options)

    return side_by_side(of_case, cases)


@pytest.mark.parametrize("name", list(CHANGES))
def test_a_changed_key(plans, name):
    assert counts(plans["key", name]) == CHANGES[name][1]


@pytest.mark.parametrize("name", list(CODE))
def test_changed_code(plans, name):
    assert counts(plans["code", name]) == CODE[name]


@pytest.mark.parametrize("name", list(INPUTS))
def test_changed_inputs(plans, name):
    assert counts(plans["input", name]) == INPUTS[name][1]


def test_only_the_image_that_changed(plans):
    images = {
        name: {job.image for job in plans["input", name]} - {None}
        for name in ("a run", "confounds", "another order of runs", "an image more")
    }
    assert images == {
        "a run": {"sub-02_task-rest"},
        "confounds": {"sub-01_ses-1_task-rest"},
        "another order of runs": {"sub-01_ses-1_task-rest"},
        "an image more": {"new"},
    }


def test_nothing_of_another_configuration_stays(cleaned, tmp_path):
    """An image less, one statistic, no voxels, and another cleaning: of what was before no file is left."""
    folder = shutil.copytree(cleaned[0], tmp_path / "a study")
    write_runs(folder, {image: runs for image, runs in RUNS.items() if image != "pilot"})
    config = {**CONFIG, "statistics": ["mean"], "save_voxels": False, "cleaning": {"detrend": True}}
    ended = snakemake(folder, "timeseries", config=config)
    assert ended.status == 0, ended.output
    left = {path.name for path in files_below(folder / "derivatives")}
    endings = ("stat-coverage_bold.tsv", "stat-mean_timeseries.json", "stat-mean_timeseries.tsv")
    images = ("sub-01_ses-1_task-rest", "sub-02_task-rest")
    assert left == {f"{image}_atlas-atlas_{ending}" for image in images for ending in endings} | {
        "study.tsv",
        "study.png",
        "dataset_description.json",
        ".bidsignore",
        "atlas-atlas_dseg.tsv",
    }
    assert "were made with another configuration and have been removed" in ended.output


def test_results_of_another_configuration_do_not_count_when_the_study_stops(cleaned, tmp_path):
    """Two runs have broken off since; the first that fails stops the study, and the other image has its old results still."""
    folder = shutil.copytree(cleaned[0], tmp_path / "a study")
    for name in ("a", "d"):
        path = folder / f"{name}.nii.gz"
        path.write_bytes(path.read_bytes()[:-2000])
    ended = snakemake(folder, "timeseries", config={**CONFIG, "cleaning": {"detrend": True}}, cores=1)
    assert ended.status == 1
    assert_no_traceback(folder, ended)
    rows = read_table(folder / "derivatives/roistream/study.tsv").set_index("image")
    broken = ["sub-01_ses-1_task-rest", "sub-02_task-rest"]
    assert sorted(rows["status"][broken]) == ["missing", "outdated"]
    [failed] = [image for image in broken if rows["status"][image] == "missing"]
    assert "ends early" in rows["reason"][failed]
    sidecar = json.loads(path_of(folder, "pilot", "stat-mean_timeseries.json").read_text("utf-8"))
    assert rows["status"]["pilot"] == ("outdated" if "standardize" in sidecar["Cleaning"] else "done")
