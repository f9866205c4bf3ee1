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
from roistream.cleaning.denoising import STRATEGIES, find_table
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


def nilearn_signals(path, atlas, confounds, sample_mask, **options):
    masker = NiftiLabelsMasker(atlas, **{"standardize": None, "t_r": 2.0, "reports": False, **options})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return masker.fit_transform(str(path), confounds=confounds, sample_mask=sample_mask)


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
    assert_same(table, nilearn_signals(run, atlases[space], confounds, sample_mask, **cleaning))
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


def test_the_strategies_are_those_of_nilearn():
    for name, preset in preset_strategies.items():
        assert set(STRATEGIES[name]) == set(preset) - {"strategy", "ica_aroma"}
    assert set(STRATEGIES) == set(preset_strategies)


@pytest.mark.parametrize("cleaning", [{"detrend": True, "standardize": "zscore_sample"}, {"low_pass": 0.1}, {}])
@pytest.mark.parametrize("strategy", ["scrubbing", "simple"])
def test_runs_of_one_image(tmp_path, study, atlases, strategy, cleaning):
    """Several runs, each with its own confounds and volumes: as if each were extracted alone."""
    runs = [run_of(study, number) for number in (0, 1, 2)]
    table, sidecar = extract(tmp_path, runs, atlases[MNI], cleaning=cleaning, denoising={"strategy": strategy})
    frames, masks = zip(*(load(run, strategy) for run in runs), strict=True)
    kept = [np.arange(N_VOLUMES) if mask is None else mask for mask in masks]
    each = zip(runs, frames, masks, strict=True)
    expected = np.vstack([nilearn_signals(run, atlases[MNI], frame, mask, **cleaning) for run, frame, mask in each])
    assert_same(table, expected)
    assert table["volume"].tolist() == [
        N_VOLUMES * run + volume for run, volumes in enumerate(kept) for volume in volumes
    ]
    assert [sorted(set().union(*run.values())) for run in sidecar["VolumesLeftOut"]] == [
        sorted(set(range(N_VOLUMES)) - set(volumes.tolist())) for volumes in kept
    ]


@pytest.mark.parametrize(("high_pass", "standardize"), [(None, "zscore_sample"), (0.02, None), (None, None)])
def test_volumes_left_out_without_a_strategy(tmp_path, study, atlases, high_pass, standardize):
    """By the first ones, by a sample mask of the table, and by the confounds; the last two statistics are cleaned alike."""
    run = run_of(study, 0)
    path = find_table(run, "simple")
    raw = pd.read_csv(path, sep="\t")
    choice = {"drop_first": 4, "leave_out_above": {"framewise_displacement": 0.05, "std_dvars": 1.2}}
    cleaning = {"high_pass": high_pass, "standardize": standardize}
    given = {"confounds": [path], "confound_columns": ["csf", "trans_*"]} if high_pass or standardize else {}
    choice = choice if given else {"drop_first": 4}
    table, sidecar = extract(
        *(tmp_path, [run], atlases[MNI]),
        cleaning=cleaning,
        denoising=choice,
        sample_masks=["0-69, 73 75-99"],
        statistics=["mean", "median"],
        **given,
    )
    kept = np.setdiff1d(np.arange(4, N_VOLUMES), [70, 71, 72, 74])
    if given:
        above = (raw["framewise_displacement"] > 0.05) | (raw["std_dvars"] > 1.2)
        kept = np.setdiff1d(kept, np.flatnonzero(above))
        assert kept.size < 90
    confounds = raw[["csf", *(name for name in raw if name.startswith("trans_"))]].bfill() if given else None
    assert table["volume"].tolist() == kept.tolist()
    for statistic in ("mean", "median"):
        found = read_table(f"{tmp_path}/out/scan_atlas-A_stat-{statistic}_timeseries.tsv")
        values = None if confounds is None else confounds.to_numpy()
        expected = nilearn_signals(run, atlases[MNI], values, kept, strategy=statistic, **cleaning)
        assert_same(found, expected)
    assert sidecar["VolumesLeftOut"][0]["drop_first"] == [0, 1, 2, 3]
    assert sidecar["VolumesLeftOut"][0]["sample_mask"] == [70, 71, 72, 74]
    assert sidecar["NumberOfVolumes"] == N_VOLUMES
    assert ("framewise_displacement > 0.05" in sidecar["VolumesLeftOut"][0]) == bool(given)


def test_a_table_without_volumes_left_out_has_no_column_for_them(tmp_path, study, atlases):
    table, sidecar = extract(tmp_path, [run_of(study, 0)], atlases[MNI])
    assert "volume" not in table
    assert not {"VolumesLeftOut", "NumberOfVolumesKept", "RegionsLowCoverage"} & set(sidecar)


@pytest.mark.parametrize("smoothing_fwhm", [None, 12.0])
def test_brain_masks(tmp_path, study, atlases, smoothing_fwhm):
    """Regions are restricted to a mask, as by `mask_img`; what lies outside of it is not covered."""
    run = run_of(study, 0)
    cleaning = {"smoothing_fwhm": smoothing_fwhm, "standardize": "zscore_sample"}
    options = {"cleaning": cleaning, "denoising": {"drop_first": 1}}
    plain, before = extract(tmp_path, [run], atlases[MNI], **options)
    cut = nib.load(mask_of(run))
    inside = np.asarray(cut.dataobj).copy()
    inside[:9] = 0
    half = tmp_path / "half.nii.gz"
    nib.Nifti1Image(inside, cut.affine).to_filename(half)
    table, after = extract(tmp_path, [run], atlases[MNI], masks=[half], min_coverage=0.7, **options)
    expected = nilearn_signals(run, atlases[MNI], None, np.arange(1, N_VOLUMES), mask_img=half, **cleaning)
    labels, atlas = [1, 2, 3, 4, 9, 12], np.asarray(nib.load(atlases[MNI]).dataobj)
    coverage = read_table(tmp_path / "out/scan_atlas-A_stat-coverage_bold.tsv").iloc[0].to_numpy()
    data = np.asarray(nib.load(run).dataobj).any(axis=-1)
    assert coverage == pytest.approx([(data & (inside > 0))[atlas == label].mean() for label in labels], rel=1e-5)
    low = {f"region-{label}" for label, share in zip(labels, coverage, strict=True) if share < 0.7}
    assert low == {"region-1", "region-3", "region-9", "region-12"} == set(table) - set(table.dropna(axis=1))
    assert set(after["RegionsLowCoverage"]) == low
    assert after["RegionsMissing"] == ["region-1", "region-3", "region-12"]
    present = ["region-2", "region-4", "region-9"]
    columns = dict(zip(present, expected[:, np.any(expected != 0, axis=0)].T, strict=True))
    for name in set(present) - low:
        assert np.array_equal(table[name].to_numpy().astype(expected.dtype), columns[name])
    assert not plain.equals(table)
    assert before["Fingerprint"] != after["Fingerprint"]


def test_masks_of_several_runs(tmp_path, study, atlases):
    """Regions are restricted to what all masks have; each run is what nilearn makes of it with that mask."""
    runs, masks = [run_of(study, number) for number in (0, 1)], []
    inside = np.asarray(nib.load(mask_of(runs[0])).dataobj)
    for number, cut in enumerate([np.s_[:7], np.s_[:, 12:]]):
        mask = inside.copy()
        mask[cut] = 0
        masks.append(tmp_path / f"mask-{number}.nii.gz")
        nib.Nifti1Image(mask, nib.load(runs[0]).affine).to_filename(masks[-1])
    common = inside.copy()
    common[:7], common[:, 12:] = 0, 0
    nib.Nifti1Image(common, nib.load(runs[0]).affine).to_filename(tmp_path / "common.nii.gz")
    table, sidecar = extract(tmp_path, runs, atlases[MNI], masks=masks)
    expected = [nilearn_signals(run, atlases[MNI], None, None, mask_img=tmp_path / "common.nii.gz") for run in runs]
    assert_same(table.assign(volume=0), np.vstack(expected))
    assert sidecar["RegionsMissing"] == ["region-3", "region-4", "region-12"]
