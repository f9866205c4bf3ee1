"""Outputs appear whole or not at all."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from conftest import GRID, ROOT, run_script, save_mask, save_run
from roistream.errors import UserError
from roistream.outputs import check_writable, whole_file
from roistream.study.run_lengths import read_run_lengths


def listing(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_when_it_is_whole(tmp_path):
    path = tmp_path / "below" / "further" / "image.nii.gz"
    with whole_file(path) as partial:
        partial.write_text("half")
        assert not path.exists()
        assert partial.parent == path.parent
        with partial.open("a") as stream:
            stream.write(" and half")
        assert listing(path.parent) == [partial.name]
    assert path.read_text() == "half and half"
    assert listing(path.parent) == ["image.nii.gz"]


@pytest.mark.parametrize("name", ["image.nii.gz", "table.tsv", "array.npy", "no_ending"])
def test_the_temporary_name_keeps_the_ending_and_hides(tmp_path, name):
    with whole_file(tmp_path / name) as partial:
        assert partial.name.endswith(name)
        assert partial.name.startswith(".")
        partial.touch()


def test_writers_that_look_at_the_ending_agree(tmp_path):
    with whole_file(str(tmp_path / "array.npy")) as partial:
        np.save(partial, np.arange(3))
    assert np.load(tmp_path / "array.npy").tolist() == [0, 1, 2]
    assert listing(tmp_path) == ["array.npy"]


@pytest.mark.parametrize("error", [ValueError, OSError, MemoryError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("written", [True, False])
def test_nothing_is_left_on_failure(tmp_path, error, written):
    def fail():
        with whole_file(tmp_path / "table.tsv") as partial:
            if written:
                partial.write_text("half")
            raise error("in between")

    with pytest.raises(error, match="in between"):
        fail()
    assert listing(tmp_path) == []


def test_a_failure_keeps_the_file_of_before(tmp_path):
    path = tmp_path / "table.tsv"
    path.write_text("before")

    def fail():
        with whole_file(path) as partial:
            partial.write_text("half")
            raise ValueError("in between")

    with pytest.raises(ValueError, match="in between"):
        fail()
    assert path.read_text() == "before"
    assert listing(tmp_path) == ["table.tsv"]


def test_a_success_replaces_the_file_of_before(tmp_path):
    path = tmp_path / "table.tsv"
    path.write_text("before, and longer")
    with whole_file(path) as partial:
        partial.write_text("after")
        assert path.read_text() == "before, and longer"
    assert path.read_text() == "after"
    assert listing(tmp_path) == ["table.tsv"]


def test_a_link_is_replaced_not_written_through(tmp_path):
    (tmp_path / "cache").mkdir()
    original = tmp_path / "cache" / "atlas.nii.gz"
    original.write_text("of others")
    link = tmp_path / "atlas.nii.gz"
    link.symlink_to(original)
    with whole_file(link) as partial:
        partial.write_text("ours")
    assert original.read_text() == "of others"
    assert not link.is_symlink()
    assert link.read_text() == "ours"


def test_a_program_that_writes_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), whole_file(tmp_path / "table.tsv"):
        pass
    assert listing(tmp_path) == []


def test_a_folder_in_the_place_of_the_file(tmp_path):
    (tmp_path / "table.tsv").mkdir()
    with pytest.raises(OSError, match=r"table\.tsv"), whole_file(tmp_path / "table.tsv") as partial:
        partial.write_text("whole")
    assert listing(tmp_path) == ["table.tsv"]
    assert (tmp_path / "table.tsv").is_dir()


KILLED_IN_BETWEEN = """
import sys, time
from roistream.errors import UserError
from roistream.outputs import check_writable, whole_file

with whole_file(sys.argv[1]) as partial:
    partial.write_text("of a killed program, which had written more than the next one will")
    print("ready", flush=True)
    time.sleep(600)
"""


def test_the_partial_file_of_a_killed_predecessor_is_overwritten(tmp_path):
    path = tmp_path / "table.tsv"
    for _ in range(2):
        with subprocess.Popen(
            [sys.executable, "-c", KILLED_IN_BETWEEN, path],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT / "scripts")},
        ) as process:
            assert process.stdout.readline() == "ready\n"
            process.kill()
        assert process.returncode == -signal.SIGKILL
        assert not path.exists()
        assert len(listing(tmp_path)) == 1  # overwritten, not piled up
    with whole_file(path) as partial:
        assert partial.name in listing(tmp_path)
        partial.write_text("whole")
    assert path.read_text() == "whole"
    assert listing(tmp_path) == ["table.tsv"]


def test_a_folder_that_can_be_written_or_is_not_there_yet(tmp_path):
    check_writable([tmp_path, tmp_path / "later"])


def test_a_file_in_the_place_of_a_folder(tmp_path):
    (tmp_path / "results").touch()
    with pytest.raises(UserError, match="results cannot be written"):
        check_writable([tmp_path, tmp_path / "results"])


def test_file_names_that_are_not_in_utf8(tmp_path, rng):
    """Old data have them; every program that writes their paths somewhere writes what Python reads back."""
    name = os.fsdecode(b"l\xe4uf.nii.gz")
    save_run(tmp_path / name, rng.random((*GRID, 12)))
    save_mask(tmp_path / "m_mask.nii.gz", [(1, 2, 3)])
    programs = {
        "out_stat-mean_timeseries.json": [
            "extract_timeseries.py",
            "--runs",
            name,
            "--atlas",
            "m_mask.nii.gz",
            "--out",
            "out",
        ],
        "x/extraction.json": [
            *("extract_regions.py", "--strategy", "stream", "--image", name),
            *("--masks", "m_mask.nii.gz", "--out", "x"),
        ],
        "runs.tsv": [
            *("concatenate_runs.py", "--runs", name, name, "--image", "o.nii.gz"),
            *("--run-lengths", "runs.tsv", "--log", "log"),
        ],
    }
    for made, (script, *arguments) in programs.items():
        done = run_script(script, *arguments, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        content = (tmp_path / made).read_text("utf-8", "surrogateescape")
        assert name in (content if made == "runs.tsv" else flat(json.loads(content))), made
    assert read_run_lengths(tmp_path / "runs.tsv") == [12, 12]


def flat(content):
    return [content] if isinstance(content, str) else [x for part in parts(content) for x in flat(part)]


def parts(content):
    return content.values() if isinstance(content, dict) else content if isinstance(content, list) else []


def test_a_file_where_a_folder_is_needed(tmp_path, rng):
    save_run(tmp_path / "run.nii", rng.random((*GRID, 3)))
    save_mask(tmp_path / "m.nii.gz", [(1, 2, 3)])
    (tmp_path / "place").write_text("")
    done = run_script(
        "extract_timeseries.py", *("--runs", "run.nii", "--atlas", "m.nii.gz", "--out", "place/x"), cwd=tmp_path
    )
    assert done.returncode == 1
    assert "ERROR: place is a file, where a folder is needed" in done.stderr
