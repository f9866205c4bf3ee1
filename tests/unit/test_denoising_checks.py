"""What is refused of denoising before any job, and in a job; in one sentence each."""

import csv
import json
import shlex
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import yaml

from conftest import ROOT, save_run
from extract_timeseries import extract_timeseries, parse_arguments
from list_bids_runs import list_bids_runs
from roistream.cleaning.denoising import find_table, sidecar_of
from roistream.command_line import options_of
from roistream.errors import UserError
from roistream.samples.fmriprep import simulate_fmriprep
from roistream.study.denoising_options import DENOISING_OPTIONS
from roistream.study.job_options import compared_options, study_options
from roistream.study.plan import make_plan

DEFAULTS = yaml.safe_load((ROOT / "config.yaml").read_text("utf-8"))
SCHEMAS = {
    name: yaml.safe_load((ROOT / f"workflow/schemas/{name}.schema.yaml").read_text("utf-8"))
    for name in ("config", "runs")
}
MNI = "MNI152NLin2009cAsym"
N_VOLUMES = 40


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    simulate_fmriprep(folder / "fmriprep", 2, 0, [MNI], N_VOLUMES, odd_runs=False)
    first = nib.load(next((folder / "fmriprep").rglob("*_bold.nii.gz")))
    nib.Nifti1Image(np.ones(first.shape[:3], np.int16), first.affine).to_filename(folder / "atlas.nii.gz")
    return folder


@pytest.fixture
def study(made, tmp_path, monkeypatch):
    """A dataset of two runs that may be changed, in the working directory, and its runs table."""
    shutil.copytree(made, tmp_path / "study")
    monkeypatch.chdir(tmp_path / "study")
    list_bids_runs(Path("fmriprep"), Path("runs.tsv"))
    return tmp_path / "study"


def plan(**cleaning):
    return make_plan(
        {**DEFAULTS, "dataset": "runs.tsv", "atlas": "atlas.nii.gz", "regions": "all", "cleaning": cleaning}, SCHEMAS
    )


def change_table(**columns):
    """Change columns of the first row of the runs table, or add them."""
    with Path("runs.tsv").open() as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    rows = [{**dict.fromkeys(columns, "n/a"), **row} for row in rows]
    rows[0] |= columns
    lines = ["\t".join(rows[0]), *("\t".join(row.values()) for row in rows)]
    Path("runs.tsv").write_text("\n".join(lines) + "\n", "utf-8")


def run(subject):
    return Path(f"fmriprep/sub-{subject}/func/sub-{subject}_task-rest_space-{MNI}_desc-preproc_bold.nii.gz")


@pytest.mark.parametrize(
    ("cleaning", "words"),
    [
        ({"strategy": "scrub"}, "'cleaning: strategy' is 'scrub'; it must be null, simple, scrubbing"),
        ({"scrub": 5}, r"scrub is an option of a strategy; add 'strategy' \(one of scrubbing\)"),
        (
            {"strategy": "simple", "scrub": 5},
            "scrub has no effect with the strategy simple, which takes motion, wm_csf",
        ),
        ({"strategy": "simple", "high_pass": 0.01}, "simple has a high-pass filter already.*leave out high_pass"),
        ({"strategy": "compcor", "confounds": True}, "compcor chooses the confounds itself; leave out confounds"),
        ({"strategy": "ica_aroma"}, "line 2: The strategy ica_aroma is for runs whose names end in _desc-smoothAROMA"),
        (
            {"leave_out_above": {"csf": 1}},
            "leave_out_above looks at the confounds; add 'confounds: true' or a strategy",
        ),
        ({"strategy": "simple", "leave_out_above": {"fd": 1}}, "line 2: leave_out_above: 'fd' matches no column"),
        ({"leave_out_above": {"csf": "much"}}, "'cleaning: leave_out_above' is {'csf': 'much'}; it must be a mapping"),
        ({"drop_first": -1}, "'cleaning: drop_first' is -1; it must be a number of volumes from 0 up"),
        ({"strategy": "compcor", "n_compcor": 0}, "'cleaning: n_compcor' is 0; it must be a number of components"),
        ({"too_few_volumes": "warn"}, "it must be error or mark"),
    ],
)
def test_impossible_combinations(study, cleaning, words):
    with pytest.raises(UserError, match=words):
        plan(**cleaning)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"sample_mask": "0-39 41"}, "line 2: sample_mask keeps volume 41, but there are 40, from 0 to 39; correct it"),
        ({"sample_mask": "most"}, "line 2: sample_mask 'most' must be the volumes that are kept, from 0 on, such as"),
        ({"mask": "atlas.nii"}, "line 2: .*atlas.nii is missing|line 2: .*atlas.nii"),
        ({"mask": "n/a", "image": "both"}, None),
        (
            {"confounds": "atlas.nii.gz"},
            r"line 2: the strategy simple is made of .*_timeseries.tsv, but .*atlas.nii.gz is",
        ),
    ],
)
def test_columns_of_the_runs_table(study, columns, words):
    change_table(**columns)
    if words is None:
        assert plan(strategy="simple").masks_of("both") == []
        return
    with pytest.raises(UserError, match=words):
        plan(strategy="simple")


def test_masks_that_do_not_fit(study):
    small = nib.Nifti1Image(np.ones((3, 4, 5), np.uint8), np.eye(4))
    small.to_filename("small.nii")
    change_table(mask="small.nii")
    with pytest.raises(
        UserError, match=r"line 2: .*small\.nii has the grid \(3, 4, 5\), the image has .* resample the mask"
    ):
        plan()
    Path("runs.tsv").write_text(f"image\trun\tmask\nboth\t{run('01')}\tsmall.nii\nboth\t{run('02')}\tn/a\n")
    with pytest.raises(
        UserError, match="line 3: the image 'both' has a mask for some of its runs only; name one for each"
    ):
        plan()
    affine = nib.load(run("01")).affine
    nothing = nib.Nifti1Image(np.zeros(nib.load(run("01")).shape[:3], np.uint8), affine)
    nothing.to_filename("nothing.nii")
    with pytest.raises(UserError, match=r"No voxel is inside of the brain mask\(s\) nothing\.nii"):
        extract_timeseries([run("01")], Path("atlas.nii.gz"), "out/scan", masks=[Path("nothing.nii")])
    assert not list(Path().glob("out/*"))


def test_the_table_beside_a_run(study):
    table = find_table(run("01"), "simple")
    assert table.name == "sub-01_task-rest_desc-confounds_timeseries.tsv"
    for name in ("sub-02_task-rest", "sub-01_task-rest_run-1", "task-rest_sub-01", "sub-01_space-T1w"):
        shutil.copy(table, table.with_name(f"{name}_desc-confounds_timeseries.tsv"))
    assert find_table(run("01"), "simple") == table
    shutil.copy(table, table.with_name("sub-01_desc-confounds_regressors.tsv"))
    with pytest.raises(
        UserError, match=r"line 2: .* has 2 tables of confounds beside it, sub-01_desc.* and sub-01_task"
    ):
        plan(strategy="simple")
    for path in table.parent.glob("*_desc-confounds_*.tsv"):
        path.unlink()
    change_table(confounds="n/a")
    with pytest.raises(
        UserError, match=r"line 2: The strategy simple needs fMRIPrep's confounds beside .*leave the run out"
    ):
        plan(strategy="simple")


def test_tables_that_do_not_suffice(study):
    """The number of rows and CompCor's sidecar are seen before any job; what nilearn misses of the columns in the job."""
    table = find_table(run("02"), "scrubbing")
    sidecar_of(table).unlink()
    plan(strategy="compcor", compcor="temporal")
    with pytest.raises(UserError, match=r"line 3: the strategy compcor needs .*timeseries.json, which tells the masks"):
        plan(strategy="compcor")
    lines = table.read_text().splitlines()
    table.write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(UserError, match=r"line 3: the confounds .* have 39 rows, but .* has 40 volumes"):
        plan(strategy="simple")
    table.write_text("\n".join(lines).replace("std_dvars", "dvars_std") + "\n")
    plan(strategy="scrubbing")
    with pytest.raises(
        UserError, match=r"The strategy scrubbing cannot be made of .*, nilearn says: 'std_dvars'; choose"
    ):
        extract_timeseries([run("02")], Path("atlas.nii.gz"), "out", denoising={"strategy": "scrubbing"})
    names, *rows = (line.split("\t") for line in lines)
    rows[7][names.index("rot_x")] = "n/a"
    table.write_text("\n".join("\t".join(row) for row in [names, *rows]) + "\n")
    with pytest.raises(UserError, match=r"'rot_x': a value is missing or no finite number, beyond the first row"):
        extract_timeseries([run("02")], Path("atlas.nii.gz"), "out", denoising={"strategy": "simple", "demean": False})


def test_too_few_volumes(study, caplog):
    options = {"drop_first": 30, "min_volumes": 11}
    arguments = ([run("01")], Path("atlas.nii.gz"), "out/scan")
    with pytest.raises(
        UserError, match="keeps 10 of 40 volumes, fewer than min_volumes, 11; leave out the run, or set"
    ):
        extract_timeseries(*arguments, denoising=options)
    assert not Path("out").exists()
    extract_timeseries(*arguments, denoising={**options, "too_few_volumes": "mark"})
    sidecar = json.loads(Path("out/scan_stat-mean_timeseries.json").read_text())
    assert sidecar["TooFewVolumes"] == [f"{run('01')} keeps 10 of 40 volumes, fewer than min_volumes, 11"]
    assert sidecar["TooFewVolumes"][0] in caplog.text
    with pytest.raises(UserError, match=r"All 40 volumes of .* would be left out \(drop_first 40\); leave out the run"):
        extract_timeseries(*arguments, denoising={"drop_first": 40})
    with pytest.raises(
        UserError, match=r"The strategy scrubbing leaves out all volumes of .*; leave out the run, or choose"
    ):
        extract_timeseries(*arguments, denoising={"strategy": "scrubbing", "fd_threshold": 1e-9})
    with pytest.raises(UserError, match="has a run of 18 volumes, too short for the filter, which needs 19"):
        extract_timeseries(*arguments, cleaning={"low_pass": 0.1}, denoising={"drop_first": 22})


def test_single_volumes_need_no_sample_mask(study, rng):
    for number in range(2):
        nib.Nifti1Image(rng.normal(size=(4, 5, 6)), np.eye(4)).to_filename(f"v{number}.nii")
    Path("runs.tsv").write_text("image\trun\tsample_mask\na\tv0.nii\t0\na\tv1.nii\tn/a\n")
    with pytest.raises(UserError, match=r"line 2: .*v0.nii is a single volume, which needs no sample_mask"):
        plan()


def test_a_sample_has_no_files_of_fmriprep():
    with pytest.raises(UserError, match="a strategy is made of fMRIPrep's files, and the dataset simulated has none"):
        make_plan({**DEFAULTS, "cleaning": {"strategy": "simple"}}, SCHEMAS)


def test_options_of_the_jobs(study, monkeypatch):
    """What the plan gives is what the program reads."""
    change_table(sample_mask="4-39")
    found = plan(
        strategy="scrubbing", scrub=0, drop_first=0, demean=False, leave_out_above={"std_dvars": "1e1", "csf": 2}
    )
    first, second = (study_options(found, image) for image in found.study)
    table = find_table(run("01"), "scrubbing")
    assert first == {
        **{"strategy": "scrubbing", "scrub": 0, "demean": False, "drop_first": None, "min_coverage": None},
        **{"leave_out_above": ["std_dvars=10.0", "csf=2"], "t_r": 2.0, "t_r_source": "runs table"},
        **{"sample_masks": ["4-39"], "masks": [found.study[next(iter(found.study))][0].mask], "remarks": []},
    }
    assert second["sample_masks"] == ["all"]
    words = ["extract_timeseries.py", "--runs", "r", "--atlas", "a", "--out", "o", *shlex.split(options_of(first))]
    monkeypatch.setattr("sys.argv", words)
    read = parse_arguments()
    assert read["denoising"] == {
        **dict.fromkeys(DENOISING_OPTIONS),
        **{"strategy": "scrubbing", "scrub": 0, "demean": False, "too_few_volumes": "error"},
        "leave_out_above": {"std_dvars": 10, "csf": 2},
    }
    assert (read["sample_masks"], read["masks"], read["min_coverage"]) == (["4-39"], first["masks"], 0)
    assert found.confounds_of(next(iter(found.study))) == [table]
    with pytest.raises(
        UserError, match="cleaning: strategy is for the target timeseries; leave it out for the comparison"
    ):
        compared_options(found, next(iter(found.runs)))
    assert compared_options(plan(confounds=True, confound_columns=["csf"]), next(iter(found.runs)))["confounds"] == [
        table
    ]


def test_the_listing_finds_masks(study, capsys, caplog):
    with Path("runs.tsv").open() as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    assert [Path(row["mask"]).name for row in rows] == [
        f"sub-0{number}_task-rest_space-{MNI}_desc-brain_mask.nii.gz" for number in (1, 2)
    ]
    [mask] = Path("fmriprep/sub-02").rglob("*_mask.nii.gz")
    other = mask.with_name(mask.name.replace(MNI, "T1w"))
    mask.rename(other)
    save_run(other.with_name(other.name.replace("brain_mask", "preproc_bold")), np.zeros((3, 4, 5, 2), np.float32))
    list_bids_runs(Path("fmriprep"), Path("runs.tsv"), {"space": [MNI]})
    with Path("runs.tsv").open() as stream:
        assert [row["mask"] == "n/a" for row in csv.DictReader(stream, delimiter="\t")] == [False, True]
    assert "1 run(s) have no brain mask" in caplog.text
    list_bids_runs(Path("fmriprep"), None, {"space": [MNI]}, with_masks=False)
    assert "mask" not in capsys.readouterr().out.splitlines()[0].split("\t")
