"""Settings come out as their author meant them, through YAML and the command line."""

import datetime

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from conftest import ROOT
from roistream.errors import UserError
from roistream.study.configuration import check_configuration, with_safe_paths
from roistream.study.settings import as_meant

SCHEMA = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text("utf-8"))
DEFAULTS = yaml.safe_load((ROOT / "config.yaml").read_text("utf-8"))


def by_command_line(text):
    """Type a setting as Snakemake does."""
    for read in (int, float, {"True": True, "False": False}.__getitem__, lambda t: yaml.load(t, yaml.BaseLoader)):
        try:
            return read(text)
        except (ValueError, KeyError, yaml.YAMLError):
            continue
    return text


def from_file(tmp_path, text):
    """Read a config file as Snakemake does, and as it was meant."""
    path = tmp_path / "my.yaml"
    path.write_text(text, "utf-8")
    config = yaml.safe_load(text)
    return as_meant({**DEFAULTS, **config}, SCHEMA, [ROOT / "config.yaml", path])


def from_word(word):
    key, _, text = word.partition("=")
    return as_meant({key: by_command_line(text)}, SCHEMA, words=[word])[key]


def test_the_default_is_what_it_is():
    assert as_meant(DEFAULTS, SCHEMA, [ROOT / "config.yaml"]) == DEFAULTS


NAMES = [
    "0",
    "on",
    "NO",
    "20240101",
    "2024-01-01",
    "1e3",
    "1e-2",
    "010",
    "1_000",
    "1.10",
    "0x10",
    "1:30",
    "null",
    ".inf",
]


@pytest.mark.parametrize("name", NAMES)
def test_text_stays_as_it_is(tmp_path, name):
    for written in (name, f"'{name}'"):
        config = from_file(
            tmp_path, f"dataset: {written}\natlas: {written}\ncleaning: {{confound_columns: [{written}, x]}}"
        )
        assert config["atlas"] == name
        assert config["cleaning"]["confound_columns"] == [name, "x"]
    assert from_word(f"dataset={name}") == name
    assert from_word(f"cleaning={{confound_columns: [{name}, 'x']}}")["confound_columns"] == [name, "x"]


@pytest.mark.parametrize(
    "name", ["[x].tsv", "{a}", "a: b", "a #1", "Müller's", "-x", " x", "*", "&a", "!b", "a, b", "~x"]
)
def test_a_path_on_the_command_line_is_not_yaml(name):
    assert from_word(f"dataset={name}") == name
    assert from_word(f"data_dir={name}") == name


@pytest.mark.parametrize(
    ("key", "written", "value"),
    [
        ("n_subjects", "010", 10),
        ("n_subjects", "'6'", 6),
        ("resolution", "064", 64),
        ("seed", "1_000", 1000),
        ("regions", "[010, 011, 1_2]", [10, 11, 12]),
        ("regions", "007", 7),
        ("regions", "all", "all"),
        ("regions", "['3', 4]", [3, 4]),
        ("n_volumes", "null", None),
        ("n_volumes", "~", None),
        ("data_dir", "null", None),
        ("save_voxels", "on", True),
        ("save_voxels", "false", False),
        ("cleaning", "{low_pass: 1e-1, t_r: 02, detrend: yes}", {"low_pass": 0.1, "t_r": 2, "detrend": True}),
        ("cleaning", "{t_r: null, smoothing_fwhm: 6}", {"t_r": None, "smoothing_fwhm": 6}),
    ],
)  # fmt: skip
def test_numbers_are_numbers_where_numbers_are_meant(tmp_path, key, written, value):
    for found in (from_file(tmp_path, f"{key}: {written}")[key], from_word(f"{key}={written}")):
        assert found == value
        assert str(found) == str(value), "of the same types"


def test_null_in_quotes_is_a_name(tmp_path):
    assert from_file(tmp_path, "data_dir: 'null'")["data_dir"] == "null"
    assert from_word("data_dir='null'") == "null"
    assert from_file(tmp_path, "data_dir:")["data_dir"] is None


def test_what_cannot_be_meant_is_refused(tmp_path):
    for text in ("n_subjects: 6.0", "n_subjects: six", "cleaning: {t_r: .nan}", "cleaning: {low_pass: .inf}",
                 "save_voxels: maybe", "cleaning: {t_r: '1,5'}", "atlas: [a]", "regions: [1e1]"):  # fmt: skip
        with pytest.raises(UserError):
            check_configuration(from_file(tmp_path, text), SCHEMA)


def test_a_later_file_goes_before_an_earlier_one_inside_of_mappings(tmp_path):
    texts = ["regions: [010]\ncleaning: {t_r: 02, confound_columns: [010]}", "regions: [011]\ncleaning: {t_r: 03}"]
    paths = [tmp_path / f"{n}.yaml" for n in range(2)]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text)
    typed = {"regions": [9], "cleaning": {"t_r": 3, "confound_columns": [8]}}
    found = as_meant(typed, SCHEMA, paths)
    assert found == {"regions": [11], "cleaning": {"t_r": 3, "confound_columns": ["010"]}}


def test_another_origin_than_the_files_goes_before_what_they_say(tmp_path):
    """As a module of another workflow, whose config need not be what its files say."""
    (tmp_path / "my.yaml").write_text("dataset: 010\natlas: a.nii\nregions: [010]")
    own = {"dataset": "mine.tsv", "atlas": 20240101, "regions": [3, 4], "atlas_labels": datetime.date(2024, 1, 2)}
    assert as_meant(own, SCHEMA, [tmp_path / "my.yaml", tmp_path / "absent.yaml"], ["dataset=x"]) == {
        **own, "atlas": "20240101", "atlas_labels": "2024-01-02"
    }  # fmt: skip


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0\x85\u2028\u2029\ufeff"), min_size=1))
def test_any_name_comes_through_yaml(tmp_path_factory, name):
    path = tmp_path_factory.getbasetemp() / "name.yaml"
    text = yaml.safe_dump({"dataset": name, "cleaning": {"confound_columns": [name]}}, allow_unicode=True)
    path.write_text(text, "utf-8", newline="")
    config = as_meant(yaml.safe_load(path.read_bytes()), SCHEMA, [path])
    assert config == {"dataset": name, "cleaning": {"confound_columns": [name]}}


@given(st.text(st.characters(codec="utf-8"), min_size=1).filter(lambda text: text[0] not in "'\"#"))
def test_any_name_comes_through_the_command_line(name):
    assert from_word(f"atlas={name}") == name


@given(st.integers(1, 10**9), st.floats(1e-9, 1e9))
def test_numbers_come_through_the_command_line(whole, number):
    assert from_word(f"seed={whole}") == whole
    assert from_word(f"cleaning={{t_r: {number!r}}}") == {"t_r": number}


def test_no_path_looks_like_an_option(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = with_safe_paths({**DEFAULTS, "dataset": "-runs.tsv", "atlas": "./-a.nii"})
    assert (config["dataset"], config["atlas"], config["data_dir"]) == (f"{tmp_path}/-runs.tsv", "./-a.nii", None)
