"""The configuration as its author wrote it: text where text is meant, numbers where numbers are meant.

YAML and the command line have typed a value by its looks before it gets here: ``010`` has become 8, ``20240101`` a number and
``on`` a truth value, while ``1e-2`` is still text. What was meant the schema knows, and what was written can be read again.
"""

import datetime
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

TRUTH = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


class Null(str):
    """How somebody wrote null, unquoted."""


class Written(yaml.SafeLoader):
    """Reads YAML, but leaves all text as it is."""

    yaml_implicit_resolvers = {  # noqa: RUF012 (it replaces the one of the class above)
        first: [pair for pair in resolvers if pair[0].endswith((":null", ":merge"))]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


Written.add_constructor("tag:yaml.org,2002:null", lambda _, node: Null(node.value))


def as_meant(
    config: Mapping[str, Any], schema: Mapping[str, Any], files: Sequence[str | Path] = (), words: Sequence[str] = ()
) -> dict[str, Any]:
    """Give each value of a configuration the type that its schema asks for, where it can be meant so.

    Parameters
    ----------
    config : mapping
        The merged configuration, typed by YAML, by Snakemake, or by whoever made it.
    schema : mapping
        JSON schema of the configuration.
    files : sequence of path
        The config files that it was read from, in their order.
    words : sequence of str
        The settings of the command line, ``key=value``, which go before those of files.

    Returns
    -------
    dict
        What cannot be meant stays as it is; `roistream.study.configuration.check_configuration` tells it.
    """
    properties = schema["properties"]
    written = merged([*map(read_file, files), *(read_word(word, properties) for word in words)])
    return {key: meant(value, written.get(key), properties.get(key, {})) for key, value in config.items()}


def read_file(path: str | Path) -> Mapping[str, Any]:
    """Read what a config file has; nothing of what is none, which is not ours to tell."""
    with suppress(OSError, ValueError, yaml.YAMLError):
        found = yaml.load(Path(path).read_bytes(), Written)
        return found if isinstance(found, Mapping) else {}
    return {}


def read_word(word: str, properties: Mapping[str, Any]) -> dict[str, Any]:
    """Read a setting of the command line: as YAML where it may be a list, a mapping or null, or is quoted; else as it is."""
    key, _, text = word.partition("=")
    kinds, _ = expected(properties.get(key, {}))
    if kinds & {"array", "object"} or text in ("~", "null") or text[:1] in ("'", '"'):
        with suppress(yaml.YAMLError):
            return {key: yaml.load(text, Written)}
    return {key: text}


def merged(sources: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Let later values replace earlier ones, inside of mappings one by one, as Snakemake does."""
    result: dict[str, Any] = {}
    for source in sources:
        for key, value in source.items():
            before = result.get(key)
            if isinstance(before, Mapping) and isinstance(value, Mapping):
                value = merged([before, value])
            result[key] = value
    return result


def meant(value: Any, written: Any, schema: Mapping[str, Any]) -> Any:
    """Give a value the type that its schema asks for; `written` is what its author may have written."""
    kinds, choices = expected(schema)
    if isinstance(value, Mapping) and "object" in kinds:
        inner = schema.get("properties", {})
        written = written if isinstance(written, Mapping) else {}
        other = schema.get("additionalProperties") or {}
        return {key: meant(entry, written.get(key), inner.get(key, other)) for key, entry in value.items()}
    if isinstance(value, list) and "array" in kinds:
        items: Mapping[str, Any] = next((entry["items"] for entry in alternatives(schema) if "items" in entry), {})
        written = written if isinstance(written, list) and len(written) == len(value) else [None] * len(value)
        return [meant(entry, text, items) for entry, text in zip(value, written, strict=True)]
    text = written if isinstance(written, str) and stands_for(written, value) else None
    if "null" in kinds and (value is None or isinstance(text, Null)):
        return None
    if text is None and isinstance(value, str):
        text = value
    return scalar(value, text, kinds, choices)


def scalar(value: Any, text: str | None, kinds: set[str], choices: Sequence[Any]) -> Any:
    """Read a single value as one of the kinds that are expected."""
    if text is not None:
        if "boolean" in kinds and text.lower() in TRUTH:
            return TRUTH[text.lower()]
        if kinds & {"integer", "number"} and re.fullmatch(r"[+-]?\d[\d_]*", text.strip()):
            return int(text)
        if "number" in kinds and re.fullmatch(r"[+-]?[\d_]*\.?[\d_]*(e[+-]?\d+)?", text.strip(), re.IGNORECASE):
            with suppress(ValueError):
                return float(text)
        if ("string" in kinds and text) or text in choices:
            return str(text)
    elif "string" in kinds and not kinds & {"integer", "number"}:
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if isinstance(value, datetime.date):
            return value.isoformat()
    return value


def alternatives(schema: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """List the schemas of which a value may follow one."""
    return schema.get("anyOf", [schema])


def expected(schema: Mapping[str, Any]) -> tuple[set[str], list[Any]]:
    """Tell which kinds of values a schema takes, and which single values."""
    kinds: set[str] = set()
    choices: list[Any] = []
    for entry in alternatives(schema):
        found = entry.get("type", [])
        kinds |= {found} if isinstance(found, str) else set(found)
        choices += entry.get("enum", [])
        choices += [entry["const"]] if "const" in entry else []
    return kinds | ({"null"} if None in choices else set()), choices


def stands_for(text: str, value: Any) -> bool:
    """Tell whether YAML or Snakemake may have made a value of a text."""
    return any(type(reading) is type(value) and reading == value for reading in readings(text))


def readings(text: str) -> Iterator[Any]:
    """Read a text in all the ways in which Snakemake does."""
    yield text
    for read in (yaml.safe_load, lambda text: yaml.load(text, yaml.BaseLoader), int, float):
        with suppress(ValueError, yaml.YAMLError):
            yield read(text)
    yield {"True": True, "False": False}.get(text)


def is_number(value: Any) -> bool:
    """Tell whether a value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
