"""Every command of the README does what it says, in a copy of the project and on small data."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from conftest import ROOT, save_run
from roistream.samples import adhd
from roistream.strategies import STRATEGIES
from workflow.conftest import ATLAS_AFFINE, BLOCKS, GRID, TIMEOUT_S, copy_project, save_atlas

README = (ROOT / "README.md").read_text("utf-8")
ALL_COMMANDS = re.findall(r"^```sh\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
COMMANDS = [command for command in ALL_COMMANDS if "--profile" not in command]
"""Without those that need a cluster: tests/cluster has one."""


def examples(language):
    """List the README's blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Copy the project, with a shorter default, an environment that is set up already, and the files that the README names."""
    folder = copy_project(tmp_path_factory.mktemp("readme") / "roistream")
    for name in ("README.md", "Makefile", "pyproject.toml"):
        shutil.copy2(ROOT / name, folder)
    shutil.copytree(ROOT / "tests", folder / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    config = folder / "config.yaml"
    config.write_text(config.read_text("utf-8").replace("n_volumes: 30 ", "n_volumes: 3 "), "utf-8")
    (folder / ".venv").mkdir()
    for entry in Path(sys.prefix).iterdir():
        if entry.suffix != ".done":
            (folder / ".venv" / entry.name).symlink_to(entry)
    for done in ("run.done", "dev.done"):
        (folder / ".venv" / done).touch()
    save_study(folder)
    save_fmriprep(folder / "derivatives" / "fmriprep")
    save_nilearn_cache(folder / "nilearn_data")
    return folder


def save_study(folder):
    """Save the runs, confounds and atlas of the README's examples, and the examples themselves."""
    rng = np.random.default_rng(5)
    [table] = examples("text")
    (folder / "runs.tsv").write_text(table, "utf-8")
    for name, example in zip(("study.yaml", "fmriprep.yaml"), examples("yaml"), strict=True):
        (folder / name).write_text(example, "utf-8")
    for row in table.splitlines()[1:]:
        _, run, confounds = row.split("\t")
        save_run(folder / run, (100 + rng.standard_normal((*GRID, 24))).astype(np.float32))
        save_confounds(folder / confounds, ["x", "y"], rng)
    blocks = {label: block for label, block in BLOCKS.items() if label != 8}
    save_atlas(folder / "atlas_dseg.nii.gz", blocks)
    names = "".join(f"{label}\tregion {label}\n" for label in blocks)
    (folder / "atlas_dseg.tsv").write_text(f"index\tname\n{names}", "utf-8")


def save_confounds(path, columns, rng):
    """Save a table of confounds for 24 volumes; derivatives lack their first value."""
    rows = [[str(value) for value in row] for row in rng.standard_normal((24, len(columns)))]
    rows[0] = ["n/a" if "derivative" in name else value for name, value in zip(columns, rows[0], strict=True)]
    path.write_text("".join("\t".join(row) + "\n" for row in [columns, *rows]), "utf-8")


def save_fmriprep(folder):
    """Save what fMRIPrep would: two runs of two subjects in two spaces, with confounds."""
    rng = np.random.default_rng(7)
    motion = [f"{kind}_{axis}{more}" for kind in ("trans", "rot") for axis in "xyz" for more in ("", "_derivative1")]
    columns = ["csf", "white_matter", "csf_derivative1", *motion, *(f"a_comp_cor_{number:02}" for number in range(7))]
    for subject in ("01", "02"):
        func = folder / f"sub-{subject}" / "func"
        func.mkdir(parents=True)
        for run in (1, 2):
            stem = f"sub-{subject}_task-rest_run-{run}"
            for space in ("MNI152NLin2009cAsym", "T1w"):
                values = (100 + rng.standard_normal((*GRID, 24))).astype(np.float32)
                save_run(func / f"{stem}_space-{space}_desc-preproc_bold.nii.gz", values)
            save_confounds(func / f"{stem}_desc-confounds_timeseries.tsv", columns, rng)


def save_nilearn_cache(folder):
    """Save small ADHD subjects and a BASC atlas where nilearn would have put them."""
    rng = np.random.default_rng(6)
    (folder / "adhd").mkdir(parents=True)
    phenotypes = "Subject\n" + "".join(f"{subject}\n" for subject in adhd.SUBJECT_IDS)
    (folder / "adhd" / adhd.PHENOTYPES).write_text(phenotypes)
    for subject in adhd.SUBJECT_IDS[:6]:
        run, confounds = folder / "adhd" / adhd.run_path(subject), folder / "adhd" / adhd.confounds_path(subject)
        run.parent.mkdir(parents=True)
        save_run(run, rng.standard_normal((*GRID, 4)).astype(np.float32))
        confounds.write_text("\t".join(adhd.REGRESSORS) + "\n" + ("\t".join("0" * len(adhd.REGRESSORS)) + "\n") * 4)
    basc = folder / "basc_multiscale_2015" / "template_cambridge_basc_multiscale_nii_sym"
    basc.mkdir(parents=True)
    labels = np.zeros((16, 16, 16), np.float32)
    labels[4:8, 4:8, 4:8] = np.arange(1, 65).reshape(4, 4, 4)
    affine = ATLAS_AFFINE.copy()
    affine[:3, :3] *= 1.2
    nib.Nifti1Image(labels, affine).to_filename(basc / "template_cambridge_basc_multiscale_sym_scale064.nii.gz")


def run_command(project, command):
    """Run a command as a user in an active environment would."""
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith(("SNAKEMAKE_", "PYTEST_"))},
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "NILEARN_DATA": str(project / "nilearn_data"),
        # `make test` inside of itself: only far enough to see that it finds its way to the tests.
        "PYTEST_ADDOPTS": "--collect-only -q",
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=project,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_there_are_commands_to_run():
    assert [command.split()[0] for command in COMMANDS[:3]] == ["make", "make", "snakemake"]
    assert len(COMMANDS) >= 7


def test_commands_in_the_order_of_the_readme(project):
    for command in COMMANDS:
        printed = run_command(project, command)
        if command.startswith("make test"):
            assert "test_readme_commands.py" in printed
    results = project / "results"
    for image in ("large_fmri", "sub-01", "sub-02"):
        assert (results / image / "memory_comparison.png").is_file()
    assert {path.name for path in (results / "large_fmri").iterdir() if path.is_dir()} == {*STRATEGIES, "masks"}
    for subject in ("01", "02"):
        folder = results / f"sub-{subject}_task-rest_space-MNI152NLin2009cAsym_desc-preproc" / "stream"
        assert np.load(folder / "region-1_timeseries.npy").shape[0] == 48
    assert (results / "study_memory.png").is_file()
    assert len(list((results / "sub-01" / "stream").glob("*_timeseries.npy"))) == len(BLOCKS) - 1
    assert len(list((project / "out").glob("*_timeseries.npy"))) == 12
    assert (project / "summary.json").is_file()
