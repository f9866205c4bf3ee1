"""From a folder of fMRIPrep to cleaned time series: the runs table of list_bids_runs.py in the workflow."""

import subprocess
import sys
import warnings

import nibabel as nib
import numpy as np
import pytest
from nilearn.maskers import NiftiMasker

from conftest import ROOT, save_run
from workflow.conftest import BLOCKS, GRID, T_R, assert_no_traceback, counts, plan, save_atlas, snakemake

LENGTHS = {1: 30, 2: 25}
COLUMNS = ["csf", "csf_derivative1", "trans_x", "trans_x_derivative1", "trans_y", "framewise_displacement", "cosine00"]
SPACE = "MNI152NLin2009cAsym"
STRATEGIES = ["stream", "nifti_masker_path"]
LABELS = [1, 5]
CONFOUND_COLUMNS = ["trans_*", "framewise_displacement"]
USED = ["trans_x", "trans_x_derivative1", "trans_y", "framewise_displacement"]


def stem(subject, run):
    return f"sub-{subject}/func/sub-{subject}_task-rest_run-{run}"


def run_path(folder, subject, run):
    return folder / f"fMRIPrep 23/{stem(subject, run)}_space-{SPACE}_desc-preproc_bold.nii.gz"


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A folder like fMRIPrep's in a folder with a space, an atlas, and the confounds of each run without gaps."""
    folder = tmp_path_factory.mktemp("bids") / "my study"
    rng = np.random.default_rng(11)
    confounds = {}
    for subject in ("01", "02"):
        for run, length in LENGTHS.items():
            path = run_path(folder, subject, run)
            path.parent.mkdir(parents=True, exist_ok=True)
            values = 500 + 20 * rng.standard_normal((*GRID, length)).cumsum(axis=-1)
            save_run(path, values.astype(np.float32), t_r=T_R)
            save_run(path.with_name(path.name.replace(SPACE, "T1w")), values[..., :2].astype(np.float32), t_r=T_R)
            nib.Nifti1Image(values[..., 0], np.eye(4)).to_filename(
                path.with_name(path.name.replace("desc-preproc_bold", "boldref"))
            )
            table = rng.standard_normal((length, len(COLUMNS))).cumsum(axis=0)
            text = [[repr(value) for value in row] for row in table.tolist()]
            for column, name in enumerate(COLUMNS):
                if name.endswith(("derivative1", "displacement")):
                    text[0][column] = "n/a"
                    table[0, column] = table[1, column]
            text[3][COLUMNS.index("cosine00")] = "n/a"  # an error, if it were used
            lines = ["\t".join(row) for row in [COLUMNS, *text]]
            tsv = folder / f"fMRIPrep 23/{stem(subject, run)}_desc-confounds_timeseries.tsv"
            tsv.write_text("\n".join(lines) + "\n")
            confounds[subject, run] = table[:, [COLUMNS.index(name) for name in USED]]
    save_atlas(folder / "atlas.nii.gz", BLOCKS)
    return folder, confounds


def list_runs(folder, *arguments):
    command = [sys.executable, ROOT / "scripts/list_bids_runs.py", folder / "fMRIPrep 23", "--out", *arguments]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr


def config(table):
    return {
        "dataset": table,
        "atlas": "atlas.nii.gz",
        "regions": LABELS,
        "strategies": STRATEGIES,
        "n_jobs": 1,
        "cleaning": {
            "detrend": True,
            "standardize": "zscore_sample",
            "high_pass": 0.01,
            "confounds": True,
            "confound_columns": CONFOUND_COLUMNS,
        },
    }


def test_each_run_an_image(study):
    folder, _ = study
    list_runs(folder, folder / "each.tsv", "--space", SPACE)
    jobs = plan(folder, config=config("each.tsv"))
    assert counts(jobs) == {
        "place_atlas": 1,
        **dict.fromkeys(("concatenate_runs", "split_masks", "compare_memory"), 4),
        "extract_regions": 8,
        "compare_study": 1,
    }
    assert {job.image for job in jobs if job.rule == "concatenate_runs"} == {
        run_path(folder, subject, run).name.removesuffix("_bold.nii.gz") for subject in ("01", "02") for run in LENGTHS
    }


@pytest.fixture(scope="module")
def results(study):
    """Run the workflow on the runs of a subject as one image."""
    folder, _ = study
    list_runs(folder, folder / "runs.tsv", "--concatenate", "run", "--space", SPACE)
    ended = snakemake(folder, config=config("runs.tsv"), cores=2)
    assert ended.status == 0, ended.output
    assert_no_traceback(folder, ended)
    return folder / "results"


@pytest.mark.parametrize("subject", ["01", "02"])
def test_time_series_are_those_of_nifti_masker(study, results, subject):
    folder, confounds = study
    image = f"sub-{subject}_task-rest_space-{SPACE}_desc-preproc"
    values = [np.asarray(nib.load(run_path(folder, subject, run)).dataobj) for run in LENGTHS]
    whole = nib.load(results / image / f"{image}_bold.nii.gz")
    assert np.array_equal(whole.dataobj, np.concatenate(values, axis=3))
    for label in LABELS:
        masker = NiftiMasker(
            mask_img=results / image / f"masks/region-{label}_mask.nii.gz",
            detrend=True,
            standardize="zscore_sample",
            high_pass=0.01,
            t_r=T_R,
            runs=np.repeat(list(LENGTHS), list(LENGTHS.values())),
            reports=False,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # nilearn's own remarks
            expected = masker.fit_transform(
                whole, confounds=np.concatenate([confounds[subject, run] for run in LENGTHS])
            )
        for strategy in STRATEGIES:
            found = np.load(results / image / strategy / f"region-{label}_timeseries.npy")
            assert np.array_equal(found, expected.astype(np.float32))
    log = (folder / f"logs/extract_regions/{image}/stream.log").read_text()
    assert (
        "4 value(s) missing in the first row of 2 table(s) taken from the second row, in 2 column(s): "
        "trans_x_derivative1, framewise_displacement."
    ) in log
    assert (results / "study_memory.tsv").is_file()
