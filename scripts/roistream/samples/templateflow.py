"""TemplateFlow's atlases: label images and maps in the spaces of templates, by their names in BIDS.

Files are fetched by plain HTTP, to where TemplateFlow's own client keeps them. That client is not used: it takes what a broken
connection has left of a file for the file, and brings pybids and a database along for a name that is the address already.
"""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import requests

from roistream.errors import UserError
from roistream.outputs import whole_file
from roistream.samples.cache import alone_in, check_sum, sha256_of
from roistream.samples.downloads import checking, finding_damage, network_reason
from roistream.samples.fetched import FetchedAtlas, write_fetched

S3 = "https://templateflow.s3.amazonaws.com"
ORDER = ("tpl", "cohort", "space", "res", "atlas", "seg", "scale", "roi", "label", "desc", "stat")
"""The entities of volumes, in the order of TemplateFlow's file names."""

KINDS = ("dseg", "probseg")
CACHE = "TemplateFlow's folder"
TIMEOUT_S = (10, 60)
"""To connect, and between two pieces of an answer."""


class NotThereError(Exception):
    """The server has no such file."""


def is_of_templateflow(name: str) -> bool:
    """Tell whether a name is that of a file of TemplateFlow, and no path."""
    return name.startswith("tpl-") and "/" not in name


def file_name(name: str) -> str:
    """Give the name of the image in TemplateFlow's own order of entities.

    >>> file_name("tpl-MNI_atlas-Schaefer2018_desc-400Parcels7Networks_res-02_dseg")
    'tpl-MNI_res-02_atlas-Schaefer2018_desc-400Parcels7Networks_dseg.nii.gz'

    Raises
    ------
    UserError
        It is the name of no atlas.
    """
    *parts, suffix = re.sub(r"\.nii(\.gz)?$", "", name).split("_")
    entities = dict(part.partition("-")[::2] for part in parts)
    unknown = [entity for entity in entities if entity not in ORDER]
    if suffix not in KINDS or unknown or len(entities) != len(parts) or not all(map(is_label, entities.values())):
        raise UserError(
            f"atlas {name!r} is no file here, and no name of an atlas of TemplateFlow: tpl-TEMPLATE, then entities "
            f"({', '.join(ORDER[1:])}), then {' or '.join(KINDS)}, joined by underscores."
        )
    return "_".join([*(f"{entity}-{entities[entity]}" for entity in ORDER if entity in entities), f"{suffix}.nii.gz"])


def is_label(text: str) -> bool:
    """Tell whether a value of an entity is one, so that no path can be made of it."""
    return re.fullmatch(r"[A-Za-z0-9+]+", text) is not None


def home_of(data_dir: str | None) -> Path:
    """Give the folder of TemplateFlow: where its client keeps it, or below the data folder of nilearn, if that is given."""
    if home := os.environ.get("TEMPLATEFLOW_HOME"):
        return Path(home)
    if data_dir is not None:
        return Path(data_dir).expanduser() / "templateflow"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "templateflow"


def fetch_from_templateflow(name: str, options: Mapping[str, Any], folder: Path, data_dir: str | None) -> None:
    """Fetch an atlas into TemplateFlow's folder, check it, and write what `roistream.samples.fetched` describes.

    Parameters
    ----------
    name : str
        The image's name; the order of the entities and the ending do not matter.
    options : mapping
        ``url``: a mirror, instead of TemplateFlow's own address.
    folder, data_dir
        See `fetch_atlas.fetch_atlas`.

    Raises
    ------
    UserError
        There is no such file, the server cannot be reached, or sends something else.
    """
    for key in options:
        if key != "url":
            raise UserError(
                f"atlas_options: {key!r} is unknown; a file of TemplateFlow has one option, url ({S3!r}), for a mirror."
            )
    image, root = file_name(name), str(options.get("url") or S3).rstrip("/")
    template, *rest = image.split("_")
    cohort = [part for part in rest if part.startswith("cohort-")]
    home = home_of(data_dir) / template
    place = Path(*cohort)
    with alone_in(home):
        try:
            path, is_new = fetch(home, place / image, root)
        except NotThereError:
            raise UserError(
                f"TemplateFlow has no file {image} (there is none at {address(home, place / image, root)}), and there is none "
                "here; check the name on https://www.templateflow.org, or give the path of a file."
            ) from None
        names, named = fetch_names(home, place, image, root)
        facts = {
            "Name": image,
            "Source": address(home, place / image, root),
            "Template": "_".join([template.removeprefix("tpl-"), *cohort]),
            **describe_template(home, root),
            "SHA256": {file.name: sha256_of(file) for file in [path, *([named] if named else [])]},
        }
        with checking(path, is_new, facts["Source"], CACHE), finding_damage(path):
            write_fetched(FetchedAtlas(path, names, facts), folder)


def address(home: Path, inside: Path, root: str) -> str:
    """Give the address of a file of a template."""
    return f"{root}/{home.name}/{inside.as_posix()}"


def fetch(home: Path, inside: Path, root: str) -> tuple[Path, bool]:
    """Fetch a file of a template, unless it is there: whole or not at all; the same as ever. Tell whether it is new.

    Raises
    ------
    NotThereError
        The server answers that there is none.
    UserError
        It cannot be reached, breaks off, or the file is not what it was.
    """
    path, url = home / inside, address(home, inside, root)
    if path.is_symlink() and not path.exists():
        raise UserError(f"{path} is a link whose content is not here; fetch it (datalad get) and run again.")
    # TemplateFlow's client fills its folder with empty files, and older ones left the server's error in them.
    is_new = not path.exists() or path.stat().st_size == 0 or is_error_of_s3(path)
    if is_new:
        download(url, path)
    with checking(path, is_new, url, CACHE):
        check_sum(path, home, is_new)
    return path, is_new


def is_error_of_s3(path: Path) -> bool:
    """Tell whether a file holds what the server says where there is no file."""
    if path.stat().st_size >= 1024:
        return False
    head = path.read_bytes()
    return head.startswith(b"<?xml") and b"<Error><Code>" in head


def download(url: str, path: Path) -> None:
    """Download a file, whole or not at all."""
    try:
        with requests.get(url, stream=True, timeout=TIMEOUT_S, headers={"Accept-Encoding": "identity"}) as answer:
            if answer.status_code in (403, 404):  # S3 says 403 where the list of files is not public
                raise NotThereError
            answer.raise_for_status()
            expected = answer.headers.get("Content-Length")
            with whole_file(path) as partial, partial.open("wb") as stream:
                for piece in answer.iter_content(2**20):
                    stream.write(piece)
                if expected is not None and stream.tell() != int(expected):
                    raise requests.exceptions.ChunkedEncodingError(f"{stream.tell()} of {expected} bytes")
    except requests.RequestException as error:
        raise UserError(
            f"{path.name} could not be fetched from {url} ({network_reason(error)}); run again, or place the file by hand as "
            f"{path.absolute()}."
        ) from error


def fetch_names(home: Path, place: Path, image: str, root: str) -> tuple[list[tuple[int, str]], Path | None]:
    """Fetch the table that names the regions: beside the image, or for all resolutions, as BIDS inherits it."""
    beside = image.replace(".nii.gz", ".tsv")
    for name in dict.fromkeys([re.sub(r"_res-[^_]+", "", beside), beside]):
        try:
            path, is_new = fetch(home, place / name, root)
        except NotThereError:
            continue
        with checking(path, is_new, address(home, place / name, root), CACHE):
            return read_names(path), path
    return [], None


def read_names(path: Path) -> list[tuple[int, str]]:
    """Read numbers and names: columns ``index`` and ``name``, or of other tables the first that is called so."""
    table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    columns = {str(column).lower(): column for column in table.columns}
    named = [column for name, column in columns.items() if re.search(r"(^|_)names?$", name)]
    if not named:
        raise ValueError(f"has no column of names; its columns are {', '.join(map(str, table.columns))}")
    index = columns.get("index", columns.get("component"))
    numbers = table[index] if index is not None else [str(number) for number in range(1, len(table) + 1)]
    if not all(number.strip().isdecimal() for number in numbers):
        raise ValueError(f"has numbers of regions that are none in its column {index!r}")
    return [(int(number), name) for number, name in zip(numbers, table[named[0]], strict=True)]


def describe_template(home: Path, root: str) -> dict[str, Any]:
    """Say what TemplateFlow says of the template: its licence, and what to cite."""
    try:
        path, _ = fetch(home, Path("template_description.json"), root)
        found = json.loads(path.read_text("utf-8"))
    except (NotThereError, ValueError):
        return {}
    wanted = ("License", "ReferencesAndLinks")
    return {key: found[key] for key in wanted if key in found} if isinstance(found, dict) else {}
