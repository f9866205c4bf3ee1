"""Every script is a program: it answers --help, runs from a plain shell, and knows nothing of Snakemake."""

import ast
import os
import shutil
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

from conftest import ROOT, run_script, save_run

SCRIPTS = sorted((ROOT / "scripts").glob("*.py"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_help(tmp_path, path):
    done = run_script(path.name, "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: {path.name} ")
    assert done.stderr == ""
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_is_a_thin_program(path):
    text = path.read_text("utf-8")
    assert text.startswith("#!/usr/bin/env python3\n")
    assert len(text.splitlines()) <= 300
    assert "snakemake" not in {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}


@pytest.fixture
def folder(tmp_path):
    """A folder that any unquoted command would fall over."""
    folder = tmp_path / "Übung 1's $HOME {a}"
    folder.mkdir()
    return folder


def run(folder, name, *arguments):
    """Run a script that should do its work."""
    done = run_script(name, *arguments, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done


def test_concatenate_and_decompress(folder, rng):
    data = rng.standard_normal((3, 4, 2, 5)).astype(np.float32)
    runs = [save_run(folder / "a 1.nii.gz", data[..., :2]), save_run(folder / "ä.nii", data[..., 2:])]
    options = ["--image", "out/all of it.nii.gz", "--run-lengths", "out/runs.tsv", "--log", "logs/a log.txt"]
    done = run(folder, "concatenate_runs.py", "--runs", *(path.name for path in runs), *options)
    assert (folder / "logs/a log.txt").read_text("utf-8") == done.stderr
    assert "2 file(s), 5 volumes" in done.stderr
    run(folder, "decompress_image.py", "out/all of it.nii.gz", "plain.nii", "--log", "plain.log")
    assert np.array_equal(nib.load(folder / "plain.nii").dataobj, data)


def test_simulate(folder):
    options = ["--subject", "0010042", "--seed", "3", "--n-volumes", "2", "--log", "a.log"]
    done = run(folder, "simulate_adhd.py", "--run", "r.nii.gz", "--confounds", "c.tsv", *options)
    assert nib.load(folder / "r.nii.gz").shape[3] == 2
    assert (folder / "a.log").read_text("utf-8") == done.stderr == "INFO: Simulated 2 volumes of subject 0010042.\n"
    run(folder, "simulate_atlas.py", "--atlas", "a.nii.gz", "--n-parcels", "5", "--seed", "3")
    assert list(np.unique(nib.load(folder / "a.nii.gz").dataobj)) == list(range(6))


def test_a_failure_is_one_sentence_also_in_the_log(folder):
    failed = run_script("decompress_image.py", "none.nii.gz", "plain.nii", "--log", "a.log", cwd=folder)
    assert failed.returncode == 1
    assert failed.stderr.startswith("ERROR: ")
    assert len(failed.stderr.splitlines()) == 1
    assert (folder / "a.log").read_text("utf-8") == failed.stderr


def test_a_foreign_library_of_the_same_name_does_not_win(folder):
    (folder / "roistream").mkdir()
    (folder / "roistream" / "__init__.py").write_text("raise ImportError('the wrong one')")
    command = [sys.executable, ROOT / "scripts" / "decompress_image.py", "--help"]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    assert subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL).returncode == 0


def test_a_copy_without_executable_bits_runs_from_a_folder_with_blanks(folder):
    copy = shutil.copytree(ROOT / "scripts", folder / "scripts 2", ignore=shutil.ignore_patterns("__pycache__"))
    program = copy / "decompress_image.py"
    program.chmod(0o644)
    done = subprocess.run([sys.executable, program, "--help"], capture_output=True, text=True)
    assert done.stdout.startswith("usage: decompress_image.py ")
