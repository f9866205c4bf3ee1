"""A run or a table of confounds that is listed twice, by whatever names; and two that only look like one."""

import os

import nibabel as nib
import numpy as np
import pytest
import yaml

from conftest import AFFINE, ROOT, save_run
from roistream.errors import UserError
from roistream.study.repetition import tell_repetition
from roistream.study.runs import read_runs_table

SCHEMA = yaml.safe_load((ROOT / "workflow" / "schemas" / "runs.schema.yaml").read_text(encoding="utf-8"))


@pytest.fixture
def study(tmp_path):
    """Two runs and a table of confounds for each."""
    for number in (1, 2):
        save_run(tmp_path / f"run-{number}.nii", np.full((2, 2, 2, 3), number, np.float32))
        (tmp_path / f"run-{number}.tsv").write_text(f"csf\n{number}\n2\n3\n")
    return tmp_path


def read(folder, *rows):
    table = folder / "runs.tsv"
    table.write_text("image\trun\tconfounds\n" + "".join("\t".join(row) + "\n" for row in rows), "utf-8")
    return read_runs_table(table, SCHEMA)


def problems(folder, *rows):
    with pytest.raises(UserError) as error:
        read(folder, *rows)
    return str(error.value).split("\n")[1:]


def other_names(path):
    """Name a file in other ways."""
    folder = path.parent
    hard, link, around = folder / f"hard-{path.name}", folder / f"link-{path.name}", folder / "around"
    hard.hardlink_to(path)
    link.symlink_to(path.name)
    if not around.exists():
        around.symlink_to(".")
    return [
        path.name,
        f"./{path.name}",
        str(path),
        hard.name,
        link.name,
        f"around/{path.name}",
    ]


def test_a_run_by_all_of_its_names(study):
    names = other_names(study / "run-1.nii")
    found = problems(study, *(("one", name, "n/a") for name in names))
    assert [text.split(":")[0] for text in found] == [f"line {line}" for line in range(3, 2 + len(names))]
    assert all(text.endswith("is already a run of 'one', in line 2") for text in found)


def test_a_table_by_all_of_its_names(study):
    names = other_names(study / "run-1.tsv")
    for name in names:
        [text] = problems(study, ("one", "run-1.nii", "run-1.tsv"), ("one", "run-2.nii", name))
        assert text.startswith(f"line 3: the confounds {study / name} ")
        assert "are those of another run of 'one' already, in line 2; give the table of this run" in text


def test_a_copy_is_another_table(study):
    (study / "copy.tsv").write_bytes((study / "run-1.tsv").read_bytes())
    assert len(read(study, ("one", "run-1.nii", "run-1.tsv"), ("one", "run-2.nii", "copy.tsv"))) == 2


def test_volumes_of_one_run_may_all_name_its_table(study):
    for name in "abcd":
        nib.Nifti1Image(np.zeros((2, 2, 2), np.float32), AFFINE).to_filename(study / f"{name}.nii")
    volumes = [("one", f"{name}.nii", "run-1.tsv") for name in "abc"]
    assert len(read(study, *volumes)) == 3
    assert len(read(study, volumes[0], ("two", "run-2.nii", "n/a"), *volumes[1:])) == 4
    [text] = problems(study, *volumes, ("one", "run-2.nii", "run-2.tsv"), ("one", "d.nii", "run-1.tsv"))
    assert text.startswith("line 6: the confounds ")
    assert "in line 2;" in text


def test_two_runs_that_share_a_header_are_two(study):
    """As where files are kept by their content: headers of runs of one protocol are equal to the byte."""
    for number in (1, 2):
        nib.Nifti1Pair(np.full((2, 2, 2, 3), number, np.float32), AFFINE).to_filename(study / f"pair-{number}.img")
    (study / "pair-2.hdr").unlink()
    (study / "pair-2.hdr").symlink_to("pair-1.hdr")
    assert len(read(study, ("one", "pair-1.hdr", ""), ("one", "pair-2.hdr", ""))) == 2
    (study / "pair-3.hdr").symlink_to("pair-1.hdr")
    (study / "pair-3.img").symlink_to("pair-1.img")
    [text] = problems(study, ("one", "pair-1.img", ""), ("one", "pair-2.img", ""), ("one", "pair-3.hdr", ""))
    assert text.endswith("pair-3.hdr is already a run of 'one', in line 2")


def test_one_table_beside_runs_of_different_images_is_told_once(study, caplog):
    save_run(study / "run-3.nii", np.zeros((2, 2, 2, 3), np.float32))
    rows = [(f"image-{number}", f"run-{number}.nii", "run-1.tsv") for number in (1, 2, 3)]
    assert len(read(study, *rows)) == 3
    [text] = caplog.messages
    assert f"1 table(s) of confounds stand beside runs that are not the same, first {study}/run-1.nii (line 2)" in text


def test_one_table_beside_one_run_in_several_images_or_versions_is_as_it_should_be(study, caplog):
    for space in ("space-T1w", "space-MNI", "echo-2"):
        save_run(study / f"sub-1_task-a_{space}_desc-preproc_bold.nii", np.zeros((2, 2, 2, 3), np.float32))
    runs = [f"sub-1_task-a_{space}_desc-preproc_bold.nii" for space in ("space-T1w", "space-MNI", "echo-2")]
    read(study, ("a", "run-1.nii", "run-1.tsv"), ("b", "run-1.nii", "run-1.tsv"))
    read(study, *((f"image-{number}", run, "run-2.tsv") for number, run in enumerate(runs)))
    assert not caplog.messages


def test_anything_behind_a_path_is_told_with_all_other_problems(study):
    os.mkfifo(study / "pipe")
    (study / "link.nii").symlink_to(".git/annex/objects/x")
    (study / "pointer.tsv").write_text("/annex/objects/MD5E-s1--x.tsv\n")
    (study / "folder").mkdir()
    long = "x" * 300
    rows = [
        ("pipe", "run-1.tsv"),
        ("link.nii", "pointer.tsv"),
        ("folder", "pipe"),
        (f"{long}.nii", "folder"),
        ("run-1.nii", long),
    ]
    told = [
        "2 a pipe",
        "3 git-annex",
        "3 git-annex",
        "4 a folder",
        "4 a pipe",
        "5 too long",
        "5 a folder",
        "6 too long",
    ]
    found = problems(study, *(("one", *row) for row in rows))
    for text, expected in zip(found, told, strict=True):
        line, _, word = expected.partition(" ")
        assert text.startswith(f"line {line}: ")
        assert word in text


def test_a_program_tells_what_it_is_given_twice(study, caplog):
    runs, tables = other_names(study / "run-1.nii"), other_names(study / "run-1.tsv")
    for run, table in zip(runs, tables, strict=True):
        tell_repetition([study / "run-1.nii", study / "run-2.nii", study / run], [study / "run-1.tsv", study / table])
        assert [text.partition(" is given twice")[0] for text in caplog.messages] == [
            f"The run {study / run}",
            f"The table of confounds {study / table}",
        ]
        caplog.clear()
    tell_repetition([study / "run-1.nii", study / "run-2.nii"], [study / "run-1.tsv", study / "run-2.tsv"])
    assert not caplog.messages
