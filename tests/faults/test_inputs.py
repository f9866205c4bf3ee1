"""Inputs that fail while they are read, for every way to extract: runs that are overwritten, and disks that break."""

import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from conftest import AFFINE, save_run
from faults.conftest import by_method
from faults.extractions import GRID, N_VOLUMES, SCRIPTS, assert_undisturbed, command_of, is_finished, results
from faults.kills import seed_of


@by_method(slow=["nifti_masker_path", "numpy_path"])
def test_a_run_that_is_saved_anew(place, inputs, undisturbed, tmp_path, method):
    """Results are those of the old content or of the new one, never of a mixture; or the run is said to have changed."""
    rng = np.random.default_rng(seed_of())
    mine = replace(inputs, folder=tmp_path / "inputs")
    shutil.copytree(inputs.folder, mine.folder)
    run, out = mine.image_of(method), tmp_path / "out"
    other = save_run(tmp_path / f"other{''.join(run.suffixes)}", np.ones((*GRID, N_VOLUMES), np.float32))
    out.mkdir()
    process = place.start(command_of(method, mine, out))
    time.sleep(rng.uniform(0, 0.5))
    # As a copy over it does: the same file, which is short for a while, and has another content then.
    run.write_bytes(other.read_bytes())
    output, _ = process.communicate(timeout=300)
    assert "Traceback" not in output, output
    assert place.wait_until_empty() == []
    assert place.left() == []
    found, expected = results(out), undisturbed(method)
    if process.returncode:
        assert not is_finished(method, out)
        assert [line for line in output.splitlines() if line.startswith("ERROR: ")], output
        assert all(found[name] == expected[name] for name in found if name != "scan_voxels.tsv")
    elif found != expected:
        again = tmp_path / "again"
        again.mkdir()
        assert place.run(command_of(method, mine, again)).status == 0
        assert found == results(again), "neither the old nor the new content"
    shutil.copytree(inputs.folder, mine.folder, dirs_exist_ok=True)
    assert place.run(command_of(method, mine, out)).status == 0
    assert_undisturbed(method, out, expected)


@pytest.mark.parametrize("method", ["mmap", "timeseries", "shared_memory"])
def test_a_disk_that_breaks(place, inputs, tmp_path, method):
    """An error of the system is told as one, with the file; a worker gets no more than a signal for a page of a map."""
    run, out, disk = inputs.image_of(method), tmp_path / "out", tmp_path / "disk"
    out.mkdir()
    place.failing_disk(disk, run)
    command = command_of(method, inputs, out)
    ended = place.run([str(disk / run.name) if word == str(run) else word for word in command])
    assert ended.status == 1, ended.output
    assert "Traceback" not in ended.output
    assert ended.errors[0].startswith(f"{disk / run.name} could not be read: Input/output error"), ended.output
    assert not is_finished(method, out)
    assert place.wait_until_empty() == []
    assert place.left() == []


@pytest.mark.slow
def test_a_disk_breaks_below_a_download(place, tmp_path):
    """Nobody is asked to delete what was fetched."""
    name = "template_cambridge_basc_multiscale_nii_sym/template_cambridge_basc_multiscale_sym_scale064.nii.gz"
    made, disk = tmp_path / Path(name).name, tmp_path / "disk"
    labels = np.random.default_rng(1).integers(0, 65, (40, 40, 40)).astype(np.float32)
    nib.Nifti1Image(labels, AFFINE).to_filename(made)
    place.failing_disk(disk, made)
    cached = tmp_path / "data/basc_multiscale_2015" / name
    cached.parent.mkdir(parents=True)
    cached.symlink_to(disk / made.name)
    program = [sys.executable, SCRIPTS / "fetch_basc.py", "--atlas", tmp_path / "atlas.nii.gz", "--resolution", 64]
    ended = place.run([*program, "--data-dir", tmp_path / "data"])
    assert ended.status == 1
    assert ended.errors == [error for error in ended.errors if f"{cached} could not be read: Input/output" in error]
    assert "delete" not in ended.output
