"""Denoising strategies and volumes left out: to the last bit what nilearn makes of the same files."""

import json
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from nilearn.interfaces.fmriprep import load_confounds_strategy
from nilearn.interfaces.fmriprep.load_confounds_strategy import preset_strategies
from nilearn.maskers import NiftiLabelsMasker

from conftest import read_table
from extract_timeseries import extract_timeseries
from roistream.cleaning.denoising import STRATEGIES, check_strategy, find_table
from roistream.errors import UserError
from roistream.samples.fmriprep import simulate_fmriprep

pytestmark = pytest.mark.filterwarnings("ignore:From release 0.14.0:DeprecationWarning")

N_VOLUMES = 100
MNI, AROMA = "MNI152NLin2009cAsym", "MNI152NLin6Asym"


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Six runs: three usual ones, a restless one, one without confounds, one that is broken."""
    folder = tmp_path_factory.mktemp("denoising")
    simulate_fmriprep(folder, n_subjects=3, n_sessions=2, spaces=(MNI, AROMA), n_volumes=N_VOLUMES)
    return folder


def run_of(study, number, space=MNI):
    stem = f"sub-{number // 2 + 1:02}_ses-{number % 2 + 1}_task-rest_space-{space}"
    kind = "smoothAROMAnonaggr" if space == AROMA else "preproc"
    return study / stem[:6] / stem[7:12] / "func" / f"{stem}_desc-{kind}_bold.nii.gz"


def mask_of(run):
    return run.with_name(f"{run.name.split('_desc-')[0]}_desc-brain_mask.nii.gz")


@pytest.fixture(scope="module")
def atlases(study):
    """An atlas of blocks on the grid of each space; one label lies half outside of the brain, one wholly."""
    found = {}
    for space in (MNI, AROMA):
        image = nib.load(run_of(study, 0, space))
        labels = np.zeros(image.shape[:3], np.int16)
        for label, (x, y) in enumerate([(5, 6), (10, 6), (5, 12), (10, 12)], 1):
            labels[x : x + 4, y : y + 5, 7:12] = label
        labels[8:10, 8:10, 0:9] = 9
        labels[0:2, 0:2, 0:2] = 12
        found[space] = study / f"atlas-{space}.nii.gz"
        nib.Nifti1Image(labels, image.affine).to_filename(found[space])
    return found


def extract(folder, runs, atlas, **options):
    """Extract as the program does; give the table of signals and the sidecar."""
    out = folder / "out" / "scan_atlas-A"
    extract_timeseries(runs, atlas, str(out), empty_regions="keep", **options)
    table = read_table(f"{out}_stat-mean_timeseries.tsv")
    return table, json.loads(Path(f"{out}_stat-mean_timeseries.json").read_text("utf-8"))


def load(run, strategy, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return load_confounds_strategy(str(run), strategy, **options)


def nilearn_signals(runs, atlas, confounds, sample_mask, **options):
    masker = NiftiLabelsMasker(atlas, **{"standardize": None, "t_r": 2.0, "reports": False, **options})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = runs if len(runs) > 1 else runs[0]
        image = nib.concat_images(list(map(str, runs)), axis=3) if len(runs) > 1 else str(image)
        return masker.fit_transform(image, confounds=confounds, sample_mask=sample_mask)


def assert_same(table, expected):
    """The columns but for that of the empty region (all n/a) are those of nilearn, where it is 0."""
    values = table.drop(columns="volume").dropna(axis=1).to_numpy()
    expected = expected[:, np.any(expected != 0, axis=0)]
    assert np.array_equal(values.astype(expected.dtype), expected)


CHOICES = [
    ("simple", {}, {}),
    ("simple", {"motion": "basic", "wm_csf": "power2", "global_signal": "full", "demean": False}, {"detrend": True}),
    ("scrubbing", {}, {"standardize": "zscore_sample"}),
    ("scrubbing", {"scrub": 0, "fd_threshold": 0.2, "std_dvars_threshold": 3.0}, {"smoothing_fwhm": 12.0}),
    ("scrubbing", {"wm_csf": "basic", "global_signal": "basic"}, {"low_pass": 0.1, "standardize": "psc"}),
    ("compcor", {}, {"standardize_confounds": False, "detrend": True}),
    ("compcor", {"compcor": "temporal_anat_separated", "n_compcor": 2, "motion": "derivatives"}, {"low_pass": 0.08}),
    ("ica_aroma", {}, {"standardize": "zscore_sample", "detrend": True}),
]


@pytest.mark.parametrize(("strategy", "options", "cleaning"), CHOICES)
@pytest.mark.parametrize("number", [0, 1, 2])
def test_strategies_give_the_bits_of_nilearn(tmp_path, study, atlases, number, strategy, options, cleaning):
    space = AROMA if strategy == "ica_aroma" else MNI
    run = run_of(study, number, space)
    table, sidecar = extract(
        tmp_path, [run], atlases[space], cleaning=cleaning, denoising={"strategy": strategy, **options}
    )
    confounds, sample_mask = load(run, strategy, **options)
    assert_same(table, nilearn_signals([run], atlases[space], confounds, sample_mask, **cleaning))
    kept = np.arange(N_VOLUMES) if sample_mask is None else sample_mask
    assert table["volume"].tolist() == kept.tolist()
    assert sidecar["ConfoundRegressors"] == list(confounds)
    assert sidecar["NumberOfVolumesKept"] == len(kept)
    assert sidecar["Cleaning"].items() >= options.items()
    raw = pd.read_csv(find_table(run, strategy), sep="\t")
    assert sidecar["MeanFramewiseDisplacement"] == pytest.approx(raw["framewise_displacement"].mean(), rel=1e-14)
    assert sidecar["SamplingFrequency"] == 0.5
    unsteady = sum("non_steady" in name for name in raw)
    assert sidecar["NumberOfVolumesDiscardedByNonsteadyStatesDetector"] == unsteady
    assert sidecar["NumberOfVolumesDiscardedByMotionScrubbing"] == N_VOLUMES - len(kept) - unsteady
    left_out = set().union(*sidecar["VolumesLeftOut"][0].values())
    assert left_out == set(range(N_VOLUMES)) - set(kept.tolist())
