"""Several datasets in one runs table: of the same runs, by several pipelines, each with its own confounds and masks."""

import re
import shlex
import subprocess
import sys

import pytest

from conftest import ROOT
from list_bids_runs import list_bids_runs
from roistream.errors import UserError
from roistream.study.derivatives import check_names
from roistream.study.runs import read_runs_table
from unit.test_list_bids_runs import MNI, SCHEMA, make

DERIVATIVES = "derivatives"
SPACES = (MNI, "space-T1w")


def fmriprep(subject, masks=True):
    stem = f"sub-{subject}/func/sub-{subject}_task-rest"
    names = [f"{stem}_desc-confounds_timeseries.tsv"]
    for space in SPACES:
        names += [
            f"{stem}_{space}_desc-preproc_bold.nii.gz",
            *([f"{stem}_{space}_desc-brain_mask.nii.gz"] if masks else []),
        ]
    return names


@pytest.fixture
def study(tmp_path):
    """Raw data, fMRIPrep of two versions, XCP-D's style: another desc, no confounds."""
    make(tmp_path, *(f"sub-{subject}/func/sub-{subject}_task-rest_bold.nii.gz" for subject in ("01", "02")))
    make(tmp_path / DERIVATIVES / "fmriprep-23", *fmriprep("01"), *fmriprep("02"))
    make(tmp_path / DERIVATIVES / "fmriprep-24", *fmriprep("01", masks=False), *fmriprep("02", masks=False))
    make(tmp_path / DERIVATIVES / "xcp_d", f"sub-01/func/sub-01_task-rest_{MNI}_desc-denoised_bold.nii.gz")
    return tmp_path


def listed(study, *folders, pipelines=(), **filters):
    list_bids_runs([study / folder for folder in folders], study / "runs.tsv", filters, pipelines=pipelines)
    return read_runs_table(study / "runs.tsv", SCHEMA)


def test_two_versions_of_a_pipeline(study):
    runs = listed(study, f"{DERIVATIVES}/fmriprep-23", f"{DERIVATIVES}/fmriprep-24", space=["T1w"])
    assert [run.image for run in runs] == [
        f"sub-{subject}_task-rest_space-T1w_pipeline-fmriprep{version}_desc-preproc"
        for version in (23, 24)
        for subject in ("01", "02")
    ]
    for run in runs:
        version = re.search(r"fmriprep-\d+", str(run.path))[0]
        assert version in str(run.confounds)
        assert run.confounds.name == f"{run.path.name[:6]}_task-rest_desc-confounds_timeseries.tsv"
        assert (run.mask is not None) == (version == "fmriprep-23"), "a mask of the other version is none"
    check_names([run.image for run in runs])


def test_the_command_of_the_documentation(study):
    page = (ROOT / "docs/inputs.md").read_text("utf-8")
    [command] = [
        block for block in re.findall(r"^```bash\n(.*?)^```$", page, re.MULTILINE | re.DOTALL) if "xcp_d" in block
    ]
    words = shlex.split(command.replace("/path/to/roistream", str(ROOT)).replace("\\\n", " "))
    done = subprocess.run([sys.executable, *words[1:]], cwd=study, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    runs = read_runs_table(study / "runs.tsv", SCHEMA)
    assert [run.image for run in runs] == [
        *(f"sub-{s}_task-rest_{MNI}_pipeline-{name}_desc-preproc" for name in ("old", "new") for s in ("01", "02")),
        f"sub-01_task-rest_{MNI}_pipeline-xcpd_desc-denoised",
    ]
    assert [run.confounds is None for run in runs] == [False] * 4 + [True]


def test_raw_and_derived(study):
    runs = listed(study, ".", f"{DERIVATIVES}/fmriprep-23", pipelines=["raw", "prep"], space=["none", "T1w"])
    assert [run.image for run in runs] == [
        "sub-01_task-rest_pipeline-raw",
        "sub-02_task-rest_pipeline-raw",
        "sub-01_task-rest_space-T1w_pipeline-prep_desc-preproc",
        "sub-02_task-rest_space-T1w_pipeline-prep_desc-preproc",
    ]


def test_one_folder_is_called_as_ever(study):
    assert listed(study, f"{DERIVATIVES}/xcp_d")[0].image == f"sub-01_task-rest_{MNI}_desc-denoised"
    named = listed(study, f"{DERIVATIVES}/xcp_d", pipelines=["mine"])
    assert named[0].image == f"sub-01_task-rest_{MNI}_pipeline-mine_desc-denoised"


PREP, NEW, XCP = (f"{DERIVATIVES}/{name}" for name in ("fmriprep-23", "fmriprep-24", "xcp_d"))


@pytest.mark.parametrize(
    ("folders", "options", "sentence"),
    [
        ((PREP, NEW), {}, "fmriprep-23 has several versions of its bold images (space: MNI152NLin2009cAsym, T1w)"),
        ((PREP, XCP), {"space": ["T1w"]}, "xcp_d has no bold image with --space T1w; there are: MNI152NLin2009cAsym."),
        ((PREP, XCP), {"desc": ["prepoc"]}, "--desc prepoc matches no bold image"),
        ((PREP, PREP), {"space": ["T1w"]}, "two folders are called 'fmriprep23'; name the folders by --pipelines"),
        ((PREP, PREP), {"space": ["T1w"], "pipelines": ["a", "b"]}, "belongs to two of the folders"),
        ((PREP, NEW), {"pipelines": ["a"]}, "--pipelines has 1 name(s) for 2 folder(s)"),
        ((PREP, NEW), {"pipelines": ["a", "b_c"]}, "'b_c' is no name of letters and digits"),
        ((PREP, f"{DERIVATIVES}/none"), {}, "none is no folder"),
    ],
)
def test_mistakes(study, folders, options, sentence):
    with pytest.raises(UserError) as raised:
        listed(study, *folders, **options)
    assert sentence in str(raised.value)
    assert not (study / "runs.tsv").exists()
