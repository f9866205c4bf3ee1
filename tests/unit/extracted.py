"""An image that has been extracted as in a study, and its files; for several modules of tests."""

import json
import warnings

import nibabel as nib
import numpy as np
from nilearn.maskers import NiftiLabelsMasker

from conftest import AFFINE, GRID, read_table, save_run
from extract_timeseries import extract_timeseries

N_VOLUMES = 8
LABELS = np.zeros(GRID, np.int16)
LABELS[0:2, 1:4], LABELS[3, 2:6, 1:3], LABELS[5, 6] = 2, 7, 40
"""Regions 2, 7 and 40 of 30, 8 and 5 voxels."""


def save_atlas(path, labels=LABELS, affine=AFFINE):
    nib.Nifti1Image(labels, affine).to_filename(path)
    return path


def save_names(path, names):
    path.write_text("index\tname\n" + "".join(f"{label}\t{name}\n" for label, name in names.items()), "utf-8")
    return path


def nilearn_signals(image, **options):
    """Let nilearn extract all regions of the atlas."""
    masker = NiftiLabelsMasker(nib.Nifti1Image(LABELS, AFFINE), **{"standardize": None, "reports": False, **options})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return masker.fit_transform(image)


class Extracted:
    """An image of some data, extracted, and the files that came of it."""

    def __init__(self, folder, data, atlas=None, **options):
        self.out = folder / "out" / "scan_atlas-A"
        self.run = save_run(folder / "run.nii.gz", data)
        atlas = atlas or save_atlas(folder / "atlas.nii.gz")
        extract_timeseries([self.run], atlas, str(self.out), **options)

    def table(self, statistic="mean"):
        return read_table(f"{self.out}_stat-{statistic}_timeseries.tsv")

    @property
    def coverage(self):
        [row] = read_table(f"{self.out}_stat-coverage_bold.tsv").to_numpy()
        return row.tolist()

    def sidecar(self, statistic="mean"):
        return json.loads(self.path(f"stat-{statistic}_timeseries.json").read_text("utf-8"))

    def path(self, ending):
        return self.out.with_name(f"{self.out.name}_{ending}")

    @property
    def files(self):
        return sorted(path.name.removeprefix("scan_atlas-A_") for path in self.out.parent.iterdir())
