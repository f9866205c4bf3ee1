"""The package as a wheel has it: in an environment without the checkout, on any working directory."""

import shutil
import subprocess
import sys
import zipfile

import nibabel as nib
import numpy as np
import pytest

import roistream
from conftest import AFFINE, GRID, ROOT, save_run


@pytest.fixture(scope="module")
def site_packages(tmp_path_factory):
    """What a wheel, built without the network, unpacks; read-only."""
    pytest.importorskip("setuptools", minversion="77", reason="envs/requirements-dev.txt has a newer setuptools")
    folder = tmp_path_factory.mktemp("installed")
    project = folder / "project"
    for name in ("scripts", "workflow", "envs"):
        shutil.copytree(ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "Snakefile", "config.yaml"):
        shutil.copy(ROOT / name, project)
    build = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", build, str(folder)], cwd=project, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    [wheel] = folder.glob("*.whl")
    assert wheel.name == f"roistream-{roistream.__version__}-py3-none-any.whl"
    site = folder / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    for path in [site, *site.rglob("*")]:
        path.chmod(path.stat().st_mode & ~0o222)
    yield site
    for path in [site, *site.rglob("*")]:
        path.chmod(path.stat().st_mode | 0o200)


@pytest.fixture
def run(site_packages, tmp_path):
    def of(*arguments):
        command = [sys.executable, "-B", "-m", "roistream", *map(str, arguments)]
        environment = {"PYTHONPATH": str(site_packages), "PATH": "/usr/bin:/bin"}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)

    return of


def test_what_is_in_it(site_packages):
    files = {str(path.relative_to(site_packages)) for path in site_packages.rglob("*") if path.is_file()}
    library = {
        str(path.relative_to(ROOT / "scripts"))
        for path in (ROOT / "scripts/roistream").rglob("*.py*")
        if "__pycache__" not in path.parts
    }
    assert library | {"roistream/py.typed", "roistream/__init__.pyi"} <= files
    workflow = {
        "Snakefile",
        "config.yaml",
        *map(str, (path.relative_to(ROOT) for path in ROOT.glob("workflow/**/*.smk"))),
    }
    programs = {str(path.relative_to(ROOT)) for path in ROOT.glob("scripts/**/*.py") if "__pycache__" not in path.parts}
    assert {f"roistream/project/{name}" for name in workflow | programs} <= files
    assert not [file for file in files if file.startswith(("tests", "benchmarks", "workflow"))]
    [metadata] = site_packages.glob("*.dist-info/METADATA")
    required = [
        line for line in metadata.read_text("utf-8").splitlines() if line.startswith("Requires-Dist: snakemake")
    ]
    assert required
    assert all("extra == " in line for line in required)
    [scripts] = site_packages.glob("*.dist-info/entry_points.txt")
    assert "roistream = roistream.__main__:main" in scripts.read_text("utf-8")


@pytest.mark.parametrize("command", ["timeseries", "predict", "measure", "list-runs", "fetch-atlas"])
def test_the_commands(run, command):
    done = run(command, "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: roistream {command} ")


def test_the_command_by_itself(run):
    assert "  timeseries" in run().stdout
    assert run("--version").stdout == f"roistream {roistream.__version__}\n"
    wrong = run("extract")
    assert wrong.returncode == 1
    assert "'extract' is none of these commands" in wrong.stderr


def test_the_bids_app(run, tmp_path):
    """What it says before Snakemake is started; with it: tests/workflow/test_connectome.py."""
    assert run("participant", "--help").stdout.startswith("usage: roistream [-h]")
    (tmp_path / "fmriprep").mkdir()
    (tmp_path / "other.yaml").write_text("dataset: runs.tsv\n")
    (tmp_path / "atlas.nii").touch()
    for options, message in {
        (): "No atlas is given; add --atlas",
        ("--config", "absent.yaml"): "absent.yaml is no file",
        ("--config", "other.yaml"): "take the key 'dataset' out",
        ("--atlas", "atlas.nii"): "has no files named *_bold.nii",
    }.items():
        done = run("fmriprep", "out", "participant", *options)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("ERROR: ")
        assert message in done.stderr
        assert done.stderr.count("\n") == 1
    assert run("fmriprep", "out", "group").returncode == 2


def test_an_extraction(run, tmp_path, rng):
    data = rng.integers(50, 900, (*GRID, 6)).astype(np.int16)
    save_run(tmp_path / "run.nii.gz", data)
    labels = rng.integers(0, 4, GRID).astype(np.int16)
    nib.Nifti1Image(labels, AFFINE).to_filename(tmp_path / "atlas.nii")
    done = run("timeseries", "--runs", "run.nii.gz", "--atlas", "atlas.nii", "--out", "out/scan")
    assert done.returncode == 0, done.stderr
    table = (tmp_path / "out/scan_stat-mean_timeseries.tsv").read_text("utf-8").splitlines()
    assert len(table) == 7
    assert float(table[1].split("\t")[0]) == data[labels == 1, 0].mean()
    missing = run("timeseries", "--runs", "absent.nii.gz", "--atlas", "atlas.nii", "--out", "out/scan")
    assert (missing.returncode, missing.stdout) == (1, "")
    assert missing.stderr == "ERROR: absent.nii.gz does not exist; check the path.\n"
