"""Check a configuration against its schema, and word what is wrong with it for the person who wrote it."""

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.validators import extend

from roistream.errors import UserError
from roistream.strategies import STRATEGIES

# JSON counts 6.0 as an integer; Python does not take it for a number of things.
Validator = extend(
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
    ),
)


def typed(value: Any) -> Any:
    """Turn text that stands for a number, a truth value or null into it, also inside lists and mappings.

    Snakemake's ``--config`` leaves ``null`` and whatever is inside a list or mapping as text.
    """
    if isinstance(value, Mapping):
        return {key: typed(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [typed(inner) for inner in value]
    if isinstance(value, str):
        try:
            read = yaml.safe_load(value)
        except yaml.YAMLError:
            return value
        return read if read is None or isinstance(read, bool | int | float) else value
    return value


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
    errors = sorted(Validator(schema).iter_errors(config), key=lambda error: list(map(str, error.absolute_path)))
    for error in errors:
        if not error.absolute_path:
            raise UserError(f"config: {error.message}; take it over from config.yaml.")
        key = error.absolute_path[0]
        raise UserError(f"config key {key!r} is {config[key]!r}; it must be {properties[key]['description']}.")


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
        if name not in STRATEGIES:
            raise UserError(
                f"strategy {name!r} is unknown{suggestion(name, STRATEGIES)}; choose from {', '.join(STRATEGIES)}."
            )
    return strategies


def suggestion(word: str, choices: Iterable[str]) -> str:
    """Word a guess at what was meant, or nothing."""
    close = difflib.get_close_matches(str(word), list(choices), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def check_inputs(config: Mapping[str, Any]) -> None:
    """Check what a schema cannot: that the files which a configuration names exist, and that its keys go together.

    Raises
    ------
    UserError
        For the first thing that is wrong.
    """
    for key, choices in {"dataset": ("simulated", "adhd"), "atlas": ("simulated", "basc")}.items():
        value = config[key]
        if value not in choices and not Path(value).is_file():
            raise UserError(
                f"config key {key!r} is {value!r}, which is neither {', '.join(choices)} nor a file{suggestion(value, choices)}; "
                "paths are relative to the working directory."
            )
    if config["atlas_labels"] and config["atlas"] in ("simulated", "basc"):
        raise UserError(
            f"config key 'atlas_labels' names the regions of your own atlas, but 'atlas' is {config['atlas']}; remove one."
        )
