"""Every command, config and table of README and docs does what it says, in copies of the project and of a study."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from nilearn.maskers import NiftiLabelsMasker

from conftest import ROOT, save_run
from roistream.regions.seeds import read_seeds
from roistream.samples import adhd
from roistream.strategies import STRATEGIES
from workflow.conftest import ATLAS_AFFINE, ATLAS_GRID, BLOCKS, GRID, TIMEOUT_S, copy_project, save_atlas

FIRST = [ROOT / "README.md", ROOT / "docs/install.md"]
PAGES = {path.name: path.read_text("utf-8") for path in dict.fromkeys([*FIRST, *sorted((ROOT / "docs").glob("*.md"))])}
"""In an order in which no command makes again what another one has just replaced. The commands of the profiles are tried by
tests/cluster, the lines of the tutorial by tests/unit/test_tutorial.py."""

CHECKOUT = "/path/to/roistream"
"""What the pages call the project where a command is given in the folder of a study."""

N_VOLUMES = 40


def examples(language, *pages):
    """List the blocks of a language in some pages, by default in all."""
    block = re.compile(rf"^```{language}\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    return [found for page in pages or PAGES for found in block.findall(PAGES[page])]


COMMANDS = examples("sh")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Copy the project, with a shorter default, an environment that is set up already, and what nilearn would download."""
    folder = copy_project(tmp_path_factory.mktemp("readme") / "roistream")
    for name in ("README.md", "Makefile", "pyproject.toml"):
        shutil.copy2(ROOT / name, folder)
    for name in ("tests", "benchmarks", "docs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "_build"))
    config = folder / "config.yaml"
    config.write_text(config.read_text("utf-8").replace("n_volumes: 30 ", "n_volumes: 3 "), "utf-8")
    (folder / ".venv").mkdir()
    for entry in Path(sys.prefix).iterdir():
        if entry.suffix != ".done":
            (folder / ".venv" / entry.name).symlink_to(entry)
    for done in ("run.done", "dev.done"):
        (folder / ".venv" / done).touch()
    save_nilearn_cache(folder / "nilearn_data")
    return folder


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Make the folder of a study: that of fMRIPrep, an atlas, runs of another origin, and the pages' own examples."""
    folder = tmp_path_factory.mktemp("readme") / "study"
    rng = np.random.default_rng(5)
    save_fmriprep(folder / "derivatives" / "fmriprep")
    blocks = {label: block for label, block in BLOCKS.items() if label != 8}
    save_atlas(folder / "atlas-Schaefer2018_dseg.nii.gz", blocks)
    names = "".join(f"{label}\tregion {label}\t#aabbcc\n" for label in blocks)
    (folder / "atlas-Schaefer2018_dseg.tsv").write_text(f"index\tname\tcolor\n{names}", "utf-8")
    config, more = examples("yaml", "studies.md")
    assert config.startswith("# study.yaml\n")
    (folder / "study.yaml").write_text(config, "utf-8")
    (folder / "more.yaml").write_text(config + more, "utf-8")
    table, spheres = examples("tsv", "inputs.md")
    (folder / "own.tsv").write_text(table, "utf-8")
    (folder / "spheres.tsv").write_text(spheres, "utf-8")
    for row in table.splitlines()[1:]:
        _, run, confounds = row.split("\t")
        save_run(folder / run, (100 + rng.standard_normal((*GRID, N_VOLUMES))).astype(np.float32))
        save_confounds(folder / confounds, rng)
    return folder


def save_confounds(path, rng):
    """Save a table of confounds as fMRIPrep does: derivatives lack their first value."""
    motion = [f"{kind}_{axis}{more}" for kind in ("trans", "rot") for axis in "xyz" for more in ("", "_derivative1")]
    columns = ["csf", "white_matter", "csf_derivative1", *motion, *(f"a_comp_cor_{number:02}" for number in range(7))]
    rows = [[str(value) for value in row] for row in rng.standard_normal((N_VOLUMES, len(columns)))]
    rows[0] = ["n/a" if "derivative" in name else value for name, value in zip(columns, rows[0], strict=True)]
    path.write_text("".join("\t".join(row) + "\n" for row in [columns, *rows]), "utf-8")


def save_fmriprep(folder):
    """Save what fMRIPrep would: two runs of two subjects in two spaces, with confounds."""
    rng = np.random.default_rng(7)
    for subject in ("01", "02"):
        func = folder / f"sub-{subject}" / "func"
        func.mkdir(parents=True)
        for run in (1, 2):
            stem = f"sub-{subject}_task-rest_run-{run}"
            for space in ("MNI152NLin2009cAsym", "T1w"):
                values = (100 + rng.standard_normal((*GRID, N_VOLUMES))).astype(np.float32)
                save_run(func / f"{stem}_space-{space}_desc-preproc_bold.nii.gz", values)
            save_confounds(func / f"{stem}_desc-confounds_timeseries.tsv", rng)


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


def run_command(project, command, folder=None):
    """Run a command as a user in an active environment would: in the checkout, or in the folder of a study."""
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith(("SNAKEMAKE_", "PYTEST_"))},
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "NILEARN_DATA": str(project / "nilearn_data"),
        # `make test` inside of itself: only far enough to see that it finds its way to the tests.
        "PYTEST_ADDOPTS": "--collect-only -q",
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command.replace(CHECKOUT, str(project))],
        cwd=folder or project,
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
    assert [command.split()[0] for command in COMMANDS[:3]] == ["make", "make", "source"]
    assert len([command for command in COMMANDS if CHECKOUT in command]) >= 7
    assert all(f"{CHECKOUT}/Snakefile" in command for command in COMMANDS if "--configfile" in command)
    assert not [command for command in COMMANDS if "--profile" in command]  # they belong to the profiles' own page


@pytest.mark.slow
def test_commands_in_the_checkout(project):
    for command in COMMANDS:
        if CHECKOUT in command:
            continue
        printed = run_command(project, command)
        if command.startswith("make test"):
            assert "test_readme_commands.py" in printed
    results = project / "results" / "large_fmri"
    assert (results / "memory_comparison.png").is_file()
    assert {path.name for path in results.iterdir() if path.is_dir()} == {*STRATEGIES, "masks"}
    assert len(list((project / "out").glob("*_timeseries.npy"))) == 6
    assert (project / "summary.json").is_file()


def test_commands_in_the_folder_of_a_study(project, study):
    for command in COMMANDS:
        if CHECKOUT in command:
            run_command(project, command, study)
    made = study / "derivatives" / "roistream"
    images = pd.read_csv(made / "study.tsv", sep="\t", na_values="n/a")
    assert list(images["status"]) == ["done"] * 4
    assert {path.name for path in made.iterdir()} >= {
        "study.png",
        "dataset_description.json",
        "atlas-Schaefer2018_dseg.tsv",
    }
    assert "concatenat" not in " ".join(map(str, made.rglob("*")))
    compared = {path.name for path in (study / "results").iterdir() if path.is_dir()}
    assert len(compared) == 4
    assert (study / "results" / "study_memory.png").is_file()
    for image in compared:
        ours, theirs = (study / "results" / image / f"{way}_labels" for way in ("stream", "nilearn"))
        assert (ours / "timeseries.tsv").read_bytes() == (theirs / "timeseries.tsv").read_bytes()
    assert len((study / "subjects.tsv").read_text("utf-8").splitlines()) == 5
    assert (study / "tables" / "sub-01_stat-mean_timeseries.tsv").is_file()


@pytest.mark.filterwarnings("ignore:From release 0.14.0", "ignore:.*Generation of a mask has been requested")
def test_the_maskers_instead_of_nilearns(tmp_path, monkeypatch):
    """The lines with maskers, in a folder with the files that they name."""
    monkeypatch.chdir(tmp_path)
    values = np.random.default_rng(4).standard_normal((*ATLAS_GRID, N_VOLUMES)).astype(np.float32)
    save_run(tmp_path / "sub-01_bold.nii.gz", values, ATLAS_AFFINE)
    save_atlas(tmp_path / "atlas.nii.gz", BLOCKS)
    mask = nib.Nifti1Image((nib.load("atlas.nii.gz").get_fdata() > 0).astype(np.uint8), ATLAS_AFFINE)
    mask.to_filename("brain_mask.nii.gz")
    np.savetxt("sub-01_confounds.tsv", values[0, 0, :2].T, delimiter="\t", header="a\tb", comments="")
    names = {}
    for lines in examples("python", "README.md", "from-nilearn.md"):
        if "maskers" in lines:
            exec(lines, names)
    masker = NiftiLabelsMasker("atlas.nii.gz", detrend=True, standardize="zscore_sample")
    assert np.array_equal(
        names["signals"], masker.fit_transform("sub-01_bold.nii.gz", confounds="sub-01_confounds.tsv")
    )
    assert names["voxels"].shape == (N_VOLUMES, np.count_nonzero(mask.dataobj))


@pytest.mark.filterwarnings("ignore:From release 0.14.0:DeprecationWarning")
def test_the_table_as_pandas_reads_it(project, study, monkeypatch):
    """The lines of Python give what NiftiLabelsMasker gives, from the run and the config of the page."""
    monkeypatch.chdir(study)
    [lines] = examples("python", "studies.md")
    names = {}
    exec(lines, names)
    regions = names["regions"]
    assert list(regions) == [f"region {label}" for label in BLOCKS if label != 8]
    stem = "derivatives/fmriprep/sub-01/func/sub-01_task-rest_run-1"
    table = pd.read_csv(f"{stem}_desc-confounds_timeseries.tsv", sep="\t", na_values="n/a").bfill()
    used = [name for name in table if not name.startswith("csf_") and name not in ("a_comp_cor_05", "a_comp_cor_06")]
    [placed] = study.glob("resources/atlases/Schaefer2018_grid-*_dseg.nii.gz")
    masker = NiftiLabelsMasker(
        nib.load(placed), detrend=True, high_pass=0.01, standardize="zscore_sample", t_r=2, resampling_target=None
    )
    # In the config's order of columns, as the order of a sum may show in its last digit.
    order = ["trans_", "rot_", "white_matter", "csf", "a_comp_cor_0"]
    confounds = table[[name for start in order for name in used if name.startswith(start)]]
    expected = masker.fit_transform(
        f"{stem}_space-MNI152NLin2009cAsym_desc-preproc_bold.nii.gz", confounds=confounds.values
    )
    np.testing.assert_array_equal(regions.to_numpy(np.float32), expected.astype(np.float32))


def test_the_other_configs_and_tables(project, study):
    """More statistics and every voxel; a table that was written by hand."""
    [command] = [command for command in COMMANDS if "--keep-going" in command]
    run_command(project, command.replace("study.yaml", "more.yaml"), study)
    made = study / "derivatives" / "roistream" / "sub-02" / "func"
    assert len(list(made.glob("*_stat-median_timeseries.tsv"))) == 2
    for table in made.glob("*_voxels.tsv"):
        voxels = np.load(table.with_suffix(".npy"), mmap_mode="r")
        assert voxels.shape == (N_VOLUMES, len(table.read_text("utf-8").splitlines()) - 1)
    run_command(project, f"{command.strip()} --config dataset=own.tsv", study)
    [table] = made.parents[1].glob("sub-01/func/sub-01_atlas-Schaefer2018_stat-mean_timeseries.tsv")
    assert len(table.read_text("utf-8").splitlines()) == 1 + 2 * N_VOLUMES
    assert [seed.name for seed in read_seeds(study / "spheres.tsv")] == ["PCC", "mPFC", "LIPL"]
