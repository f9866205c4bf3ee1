"""The example study through the config of docs/denoising.md: a usual run, a restless one, a broken one."""

import re
import warnings

import nibabel as nib
import numpy as np
import pytest
import yaml
from nilearn.interfaces.fmriprep import load_confounds_strategy
from nilearn.maskers import NiftiLabelsMasker

from conftest import ROOT, read_table
from list_bids_runs import list_bids_runs
from roistream.study.derivatives import read_sidecar
from simulate_fmriprep import make_example_study
from workflow.conftest import assert_no_traceback, snakemake

[CONFIG] = re.findall(
    r"^```yaml\n(.*?)^```$", (ROOT / "docs/denoising.md").read_text("utf-8"), re.MULTILINE | re.DOTALL
)
MNI = "MNI152NLin2009cAsym"
N_VOLUMES = 100


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Extract the second session of three subjects."""
    folder = tmp_path_factory.mktemp("denoising") / "study"
    make_example_study(folder, n_subjects=3, n_sessions=2, spaces=[MNI], n_volumes=N_VOLUMES)
    filters = {"space": [MNI], "session": ["2"]}
    list_bids_runs(folder / "derivatives" / "fmriprep", folder / "runs.tsv", filters)
    ended = snakemake(folder, "timeseries", "--keep-going", config=yaml.safe_load(CONFIG))
    assert ended.status != 0
    assert_no_traceback(folder, ended)
    return folder


def files_of(study, subject):
    stem = f"sub-{subject}_ses-2_task-rest_space-{MNI}"
    run = study / f"derivatives/fmriprep/sub-{subject}/ses-2/func/{stem}_desc-preproc_bold.nii.gz"
    return run, study / f"derivatives/roistream/sub-{subject}/ses-2/func/{stem}_atlas-Example_stat-mean_timeseries.tsv"


def test_the_table_of_the_study(study):
    table = read_table(study / "derivatives/roistream/study.tsv").set_index("image")
    assert list(table["status"]) == ["done", "short", "missing"]
    usual, restless, broken = (row for _, row in table.iterrows())
    assert usual["n_volumes"] == restless["n_volumes"] == N_VOLUMES
    assert restless["n_volumes_kept"] < 60 < usual["n_volumes_kept"] < N_VOLUMES
    assert restless["mean_framewise_displacement"] > 3 * usual["mean_framewise_displacement"]
    assert "fewer than min_volumes, 60" in restless["remarks"]
    assert "ends early" in broken["reason"]
    assert not files_of(study, "03")[1].exists()
    for row in (usual, restless):
        assert row["peak_mib"] < row["predicted_mib"] < 1.5 * row["peak_mib"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("subject", ["01", "02"])
def test_the_signals_are_those_of_nilearn(study, subject):
    run, table = files_of(study, subject)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        confounds, kept = load_confounds_strategy(str(run), "scrubbing", wm_csf="basic", fd_threshold=0.4, scrub=0)
        kept = np.arange(N_VOLUMES) if kept is None else kept
        kept = kept[kept >= 2]
        [placed] = study.glob("resources/atlases/Example_grid-*_dseg.nii.gz")
        masker = NiftiLabelsMasker(
            nib.load(placed),
            mask_img=run.with_name(f"{run.name.split('_desc-')[0]}_desc-brain_mask.nii.gz"),
            standardize="zscore_sample",
            t_r=2.0,
            resampling_target=None,
            reports=False,
        )
        expected = masker.fit_transform(str(run), confounds=confounds, sample_mask=kept)
    found = read_table(table)
    assert list(found) == ["volume", *(f"parcel {label:02}" for label in range(1, 21))]
    assert found["volume"].tolist() == kept.tolist()
    assert np.array_equal(found.to_numpy()[:, 1:].astype(expected.dtype), expected)
    sidecar = read_sidecar(table.with_suffix(".json"))
    assert sidecar["ConfoundRegressors"] == list(confounds)
    assert sidecar["NumberOfVolumesKept"] == len(kept)


def test_the_comparison_knows_no_strategies(study):
    ended = snakemake(study, "--dry-run", config=yaml.safe_load(CONFIG))
    assert ended.status != 0
    assert "cleaning: strategy is for the target timeseries; leave it out for the comparison" in ended.output
