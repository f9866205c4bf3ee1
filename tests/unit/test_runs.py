"""The runs table of a user, and the table of runs inside a concatenated image."""

import gzip
import json
import os
import re
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
import yaml
from jsonschema import Draft202012Validator

from conftest import AFFINE, ROOT, save_run
from roistream.cleaning.confounds import parse_confounds
from roistream.errors import UserError
from roistream.images.grids import grid_id
from roistream.images.image import inspect
from roistream.images.repetition_time import RepetitionTime
from roistream.images.series import check_runs_fit
from roistream.study.run import Run
from roistream.study.run_lengths import read_run_lengths, write_run_lengths
from roistream.study.runs import read_runs_table

SCHEMA = yaml.safe_load((ROOT / "workflow" / "schemas" / "runs.schema.yaml").read_text(encoding="utf-8"))


@pytest.fixture
def study(tmp_path):
    """A folder with three runs, a table of confounds and a 5D image."""
    for name in ("a.nii", "b.nii.gz", "sub/c.nii"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        save_run(tmp_path / name, np.zeros((2, 2, 2, 3), np.float32))
    nib.Nifti1Image(np.zeros((2, 2, 2, 3, 2), np.float32), AFFINE).to_filename(tmp_path / "5d.nii")
    (tmp_path / "a_confounds.tsv").write_text("csf\n1\n2\n3\n")
    return tmp_path


def write(folder, *rows, encoding="utf-8", separator="\t", newline="\n"):
    path = folder / "runs.tsv"
    path.write_bytes("".join(separator.join(row) + newline for row in rows).encode(encoding))
    return path


def read(path, **options):
    return read_runs_table(path, SCHEMA, **options)


def problem(path, **options):
    """Read a table that has something wrong with it as a whole; give the message."""
    with pytest.raises(UserError) as error:
        read(path, **options)
    message = str(error.value)
    assert message.startswith(f"The runs table {path} ")
    assert "\n" not in message
    return message


def problems(path, **options):
    """Read a table that has something wrong with its rows; give what is wrong, each with its line."""
    with pytest.raises(UserError) as error:
        read(path, **options)
    first, *lines = str(error.value).split("\n")
    number = "1 problem; correct it:" if len(lines) == 1 else f"{len(lines)} problems; correct them:"
    assert first == f"The runs table {path} has {number}"
    return lines


# The runs table


def test_the_schema_is_a_closed_one():
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["additionalProperties"] is False
    assert list(SCHEMA["properties"]) == ["image", "run", "confounds", "t_r", "mask", "sample_mask"]
    assert SCHEMA["required"] == ["image", "run"]
    for entry in SCHEMA["properties"].values():
        assert re.fullmatch(r"\S.*[^.]", entry["description"])


def test_paths_are_relative_to_the_table(study, monkeypatch, tmp_path_factory):
    path = write(study, ("image", "run"), ("one", "a.nii"), ("two", "sub/c.nii"), ("one", str(study / "b.nii.gz")))
    found = [("one", study / "a.nii"), ("two", study / "sub" / "c.nii"), ("one", study / "b.nii.gz")]
    grid = grid_id((2, 2, 2), AFFINE)
    time = RepetitionTime(2.0, "header")
    expected = [Run(image, run, n_volumes=3, t_r=2.0, time=time, grid=grid) for image, run in found]
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert read(path) == expected
    monkeypatch.chdir(study.parent)
    relative = read(path.relative_to(study.parent))
    assert [run.path.resolve() for run in relative] == [run.path for run in expected]
    assert not relative[0].path.is_absolute()


def test_confounds_are_optional(study):
    path = write(
        study,
        ("confounds", "run", "image"),
        ("a_confounds.tsv", "a.nii", "one"),
        ("", "b.nii.gz", "one"),
        ("n/a", "sub/c.nii", "one"),
    )
    assert [run.confounds for run in read(path)] == [study / "a_confounds.tsv", None, None]


def test_confounds_that_are_absent_are_a_problem(study):
    path = write(
        study, ("image", "run", "confounds"), ("one", "a.nii", "a_confounds.tsv"), ("one", "b.nii.gz", "b.tsv")
    )
    assert problems(path) == [f"line 3: The table of confounds {study / 'b.tsv'} does not exist; check the path"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_tables_from_any_editor(study, encoding, newline):
    path = write(study, ("image", "run"), (" one ", " a.nii "), ("one", "b.nii.gz"), encoding=encoding, newline=newline)
    assert [(run.image, run.path.name) for run in read(path)] == [("one", "a.nii"), ("one", "b.nii.gz")]


def test_all_problems_are_listed_at_once_with_their_lines(study):
    path = study / "runs.tsv"
    path.write_text(
        "image\trun\tconfounds\n"
        "one\ta.nii\ta_confounds.tsv\n"
        "\n"  # an empty line is no row, but it counts
        "one\tabsent.nii\tn/a\n"
        "one/two\tb.nii.gz\tno.tsv\n"
        "one\t5d.nii\tn/a\n"
        "one\ta.nii\tn/a\n"
        "one\tb.nii.gz\n"
        "one\tb.nii.gz\tn/a\tmore\n"
        "\t \tno.tsv\n"
        "one\tsub/c.nii\tno.tsv\n"
    )
    expected = [
        rf"line 4: {study}/absent\.nii does not exist; check the path",
        r"line 5: image 'one/two' must be a name for a folder \(letters.*",
        rf"line 5: The table of confounds {study}/no\.tsv does not exist; check the path",
        rf"line 6: {study}/5d\.nii is 5D \(shape \(2, 2, 2, 3, 2\)\); give a 4D run, or 3D volumes.*",
        rf"line 7: {study}/a\.nii is already a run of 'one', in line 2",
        r"line 8: 3 columns expected, found 2",
        r"line 9: 3 columns expected, found 4",
        r"line 10: image '' must be a name for a folder.*",
        r"line 10: run '' must be the path of a 4D NIfTI image, or of a single 3D volume",
        rf"line 11: The table of confounds {study}/no\.tsv does not exist; check the path",
    ]
    for text, pattern in zip(problems(path), expected, strict=True):
        assert re.fullmatch(pattern, text)


def test_runs_of_one_image_must_fit_each_other(study):
    values = np.zeros((2, 2, 2, 3), np.float32)
    save_run(study / "other_grid.nii", values[:, :, :1])
    save_run(study / "other_affine.nii", values, AFFINE + np.outer([1, 0, 0, 0], [0, 0, 0, 1]))
    save_run(study / "other_tr.nii", values, t_r=2.5)
    path = write(
        study,
        ("image", "run"),
        ("one", "absent.nii"),
        ("two", "other_tr.nii"),
        ("one", "a.nii"),
        ("one", "other_grid.nii"),
        ("one", "b.nii.gz"),
        ("one", "other_affine.nii"),
        ("one", "other_tr.nii"),
    )
    advice = "; resample it, or make it an image of its own"
    assert problems(path) == [
        f"line 2: {study}/absent.nii does not exist; check the path",
        f"line 5: {study}/other_grid.nii does not fit {study}/a.nii: the grid (2, 2, 1) against (2, 2, 2){advice}",
        f"line 7: {study}/other_affine.nii does not fit {study}/a.nii: another affine, by 0.333 voxels at a corner{advice}",
        f"line 8: {study}/other_tr.nii does not fit {study}/a.nii: TR 2.5 s against 2.0 s; "
        "give the right one as t_r, or make it an image of its own",
    ]


def test_a_run_under_two_spellings_is_one_run(study):
    (study / "link.nii").symlink_to(study / "a.nii")
    nib.Nifti1Pair(np.zeros((2, 2, 2, 3), np.float32), AFFINE).to_filename(study / "pair.img")
    rows = [
        ("one", "a.nii"),
        ("one", "./a.nii"),
        ("one", "sub/../a.nii"),
        ("one", str(study / "a.nii")),
        ("one", "link.nii"),
    ]
    path = write(study, ("image", "run"), *rows, ("two", "pair.img"), ("two", "pair.hdr"), ("three", "link.nii"))
    found = problems(path)
    assert [text.split(":")[0] for text in found] == [f"line {line}" for line in (3, 4, 5, 6, 8)]
    assert all(text.endswith("is already a run of 'one', in line 2") for text in found[:4])
    assert found[4] == f"line 8: {study}/pair.hdr is already a run of 'two', in line 7"


@pytest.mark.parametrize(
    ("text", "n_rows"),
    [("a\n1\n2\n", 2), ("a\tb\r\n1\t2\r\n" * 3, 5), ("a\n1\n2\n3\n4\n\n", 4), ("", 0), ("a\n\n2", 2)],
)
def test_confounds_must_have_a_row_for_each_volume(study, text, n_rows):
    (study / "a_confounds.tsv").write_text(text, newline="")
    path = write(study, ("image", "run", "confounds"), ("one", "a.nii", "a_confounds.tsv"))
    assert problems(path) == [
        f"line 2: the confounds {study}/a_confounds.tsv have {n_rows} rows, but {study}/a.nii has 3 volumes; "
        "give the table of this run"
    ]


@pytest.mark.parametrize("text", ["a\r\n1\r\n2\r\n3", "a\r1\r2\r3\r", "\ufeffa,b\n1,2\n\n3,4\n\n\n", "a\n\n2\n3\n"])
def test_rows_of_confounds_are_counted_as_they_are_read(study, text):
    (study / "a_confounds.tsv").write_text(text, encoding="utf-8", newline="")
    path = write(study, ("image", "run", "confounds"), ("one", "a.nii", "a_confounds.tsv"))
    assert len(parse_confounds(study / "a_confounds.tsv").rows) == 3
    assert read(path)[0].n_volumes == 3


def test_a_thousand_runs_need_no_nibabel(study):
    """Only headers are read, by our own parser: importing nibabel alone would take longer."""
    path = write(study, ("image", "run", "confounds"), ("one", "a.nii", "a_confounds.tsv"), ("one", "b.nii.gz", ""))
    code = (
        "import json, sys; from roistream.study.runs import read_runs_table;"
        "print(len(read_runs_table(sys.argv[1], json.loads(sys.argv[2]))), {'nibabel', 'nilearn', 'pandas'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code, str(path), json.dumps(SCHEMA)]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "scripts")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.stdout == "2 set()\n", done.stderr


def test_a_run_may_be_part_of_two_images(study):
    path = write(study, ("image", "run"), ("one", "a.nii"), ("two", "a.nii"))
    assert [run.image for run in read(path)] == ["one", "two"]


def test_files_are_left_alone_when_only_the_table_matters(study):
    path = write(study, ("image", "run", "confounds"), ("one", "absent.nii", "no.tsv"), ("one", "3d.nii", ""))
    runs = read(path, inspect_runs=False)
    assert runs == [Run("one", study / "absent.nii", study / "no.tsv"), Run("one", study / "3d.nii")]
    assert len(problems(path)) == 3
    twice = write(study, ("image", "run"), ("one", "absent.nii"), ("one", "sub/../absent.nii"), ("", "absent.nii"))
    assert [text.split(":")[0] for text in problems(twice, inspect_runs=False)] == ["line 3", "line 4"]


@pytest.mark.parametrize("name", ["sub-01", "A.b_c-d", "7", "task-a+b", "x" * 60])
def test_names_of_images(study, name):
    assert read(write(study, ("image", "run"), (name, "a.nii")))[0].image == name


@pytest.mark.parametrize("name", ["..", ".hidden", "a/b", "a b", "größe", "-x", "{a}", "a,b", "x" * 121])
def test_names_that_make_no_folder(study, name):
    [found] = problems(write(study, ("image", "run"), (name, "a.nii")))
    assert found.startswith(f"line 2: image {name!r} must be a name for a folder (letters, digits, ")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (("image", "file"), "lacks the column 'run'"),
        (("Image", "run"), "lacks the column 'image'"),
        (("image", "run", "confound"), "has an unknown column 'confound'"),
        (("image", "run", "confounds", "TR"), "has an unknown column 'TR'"),
        (("image", "run", "confounds", "run"), "has the column 'run' twice"),
    ],
)
def test_columns_are_named_when_they_are_wrong(study, columns, message):
    text = problem(write(study, columns, ["one", "a.nii", "", ""][: len(columns)]))
    assert message in text
    assert "its columns are image, run and optionally confounds" in text


def test_commas_instead_of_tabs(study):
    text = problem(write(study, ("image", "run"), ("one", "a.nii"), separator=","))
    assert "lacks the column 'image'" in text
    assert "it is separated by commas" in text
    assert "tab-separated" in text


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_tables_of_any_encoding_with_numbered_rows_and_tabs_at_ends(study, encoding, compress):
    text = "\timage\trun\t\r\n0\tone\ta.nii\t\t\r\n1\ttwo\tb.nii.gz\t\r\n\t\t\t\r\n"
    (study / "runs.tsv").write_bytes(compress(text.encode(encoding)))
    assert [(run.image, run.path.name) for run in read(study / "runs.tsv")] == [("one", "a.nii"), ("two", "b.nii.gz")]


def test_tables_without_rows(study):
    assert "lacks the column 'image'" in problem(write(study))
    assert "has no rows" in problem(write(study, ("image", "run")))


def test_tables_that_are_no_text(study):
    latin = write(study, ("image", "run"), ("größe", "a.nii"), encoding="latin-1")
    assert "is not readable as tab-separated text" in problem(latin)
    open_quote = write(study, ("image", "run"), ("one", '"a.nii'))
    assert "is not readable as tab-separated text" in problem(open_quote)
    assert "is not readable as tab-separated text" in problem(study)
    assert "does not exist; check the config key 'dataset'" in problem(study / "absent.tsv")


# Runs that fit


def run(folder, name, grid=(3, 4, 5), n_volumes=2, affine=AFFINE, t_r=2.0, dtype=np.float32):
    return inspect(save_run(folder / name, np.zeros((*grid, n_volumes), dtype), affine, t_r))


def moved(element, by):
    affine = AFFINE.copy()
    affine[element] += by
    return affine


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"grid": (3, 4, 6)}, r"the grid \(3, 4, 6\) against \(3, 4, 5\)"),
        ({"affine": moved((0, 3), 0.5)}, r"another affine, by 0\.167 voxels at a corner"),
        ({"affine": moved((1, 2), 0.01)}, r"another affine, by 0\.015 voxels at a corner"),
    ],
)
def test_runs_that_do_not_fit_are_both_named(tmp_path, changes, message):
    first, second = run(tmp_path, "first.nii", n_volumes=5), run(tmp_path, "second.nii")
    other = run(tmp_path, "other.nii", **changes)
    with pytest.raises(UserError, match=rf"^{other.path} does not fit {first.path}: {message}; ") as error:
        check_runs_fit([first, second, other])
    assert str(second.path) not in str(error.value)
    assert "\n" not in str(error.value)


def test_rounding_lengths_and_types_may_differ(tmp_path):
    odd = np.array([[-3.3, 0.001, 0, 90.1], [0, 3.3, 0.002, -126.7], [0, 0, 3.1, -72.3], [0, 0, 0, 1]])
    first = run(tmp_path, "first.nii", affine=odd, t_r=2.52)
    exact = nib.Nifti2Image(np.zeros((3, 4, 5, 7), np.int16), odd, dtype=np.int16)  # keeps float64
    exact.header.set_xyzt_units("mm", "msec")
    exact.header.set_zooms((3.3, 3.3, 3.1, 2520.0))
    exact.to_filename(tmp_path / "second.nii")
    second = inspect(tmp_path / "second.nii")
    assert not np.array_equal(first.affine, second.affine)
    check_runs_fit([first, second])
    check_runs_fit([second, first])
    check_runs_fit([first])


# Runs inside an image


def test_run_lengths_come_back_as_written(tmp_path):
    runs = [run(tmp_path, f"{name}.nii", n_volumes=n) for name, n in [("größer", 7), ("b", 1), ("c", 30)]]
    path = tmp_path / "below" / "runs.tsv"
    write_run_lengths(runs, path)
    assert read_run_lengths(path) == [7, 1, 30]
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "run\tfirst_volume\tn_volumes"
    assert [line.split("\t") for line in lines[1:]] == [
        [str(tmp_path / "größer.nii"), "0", "7"],
        [str(tmp_path / "b.nii"), "7", "1"],
        [str(tmp_path / "c.nii"), "8", "30"],
    ]


@pytest.mark.parametrize(
    "content", [b"run\tlength\na\t1\n", b"run\tn_volumes\na\tmany\n", b"run\tn_volumes\na\t\xe9\n"]
)
def test_another_table_is_no_table_of_runs(tmp_path, content):
    path = tmp_path / "runs.tsv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"^{path} is no table of runs .*concatenated image"):
        read_run_lengths(path)
