"""Make a dataset of fMRIPrep with empty images, to be listed: python -m benchmarks.empty_dataset FOLDER N_SUBJECTS N_RUNS."""

import sys
from pathlib import Path

FILES = {
    "_space-MNI152NLin2009cAsym_desc-preproc_bold.nii.gz": "",
    "_space-MNI152NLin2009cAsym_desc-preproc_bold.json": '{"RepetitionTime": 2.0}\n',
    "_space-MNI152NLin2009cAsym_boldref.nii.gz": "",
    "_space-MNI152NLin2009cAsym_desc-brain_mask.nii.gz": "",
    "_space-MNI152NLin2009cAsym_desc-brain_mask.json": "{}\n",
    "_desc-confounds_timeseries.tsv": "",
    "_desc-confounds_timeseries.json": "{}\n",
}
"""The ends of the names of the files of a run, and what they hold."""


def make_dataset(folder: Path, n_subjects: int, n_runs: int) -> None:
    """Make the files."""
    for subject in range(1, n_subjects + 1):
        func = folder / f"sub-{subject:05}" / "func"
        func.mkdir(parents=True, exist_ok=True)
        for run in range(1, n_runs + 1):
            for end, content in FILES.items():
                (func / f"sub-{subject:05}_task-rest_run-{run}{end}").write_text(content)


if __name__ == "__main__":
    make_dataset(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
