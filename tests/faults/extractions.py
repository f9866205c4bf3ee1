"""Every way to extract, as the rules call it, on one small image; and what has to come of it."""

import sys
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

from conftest import AFFINE, ROOT, save_run
from place_atlas import place_atlas
from roistream.strategies import STRATEGIES

SCRIPTS = ROOT / "scripts"

GRID, N_VOLUMES = (24, 26, 22), 50
"""2.6 MiB: more than joblib hands over by value, and enough for several blocks of volumes."""

LABELS = [1, 2, 3]

STUDY = ["timeseries", "voxels"]
"""What a study runs: signals alone, and every voxel's series beside them."""

METHODS = [*STRATEGIES, *STUDY]

QUICK = ["stream", "numpy_in_memory", "shared_memory", "mmap", *STUDY]
"""Methods that are tried each time. The others share their code, or import nilearn for many seconds in each process; they are
among the slow tests where they can differ."""


@dataclass(frozen=True)
class Inputs:
    """One image in both forms, its masks, and the placed atlas."""

    folder: Path

    @property
    def image(self):
        return self.folder / "scan_bold.nii.gz"

    @property
    def plain(self):
        return self.folder / "scan_bold.nii"

    @property
    def atlas(self):
        return self.folder / "atlas_dseg.nii.gz"

    @property
    def regions(self):
        return self.folder / "regions.tsv"

    def image_of(self, method):
        """Give the file that a method reads."""
        return self.plain if method == "mmap" else self.image

    @property
    def masks(self):
        return [self.folder / f"masks/region-{label}_mask.nii.gz" for label in LABELS]


def save_inputs(folder):
    """Save the image, an atlas of three blocks, and its masks."""
    inputs = Inputs(folder)
    inputs.masks[0].parent.mkdir(parents=True)
    values = np.random.default_rng(5).integers(0, 1000, (*GRID, N_VOLUMES)).astype(np.float32)
    save_run(inputs.image, values)
    save_run(inputs.plain, values)
    labels = np.zeros(GRID, np.int16)
    for label, mask in zip(LABELS, inputs.masks, strict=True):
        labels[6 * label : 6 * label + 5, 4:22, 3:19] = label
        nib.Nifti1Image((labels == label).astype(np.uint8), AFFINE).to_filename(mask)
    nib.Nifti1Image(labels, AFFINE).to_filename(folder / "labels.nii.gz")
    place_atlas(folder / "labels.nii.gz", inputs.image, inputs.atlas, inputs.regions, folder / "coverage.npy")
    return inputs


def command_of(method, inputs, out, *more, n_jobs=2):
    """Word the command of a method: the comparison's under measure_memory.py, as its rule does."""
    image = inputs.image_of(method)
    if method in STUDY:
        program = [sys.executable, SCRIPTS / "extract_timeseries.py", "--runs", image, "--atlas", inputs.atlas]
        program += ["--out", f"{out}/scan", *(["--save-voxels"] if method == "voxels" else [])]
        return list(map(str, [*program, *more]))
    measure = [sys.executable, SCRIPTS / "measure_memory.py", "--trace", out / "memory.tsv"]
    measure += ["--summary", out / "memory.json", "--include", out / "extraction.json", "--"]
    program = [sys.executable, SCRIPTS / "extract_regions.py", "--strategy", method, "--image", image]
    program += ["--masks", *inputs.masks] if STRATEGIES[method].reads_masks else ["--atlas", inputs.atlas]
    program += ["--regions", inputs.regions]
    return list(map(str, [*measure, *program, "--out", out, "--n-jobs", n_jobs, *more]))


def results(out):
    """Read what a user would take for a result, by name; figures of memory and time are none."""
    found = {}
    for path in sorted(out.glob("*")):
        if not path.name.startswith((".", "memory.")) and path.suffix != ".json":
            found[path.name] = path.read_bytes()
    return found


def is_finished(method, out):
    """Tell whether there is the file that is written last, and by which a program knows that all is there."""
    name = "scan_stat-mean_timeseries.json" if method in STUDY else "extraction.json"
    return (out / name).exists()


def assert_nothing_looks_finished(method, out, undisturbed):
    """Whatever stands there under its name is whole and right, and the file that is written last is missing."""
    assert not is_finished(method, out)
    for name, content in results(out).items():
        assert content == undisturbed[name], name
    assert not list(out.glob(".partial-*"))


def assert_undisturbed(method, out, undisturbed):
    """All is there, to the last byte, and nothing else."""
    assert is_finished(method, out)
    assert results(out) == undisturbed
    assert not list(out.glob(".*"))
