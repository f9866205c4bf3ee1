"""Thirty images through the profile for SLURM: what was asked, what ran, and what came of it."""

import math
from collections import Counter
from itertools import combinations

import pytest

from cluster.conftest import OVERHEAD_MIB, TOGETHER, assert_same_results, local_copy, run, save_study, submissions_of
from roistream.images.image import inspect
from roistream.memory.predict import predict_peak_mib
from roistream.regions.coverage import read_regions

pytestmark = pytest.mark.slow

N_IMAGES = 30


@pytest.fixture(scope="module")
def study(slurm, tmp_path_factory):
    return save_study(tmp_path_factory.mktemp("thirty") / "study", N_IMAGES)


@pytest.fixture(scope="module")
def jobs(study):
    """Run it; give the submissions."""
    ended = run(study, "slurm")
    assert ended.status == 0, ended.output
    return submissions_of(ended)


def extractions(jobs):
    """Sort the extractions by image."""
    prefix, suffix = "rule_extract_regions_wildcards_", "_stream"
    return {
        job.comment.removeprefix(prefix).removesuffix(suffix): job for job in jobs if job.comment.startswith(prefix)
    }


def test_an_image_costs_one_submission_and_none_is_killed(jobs, record_property):
    """Beside it, the atlas is put on the grid once, and the regions of ten images share a submission."""
    record_property("submissions", len(jobs))
    rest = [job for job in jobs if job not in extractions(jobs).values()]
    assert {job.state for job in jobs} == {"COMPLETED"}
    assert Counter("place_atlas" in job.comment for job in rest) == {True: 1, False: N_IMAGES // TOGETHER}


def test_what_is_asked_is_predicted_plus_overhead(study, jobs):
    asked = extractions(jobs)
    assert len(asked) == N_IMAGES
    for image, job in asked.items():
        folder = study / "results" / image
        n_voxels = [region.n_voxels for region in read_regions(folder / "regions.tsv")]
        run = study / f"run-{int(image.removeprefix('sub-'))}.nii.gz"
        peak = predict_peak_mib("stream", inspect(run), n_voxels, 1, {})
        assert job.mem_mib == math.ceil(peak) + OVERHEAD_MIB, image
        assert job.cpus == 1


def test_images_run_at_the_same_time(jobs):
    pairs = combinations(extractions(jobs).values(), 2)
    assert any(one.overlaps(other) for one, other in pairs)


def test_results_are_those_of_a_local_run(study, jobs, tmp_path):
    assert_same_results(study, local_copy(study, tmp_path / "local"))
