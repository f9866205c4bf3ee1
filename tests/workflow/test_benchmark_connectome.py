"""The benchmark of connectomes, as a trial: all of it works, values agree, and its bars can fail."""

import json
import subprocess
import sys

import pytest

from benchmarks.connectome import EXPERIMENTS, report
from conftest import ROOT
from workflow.test_benchmark import ENVIRONMENT


@pytest.mark.slow
def test_trial(tmp_path):
    command = [sys.executable, "-m", "benchmarks.connectome", "--quick", "--out", tmp_path, "--workdir", tmp_path / "w"]
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=900, env=ENVIRONMENT, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "connectome.json").read_text())
    assert set(EXPERIMENTS) < set(results)
    assert results["listing"]["n_runs"] == 40
    assert results["matrices"]["n_matrices"] == [0, 4]
    assert all(case["identical"] for case in results["scrubbing"]["cases"].values())


def row(name, wall_s, peak_pss_mib):
    return {"name": name, "runs": [{"wall_s": wall_s, "peak_pss_mib": peak_pss_mib}]}


def invented():
    """Figures that just hold."""
    cases = {
        name: {"rows": [row("ours", wall, 100), row("nilearn", 39, 800)], "identical": True, "n_kept": 280}
        for name, wall in (("not smoothed", 13), ("smoothed by 6 mm", 29.9))
    }
    return {
        "machine": {"cpu": "x", "cores": 2},
        "listing": {"rows": [row("list", 60, 1024)], "n_subjects": 10_000, "n_runs": 20_000},
        "matrices": {"rows": [row("without", 100, 1), row("with", 130, 1)], "n_images": 200, "n_matrices": [0, 200]},
        "scrubbing": {"grid": "97x115x97", "n_volumes": 300, "n_labels": 444, "cases": cases},
    }


def worsen(results, key):
    cases = results["scrubbing"]["cases"]
    match key:
        case "slow listing":
            results["listing"]["rows"] = [row("list", 60.1, 1024)]
        case "large listing":
            results["listing"]["rows"] = [row("list", 60, 1025)]
        case "slow matrices":
            results["matrices"]["rows"][1] = row("with", 131, 1)
        case "a matrix is missing":
            results["matrices"]["n_matrices"] = [0, 199]
        case "memory":
            cases["not smoothed"]["rows"][0] = row("ours", 13, 101)
        case "wall":
            cases["not smoothed"]["rows"][0] = row("ours", 13.1, 100)
        case "wall, smoothed":
            cases["smoothed by 6 mm"]["rows"][0] = row("ours", 30.1, 100)
        case "bits":
            cases["smoothed by 6 mm"]["identical"] = False


def test_bars_that_hold():
    assert "**no**" not in report(invented())


@pytest.mark.parametrize(
    "key",
    [
        "slow listing",
        "large listing",
        "slow matrices",
        "a matrix is missing",
        "memory",
        "wall",
        "wall, smoothed",
        "bits",
    ],
)
def test_bars_that_do_not_hold(key):
    results = invented()
    worsen(results, key)
    assert report(results).count("**no**") == 1
