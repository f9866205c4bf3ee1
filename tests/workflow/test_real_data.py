"""The main job on real input: a resting-state run, and the BASC atlas where nilearn's fetcher looks for it."""

import shutil
import warnings

import nibabel as nib
import numpy as np
import pytest
from nilearn.maskers import NiftiLabelsMasker, NiftiMasker

from conftest import read_table
from roistream.regions.coverage import read_regions
from roistream.strategies import STRATEGIES
from workflow.conftest import snakemake, write_table

N_REGIONS = 6


@pytest.fixture
def run(shared_data):
    return shared_data / "sub-001_task-rest_bold.nii.gz"


@pytest.fixture
def inputs(tmp_path, shared_data, run):
    """Give a config for the run and the atlas."""
    atlas = shared_data / "template_cambridge_basc_multiscale_sym_scale064.nii.gz"
    cache = tmp_path / "nilearn" / "basc_multiscale_2015" / "template_cambridge_basc_multiscale_nii_sym"
    cache.mkdir(parents=True)
    shutil.copy(atlas, cache / atlas.name)
    table = write_table(tmp_path / "runs.tsv", [("sub-001", run)])
    return {"dataset": table, "atlas": "basc", "data_dir": tmp_path / "nilearn"}


@pytest.mark.slow
def test_all_strategies_give_what_nifti_masker_gives(tmp_path, run, inputs):
    ended = snakemake(tmp_path / "work", config={**inputs, "regions": N_REGIONS, "n_jobs": 2})
    assert ended.status == 0, ended.output
    results = tmp_path / "work" / "results" / "sub-001"
    table = read_regions(results / "regions.tsv")
    assert [region.label for region in table] == list(range(1, N_REGIONS + 1))
    assert all(region.status in ("ok", "partial") and region.n_voxels > 0 for region in table)
    for region in table:
        mask = results / "masks" / f"region-{region.label}_mask.nii.gz"
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*Generation of a mask", UserWarning)
            expected = NiftiMasker(mask_img=mask, standardize=None).fit_transform(run)
        assert expected.shape == (20, region.n_voxels)
        for strategy in STRATEGIES:
            found = np.load(results / strategy / f"region-{region.label}_timeseries.npy")
            assert found.dtype == np.float32
            assert np.array_equal(found, expected)


@pytest.mark.parametrize(
    "cleaning", [{}, {"detrend": True, "standardize": "zscore_sample"}], ids=["as it is", "cleaned"]
)
def test_a_study_gives_what_nifti_labels_masker_gives(tmp_path, run, inputs, cleaning):
    """All labels of the atlas, which lies on another grid."""
    work = tmp_path / "work"
    ended = snakemake(work, "timeseries", config={**inputs, "regions": "all", "cleaning": cleaning})
    assert ended.status == 0, ended.output
    folder = work / "derivatives/roistream/sub-001/func"
    assert len(list(folder.iterdir())) == 3
    table = read_table(folder / "sub-001_atlas-BASC064_stat-mean_timeseries.tsv")
    assert list(table) == [f"region-{label}" for label in range(1, 65)]
    [placed] = work.glob("resources/atlases/BASC064_grid-*_dseg.nii.gz")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        masker = NiftiLabelsMasker(placed, **{"standardize": None, "reports": False, **cleaning})
        expected = masker.fit_transform(nib.load(run))
    assert expected.shape == (20, 64)
    assert np.array_equal(table.to_numpy().astype(expected.dtype), expected)
    coverage = read_table(folder / "sub-001_atlas-BASC064_stat-coverage_bold.tsv").iloc[0]
    assert list(coverage.index) == list(table)
    assert coverage.between(0.2, 1).all()
    assert (coverage > 0.95).sum() > 30
