"""The layout of the ADHD data that nilearn distributes: 40 subjects, one resting-state run each.

Part of the 1000 Functional Connectomes Project, already slice-time corrected and registered to MNI space. The fetcher
and the simulation share it, so that a simulated subject can stand in for a real one.
"""

import numpy as np

from roistream.errors import UserError

SUBJECT_IDS = (
    "0010042",
    "0010064",
    "0010128",
    "0021019",
    "0023008",
    "0023012",
    "0027011",
    "0027018",
    "0027034",
    "0027037",
    "1019436",
    "1206380",
    "1418396",
    "1517058",
    "1552181",
    "1562298",
    "1679142",
    "2014113",
    "2497695",
    "2950754",
    "3007585",
    "3154996",
    "3205761",
    "3520880",
    "3624598",
    "3699991",
    "3884955",
    "3902469",
    "3994098",
    "4016887",
    "4046678",
    "4134561",
    "4164316",
    "4275075",
    "6115230",
    "7774305",
    "8409791",
    "8697774",
    "9744150",
    "9750701",
)
"""In nilearn's order: the first N are the subjects that ``fetch_adhd(n_subjects=N)`` gives."""

URL = "https://www.nitrc.org/frs/download.php/"
"""Where nilearn gets the archives from, unless it is given a mirror."""

PHENOTYPES = "ADHD200_40subs_motion_parameters_and_phenotypics.csv"
"""The phenotypic table of all subjects, relative to nilearn's ``adhd`` folder."""

GRID = (61, 73, 61)
"""Voxels along x, y, z."""

AFFINE = np.array([[-3.0, 0, 0, 90], [0, 3, 0, -126], [0, 0, 3, -72], [0, 0, 0, 1]])
"""From voxel indices to millimetres; x runs from right to left."""

T_R = 2.0
"""Repetition time in seconds."""

MOTION = ("motion-pitch", "motion-roll", "motion-yaw", "motion-x", "motion-y", "motion-z")
COMPCOR = ("compcor1", "compcor2", "compcor3", "compcor4", "compcor5")
REGRESSORS = ("csf", "constant", "linearTrend", "wm", "global", *MOTION, "gm", *COMPCOR)
"""The columns of a regressors table, in order."""

USUAL_LENGTH = 176
SHORTER_RUNS = {"0021019": 175, "0023008": 77, "0023012": 77}


def run_path(subject: str) -> str:
    """Give the path of a subject's run, relative to nilearn's ``adhd`` folder."""
    return f"data/{subject}/{subject}_rest_tshift_RPI_voreg_mni.nii.gz"


def confounds_path(subject: str) -> str:
    """Give the path of a subject's regressors, tab-separated in spite of its ending, relative to the same folder."""
    return f"data/{subject}/{subject}_regressors.csv"


def run_length(subject: str) -> int:
    """Give the number of volumes of a subject's run.

    The first six are known, 857 volumes together. The lengths of the others are not on record here; they are taken to
    be 176, the most frequent one. Only the simulation relies on this: real runs have the length that their headers say.

    Raises
    ------
    UserError
        `subject` is none of the 40.
    """
    if subject not in SUBJECT_IDS:
        raise UserError(f"{subject!r} is no subject of the ADHD data; use one of {', '.join(SUBJECT_IDS)}.")
    return SHORTER_RUNS.get(subject, USUAL_LENGTH)
