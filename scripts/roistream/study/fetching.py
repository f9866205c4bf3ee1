"""Atlases that are fetched: while a study is planned, since the plan has to know their regions, by a program of its own.

A fetched atlas then is what a user's own would be: a path, a table of names, and a name for the results.
"""

import hashlib
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from roistream.errors import UserError
from roistream.regions.atlas_sidecar import read_fetched
from roistream.study.derivatives import LONGEST_NAME

logger = logging.getLogger("roistream")

OURS = ("simulated", "basc")
"""Atlases that are made or fetched by rules of their own."""

SCRIPT = Path(__file__).resolve().parents[2] / "fetch_atlas.py"


def is_fetched(atlas: str) -> bool:
    """Tell whether the config key ``atlas`` may name what nilearn or TemplateFlow has: it is no file, and looks like none."""
    if atlas in OURS or "\0" in atlas or os.path.lexists(atlas):
        return False
    return re.fullmatch(r"tpl-[A-Za-z0-9+_-]+(\.nii(\.gz)?)?|[A-Za-z][A-Za-z0-9_]*", atlas) is not None


def with_fetched_atlas(config: Mapping[str, Any], check: bool, place: Callable[[str], str]) -> Mapping[str, Any]:
    """Replace the name of an atlas that is to be fetched by its files, once they are there.

    Parameters
    ----------
    config : mapping
        The configuration.
    check : bool
        Fetch what is not there; a job finds what the process that planned it has fetched.
    place : callable
        Says where a file of ours lies, see `roistream.study.plan.Plan`.

    Raises
    ------
    UserError
        It cannot be fetched, or there is an option without an atlas that has options.
    """
    atlas, options = config["atlas"], config["atlas_options"]
    if not is_fetched(atlas):
        if options and check:
            raise UserError(
                f"atlas_options has no effect on the atlas {atlas}, which nobody fetches by options; take it out."
            )
        return config
    words = json.dumps([atlas, options], sort_keys=True)
    folder = Path(
        place(f"resources/fetched/{name_of(atlas, options)}-{hashlib.sha256(words.encode()).hexdigest()[:8]}")
    )
    facts = read_fetched(folder)
    if facts is None and check:
        fetch(atlas, options, folder, config["data_dir"])
        facts = read_fetched(folder)
    if facts is None:
        raise UserError(f"The atlas {atlas} is no longer below {folder}; run again.")
    labels = str(folder / facts["Labels"]) if facts["Labels"] else None
    return {
        **config,
        "atlas": str(folder / facts["Image"]),
        "atlas_labels": config["atlas_labels"] or labels,
        "atlas_name": config["atlas_name"] or name_of(atlas, options),
    }


def fetch(atlas: str, options: Mapping[str, Any], folder: Path, data_dir: str | None) -> None:
    """Run fetch_atlas.py: nilearn takes memory and time that a plan can do without.

    Raises
    ------
    UserError
        With what the program says.
    """
    if find_spec("nilearn") is None:
        raise UserError(
            f"The atlas {atlas} is fetched by nilearn, which is not installed where Snakemake runs; install it there, or give "
            "a file."
        )
    logger.info("Fetching the atlas %s, unless it is in the cache.", atlas)
    command = [
        sys.executable,
        str(SCRIPT),
        f"--atlas={atlas}",
        f"--folder={folder}",
        f"--options={json.dumps(options)}",
    ]
    command += [f"--data-dir={data_dir}"] if data_dir is not None else []
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    lines = done.stderr.strip().splitlines()
    if done.returncode:
        message = next((line for line in lines if line.startswith("ERROR: ")), "\n".join(lines[-1:]))
        raise UserError(message.removeprefix("ERROR: ") or f"{SCRIPT.name} ended with status {done.returncode}.")
    for line in lines:
        level, _, text = line.partition(": ")
        logger.log(logging.WARNING if level == "WARNING" else logging.INFO, "%s", text)


def name_of(atlas: str, options: Mapping[str, Any]) -> str:
    """Make what file names call a fetched atlas: letters and digits that say which of its versions it is.

    >>> name_of("schaefer2018", {"n_rois": 100, "yeo_networks": 7})
    'Schaefer2018NRois100YeoNetworks7'
    >>> name_of("tpl-MNI152Lin_res-02_atlas-Schaefer2018_desc-400Parcels7Networks_dseg", {})
    'Schaefer2018400Parcels7Networks'
    """
    if atlas.startswith("tpl-"):
        entities = re.findall(r"_(?:atlas|seg|scale|desc)-([A-Za-z0-9]+)", atlas)
        words = entities or re.findall(r"[A-Za-z0-9]+", atlas)
    else:
        said = [word for key, value in options.items() if key not in ("url", "base_url") for word in (key, str(value))]
        words = [atlas.removeprefix("fetch_atlas_").removeprefix("fetch_coords_"), *said]
        words = [part[:1].upper() + part[1:] for word in words for part in re.findall(r"[A-Za-z0-9]+", word)]
    name = "".join(words)
    if len(name) > LONGEST_NAME:
        name = name[: LONGEST_NAME - 8] + hashlib.sha256(name.encode()).hexdigest()[:8]
    return name
