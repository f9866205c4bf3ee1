"""Options as words of a shell command, and back."""

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import GRID, ROOT, run_script, save_run
from roistream.command_line import LONGEST_BYTES, options_of, options_within_limits, parse, positive
from roistream.extraction_options import add_confound_columns_option

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, ""),
        ({"data_dir": None, "url": None}, ""),
        ({"data_dir": "~/my data"}, "--data-dir '~/my data'"),
        ({"n_volumes": 3, "t_r": 2.5, "seed": 0}, "--n-volumes 3 --t-r 2.5 --seed 0"),
        ({"detrend": True, "standardize_confounds": False}, "--detrend --no-standardize-confounds"),
        ({"confounds": []}, ""),
        ({"confound_columns": ["trans_*", "csf"]}, "--confound-columns 'trans_*' csf"),
        ({"confounds": [Path("a b.tsv")]}, "--confounds 'a b.tsv'"),
        (
            {"confound_columns": ["-x", "y"], "data_dir": "-a b"},
            "--confound-columns=-x --confound-columns=y '--data-dir=-a b'",
        ),
    ],
)
def test_options(options, words):
    assert options_of(options) == words


@given(st.lists(TEXT, min_size=1), TEXT)
def test_words_come_back_whole(values, value):
    parser = argparse.ArgumentParser()
    add_confound_columns_option(parser)
    parser.add_argument("--data-dir")
    found = parser.parse_args(shlex.split(options_of({"confound_columns": values, "data_dir": value})))
    assert (found.confound_columns, found.data_dir) == (values, value)


@settings(max_examples=20, deadline=None)
@given(st.lists(TEXT, min_size=1))
def test_a_shell_reads_them_as_they_are(values):
    values = [f"a{value}" for value in values]
    code = f"{shlex.quote(sys.executable)} -S -c 'import sys; print(ascii(sys.argv[2:]))' {options_of({'x': values})}"
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == ascii(values) + "\n"


@pytest.mark.parametrize("word", ["0", "-1", "1.5", "", "x"])
def test_positive(word):
    assert positive("12") == 12
    with pytest.raises(argparse.ArgumentTypeError):
        positive(word)


@settings(max_examples=15, deadline=None)
@given(st.lists(TEXT, min_size=1, max_size=5), st.sampled_from([1, LONGEST_BYTES // 2]))
def test_many_words_go_through_a_file(tmp_path_factory, values, times):
    """Whatever they hold, a program gets what was given; and the same words are the same command."""
    folder = tmp_path_factory.mktemp("arguments")
    options = {"confound_columns": [f"a{value}" for value in values] * times, "data_dir": values[0]}
    command = options_within_limits(options, folder)
    assert command == options_within_limits(options, folder)
    has_newline = any("\n" in value for value in values)
    assert command.startswith("--arguments ") == (times > 1 and not has_newline)
    assert len(list(folder.iterdir())) == command.startswith("--arguments ")
    parser = argparse.ArgumentParser()
    add_confound_columns_option(parser)
    parser.add_argument("--data-dir")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["program", *shlex.split(command), *shlex.split(command)])
        found = parse(parser)
    assert found == {
        "confound_columns": 2 * options["confound_columns"],
        "data_dir": values[0],
        "unmatched_patterns": "error",
    }


def test_more_volumes_than_a_shell_takes_words(tmp_path, rng):
    """The system refuses a command of more than 128 KiB."""
    folder = tmp_path / ("a folder for volumes " * 7)
    folder.mkdir()
    volumes = [folder / f"volume_{number:04}.nii" for number in range(900)]
    image = nib.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.eye(4))
    for volume in volumes:
        image.to_filename(volume)
    assert len(options_of({"runs": volumes})) > 2**17
    words = options_within_limits({"runs": volumes, "t_r": 2}, tmp_path / "arguments")
    script = shlex.join([sys.executable, str(ROOT / "scripts/concatenate_runs.py")])
    command = f"{script} {words} --image image.nii.gz --run-lengths runs.tsv"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert nib.load(tmp_path / "image.nii.gz").shape == (2, 2, 2, len(volumes))


def test_a_file_of_arguments_that_is_not_there(tmp_path, rng):
    save_run(tmp_path / "run.nii", rng.random((*GRID, 2)))
    done = run_script("concatenate_runs.py", "--runs", "run.nii", "--arguments", "nowhere.txt", cwd=tmp_path)
    assert done.returncode == 2
    assert "argument --arguments: nowhere.txt does not exist; check the path." in done.stderr
    assert "Traceback" not in done.stderr
