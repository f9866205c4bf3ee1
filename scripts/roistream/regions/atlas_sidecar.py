"""The JSON file beside an atlas that says what it is, and the folder of an atlas that was fetched."""

import json
import re
from pathlib import Path
from typing import Any

SIDECARS = "atlas_*.json"
"""The one sidecar in the folder of a fetched atlas."""


def sidecar_of(atlas: Path) -> Path:
    """Name the JSON file beside an atlas that says what it is, as in BIDS."""
    return atlas.with_name(f"{re.sub(r'[.](nii|tsv|csv)([.]gz)?$', '', atlas.name)}.json")


def read_fetched(folder: Path) -> dict[str, Any] | None:
    """Read the sidecar of a fetched atlas; None if it is not, or no longer, complete.

    What has gone from a cache leaves a link that leads nowhere.
    """
    try:
        [sidecar] = folder.glob(SIDECARS)
        facts = json.loads(sidecar.read_text("utf-8"))
        files = [facts["Image"], *([facts["Labels"]] if facts["Labels"] else [])]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return facts if all((folder / name).exists() for name in files) else None


def read_template(sidecar: Path | None) -> object:
    """Read what a sidecar calls the template of an atlas, if it says one."""
    if sidecar is None:
        return None
    try:
        found = json.loads(sidecar.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return found.get("Template") if isinstance(found, dict) else None
