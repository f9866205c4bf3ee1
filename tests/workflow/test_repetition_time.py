"""The TR in the workflow: told in the plan, the same for every strategy and target, and errors before any job."""

import csv
import json
import warnings

import nibabel as nib
import numpy as np
import pytest
from nilearn.maskers import NiftiMasker

from conftest import run_script, save_run
from roistream.strategies import STRATEGIES
from workflow.conftest import BLOCKS, GRID, assert_no_traceback, plan, save_atlas, snakemake

N_VOLUMES = 40
STEM = "sub-01_task-rest_space-MNI_bold"
CLEANING = {"high_pass": 0.02, "low_pass": 0.1}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Runs whose headers say 2 s, nothing, 2 ms, and 1 s against a sidecar of 2 s."""
    folder = tmp_path_factory.mktemp("times") / "study"
    data = folder / "data"
    (data / "sub-01/func").mkdir(parents=True)
    rng = np.random.default_rng(5)

    def save(name, t_r, **header):
        values = 500 + rng.normal(0, 20, (*GRID, N_VOLUMES)).cumsum(axis=3)
        save_run(data / name, values.astype(np.float32), t_r=t_r, **header)

    save("two.nii.gz", 2.0)
    save("none.nii.gz", 0.0)
    save("msec.nii.gz", 2.0, xyzt_units=2 | 16)
    save(f"sub-01/func/{STEM}.nii.gz", 1.0)
    (data / "task-rest_bold.json").write_text(json.dumps({"RepetitionTime": 2.0}))
    save_atlas(folder / "atlas.nii.gz", BLOCKS)
    return folder


def config(table, cleaning=CLEANING):
    return {
        "dataset": table,
        "atlas": "atlas.nii.gz",
        "regions": [1, 5],
        "strategies": "all",
        "n_jobs": 1,
        "cleaning": cleaning,
    }


def write(folder, name, *rows):
    (folder / name).write_text("".join("\t".join(row) + "\n" for row in rows))
    return name


@pytest.fixture(scope="module")
def results(study):
    """List the dataset, add what has no sidecar by hand, and make both targets."""
    listed = run_script("list_bids_runs.py", "data", "--out", "bids.tsv", cwd=study)
    assert listed.returncode == 0, listed.stderr
    header, *rows = csv.reader((study / "bids.tsv").read_text().splitlines(), delimiter="\t")
    assert header == ["image", "run", "t_r"]
    assert [row[2] for row in rows] == ["2.0"]
    by_hand = [
        ["joined", "data/two.nii.gz", "n/a"],
        ["joined", "data/none.nii.gz", "2"],
        ["ms", "data/msec.nii.gz", "2"],
    ]
    table = write(study, "runs.tsv", header, *rows, *by_hand)
    ended = snakemake(study, "all", "timeseries", config=config(table))
    assert ended.status == 0, ended.output
    assert_no_traceback(study, ended)
    return ended.output


def test_the_plan_tells_what_is_odd(results):
    before, _ = results.split("Building DAG of jobs", 1)
    told = [line for line in before.splitlines() if line.startswith("WARNING: TR of ")]
    assert len(told) == 2
    assert f"{STEM}.nii.gz (line 2): its header says 1 s, but the runs table says 2 s, which is taken." in told[0]
    assert "msec.nii.gz (line 5): its header says 2 ms, which is outside of 0.05 to 30 s, but the runs table" in told[1]


@pytest.mark.parametrize(
    ("image", "runs"),
    {
        STEM.removesuffix("_bold"): [f"sub-01/func/{STEM}"],
        "joined": ["two", "none"],
        "ms": ["msec"],
    }.items(),
)
def test_every_strategy_and_target_takes_it(study, results, image, runs):
    loaded = [nib.load(study / f"data/{run}.nii.gz") for run in runs]
    whole = nib.Nifti1Image(np.concatenate([np.asarray(run.dataobj) for run in loaded], axis=3), loaded[0].affine)
    labels = nib.load(study / "results" / image / "atlas_dseg.nii.gz")
    mask = nib.Nifti1Image((np.asarray(labels.dataobj) == 5).astype(np.uint8), labels.affine)
    several = np.repeat(range(len(runs)), N_VOLUMES) if len(runs) > 1 else None
    masker = NiftiMasker(mask_img=mask, t_r=2.0, runs=several, standardize=None, reports=False, **CLEANING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = masker.fit_transform(whole)
    source = "header and runs table" if image == "joined" else "runs table"
    for strategy in STRATEGIES:
        folder = study / "results" / image / strategy
        assert np.array_equal(np.load(folder / "region-5_timeseries.npy"), expected), strategy
        cleaning = json.loads((folder / "extraction.json").read_text())["cleaning"]
        assert (cleaning["t_r"], cleaning["t_r_source"]) == (2.0, source)
        log = (study / f"logs/extract_regions/{image}/{strategy}.log").read_text()
        assert f"TR 2 s, from the {source}." in log
    [sidecar] = (study / "derivatives/roistream").glob(f"**/{image}_atlas-*_stat-mean_timeseries.json")
    sidecar = json.loads(sidecar.read_text())
    assert (sidecar["RepetitionTime"], sidecar["RepetitionTimeSource"]) == (2.0, source)
    if image == "joined":
        assert nib.load(study / f"results/{image}/{image}_bold.nii.gz").header.get_zooms()[3] == 2.0


def test_another_tr_makes_results_anew(study, results):
    """… of those images of which it is true, and nothing else."""
    table = (study / "runs.tsv").read_text().replace("msec.nii.gz\t2", "msec.nii.gz\t2.5")
    (study / "other.tsv").write_text(table)
    jobs = plan(study, "timeseries", config=config("other.tsv"))
    assert [job.image for job in jobs if job.rule == "extract_timeseries"] == ["ms"]


def test_what_nobody_has_settled_is_listed_before_any_job(study, tmp_path):
    rows = [("image", "run"), ("a", "data/two.nii.gz"), ("b", "data/none.nii.gz"), ("c", "data/msec.nii.gz")]
    table = write(study, "unsettled.tsv", *rows, ("d", f"data/sub-01/func/{STEM}.nii.gz"))
    wanted = {**config(study / table), "atlas": study / "atlas.nii.gz"}
    ended = snakemake(tmp_path, "timeseries", config=wanted)
    assert ended.status == 1
    assert "Traceback" not in ended.output
    lines = ended.output[ended.output.index("ERROR: cleaning: the filter cannot take 3 runs") :].splitlines()
    assert [line.split(":")[0] for line in lines[1:4]] == ["line 3", "line 4", "line 5"]
    assert all("TR" in line for line in lines[1:4])
    assert not (tmp_path / "results").exists()
    assert not (tmp_path / "resources").exists()
    without = snakemake(tmp_path, "--dry-run", config={**wanted, "cleaning": {"detrend": True}})
    assert without.status == 0, without.output
    assert without.output.count("WARNING: TR of ") == 3
    said = snakemake(tmp_path, "--dry-run", config={**wanted, "cleaning": {**CLEANING, "t_r": 2.0}})
    assert said.status == 0, said.output
