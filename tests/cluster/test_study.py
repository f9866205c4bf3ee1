"""The target timeseries through the profile for SLURM: thirty images in three submissions."""

import math
from collections import Counter

import pytest

from cluster.conftest import (
    OVERHEAD_MIB,
    REGIONS,
    TOGETHER,
    assert_same_study,
    local_copy,
    run,
    save_study,
    submissions_of,
)
from roistream.images.series import open_series
from roistream.memory.predict_timeseries import predict_timeseries_mib

pytestmark = pytest.mark.slow

N_IMAGES = 30


@pytest.fixture(scope="module")
def study(slurm, tmp_path_factory):
    return save_study(tmp_path_factory.mktemp("timeseries") / "study", N_IMAGES)


@pytest.fixture(scope="module")
def jobs(study):
    """Run it; give the submissions."""
    ended = run(study, "slurm", "timeseries")
    assert ended.status == 0, ended.output
    return submissions_of(ended)


def test_ten_images_share_a_submission_and_none_is_killed(jobs, record_property):
    record_property("submissions", len(jobs))
    assert Counter(job.state for job in jobs) == {"COMPLETED": 1 + N_IMAGES // TOGETHER}
    assert Counter("extract" in job.comment for job in jobs) == {True: N_IMAGES // TOGETHER, False: 1}


def test_a_submission_asks_for_what_its_largest_image_takes(study, jobs):
    predicted = [predict_timeseries_mib(open_series([path]), REGIONS, 1, {}) for path in study.glob("run-*.nii.gz")]
    for job in jobs:
        if "extract" in job.comment:
            assert job.cpus == 1
            assert math.ceil(min(predicted)) <= job.mem_mib - OVERHEAD_MIB <= math.ceil(max(predicted))


def test_results_are_those_of_a_local_run(study, jobs, tmp_path):
    assert_same_study(study, local_copy(study, tmp_path / "local", "timeseries"))
