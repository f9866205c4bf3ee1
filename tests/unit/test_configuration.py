"""The configuration: types, the schema against config.yaml, and what is said of each kind of mistake."""

import re

import pytest
import yaml
from jsonschema import Draft202012Validator

from conftest import ROOT
from roistream.errors import UserError
from roistream.strategies import REGISTRY, STRATEGIES
from roistream.study.configuration import check_cleaning, check_configuration, chosen_strategies, wrong_inputs
from roistream.study.run import Run

SCHEMA = yaml.safe_load((ROOT / "workflow" / "schemas" / "config.schema.yaml").read_text(encoding="utf-8"))
CONFIG_TEXT = (ROOT / "config.yaml").read_text(encoding="utf-8")


@pytest.fixture
def config():
    """The embedded default."""
    return yaml.safe_load(CONFIG_TEXT)


def message(function, *arguments):
    with pytest.raises(UserError) as error:
        function(*arguments)
    assert "\n" not in str(error.value)
    assert str(error.value)[-1] in ".?"
    return str(error.value)


# The schema and config.yaml


def test_the_schema_is_a_schema():
    Draft202012Validator.check_schema(SCHEMA)


def test_the_embedded_default_is_valid(config):
    assert check_configuration(config, SCHEMA) is None
    assert wrong_inputs(config) == {}
    assert chosen_strategies(config["strategies"]) == list(STRATEGIES)


def test_schema_and_config_have_the_same_keys_in_the_same_order(config):
    assert list(SCHEMA["properties"]) == list(config)
    assert SCHEMA["required"] == list(config)
    assert SCHEMA["additionalProperties"] is False


def test_every_key_has_a_comment_and_a_description(config):
    for key in config:
        [line] = [line for line in CONFIG_TEXT.splitlines() if line.startswith(f"{key}:")]
        assert re.search(r" # \S.{10,}", line)
    pending = list(SCHEMA["properties"].items())
    while pending:
        key, entry = pending.pop()
        assert re.fullmatch(r"\S.*[^.]", entry["description"]), key
        pending += entry.get("properties", {}).items()
        if entry.get("type") == "object":
            others = entry["additionalProperties"]
            assert others is False or key == "atlas_options"  # whose names are nilearn's


@pytest.mark.parametrize(
    "changes",
    [
        {"dataset": "adhd", "atlas": "basc", "n_volumes": None},
        {"dataset": "my/runs.tsv", "atlas": "atlas.nii.gz", "atlas_labels": "labels.tsv"},
        {"regions": "all", "empty_regions": "keep"},
        {"regions": [3, 1, 2]},
        {"regions": 64, "resolution": 444},
        {"strategies": ["stream", "numpy_path"], "n_jobs": 1},
        {"n_subjects": 40, "n_volumes": 2, "seed": 0},
        {"data_dir": "/data", "adhd_url": "http://localhost:8000/"},
        {"adhd_url": "https://example.org/adhd/"},
        {"cleaning": {"confounds": True, "confound_columns": ["csf", "trans_*"]}},
        {"cleaning": {"confounds": True, "confound_columns": None}},
        {
            "cleaning": {"strategy": "compcor", "n_compcor": "all", "demean": False, "min_volumes": None},
            "min_coverage": 1,
        },
        {"cleaning": {"strategy": None, "leave_out_above": {"framewise_displacement": 1, "std_dvars": 1.5}}},
        {"cleaning": {"smoothing_fwhm": 6, "detrend": True, "standardize": "psc", "low_pass": 0.1, "t_r": None}},
    ],
)
def test_what_the_interface_promises_is_valid(config, changes):
    assert check_configuration(config | changes, SCHEMA) is None


WRONG = {
    "dataset": ["", 3, None, ["adhd"]],
    "n_subjects": [0, 41, -1, 6.0, 2.5, "six", True, None, [6]],
    "n_volumes": [1, 0, -5, 30.0, "many", False],
    "seed": [-1, 0.0, "x", None],
    "atlas": ["", 5, None],
    "atlas_options": [None, [], "n_rois", 100],
    "atlas_labels": [1, True, ["a.tsv"]],
    "atlas_name": ["", "my atlas", "a_b", 3],
    "resolution": [63, 64.0, 0, "64 parcels", None, True],
    "regions": [0, -1, 6.0, [], [0], [1.0], [1, "two"], "some", None, True, {"a": 1}],
    "empty_regions": ["drop", None, True],
    "min_coverage": [-0.1, 1.1, "half", None, True],
    "missing_orientation": ["warn", None, True],
    "statistics": [[], "mean", ["average"], ["mean", "mean"], None],
    "connectivity": ["correlation", ["pearson"], ["tangent"], ["precision", "precision"], None],
    "covariance_estimator": ["LedoitWolf", None, True],
    "fisher_z": ["z", 1, None],
    "parquet": ["yes", 1, None],
    "save_voxels": ["yes", 1, None],
    "strategies": [[], "stream", ["stream", "stream"], [1], None],
    "n_jobs": [0, -1, 6.0, "all", None],
    "memory_shortage": ["ignore", None, True],
    "cleaning": [None, [], "detrend", True],
    "data_dir": [1, ["a"]],
    "adhd_url": ["ftp://example.org/", "example.org", 1],
}


def test_every_key_can_be_wrong(config):
    assert list(WRONG) == list(config)


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in WRONG.items() for value in values])
def test_a_wrong_value_names_key_value_and_choices(config, key, value):
    text = message(check_configuration, config | {key: value}, SCHEMA)
    assert text == f"config key {key!r} is {value!r}; it must be {SCHEMA['properties'][key]['description']}."


WRONG_CLEANING = {
    "smoothing_fwhm": [0, -1, 101, "6 mm", True],
    "detrend": [1, "linear", None],
    "standardize": ["zscore", True, False],
    "standardize_confounds": [None, 1],
    "low_pass": [0, "high"],
    "high_pass": [-0.01, [0.01]],
    "t_r": [0, 0.01, 31, 2000, "2 s"],
    "confounds": ["confounds.tsv", None],
    "confound_columns": ["csf", [], ["csf", "csf"], True],
    "per_run": [0, "no way"],
    "strategy": ["scrub", True],
    "motion": ["all", False],
    "wm_csf": ["csf", True],
    "global_signal": [True, "yes"],
    "scrub": [-1, 2.5, "five", True],
    "fd_threshold": [0, "0.5 mm"],
    "std_dvars_threshold": [-1, [2]],
    "compcor": ["anat", True],
    "n_compcor": [0, 2.5, "some", True],
    "demean": [1, "no way"],
    "drop_first": [-1, 1.5, "two"],
    "leave_out_above": [[], 0.5, {"csf": "much"}, {"csf": None}],
    "min_volumes": [0, 10.5, "half"],
    "too_few_volumes": ["warn", None],
}


def test_every_cleaning_key_can_be_wrong():
    assert list(WRONG_CLEANING) == list(SCHEMA["properties"]["cleaning"]["properties"])


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in WRONG_CLEANING.items() for value in values])
def test_a_wrong_cleaning_value_names_key_value_and_choices(config, key, value):
    text = message(check_configuration, config | {"cleaning": {key: value}}, SCHEMA)
    description = SCHEMA["properties"]["cleaning"]["properties"][key]["description"]
    assert text == f"config key 'cleaning: {key}' is {value!r}; it must be {description}."


@pytest.mark.parametrize(
    ("key", "guess"), [("n_subject", "n_subjects"), ("region", "regions"), ("Atlas", "atlas"), ("xyz", None)]
)
def test_an_unknown_key_is_answered_with_the_keys(config, key, guess):
    text = message(check_configuration, config | {key: 1}, SCHEMA)
    assert text.startswith(f"config key {key!r} is unknown")
    assert (f"did you mean {guess!r}?" in text) == (guess is not None)
    assert text.endswith(f"the keys are {', '.join(config)}.")


def test_an_unknown_cleaning_key_is_answered_with_the_keys(config):
    text = message(check_configuration, config | {"cleaning": {"detrend": True, "fwhm": 6, "lowpass": 0.1}}, SCHEMA)
    assert "cleaning" in text
    assert "'fwhm' is unknown" in text
    assert text.endswith(f"the keys are {', '.join(SCHEMA['properties']['cleaning']['properties'])}.")
    assert "did you mean 'low_pass'?" in message(check_configuration, config | {"cleaning": {"lowpass": 1}}, SCHEMA)


def test_a_missing_key_is_named(config):
    del config["n_jobs"]
    assert "'n_jobs'" in message(check_configuration, config, SCHEMA)


# Strategies


def test_strategies_keep_the_order_asked_for():
    assert chosen_strategies(["stream", "numpy_path"]) == ["stream", "numpy_path"]


@pytest.mark.parametrize(("name", "guess"), [("steam", "stream"), ("numpy", None), ("shared_mem", "shared_memory")])
def test_an_unknown_strategy_is_answered_with_the_choices(name, guess):
    text = message(chosen_strategies, ["stream", name])
    assert text.startswith(f"strategy {name!r} is unknown")
    assert guess is None or f"did you mean {guess!r}?" in text
    assert text.endswith(f"choose from {', '.join(REGISTRY)}.")


# Files and keys that go together


@pytest.mark.parametrize(("key", "choices"), [("dataset", "simulated, adhd"), ("atlas", "simulated, basc")])
def test_files_must_exist(config, tmp_path, monkeypatch, key, choices):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    for value in ("absent.tsv", str(tmp_path / "absent")):
        text = wrong_inputs(config | {key: value})[key]
        assert text.startswith(f"config key {key!r} is {value!r}, which is neither {choices} nor a file")
    assert "did you mean 'simulated'?" in wrong_inputs(config | {key: "simulate"})[key]
    assert wrong_inputs(config | {key: "folder"}) == {key: f"config key {key!r}: folder is a folder; give a file."}
    (tmp_path / "present").touch()
    assert wrong_inputs(config | {key: "present"}) == {}
    assert wrong_inputs(config | {key: str(tmp_path / "present")}) == {}
    assert wrong_inputs(config | {key: choices.split(", ")[1]}) == {}


@pytest.mark.parametrize("atlas", ["simulated", "basc"])
def test_names_of_regions_are_for_a_user_s_own_atlas(config, tmp_path, monkeypatch, atlas):
    monkeypatch.chdir(tmp_path)
    for name in ("atlas.nii", "labels.tsv"):
        (tmp_path / name).touch()
    [(key, text)] = wrong_inputs(config | {"atlas": atlas, "atlas_labels": "labels.tsv"}).items()
    assert key == "atlas_labels"
    assert f"'atlas' is {atlas}" in text
    assert wrong_inputs(config | {"atlas": "atlas.nii", "atlas_labels": "labels.tsv"}) == {}


# Cleaning


def runs(n=2, image="one", confounds="confounds.tsv"):
    return [Run(image, f"run-{number}.nii", confounds) for number in range(n)]


@pytest.mark.parametrize(
    "cleaning",
    [
        {},
        {"detrend": True, "standardize": "psc"},
        {"low_pass": 0.1, "high_pass": 0.008},
        {"low_pass": None, "high_pass": 0.008},
        {"confounds": True},
        {"confounds": True, "confound_columns": ["csf"]},
        {"confounds": False, "confound_columns": None},
        {"confounds": True, "standardize_confounds": False, "per_run": False},
    ],
)
def test_cleaning_that_goes_together(cleaning):
    assert check_cleaning(cleaning, list(STRATEGIES), runs()) is None


def test_smoothing_is_for_strategies_that_see_whole_volumes():
    able = [name for name, strategy in STRATEGIES.items() if strategy.smooths]
    assert check_cleaning({"smoothing_fwhm": 6}, able, runs()) is None
    assert check_cleaning({"smoothing_fwhm": None}, list(STRATEGIES), runs()) is None
    text = message(check_cleaning, {"smoothing_fwhm": 6}, ["stream", "numpy_path"], runs())
    assert "smoothing_fwhm" in text
    assert "numpy_path" in text
    assert ", ".join(able) in text


@pytest.mark.parametrize(("low_pass", "high_pass"), [(0.01, 0.1), (0.1, 0.1)])
def test_the_band_must_not_be_empty(low_pass, high_pass):
    text = message(check_cleaning, {"low_pass": low_pass, "high_pass": high_pass}, ["stream"], runs())
    assert f"low_pass {low_pass} must be above high_pass {high_pass}" in text


def test_confounds_must_be_there():
    text = message(check_cleaning, {"confounds": True}, ["stream"], [*runs(), Run("two", "bare.nii")])
    assert "bare.nii" in text
    assert "confounds" in text


@pytest.mark.parametrize("cleaning", [{}, {"confounds": False}])
def test_confound_columns_need_confounds(cleaning):
    text = message(check_cleaning, {**cleaning, "confound_columns": ["csf"]}, ["stream"], runs())
    assert "confound_columns has no effect without 'confounds: true'" in text


def test_standardize_confounds_needs_confounds_and_an_undivided_image():
    unused = {"standardize_confounds": False}
    assert "confounds: true" in message(check_cleaning, unused, ["stream"], runs())
    lost = {"standardize_confounds": False, "confounds": True}
    assert "per_run: false" in message(check_cleaning, lost, ["stream"], runs())
    assert check_cleaning(lost, ["stream"], runs(1)) is None
    assert check_cleaning(lost, ["stream"], [*runs(1, "one"), *runs(1, "two")]) is None
