"""How much memory jobs ask for, as a dry run announces it; tests/cluster reads it back from a scheduler."""

import math
import re

import pytest
import yaml

from conftest import ROOT
from roistream.images.image import inspect
from roistream.memory.predict import predict_peak_mib
from roistream.regions.coverage import read_regions
from workflow.conftest import plan

SIMULATED = ["--config", "n_subjects=2", "n_volumes=3", "strategies=[numpy_path]"]
PROFILES = {
    path.parent.name: yaml.safe_load(path.read_text("utf-8"))
    for path in (ROOT / "workflow" / "profiles").glob("*/config.yaml")
}


def asked_mb(jobs, rule):
    """Give what the jobs of a rule ask for, if all of them ask for the same."""
    [asked] = {re.search(r"\bmem_mb=([^,]+)", job.details["resources"])[1] for job in jobs if job.rule == rule}
    return asked


@pytest.mark.parametrize(("attempt", "growth"), [(1, 1), (2, 1.5), (3, 2)])
@pytest.mark.parametrize("overhead_mib", [None, 300])
def test_an_extraction_asks_for_its_peak_and_more_with_each_attempt(simulated_run, attempt, growth, overhead_mib):
    options = ["--default-resources", f"job_overhead={overhead_mib}"] if overhead_mib else []
    jobs = plan(simulated_run, *SIMULATED, "--forcerun", "extract_regions", "--attempt", attempt, *options)
    folder = simulated_run / "results/large_fmri"
    n_voxels = [region.n_voxels for region in read_regions(folder / "regions.tsv")]
    peak = predict_peak_mib("numpy_path", inspect(folder / "large_fmri_bold.nii.gz"), n_voxels, 2, {})
    assert int(asked_mb(jobs, "extract_regions")) == math.ceil(peak * growth) + (overhead_mib or 0)


def test_it_is_not_known_before_image_and_regions_are_there(tmp_path):
    jobs = plan(tmp_path, *SIMULATED)
    assert asked_mb(jobs, "extract_regions") == "<TBD>"
    assert int(asked_mb(jobs, "concatenate_runs")) > 0


def test_an_image_that_is_gone_is_no_mistake(simulated_run, tmp_path):
    """The table of regions is there, the image is not: it is made again, and the request known when it is."""
    image = simulated_run / "results/large_fmri/large_fmri_bold.nii.gz"
    kept = image.rename(tmp_path / "kept.nii.gz")
    try:
        jobs = plan(simulated_run, *SIMULATED, "--forcerun", "extract_regions")
    finally:
        kept.rename(image)
    assert asked_mb(jobs, "extract_regions") == "<TBD>"


def test_steps_on_finer_grids_ask_for_more(tmp_path, small_data):
    coarse = plan(tmp_path, config={"dataset": small_data.table, "atlas": small_data.atlas, "regions": [1]})
    fine = plan(tmp_path, *SIMULATED)
    for rule in ("place_atlas", "split_masks"):
        assert int(asked_mb(coarse, rule)) < int(asked_mb(fine, rule))
    assert asked_mb(coarse, "concatenate_runs") == asked_mb(fine, "concatenate_runs")


def test_the_profiles_differ_in_their_commands_alone():
    slurm, generic = PROFILES["slurm"], PROFILES["cluster-generic"]
    common = {key for key in slurm if not key.startswith(("slurm", "executor"))}
    assert common == {key for key in generic if not key.startswith(("cluster-generic", "executor"))}
    assert {key: slurm[key] for key in common} == {key: generic[key] for key in common}


def test_no_rule_but_downloads_has_retries_of_its_own():
    """On a cluster they would be used up inside of one submission, with the memory of the first attempt."""
    for path in (ROOT / "workflow" / "rules").glob("*.smk"):
        for rule in re.split(r"^rule ", path.read_text("utf-8"), flags=re.MULTILINE)[1:]:
            assert ("    retries:" in rule) == rule.startswith("fetch_"), rule
