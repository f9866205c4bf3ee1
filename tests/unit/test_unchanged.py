"""Runs that change or vanish while they are read: for every script that reads them."""

import os
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import concatenate_runs
import decompress_image
import extract_regions
import extract_timeseries
from conftest import GRID, save_run
from roistream.errors import UserError
from roistream.images.unchanged import Unchanged
from roistream.strategies import STRATEGIES


def shorten(path):
    os.truncate(path, path.stat().st_size - 1)


def replace(path):
    """As most programs save a file: another one takes its place."""
    new = path.with_name("new")
    new.write_bytes(path.read_bytes())
    os.utime(new, ns=(0, path.stat().st_mtime_ns))
    new.replace(path)


def overwrite(path):
    """The same length, other content."""
    with path.open("r+b") as stream:
        stream.seek(-4, os.SEEK_END)
        stream.write(b"\1\2\3\4")


CHANGES = {shorten: "was changed", replace: "was changed", overwrite: "was changed", Path.unlink: "vanished"}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_what_counts_as_a_change(tmp_path, change):
    path = tmp_path / "run.nii"
    path.write_bytes(bytes(100))
    os.utime(path, (1, 1))
    inputs = Unchanged([path, tmp_path / "never there"])
    inputs.check()
    change(path)
    with pytest.raises(UserError, match=CHANGES[change]) as raised:
        inputs.check()
    assert str(path) in str(raised.value)
    with pytest.raises(UserError, match=CHANGES[change]), inputs:
        raise ValueError("what a reader makes of it")
    with pytest.raises(UserError, match=CHANGES[change]):
        list(inputs.during([1, 2]))


def test_reading_is_no_change(tmp_path):
    path = tmp_path / "run.nii"
    path.write_bytes(bytes(100))
    inputs = Unchanged([path])
    path.read_bytes()
    path.chmod(0o400)
    with inputs:
        assert list(inputs.during([1, 2])) == [1, 2]
    with pytest.raises(ValueError, match="its own"), inputs:
        raise ValueError("its own")


@pytest.fixture
def run(tmp_path):
    data = np.random.default_rng(1).normal(size=(*GRID, 20)).astype(np.float32)
    path = save_run(tmp_path / "run.nii", data)
    os.utime(path, (1, 1))
    return path


def once(path, change, reading):
    """Let a function that reads change the file when it has begun."""

    def reads(*arguments, **options):
        for number, piece in enumerate(reading(*arguments, **options)):
            if number == 0:
                change(path)
            yield piece

    return reads


@pytest.mark.parametrize("change", [overwrite, Path.unlink], ids=["overwrite", "unlink"])
@pytest.mark.parametrize("script", [concatenate_runs, decompress_image])
def test_a_copy_of_what_changed_is_none(tmp_path, run, monkeypatch, script, change):
    monkeypatch.setattr(script, "read_stored", once(run, change, script.read_stored))
    image = tmp_path / "out/image.nii"
    if script is concatenate_runs:
        copy = partial(script.concatenate_runs, [run], image, tmp_path / "out/runs.tsv")
    else:
        copy = partial(script.decompress_image, run, image)
    with pytest.raises(UserError, match=CHANGES[change]):
        copy()
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("change", [overwrite, Path.unlink], ids=["overwrite", "unlink"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_no_strategy_gives_results_of_it(tmp_path, run, masks, monkeypatch, strategy, change):
    """The change comes when the header has been read, and before the data are."""
    entry = STRATEGIES[strategy]
    function = entry.load()

    def changed_before(*arguments):
        change(run)
        return function(*arguments)

    monkeypatch.setattr(extract_regions.Strategy, "load", lambda _: changed_before)
    options = {"masks": masks}
    with pytest.raises(UserError, match=CHANGES[change]):
        extract_regions.extract_regions(strategy, [run], tmp_path / "out", **options)
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("change", [overwrite, Path.unlink, shorten], ids=["overwrite", "unlink", "shorten"])
@pytest.mark.parametrize("save_voxels", [False, True])
def test_no_study_gives_results_of_it(tmp_path, run, monkeypatch, save_voxels, change):
    atlas = tmp_path / "atlas.nii"
    labels = np.zeros(GRID, np.int16)
    labels[1:4, 1:4, 1:4] = 1
    nib.Nifti1Image(labels, nib.load(run).affine).to_filename(atlas)
    extract = extract_timeseries.extract

    def changed_before(*arguments):
        change(run)
        return extract(*arguments)

    monkeypatch.setattr(extract_timeseries, "extract", changed_before)
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match=CHANGES[change]):
        extract_timeseries.extract_timeseries([run], atlas, f"{tmp_path}/out/scan", save_voxels=save_voxels)
    left = {path.name for path in (tmp_path / "out").iterdir()}
    assert left <= {"scan_voxels.tsv"}
