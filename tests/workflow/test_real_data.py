"""The main job on real input: a resting-state run, and the BASC atlas where nilearn's fetcher looks for it."""

import shutil
import warnings

import numpy as np
from nilearn.maskers import NiftiMasker

from roistream.regions.coverage import read_regions
from roistream.strategies import STRATEGIES
from workflow.conftest import snakemake, write_table

N_REGIONS = 6


def test_all_strategies_give_what_nifti_masker_gives(tmp_path, shared_data):
    atlas = shared_data / "template_cambridge_basc_multiscale_sym_scale064.nii.gz"
    cache = tmp_path / "nilearn" / "basc_multiscale_2015" / "template_cambridge_basc_multiscale_nii_sym"
    cache.mkdir(parents=True)
    shutil.copy(atlas, cache / atlas.name)
    run = shared_data / "sub-001_task-rest_bold.nii.gz"
    table = write_table(tmp_path / "runs.tsv", [("sub-001", run)])
    config = {"dataset": table, "atlas": "basc", "data_dir": tmp_path / "nilearn", "regions": N_REGIONS, "n_jobs": 2}
    ended = snakemake(tmp_path / "work", config=config)
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
