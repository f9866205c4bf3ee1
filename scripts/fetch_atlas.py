#!/usr/bin/env python3
"""Fetch an atlas that nilearn or TemplateFlow has, check it, and write it into a folder, with the names of its regions."""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))  # this version's library, in any environment

from roistream.command_line import add_log_option
from roistream.reporting import reporting
from roistream.samples.templateflow import fetch_from_templateflow, is_of_templateflow


def fetch_atlas(atlas: str, folder: Path, options: Mapping[str, Any], data_dir: str | None = None) -> None:
    """Write an atlas into a folder: ``atlas_dseg.nii.gz`` (or its kin), a table of its regions, and a sidecar.

    Parameters
    ----------
    atlas : str
        One of nilearn's fetchers without ``fetch_atlas_`` or ``fetch_coords_``, such as ``schaefer2018``, or the name of a file
        of TemplateFlow, ``tpl-…_dseg`` or ``tpl-…_probseg``.
    folder : path
        Where to write.
    options : mapping
        Of the fetcher.
    data_dir : str, optional
        nilearn's data folder; also that of TemplateFlow, unless ``TEMPLATEFLOW_HOME`` is set.

    Raises
    ------
    UserError
        There is no such atlas or option, the server cannot be reached or sends something else, or it is no atlas of volumes.
    """
    if is_of_templateflow(atlas):
        fetch_from_templateflow(atlas, options, folder, data_dir)
    else:
        from roistream.samples.nilearn_atlases import fetch_from_nilearn

        fetch_from_nilearn(atlas, options, folder, data_dir)


def mapping(text: str) -> dict[str, Any]:
    """Read a mapping from the command line."""
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError
    return found


def parse_arguments() -> dict:
    """Read the command line into the parameters of `fetch_atlas`, and ``log``."""
    parser = argparse.ArgumentParser(description="Fetch an atlas that nilearn or TemplateFlow has.")
    parser.add_argument("--atlas", required=True, help="nilearn's, such as schaefer2018, or TemplateFlow's, tpl-…_dseg")
    parser.add_argument("--folder", required=True, type=Path, help="where to write it")
    parser.add_argument(
        "--options", type=mapping, default={}, metavar="JSON", help="of its fetcher, such as '{\"n_rois\": 100}'"
    )
    parser.add_argument("--data-dir", metavar="FOLDER", help="data folder of nilearn (default: as nilearn chooses)")
    add_log_option(parser)
    return vars(parser.parse_args())


if __name__ == "__main__":
    arguments = parse_arguments()
    with reporting(arguments.pop("log")):
        fetch_atlas(**arguments)
