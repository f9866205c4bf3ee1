"""Make a study of many tiny images, to be planned: python -m benchmarks.many_images FOLDER N_IMAGES N_LABELS [N_VOLUMES].

What a dry run does with an image does not depend on its size.
"""

import shutil
import sys
from pathlib import Path

import numpy as np

from roistream.images.writing import new_header, write_image

GRID = (10, 11, 9)


def save_study(folder: Path, n_images: int, n_labels: int, n_volumes: int = 5) -> None:
    """Save images of one run each, an atlas, and last the table of runs.

    Parameters
    ----------
    folder : path
        Where to.
    n_images, n_labels : int
        Images, and labels of the atlas; at most as many as a volume has voxels.
    n_volumes : int
        Of each image.
    """
    folder.mkdir(parents=True, exist_ok=True)
    n_voxels = np.prod(GRID)
    affine = np.diag([3.0, 3, 3, 1])
    write_image(
        folder / "atlas.nii.gz",
        new_header(GRID, np.int32, affine),
        [(np.arange(n_voxels) % (n_labels + 1)).astype(np.int32)],
    )
    header = new_header((*GRID, n_volumes), np.float32, affine)
    header["pixdim"][4] = 2
    values = np.random.default_rng(0).standard_normal(n_voxels * n_volumes).astype(np.float32)
    first = folder / "run-0.nii.gz"
    write_image(first, header, [values])
    rows = ["image\trun", f"sub-00000\t{first.name}"]
    for number in range(1, n_images):
        run = folder / f"run-{number}.nii.gz"
        shutil.copyfile(first, run)
        rows.append(f"sub-{number:05}\t{run.name}")
    (folder / "runs.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")


if __name__ == "__main__":
    save_study(Path(sys.argv[1]), *map(int, sys.argv[2:]))
