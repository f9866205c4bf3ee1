"""The runs of BIDS datasets as runs tables, on small datasets with real headers."""

import csv
import json
import subprocess
import sys

import numpy as np
import pytest
import yaml

from conftest import ROOT, save_mask, save_run
from list_bids_runs import list_bids_runs
from roistream.errors import UserError
from roistream.study.runs import read_runs_table

SCHEMA = yaml.safe_load((ROOT / "workflow" / "schemas" / "runs.schema.yaml").read_text(encoding="utf-8"))
MNI = "space-MNI152NLin2009cAsym"


def make(folder, *names):
    """Make the files of a dataset: images with real headers, tables with a row for each of their volumes, empty others."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(("_bold.nii", "_bold.nii.gz")):
            save_run(path, np.zeros((2, 2, 2, 3), np.float32))
        elif name.endswith("_mask.nii.gz"):
            save_mask(path, [(0, 1, 1)], (2, 2, 2))
        elif name.endswith(".tsv"):
            path.write_text("csf\tdvars\n1\tn/a\n2\t0.5\n3\t0.25\n")
        else:
            path.touch()
    return folder


def listed(dataset, *, out=None, concatenate=(), with_confounds=True, leave_out_incomplete=False, **filters):
    """List a dataset into a table beside it and read that table as the workflow would: images, and files below the dataset."""
    out = out or dataset.parent / "runs.tsv"
    list_bids_runs(dataset, out, filters, concatenate, with_confounds, leave_out_incomplete=leave_out_incomplete)
    return [
        (run.image, *(str(path.relative_to(dataset)) for path in (run.path, run.confounds) if path is not None))
        for run in read_runs_table(out, SCHEMA)
    ]


def images(*arguments, **options):
    return [row[0] for row in listed(*arguments, **options)]


def message(*arguments, **options):
    with pytest.raises(UserError) as error:
        listed(*arguments, **options)
    assert "\n" not in str(error.value)
    assert str(error.value).endswith(".")
    return str(error.value)


RAW = [
    f"sub-{subject}/ses-{session}/func/sub-{subject}_ses-{session}_task-{task}_run-{run}_bold.nii.gz"
    for subject in ("01", "02")
    for session in ("1", "2")
    for task, run in (("rest", "01"), ("rest", "02"), ("rest", "10"), ("nback", "1"))
]
NO_BOLD = [
    "README",
    "participants.tsv",
    "sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz",
    "sub-01/ses-1/func/sub-01_ses-1_task-rest_run-01_bold.json",
    "sub-01/ses-1/func/sub-01_ses-1_task-rest_run-01_sbref.nii.gz",
    "sub-01/ses-1/func/sub-01_ses-1_task-rest_run-01_boldref.nii.gz",
    "sub-01/ses-1/func/sub-01_ses-1_task-rest_run-01_events.tsv",
    "sub-01/ses-1/func/sub-01_ses-1_task-rest_space-fsLR_den-91k_bold.dtseries.nii",
    "sub-01/ses-1/func/sub-01_ses-1_task-rest_hemi-L_space-fsaverage_bold.func.gii",
    "sub-01/figures/sub-01_task-rest_desc-carpetplot_bold.svg",
    f"derivatives/fmriprep/sub-01/func/sub-01_task-rest_{MNI}_desc-preproc_bold.nii.gz",
    "sourcedata/sub-01/func/sub-01_task-rest_bold.nii.gz",
    ".git/annex/sub-01_task-rest_bold.nii.gz",
]


@pytest.fixture
def raw(tmp_path):
    """A raw dataset in a folder whose own name reads like entities of BIDS."""
    return make(tmp_path / "my sub-99" / "ses-7" / "task-x ä", *RAW, *NO_BOLD)


# What is listed


def test_each_run_is_an_image_of_its_own(raw):
    rows = listed(raw)
    assert sorted(path for _, path in rows) == sorted(RAW)
    assert dict(rows) == {path.split("/")[-1].removesuffix("_bold.nii.gz"): path for path in RAW}


def test_the_order_is_that_of_the_entities_with_numbers_as_numbers(tmp_path):
    names = [
        f"sub-{subject}/func/sub-{subject}_{rest}_bold.nii"
        for subject in ("2", "10", "a1")
        for rest in ("task-b", "task-b_run-2", "task-b_run-10", "task-c_run-1")
    ]
    dataset = make(tmp_path / "data", *names[::-1])
    assert [path for _, path in listed(dataset)] == names
    first = (tmp_path / "runs.tsv").read_bytes()
    listed(dataset)
    assert (tmp_path / "runs.tsv").read_bytes() == first


def test_runs_are_concatenated_in_their_order(raw):
    rows = listed(raw, concatenate=["run"], task=["rest"], subject=["02"])
    assert rows == [
        (
            f"sub-02_ses-{session}_task-rest",
            f"sub-02/ses-{session}/func/sub-02_ses-{session}_task-rest_run-{run}_bold.nii.gz",
        )
        for session in (1, 2)
        for run in ("01", "02", "10")
    ]


def test_several_entities_can_be_concatenated(raw):
    assert (
        images(raw, concatenate=["run", "session"], subject=["01"])
        == ["sub-01_task-nback"] * 2 + ["sub-01_task-rest"] * 6
    )
    assert set(images(raw, concatenate=["subject", "session", "task", "run"])) == {"all"}


def test_a_run_without_the_entity_is_a_part_too(tmp_path):
    dataset = make(tmp_path / "data", "sub-1/func/sub-1_task-a_bold.nii", "sub-1/func/sub-1_task-a_run-2_bold.nii")
    assert images(dataset, concatenate=["run"]) == ["sub-1_task-a"] * 2
    assert images(dataset, run=["none"]) == ["sub-1_task-a"]


# Filters


def test_filters(raw):
    assert len(images(raw, subject=["sub-01"])) == 8
    assert images(raw, subject=["02"], session=["ses-2"], task=["rest"], run=["2", "010"]) == [
        "sub-02_ses-2_task-rest_run-02",
        "sub-02_ses-2_task-rest_run-10",
    ]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"subject": ["1"]}, "--subject 1 matches no bold image; there are: 01, 02."),
        ({"subject": ["01", "03"]}, "--subject 03 matches no bold image; there are: 01, 02."),
        ({"run": ["3"]}, "--run 3 matches no bold image; there are: 01, 1, 02, 10."),
        ({"space": ["T1w"]}, "--space T1w matches no bold image; there are: none."),
        (
            {"task": ["nback"], "run": ["2"]},
            "--run 2 matches no bold image among those with --task nback; there are: 1.",
        ),
    ],
)
def test_a_filter_that_matches_nothing_is_answered_with_what_there_is(raw, filters, expected):
    assert message(raw, **filters) == expected


# Folders that are not what they should be


def test_no_dataset(tmp_path):
    assert "absent is no folder" in message(tmp_path / "absent")
    assert "has no files named *_bold.nii" in message(make(tmp_path / "empty", "README", "sub-01_T1w.nii.gz"))


def test_the_same_run_twice(tmp_path):
    name = "sub-1/func/sub-1_task-a_bold.nii"
    text = message(make(tmp_path / "data", f"old/{name}", f"new/{name}"))
    assert f"{tmp_path}/data/new/{name} and {tmp_path}/data/old/{name} are the same run" in text
    assert "are the same run" in message(make(tmp_path / "twice", name, f"{name}.gz"))


DESCRIPTIONS = {
    "current": {
        "Name": "fMRIPrep",
        "BIDSVersion": "1.4.0",
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "fMRIPrep"}],
    },
    "old": {"Name": "fMRIPrep", "DatasetType": "derivative", "PipelineDescription": {"Name": "fMRIPrep"}},
    "incomplete": {"DatasetType": "derivative"},
}


@pytest.mark.parametrize("description", [None, "{", *map(json.dumps, DESCRIPTIONS.values())])
def test_the_description_of_a_dataset_does_not_matter(tmp_path, description):
    dataset = make(tmp_path / "data", f"sub-1/func/sub-1_task-a_{MNI}_desc-preproc_bold.nii.gz")
    if description is not None:
        (dataset / "dataset_description.json").write_text(description)
    assert images(dataset) == [f"sub-1_task-a_{MNI}_desc-preproc"]


# fMRIPrep


def preprocessed(folder, *spaces, subjects=("01", "02"), confounds="timeseries"):
    """Make what fMRIPrep writes, in some spaces."""
    for subject in subjects:
        stem = f"sub-{subject}/func/sub-{subject}_task-rest"
        for space in spaces:
            make(folder, f"{stem}_{space}_desc-preproc_bold.nii.gz", f"{stem}_{space}_boldref.nii.gz")
            make(folder, f"{stem}_{space}_desc-brain_mask.nii.gz")
        if confounds:
            make(folder, f"{stem}_desc-confounds_{confounds}.tsv", f"{stem}_desc-confounds_{confounds}.json")
    make(
        folder, "logs/CITATION.md", "sourcedata/freesurfer/sub-01/mri/x.nii.gz", "sub-01/figures/sub-01_task-a_bold.nii"
    )
    return folder


@pytest.mark.parametrize("confounds", ["timeseries", "regressors"])
def test_preprocessed_runs_have_their_confounds(tmp_path, confounds):
    dataset = preprocessed(tmp_path / "fmriprep", MNI, confounds=confounds)
    assert listed(dataset) == [
        (
            f"sub-{subject}_task-rest_{MNI}_desc-preproc",
            f"sub-{subject}/func/sub-{subject}_task-rest_{MNI}_desc-preproc_bold.nii.gz",
            f"sub-{subject}/func/sub-{subject}_task-rest_desc-confounds_{confounds}.tsv",
        )
        for subject in ("01", "02")
    ]


def test_spaces_are_never_mixed_by_accident(tmp_path):
    dataset = preprocessed(tmp_path / "fmriprep", MNI, "space-T1w")
    text = message(dataset)
    assert (
        f"{dataset} has several versions of its bold images (space: MNI152NLin2009cAsym, T1w); choose by --space"
        in text
    )
    assert text.endswith("for example --space MNI152NLin2009cAsym.")
    assert len(images(dataset, space=["T1w"])) == 2
    both = listed(dataset, space=["T1w", "MNI152NLin2009cAsym"])
    assert len({row[0] for row in both}) == 4, "asked for by name, each is an image of its own"
    assert len(set(images(dataset, space=["T1w", "MNI152NLin2009cAsym"], concatenate=["subject"]))) == 2


def test_subjects_in_different_spaces_are_a_mixture_too(tmp_path):
    preprocessed(tmp_path / "fmriprep", MNI, subjects=["01"])
    preprocessed(tmp_path / "fmriprep", "space-T1w", subjects=["02"])
    assert "(space: MNI152NLin2009cAsym, T1w)" in message(tmp_path / "fmriprep")


def test_resolutions_cohorts_and_descriptions(tmp_path):
    stem = "sub-1/func/sub-1_task-a_space-MNIPediatricAsym"
    versions = [f"cohort-{cohort}_res-{res}_desc-preproc" for cohort in (1, 2) for res in (1, 2)]
    versions.append("cohort-1_res-1_desc-smoothAROMAnonaggr")
    dataset = make(tmp_path / "fmriprep", *(f"{stem}_{version}_bold.nii.gz" for version in versions))
    text = message(dataset)
    assert (
        "(cohort: 1, 2; res: 1, 2; desc: preproc, smoothAROMAnonaggr); choose by --cohort and --res and --desc" in text
    )
    assert images(dataset, cohort=["2"], res=["1"], desc=["preproc"]) == [
        "sub-1_task-a_space-MNIPediatricAsym_cohort-2_res-1_desc-preproc"
    ]


def test_the_space_of_the_run_itself_has_no_name(tmp_path):
    dataset = preprocessed(tmp_path / "fmriprep", MNI)
    make(dataset, "sub-01/func/sub-01_task-rest_desc-preproc_bold.nii.gz")
    assert "(space: none, MNI152NLin2009cAsym)" in message(dataset)
    assert message(dataset).endswith("for example --space MNI152NLin2009cAsym.")
    assert images(dataset, space=["none"]) == ["sub-01_task-rest_desc-preproc"]


def test_echoes(tmp_path):
    dataset = make(tmp_path / "data", *(f"sub-1/func/sub-1_task-a_echo-{echo}_bold.nii.gz" for echo in (1, 2, 3)))
    assert "(echo: 1, 2, 3); choose by --echo" in message(dataset)
    assert "(echo: 1, 2, 3)" in message(dataset, concatenate=["run"])
    assert images(dataset, echo=["2"]) == ["sub-1_task-a_echo-2"]
    assert len(set(images(dataset, echo=["1", "3"], concatenate=["run"]))) == 2


def test_confounds_that_are_missing(tmp_path, caplog):
    caplog.set_level("INFO")
    dataset = preprocessed(tmp_path / "fmriprep", MNI, confounds=None)
    assert [len(row) for row in listed(dataset)] == [2, 2]
    assert f"{dataset} has no tables of confounds; the runs table has no column for them." in caplog.messages
    make(dataset, "sub-02/func/sub-02_task-rest_desc-confounds_timeseries.tsv")
    text = message(dataset)
    assert "1 of 2 runs have no table of confounds" in text
    assert f"{dataset}/sub-01/func/sub-01_task-rest_{MNI}_desc-preproc_bold.nii.gz" in text
    assert "--no-confounds" in text
    assert [len(row) for row in listed(dataset, with_confounds=False)] == [2, 2]
    assert [len(row) for row in listed(dataset, subject=["02"])] == [3]
    assert "--leave-out-incomplete" in text
    [row] = listed(dataset, leave_out_incomplete=True)
    assert row[0].startswith("sub-02")
    assert f"1 of 2 runs are left out, they have no table of confounds: sub-01_task-rest_{MNI}_desc" in caplog.text
    assert [len(row) for row in listed(dataset, with_confounds=False, leave_out_incomplete=True)] == [2, 2]


def test_confounds_belong_to_one_run(tmp_path):
    stem = "sub-1/func/sub-1_task-a"
    dataset = make(
        tmp_path / "fmriprep",
        *(f"{stem}_run-{run}_echo-{echo}_desc-preproc_bold.nii.gz" for run in (1, 2) for echo in (1, 2)),
        f"{stem}_run-01_desc-confounds_timeseries.tsv",
        f"{stem}_run-2_echo-1_desc-confounds_timeseries.tsv",
        f"{stem}_run-2_echo-2_desc-confounds_timeseries.tsv",
        f"{stem}_run-1_desc-confounds_timeseries.json",
    )
    assert [row[2].split("_run-")[1].split("_desc")[0] for row in listed(dataset, echo=["1", "2"])] == [
        "01",
        "01",
        "2_echo-1",
        "2_echo-2",
    ]
    make(dataset, f"{stem}_run-1_desc-confounds_regressors.tsv")
    text = message(dataset, echo=["1"])
    assert "has 2 tables of confounds, sub-1_task-a_run-01_desc-confounds_timeseries.tsv and " in text
    assert "move away all but one" in text


# Paths, and the program


def test_paths_are_relative_where_the_dataset_lies_below_the_table(tmp_path, monkeypatch):
    dataset = make(tmp_path / "my study" / "data", "sub-1/func/sub-1_task-a_bold.nii")
    monkeypatch.chdir(tmp_path)

    def written(out, given=dataset):
        list_bids_runs(given, out)
        with out.open(newline="") as stream:
            return [row["run"] for row in csv.DictReader(stream, delimiter="\t")]

    below = "data/sub-1/func/sub-1_task-a_bold.nii"
    assert written(dataset.parent / "runs.tsv") == [below]
    assert written(dataset.relative_to(tmp_path).parent / "runs.tsv", dataset.relative_to(tmp_path)) == [below]
    assert written(dataset / "runs.tsv") == [below.removeprefix("data/")]
    assert written(tmp_path / "code" / "runs.tsv") == [str(dataset.parent / below)]


def run(*arguments, cwd):
    command = [sys.executable, ROOT / "scripts" / "list_bids_runs.py", *arguments]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, encoding="utf-8", cwd=cwd)


def test_the_program_writes_to_stdout_or_a_file(tmp_path):
    dataset = preprocessed(tmp_path / "fmriprep ü", MNI, "space-T1w")
    printed = run("fmriprep ü", "--space", "T1w", "--subject", "02", "01", cwd=tmp_path)
    assert printed.returncode == 0, printed.stderr
    assert printed.stderr == "INFO: 2 run(s) of 2 image(s).\n"
    elsewhere = tmp_path / "elsewhere" / "runs.tsv"
    elsewhere.parent.mkdir()
    elsewhere.write_text(printed.stdout, encoding="utf-8")
    assert [run.confounds is not None for run in read_runs_table(elsewhere, SCHEMA)] == [True, True]
    options = ["--concatenate", "subject", "--space", "T1w", "--no-confounds", "--out", "runs.tsv"]
    assert run("fmriprep ü", *options, cwd=tmp_path).stdout == ""
    runs = read_runs_table(tmp_path / "runs.tsv", SCHEMA)
    assert [(run.image, run.confounds) for run in runs] == [("task-rest_space-T1w_desc-preproc", None)] * 2
    assert runs[0].path == dataset / "sub-01/func/sub-01_task-rest_space-T1w_desc-preproc_bold.nii.gz"


def test_the_program_says_what_is_wrong_in_one_sentence(tmp_path):
    preprocessed(tmp_path / "fmriprep", MNI, "space-T1w")
    failed = run("fmriprep", "--out", "runs.tsv", cwd=tmp_path)
    assert failed.returncode == 1
    [line] = failed.stderr.splitlines()
    assert line.startswith("ERROR: fmriprep has several versions")
    assert not (tmp_path / "runs.tsv").exists()
    unknown = run("fmriprep", "--concatenate", "space", cwd=tmp_path)
    assert unknown.returncode == 2
    assert "invalid choice: 'space'" in unknown.stderr
