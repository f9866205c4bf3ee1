"""Check a configuration against its schema, and word what is wrong with it for the person who wrote it."""

import difflib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.validators import extend

from roistream.cleaning.denoising import check_strategy
from roistream.errors import UserError
from roistream.paths import absolute, check_file, shown
from roistream.strategies import REGISTRY, STRATEGIES
from roistream.study.filters import check_filters
from roistream.study.run import Run
from roistream.study.settings import is_number

# JSON counts 6.0 as an integer; Python does not take it for a number of things. What is not finite is no number.
Validator = extend(
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine_many(
        {
            "integer": lambda _, value: isinstance(value, int) and not isinstance(value, bool),
            "number": lambda _, value: is_number(value),
        }
    ),
)


def check_configuration(config: Mapping[str, Any], schema: Mapping[str, Any]) -> None:
    """Raise a `UserError` that names the first wrong key of a configuration, what is wrong and the choices.

    Parameters
    ----------
    config : mapping
        The merged configuration.
    schema : mapping
        JSON schema of a closed object whose properties have descriptions.
    """
    properties = schema["properties"]
    for key in config:
        if key not in properties:
            raise UserError(
                f"config key {key!r} is unknown{suggestion(key, properties)}; the keys are {', '.join(properties)}."
            )
    for error in Validator(schema).iter_errors(config):
        key = str(error.absolute_path[0]) if error.absolute_path else ""
        if not key:
            raise UserError(f"config: {error.message}; take it over from config.yaml.")
        if error.validator == "additionalProperties":
            known = properties[key]["properties"]
            unknown = next(name for name in error.instance if name not in known)
            raise UserError(
                f"{key}: key {unknown!r} is unknown{suggestion(unknown, known)}; the keys are {', '.join(known)}."
            )
        value, expected = config[key], properties[key]
        if isinstance(value, Mapping) and len(error.absolute_path) > 1:
            inner = str(error.absolute_path[1])
            key, value = f"{key}: {inner}", value[inner]
            expected = expected.get("properties", {}).get(inner, {"description": "text, a number, true, false or null"})
        raise UserError(f"config key {key!r} is {value!r}; it must be {expected['description']}.")


def chosen_strategies(strategies: str | list[str]) -> list[str]:
    """Resolve the config key ``strategies`` into names of the registry.

    Raises
    ------
    UserError
        A name is not in the registry.
    """
    if strategies == "all":
        return list(STRATEGIES)
    for name in strategies:
        if name not in REGISTRY:
            raise UserError(
                f"strategy {name!r} is unknown{suggestion(name, REGISTRY)}; choose from {', '.join(REGISTRY)}."
            )
    return list(strategies)


def suggestion(word: str, choices: Iterable[str]) -> str:
    """Word a guess at what was meant, or nothing."""
    close = difflib.get_close_matches(str(word), list(choices), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def wrong_inputs(config: Mapping[str, Any]) -> dict[str, str]:
    """Check what a schema cannot: that the files which a configuration names can be read, and that its keys go together.

    Returns
    -------
    dict
        What is wrong, by keys.
    """
    wrong = {}
    for key, choices in {"dataset": ("simulated", "adhd"), "atlas": ("simulated", "basc")}.items():
        value = config[key]
        if value in choices:
            continue
        if not os.path.lexists(value) and "\0" not in value:
            wrong[key] = (
                f"config key {key!r} is {shown(value)!r}, which is neither {', '.join(choices)} nor a file"
                f"{suggestion(value, choices)}; paths are relative to the working directory."
            )
        else:
            wrong |= unreadable(key, value)
    labels, folder = config["atlas_labels"], config["data_dir"]
    if labels and config["atlas"] in ("simulated", "basc"):
        wrong["atlas_labels"] = (
            f"config key 'atlas_labels' names the regions of your own atlas, but 'atlas' is {config['atlas']}; remove one."
        )
    elif labels is not None:
        wrong |= unreadable("atlas_labels", labels)
    if folder is not None and os.path.lexists(folder) and not Path(folder).is_dir():
        wrong["data_dir"] = f"config key 'data_dir': {shown(folder)} is no folder; give the path of one."
    return wrong


def with_safe_paths(config: Mapping[str, Any]) -> dict[str, Any]:
    """Make paths that begin with a dash absolute, which no program takes for options."""
    paths = {key: config[key] for key in ("dataset", "atlas", "atlas_labels", "data_dir") if config[key]}
    return {**config, **{key: str(absolute(path)) for key, path in paths.items() if path.startswith("-")}}


def unreadable(key: str, path: str) -> dict[str, str]:
    """Word why the file that a key names cannot be read; nothing if it can."""
    try:
        check_file(path)
    except UserError as error:
        return {key: f"config key {key!r}: {error}"}
    return {}


def check_denoising(cleaning: Mapping[str, Any]) -> None:
    """Refuse, before any table is read, a strategy and thresholds that cannot be; see `check_strategy`."""
    check_strategy(cleaning)
    if cleaning.get("leave_out_above") and not (cleaning.get("confounds") or cleaning.get("strategy")):
        raise UserError(
            "cleaning: leave_out_above looks at the confounds; add 'confounds: true' or a strategy, or leave it out."
        )


def check_cleaning(cleaning: Mapping[str, Any], strategies: Sequence[str], runs: Sequence[Run]) -> None:
    """Check that the cleaning options go together, with the strategies and with the runs.

    Parameters
    ----------
    cleaning : mapping
        The config key ``cleaning``.
    strategies : sequence of str
        The strategies to run.
    runs : sequence of Run
        All runs; what is not known of them is not checked here, but by the job that reads them.

    Raises
    ------
    UserError
        For the first thing that is wrong.
    """
    unable = [name for name in strategies if not REGISTRY[name].smooths]
    if cleaning.get("smoothing_fwhm") and unable:
        able = ", ".join(name for name, entry in REGISTRY.items() if entry.smooths)
        raise UserError(
            f"cleaning: smoothing_fwhm is beyond the strategy {unable[0]}; set 'strategies' to some of {able}."
        )
    low_pass, high_pass = cleaning.get("low_pass"), cleaning.get("high_pass")
    if low_pass and high_pass and low_pass <= high_pass:
        raise UserError(
            f"cleaning: low_pass {low_pass} must be above high_pass {high_pass} (Hz); between them is what stays."
        )
    if cleaning.get("standardize_confounds") is False:
        if not (cleaning.get("confounds") or cleaning.get("strategy")):
            raise UserError(
                "cleaning: standardize_confounds has no effect without 'confounds: true'; add it, or leave it out."
            )
        if cleaning.get("per_run", True) and len({run.image for run in runs}) < len(runs):
            raise UserError(
                "cleaning: standardize_confounds: false has no effect in nilearn when runs are cleaned each by itself; "
                "leave it out, or set per_run: false."
            )
    columns = cleaning.get("confound_columns")
    if columns and not cleaning.get("confounds"):
        raise UserError("cleaning: confound_columns has no effect without 'confounds: true'; add it, or leave it out.")
    for run in runs:
        if cleaning.get("confounds") and run.confounds is None:
            raise UserError(
                f"cleaning: confounds asked for, but the runs table names none for {run.path}; add the column."
            )
    check_filters(cleaning, runs)
