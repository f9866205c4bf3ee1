"""The confounds of a study are read before any job, values and all, and every problem is listed with its line."""

import nibabel as nib
import numpy as np
import pytest
import yaml

from conftest import AFFINE, ROOT, save_run
from roistream.errors import UserError
from roistream.study.confound_checks import check_known_columns
from roistream.study.runs import read_runs_table

SCHEMA = yaml.safe_load((ROOT / "workflow/schemas/runs.schema.yaml").read_text("utf-8"))
N_VOLUMES = 12


@pytest.fixture
def study(tmp_path, rng):
    """A folder with a run, and tables of confounds by their names."""
    save_run(tmp_path / "run.nii.gz", np.zeros((2, 2, 2, N_VOLUMES), np.float32))
    good = rng.normal(size=(N_VOLUMES, 3)).round(3).astype(str).tolist()
    write(tmp_path / "good.tsv", ["a", "b", "c"], good)
    write(
        tmp_path / "outlier.tsv", ["a", "b", "outlier00"], [[*row[:2], str(int(n == 3))] for n, row in enumerate(good)]
    )
    write(tmp_path / "missing.tsv", ["a", "b", "c"], [*good[:5], ["1", "n/a", "2"], *good[6:]])
    write(tmp_path / "short.tsv", ["a", "b", "c"], good[1:])
    write(tmp_path / "bare.tsv", good[0], good[1:])
    write(tmp_path / "other.tsv", ["x", "b", "c"], good)
    many = rng.normal(size=(N_VOLUMES, N_VOLUMES)).astype(str).tolist()
    write(tmp_path / "many.tsv", [*"abcdefghijkl"], many)
    (tmp_path / "latin.tsv").write_text("a\tgröße\n", "latin-1")
    return tmp_path


def write(path, header, rows):
    path.write_text("\n".join("\t".join(row) for row in [header, *rows]) + "\n")


def read(study, *tables, **cleaning):
    rows = [f"image-{number}\trun.nii.gz\t{table}" for number, table in enumerate(tables)]
    (study / "runs.tsv").write_text("\n".join(["image\trun\tconfounds", *rows]) + "\n")
    return read_runs_table(study / "runs.tsv", SCHEMA, cleaning={"confounds": True, **cleaning})


def problems(study, *tables, **cleaning):
    with pytest.raises(UserError) as error:
        read(study, *tables, **cleaning)
    first, *lines = str(error.value).splitlines()
    assert f"{len(lines)} problem" in first
    return lines


def test_all_is_listed_at_once_by_line(study):
    tables = [
        "good.tsv",
        "missing.tsv",
        "short.tsv",
        "bare.tsv",
        "many.tsv",
        "latin.tsv",
        "absent.tsv",
        "n/a",
        "outlier.tsv",
    ]
    found = problems(study, *tables, detrend=True)
    expected = {
        3: ["missing.tsv, line 7, column 'b'", "missing"],
        4: ["short.tsv have 11 rows", "12 volumes"],
        5: ["bare.tsv has no header"],
        6: ["many.tsv leave nothing", "12 columns of rank 10", "12 volumes"],
        7: ["latin.tsv", "UTF-8", "Latin-1"],
        8: ["absent.tsv does not exist"],
        9: ["confounds", "none"],
    }
    assert [int(text.removeprefix("line ").split(":")[0]) for text in found] == list(expected)
    for text, parts in zip(found, expected.values(), strict=True):
        for part in parts:
            assert part in text


def test_values_do_not_matter_where_confounds_are_not_asked_for(study):
    assert len(read(study, "missing.tsv", "good.tsv", "n/a", confounds=False)) == 3
    assert len(problems(study, "short.tsv", "n/a", confounds=False)) == 1


def test_a_table_without_the_column_is_one_problem(study):
    (study / "runs.tsv").write_text("image\trun\none\trun.nii.gz\ntwo\trun.nii.gz\n")
    with pytest.raises(UserError, match=r"1 problem;.*\n.*no column 'confounds'; add the column"):
        read_runs_table(study / "runs.tsv", SCHEMA, cleaning={"confounds": True})
    assert len(read_runs_table(study / "runs.tsv", SCHEMA)) == 2


def test_values_of_other_columns_do_not_matter(study):
    assert len(read(study, "missing.tsv", "many.tsv", confound_columns=["a", "c"])) == 2


def test_a_pattern_may_match_in_some_tables_but_must_in_one(study):
    assert len(read(study, "good.tsv", "outlier.tsv", confound_columns=["a", "outlier*"])) == 2
    [text] = problems(study, "good.tsv", "outlier.tsv", confound_columns=["a", "outlier*", "outlyer*"])
    assert "'outlyer*' matches no column of any run's confounds, such as" in text
    assert "good.tsv; did you mean outlier00?" in text or "good.tsv; its columns are" in text
    [name] = problems(study, "good.tsv", "other.tsv", confound_columns=["a", "c*"])
    assert name.startswith("line 3: ")
    assert "'a' matches no column" in name


def test_runs_that_are_cleaned_as_one_need_the_same_columns(study):
    save_run(study / "run2.nii.gz", np.zeros((2, 2, 2, N_VOLUMES), np.float32))
    rows = "image\trun\tconfounds\none\trun.nii.gz\tgood.tsv\none\trun2.nii.gz\toutlier.tsv\n"
    (study / "runs.tsv").write_text(rows)
    cleaning = {"confounds": True, "per_run": False}
    with pytest.raises(UserError, match=r"line 3: The confounds .*outlier\.tsv have other columns than .*good\.tsv"):
        read_runs_table(study / "runs.tsv", SCHEMA, cleaning=cleaning)
    assert len(read_runs_table(study / "runs.tsv", SCHEMA, cleaning={"confounds": True})) == 2
    assert len(read_runs_table(study / "runs.tsv", SCHEMA, cleaning={**cleaning, "confound_columns": ["a", "b"]})) == 2


def test_what_is_odd_is_told_once(study, caplog):
    rows = [[str(n * 0.5), str(n**2)] for n in range(N_VOLUMES)]
    write(study / "line.tsv", ["line", "b"], rows)
    (study / "line2.tsv").write_bytes((study / "line.tsv").read_bytes())
    read(study, "line.tsv", "line2.tsv", "good.tsv", detrend=True)
    [told] = caplog.messages
    assert "line.tsv and 1 more" in told
    assert "detrend" in told
    caplog.clear()
    read(study, "line.tsv", "good.tsv")
    assert caplog.messages == []


def test_volumes_of_a_run_may_all_name_its_table(study):
    nib.Nifti1Image(np.zeros((2, 2, 2), np.float32), AFFINE).to_filename(study / "volume.nii.gz")
    (study / "volume2.nii.gz").write_bytes((study / "volume.nii.gz").read_bytes())
    text = "image\trun\tconfounds\none\tvolume.nii.gz\t{0}\none\tvolume2.nii.gz\t{0}\n"
    (study / "runs.tsv").write_text(text.format("good.tsv"))
    assert len(read_runs_table(study / "runs.tsv", SCHEMA, cleaning={"confounds": True})) == 2
    (study / "runs.tsv").write_text(text.format("missing.tsv"))
    with pytest.raises(UserError, match="1 problem;"):
        read_runs_table(study / "runs.tsv", SCHEMA, cleaning={"confounds": True})


def test_columns_that_are_known_before_there_are_tables():
    check_known_columns(["csf", "wm"], None, "of the data")
    check_known_columns(["csf", "wm"], ["csf", "w*"], "of the data")
    for columns in (["csv"], ["csf", "x*"]):
        with pytest.raises(UserError, match=f"'{columns[-1][0]}.*matches no column of the confounds of the data"):
            check_known_columns(["csf", "wm"], columns, "of the data")
