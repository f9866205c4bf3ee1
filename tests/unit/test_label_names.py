"""Tables of labels: what they may look like, and whether they are those of an atlas."""

import gzip

import numpy as np
import pytest
from extracted import LABELS, save_atlas, save_names

from conftest import ROOT, save_run
from roistream.errors import UserError
from roistream.regions.label_names import compare_labels, read_label_names
from roistream.study.plan import make_plan

EXPECTED = {30: "Insula, left", 4: "Kortex größer"}


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("index\tname\n30\tInsula, left\n4\tKortex größer\n", "utf-16"),
        ('index,name\n30,"Insula, left"\n4,Kortex größer\n', "utf-8"),
        ("index;name;color\n0;Background;x\n30;Insula, left;\n4;Kortex größer;;\n", "utf-8-sig"),
        ("\tindex\tname\n0\t30\tInsula, left\n1\t4\tKortex größer\n", "utf-8"),
        ("index\tname\t\n30\tInsula, left\t\n4\t Kortex größer \t\n\t\t\n", "utf-8"),
        ('"name","index"\n"Insula, left","30"\n"Kortex größer","4"\n', "utf-8"),
    ],
)
def test_tables_of_any_program(tmp_path, text, encoding):
    path = tmp_path / "labels.tsv"
    path.write_bytes(text.encode(encoding))
    assert list(read_label_names(path).items()) == list(EXPECTED.items())
    path.write_bytes(gzip.compress(text.encode(encoding)))
    assert read_label_names(path) == EXPECTED


def test_all_problems_are_listed_by_line(tmp_path):
    path = tmp_path / "labels.tsv"
    path.write_text("index\tname\n1\tA\n2.0\tB\n\n3\tA\n4\n1\tC\n5\tE\n")
    with pytest.raises(UserError) as error:
        read_label_names(path)
    first, *lines = str(error.value).splitlines()
    assert str(path) in first
    assert "4 problems" in first
    assert [line.split(":")[0] for line in lines] == ["line 3", "line 5", "line 6", "line 7"]


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("1\t2\t3\n", "no header"),
        ("label\tregion\n1\tA\n", "its columns are label, region"),
        ("index\tname\n1\tgr\xf6\xdfer\n", "Latin-1"),
        ("index name\n1 A\n", "lacks the column 'index'"),
    ],
)
def test_the_real_cause_is_told(tmp_path, text, cause):
    path = tmp_path / "labels.tsv"
    path.write_text(text, "latin-1")
    with pytest.raises(UserError, match=cause):
        read_label_names(path)


def test_what_only_one_of_them_has_is_told(caplog):
    compare_labels([1, 2, 9], [1, 2, 3455], [1, 2, 9], "labels.tsv", "atlas.nii")
    atlas_only, table_only = caplog.messages
    assert "1 of the 3 labels of atlas.nii are not in labels.tsv, and are left out" in atlas_only
    assert atlas_only.endswith(": 3455.")
    assert "1 of the 3 labels of labels.tsv are not in atlas.nii, 1 of them asked for: 9." in table_only
    caplog.clear()
    compare_labels([1, 2], [1, 2], [1], "labels.tsv", "atlas.nii")
    assert not caplog.messages


# Before any job


@pytest.fixture
def plan(tmp_path, monkeypatch):
    """Give a function that plans a study of one run with the atlas of three labels and a table of them."""
    import yaml

    monkeypatch.chdir(tmp_path)
    save_run(tmp_path / "run.nii.gz", np.zeros((*LABELS.shape, 3), np.float32))
    save_atlas(tmp_path / "atlas.nii.gz")
    (tmp_path / "runs.tsv").write_text("image\trun\none\trun.nii.gz\n")
    schemas = {
        name: yaml.safe_load((ROOT / f"workflow/schemas/{name}.schema.yaml").read_text("utf-8"))
        for name in ("config", "runs")
    }
    defaults = yaml.safe_load((ROOT / "config.yaml").read_text("utf-8"))

    def make(names, **options):
        save_names(tmp_path / "labels.tsv", names)
        files = {"dataset": "runs.tsv", "atlas": "atlas.nii.gz", "atlas_labels": "labels.tsv"}
        return make_plan(defaults | files | {"regions": "all"} | options, schemas)

    return make


def test_a_label_that_the_table_lacks_is_told_before_any_job(plan, caplog):
    assert plan({2: "a", 7: "b"}).names == {2: "a", 7: "b"}
    assert "1 of the 3 labels of atlas.nii.gz are not in labels.tsv" in caplog.text
    assert ": 40." in caplog.text
    assert plan({2: "a", 7: "b"}, regions=[40, 2]).names == {40: "region-40", 2: "a"}


def test_problems_of_labels_and_runs_are_told_together(plan, tmp_path):
    (tmp_path / "runs.tsv").write_text("image\trun\none\trun.nii.gz\ntwo\tabsent.nii.gz\n")
    with pytest.raises(UserError) as error:
        plan({2: "a", 7: "b", 40: "c", 8: "d"})
    labels, first, line = str(error.value).splitlines()
    assert "lacks 1 of the labels" in labels
    assert "runs.tsv has 1 problem" in first
    assert line.startswith("line 3: ")


def test_a_label_that_the_atlas_lacks_is_told_before_any_job(plan, caplog):
    with pytest.raises(UserError, match=r"atlas\.nii\.gz lacks 2 of the labels that labels\.tsv .*: 8, 9;"):
        plan({2: "a", 7: "b", 40: "c", 8: "d", 9: "e"})
    assert len(plan({2: "a", 7: "b", 40: "c", 8: "d"}, empty_regions="keep").names) == 4
    assert "1 of the 4 labels of labels.tsv are not in atlas.nii.gz, 1 of them asked for: 8." in caplog.text
    caplog.clear()
    assert len(plan({2: "a", 7: "b", 40: "c", 8: "d"}, regions=[2, 7]).names) == 2
    assert "1 of the 4 labels of labels.tsv are not in atlas.nii.gz, 0 of them asked for: 8." in caplog.text
