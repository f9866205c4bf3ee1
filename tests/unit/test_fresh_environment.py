"""What a new user does: `pip install .` in a new environment, and the README's lines in a folder of their own."""

import re
import shutil
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

from conftest import ROOT
from faults.machine import machine

PROJECT = ("scripts", "workflow", "envs", "pyproject.toml", "README.md", "LICENSE", "Snakefile", "config.yaml")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A new environment on a file system that nobody can write; gives a function that runs a command of it in a folder."""
    folder = tmp_path_factory.mktemp("fresh")
    project, environment = folder / "project", folder / "environment"
    project.mkdir()
    for name in PROJECT:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, project / name)
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    pip = [environment / "bin/python", "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "."]
    done = subprocess.run(pip, cwd=project, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    shutil.rmtree(project)
    with machine(folder / "machine") as place:
        place.read_only(environment)

        def run(command, *arguments, cwd):
            return place.run([environment / "bin" / command, *arguments], cwd, PYTHONPATH="", MPLBACKEND="agg")

        yield run


def test_nothing_of_it_can_be_written(installed, tmp_path):
    code = "import roistream, pathlib; (pathlib.Path(roistream.__file__).parent / 'x').touch()"
    assert "Read-only file system" in installed("python", "-c", code, cwd=tmp_path).output


def test_the_command(installed, tmp_path):
    ended = installed("roistream", "--help", cwd=tmp_path)
    assert ended.status == 0, ended.output
    assert "timeseries" in ended.output
    ended = installed("python", "-c", "import sys, roistream; print('snakemake' in sys.modules)", cwd=tmp_path)
    assert ended.output.split() == ["False"]


def test_the_lines_of_the_readme_on_a_real_run(installed, tmp_path, shared_data):
    """And with nilearn's own import line: the same bits."""
    [run] = shared_data.glob("*_bold.nii.gz")
    [atlas] = shared_data.glob("template_*.nii.gz")
    (tmp_path / "sub-01_bold.nii.gz").symlink_to(run)
    (tmp_path / "atlas.nii.gz").symlink_to(atlas)
    motion = np.random.default_rng(4).standard_normal((nib.load(run).shape[3], 2))
    np.savetxt(tmp_path / "sub-01_confounds.tsv", motion, delimiter="\t", header="trans_x\trot_z", comments="")
    section = (ROOT / "README.md").read_text("utf-8").partition("## From Python")[2]
    lines = re.search(r"^```python\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)[1]
    assert len(lines.splitlines()) <= 5
    assert "from roistream.maskers" in lines
    for package in ("roistream", "nilearn"):
        code = lines.replace("from roistream.", f"from {package}.", 1)
        code += f"import numpy\nnumpy.save('{package}.npy', signals)\n"
        ended = installed("python", "-W", "ignore", "-c", code, cwd=tmp_path)
        assert ended.status == 0, ended.output
    found, expected = (np.load(tmp_path / f"{package}.npy") for package in ("roistream", "nilearn"))
    assert found.shape[0] == len(motion)
    assert found.shape[1] == 64
    assert found.dtype == expected.dtype
    assert np.array_equal(found, expected)
