"""Make a long run of fMRIPrep with its confounds, and an atlas: python -m benchmarks.scrubbed_run FOLDER 97x115x97 300 444.

A brain in float32 with the noise of each voxel, and the nuisance that the confounds tell of; 0 outside of it.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from roistream.images.writing import new_header, write_image
from roistream.samples.fmriprep import MEAN_INTENSITY, NOISE, T_R, make_nuisance, save, tissue_signals, write_json
from roistream.samples.fmriprep_confounds import describe_components, make_confounds, write_confounds
from roistream.samples.simulation import parcel_labels, smooth_fields, template_brain, voxel_positions

EXTENT = np.array([192.0, 228, 192])
CORNER = np.array([-96.0, -132, -78])
"""Where TemplateFlow's MNI152NLin2009cAsym lies, in mm: from the centre of its first voxel to that of its last."""

STEM = "sub-01_task-rest"
SPACE = f"{STEM}_space-MNI152NLin2009cAsym"


def make_run(folder: Path, grid: tuple[int, int, int], n_volumes: int, n_labels: int) -> None:
    """Write the run, its confounds with their sidecar, and the atlas on the run's grid.

    Parameters
    ----------
    folder : path
        Where to.
    grid : tuple of int
        Voxels along x, y, z.
    n_volumes, n_labels : int
        Of the run, and of the atlas.
    """
    folder.mkdir(parents=True, exist_ok=True)
    affine = np.diag([*(EXTENT / (np.array(grid) - 1)), 1.0])
    affine[:3, 3] = CORNER
    rng = np.random.default_rng(0)
    nuisance = make_nuisance(rng, n_volumes, restless=False)
    brain = template_brain(grid, affine).ravel(order="F")
    inside = np.flatnonzero(brain)
    positions = voxel_positions(np.stack(np.unravel_index(inside, grid, order="F"), axis=1), affine)
    fields = smooth_fields(rng, nuisance.sources.shape[1], positions)

    def volumes() -> Iterator[np.ndarray]:
        values = np.zeros(brain.size, "<f4")
        for volume in range(n_volumes):
            percent = rng.standard_normal(inside.size, np.float32) * np.float32(NOISE)
            percent += nuisance.sources[volume].astype(np.float32) @ fields + np.float32(nuisance.everywhere[volume])
            values[inside] = MEAN_INTENSITY * brain[inside] * (1 + percent / 100)
            yield values

    header = new_header((*grid, n_volumes), np.float32, affine, T_R)
    header.set_sform(affine, code="mni")
    header.set_qform(affine, code="mni")
    write_image(folder / f"{SPACE}_desc-preproc_bold.nii.gz", header, volumes())
    columns = make_confounds(
        rng, nuisance.motion, tissue_signals(rng, nuisance, n_volumes), nuisance.n_unsteady, T_R, False
    )
    write_confounds(columns, folder / f"{STEM}_desc-confounds_timeseries.tsv")
    write_json(folder / f"{STEM}_desc-confounds_timeseries.json", describe_components(columns))
    labels = np.zeros(brain.size, "<i2")
    labels[inside] = parcel_labels(positions, n_labels, 0)
    save(folder / "example_dseg.nii.gz", labels.reshape(grid, order="F"), grid, affine, "mni")


if __name__ == "__main__":
    x, y, z = map(int, sys.argv[2].split("x"))
    make_run(Path(sys.argv[1]), (x, y, z), int(sys.argv[3]), int(sys.argv[4]))
