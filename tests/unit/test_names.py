"""Names of BIDS files, whole; what a dataset excludes; and that no run gets another run's table."""

from pathlib import Path, PurePath

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from roistream.errors import UserError
from roistream.study.bidsignore import ignored_by
from roistream.study.names import read_name
from roistream.study.pipelines import find_runs

LABEL = st.text("abcXYZ019+-.ä ", min_size=1, max_size=6)
ENTITY = st.sampled_from(["task", "acq", "ce", "rec", "dir", "run", "setting", "mod", "chunk", "echos", "Task"])


def make(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("csf\n1\n")
    return folder


def tables_of(folder, **options):
    return {run.path.name: run.confounds and run.confounds.name for run in find_runs([folder], **options)}


# Names


def test_labels_and_entities_of_any_kind():
    file = read_name(Path("sub-01_task-n-back_setting-A_odd_run-02_bold.nii.gz"), PurePath("sub-01/ses-3/func/x"))
    assert file.entities == {"subject": "01", "session": "3", "task": "n-back", "setting": "A", "odd": "", "run": "02"}
    assert (file.suffix, file.extension) == ("bold", ".nii.gz")
    assert read_name(Path("bold.NII.GZ")).extension == ".nii.gz"
    assert read_name(Path("sub-2_x.nii"), PurePath("sub-1/y.nii")).value("subject") == "2"


@given(st.lists(st.tuples(ENTITY, LABEL), min_size=1, unique_by=lambda pair: pair[0]), st.data())
def test_an_acquisition_is_all_that_a_name_says_but_versions(pairs, data):
    stem = "_".join(["sub-1", *(f"{entity}-{label}" for entity, label in pairs)])
    bold = read_name(Path(f"{stem}_space-T1w_desc-preproc_bold.nii.gz"))
    table = read_name(Path(f"{stem}_desc-confounds_timeseries.tsv"))
    assert bold.acquisition == table.acquisition
    changed = data.draw(st.integers(0, len(pairs) - 1))
    entity, label = pairs[changed]
    other = data.draw(LABEL)
    assume(other != label and not (entity == "run" and other.lstrip("0") == label.lstrip("0")))
    others = [*pairs[:changed], (entity, other), *pairs[changed + 1 :]]
    stem = "_".join(["sub-1", *(f"{entity}-{label}" for entity, label in others)])
    assert read_name(Path(f"{stem}_desc-confounds_timeseries.tsv")).acquisition != bold.acquisition


# Tables of runs


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("task-n-back", "task-n-stroop"),
        ("task-rest_acq-slab-2pt0", "task-rest_acq-slab-1pt5"),
        ("task-rest_setting-A", "task-rest_setting-B"),
        ("task-rest_A", "task-rest_B"),
        ("task-rest", "task-none"),
        ("task-rest_run-1", "task-rest_run-1a"),
        ("task-rest_chunk-1", "task-rest"),
        ("task-grün", "task-größe"),
    ],
)
def test_no_run_gets_the_table_of_another(tmp_path, first, second):
    bold = [f"sub-1/func/sub-1_{name}_space-T1w_desc-preproc_bold.nii" for name in (first, second)]
    tables = [f"sub-1/func/sub-1_{name}_desc-confounds_timeseries.tsv" for name in (first, second)]
    with pytest.raises(UserError, match="1 of 2 runs have no table of confounds") as error:
        find_runs([make(tmp_path, *bold, tables[0])])
    assert f"sub-1_{second}_space" in str(error.value)
    assert tables_of(make(tmp_path, tables[1])) == {
        Path(run).name: Path(table).name for run, table in zip(bold, tables, strict=True)
    }


def test_sessions_that_only_folders_name(tmp_path):
    names = [f"sub-1/ses-{n}/func/sub-1_task-a" for n in (1, 2)]
    make(tmp_path, f"{names[0]}_desc-preproc_bold.nii", f"{names[0]}_desc-confounds_timeseries.tsv")
    make(tmp_path, f"{names[1]}_desc-confounds_timeseries.tsv")
    [run] = find_runs([tmp_path])
    assert run.confounds == tmp_path / f"{names[0]}_desc-confounds_timeseries.tsv"


# The folders of a dataset


def test_content_that_was_not_fetched_is_listed(tmp_path, caplog):
    make(tmp_path, "sub-01/func/sub-01_task-a_bold.nii")
    (tmp_path / "sub-02/func").mkdir(parents=True)
    (tmp_path / "sub-02/func/sub-02_task-a_bold.nii").symlink_to("../../.git/annex/objects/x")
    (tmp_path / "sub-03").symlink_to("../absent")
    (tmp_path / "sub-04").mkdir()
    assert set(tables_of(tmp_path)) == {"sub-01_task-a_bold.nii", "sub-02_task-a_bold.nii"}
    assert any("sub-03 is no folder, perhaps a link whose content was not fetched" in text for text in caplog.messages)
    assert any("sub-04 is empty: a part of the dataset that was not fetched?" in text for text in caplog.messages)


def test_links_to_folders_are_folders_and_loops_end(tmp_path):
    make(tmp_path / "store", "sub-01/func/sub-01_task-a_bold.nii")
    dataset = tmp_path / "data"
    dataset.mkdir()
    (dataset / "sub-01").symlink_to("../store/sub-01")
    (tmp_path / "store/sub-01/again").symlink_to(dataset)
    [run] = find_runs([dataset])
    assert run.path == dataset / "sub-01/func/sub-01_task-a_bold.nii"


# .bidsignore


@pytest.mark.parametrize(
    ("lines", "ignored", "kept"),
    [
        (["*_bold.nii"], ["a_bold.nii", "sub-1/func/a_bold.nii"], ["a_bold.nii.gz"]),
        (["sub-1/"], ["sub-1/a", "x/sub-1/func/a"], ["sub-1", "sub-10/a"]),
        (["/sub-1"], ["sub-1/a", "sub-1"], ["x/sub-1/a"]),
        (["sub-1/*/a*"], ["sub-1/func/a_b"], ["sub-1/a", "sub-1/x/y/a", "z/sub-1/func/a"]),
        (["sub-1/**/a"], ["sub-1/a", "sub-1/x/y/a"], ["sub-1/ab"]),
        (["extra/**"], ["extra/a", "extra/b/c"], ["extra"]),
        (["**/extra"], ["extra", "a/b/extra/c"], ["extras"]),
        (["*.nii", "!a.nii"], ["b.nii"], ["a.nii", "x/a.nii"]),
        (["sub-0[1-3]*"], ["sub-01/x", "sub-02"], ["sub-04/x"]),
        (["sub-0[!1]"], ["sub-02/x"], ["sub-01/x"]),
        (["a?c"], ["abc"], ["ac", "a/c"]),
        (["# a", "", "  ", r"\#b", "c  ", r"d\*"], ["#b", "c", "d*"], ["# a", "dx"]),
        (["a.b", "(x)+{y}|z"], ["a.b", "(x)+{y}|z"], ["aXb", "z"]),
    ],
)
def test_patterns(lines, ignored, kept):
    is_ignored = ignored_by([f"{line}\n" for line in lines])
    assert [path for path in (*ignored, *kept) if is_ignored(path)] == ignored


@given(st.lists(st.text(max_size=12), max_size=4), st.text(max_size=12))
def test_any_text_is_a_pattern(lines, path):
    assert ignored_by(lines)(path) in (True, False)
    assert not ignored_by([])(path)


def test_a_raw_dataset_s_own_exclusions_are_respected_and_told(tmp_path, caplog):
    make(tmp_path, *(f"sub-{n}/func/sub-{n}_task-a_bold.nii" for n in (1, 2, 3)))
    (tmp_path / ".bidsignore").write_text("sub-2/\n")
    assert set(tables_of(tmp_path)) == {"sub-1_task-a_bold.nii", "sub-3_task-a_bold.nii"}
    [text] = caplog.messages
    assert text.startswith(f"1 bold image(s) are left out, {tmp_path}/.bidsignore excludes them: the first is ")
    (tmp_path / ".bidsignore").write_text("*_bold.nii\n")
    with pytest.raises(UserError, match="excludes all 3 bold images"):
        find_runs([tmp_path])


@pytest.mark.parametrize(
    "description", [None, '{"DatasetType": "derivative"}', '{"PipelineDescription": {}}', "[", "[]"]
)
def test_those_of_derivatives_hide_nothing(tmp_path, caplog, description):
    make(
        tmp_path,
        "sub-1/func/sub-1_task-a_desc-preproc_bold.nii",
        "sub-1/func/sub-1_task-a_desc-confounds_timeseries.tsv",
    )
    (tmp_path / ".bidsignore").write_text("*_desc-*\nsub-1\n*_timeseries.tsv\n")
    if description:
        (tmp_path / "dataset_description.json").write_text(description)
    assert tables_of(tmp_path) == {"sub-1_task-a_desc-preproc_bold.nii": "sub-1_task-a_desc-confounds_timeseries.tsv"}
    assert not caplog.messages
