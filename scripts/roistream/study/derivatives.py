"""The names and companions of a study's results: a BIDS derivatives dataset.

Names follow what XCP-D and giga_connectome write; ``timeseries`` of regions and ``stat-`` are not in the standard, therefore a
``.bidsignore`` goes with them.
"""

import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from roistream import __version__
from roistream.errors import UserError

FOLDER = Path("derivatives/roistream")
"""Where the dataset lies, below the working directory."""

LONGEST_NAME = 60
"""Letters of an atlas's name; those of an image and what else a file name holds leave no room for more of 255."""

BIDS_VERSION = "1.10.0"

IGNORED = (
    "*_timeseries.tsv",
    "*_timeseries.json",
    "*_bold.tsv",
    "*_voxels.*",
    "*_relmat.*",
    "atlas-*_dseg.*",
    "study.*",
    "study_*",
)
"""What a BIDS validator does not know: lines of ``.bidsignore``."""


PARQUET_SIGNALS, PARQUET_CONNECTIVITY = "study_timeseries", "study_connectivity.parquet"
"""What the study is called as one dataset: a folder with a file for each image, and a table."""

RESULTS = ("timeseries.tsv", "timeseries.json", "bold.tsv", "voxels.npy", "voxels.tsv", "relmat.tsv", "relmat.json")
"""How the names of the files end that belong to an image."""


def image_stem(image: str) -> str:
    """Give what file names call an image: without what says that it is a preprocessed bold image."""
    return re.sub(r"_desc-preproc(?=_|$)", "", image).removesuffix("_bold")


def image_folder(image: str) -> str:
    """Give the folder of an image's results: ``sub-01/ses-02/func`` where its name begins with these entities, else its name.

    >>> image_folder("sub-01_ses-02_task-rest_desc-preproc")
    'sub-01/ses-02/func'
    >>> image_folder("pilot")
    'pilot'
    """
    found = re.match(r"(sub-[A-Za-z0-9+]+)(?:_(ses-[A-Za-z0-9+]+))?(?=_|$)", image)
    return "/".join([*(part for part in found.groups() if part), "func"]) if found else image_stem(image)


def image_prefix(image: str, atlas: str) -> str:
    """Give the path and beginning of the names of all files of an image, below the working directory."""
    return f"{FOLDER}/{image_folder(image)}/{image_stem(image)}_atlas-{atlas}"


def check_names(images: Sequence[str]) -> None:
    """Refuse two images whose files would have the same names."""
    twice = [stem for stem, number in Counter(map(image_stem, images)).items() if number > 1]
    if twice:
        same = [image for image in images if image_stem(image) == twice[0]]
        raise UserError(
            f"The images {same[0]!r} and {same[1]!r} would both be called {twice[0]!r} in the results; rename one."
        )


def atlas_name(atlas: str, scale: int) -> str:
    """Make what file names call an atlas, letters and digits only.

    >>> atlas_name("basc", 64), atlas_name("tpl-MNI_atlas-Schaefer2018_dseg.nii.gz", 64), atlas_name("my atlas.nii", 64)
    ('BASC064', 'Schaefer2018', 'myatlas')
    """
    if atlas in ("basc", "simulated"):
        return f"{'BASC' if atlas == 'basc' else atlas}{scale:03}"
    stem = re.sub(r"(\.nii|\.img|\.hdr|\.[tc]sv|\.txt)?(\.gz|\.bz2|\.xz)?$", "", Path(atlas).name, flags=re.IGNORECASE)
    entity = re.search(r"(?:^|_)(?:atlas|seg)-([A-Za-z0-9]+)", stem)
    name = entity[1] if entity else re.sub(r"[^A-Za-z0-9]", "", re.sub(r"_(dseg|probseg|atlas|labels)$", "", stem))
    if not 0 < len(name) <= LONGEST_NAME:
        raise UserError(f"No name for the results can be made from the atlas {atlas}; set the config key 'atlas_name'.")
    return name


def dataset_description(sources: Sequence[str]) -> dict[str, Any]:
    """Give the content of ``dataset_description.json``.

    Parameters
    ----------
    sources : sequence of str
        Where the runs come from: datasets or folders.
    """
    return {
        "Name": "Region time series",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "roistream", "Version": __version__}],
        "SourceDatasets": [{"URL": source} for source in sources],
    }


def read_sidecar(path: Path) -> dict[str, Any]:
    """Read a sidecar of results.

    Raises
    ------
    UserError
        The file is no such sidecar.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
    except (ValueError, OSError) as error:
        raise UserError(f"{path} cannot be read ({error}); delete it, and run again.") from error
    if not isinstance(content, dict) or not {"Fingerprint", "Runs"} <= content.keys():
        raise UserError(f"{path} is no sidecar of roistream; delete it, and run again.")
    return content
