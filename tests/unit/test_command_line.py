"""Options as words of a shell command, and back."""

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roistream.command_line import options_of, positive
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
