"""Other programs that do the same or a part of it. Those that are not installed are left out."""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.bench import Bench, Command
from benchmarks.data import Atlas

LABELS_MASKER = """
import sys, numpy
from nilearn.maskers import NiftiLabelsMasker
image, atlas, out = sys.argv[1:]
numpy.save(out, NiftiLabelsMasker(atlas, standardize=None, reports=False).fit_transform(image))
"""

LABELS_MASKER_CLEANING = """
import sys, numpy
from nibabel import load
from nilearn.maskers import NiftiLabelsMasker
image, atlas, out, confounds = sys.argv[1:]
masker = NiftiLabelsMasker(
    atlas,
    detrend=True,
    high_pass=0.01,
    t_r=float(load(image).header.get_zooms()[3]),
    standardize="zscore_sample",
    reports=False,
)
numpy.save(out, masker.fit_transform(image, confounds=confounds))
"""

CONCAT_IMGS = """
import sys
from nilearn.image import concat_imgs
concat_imgs(sys.argv[2:]).to_filename(sys.argv[1])
"""

PRINTING = ["/bin/sh", "-c", 'exec "$@" >"$0"']
"""Followed by a file and a command: run the command with its output in the file."""


def labels_masker(bench: Bench, image: Path, atlas: Atlas, confounds: Path | None = None) -> Command:
    """Word one pass of nilearn's masker, cleaned as the experiments clean if there are confounds."""
    out = bench.folder("labels_masker-cleaned" if confounds else "labels_masker")
    code, more = (LABELS_MASKER_CLEANING, [confounds]) if confounds else (LABELS_MASKER, [])
    return Command([sys.executable, "-c", code, image, atlas.labels, out / "values.npy", *more], [image], out)


def concat_imgs(bench: Bench, runs: Sequence[Path]) -> Command:
    """Word nilearn's concatenation."""
    out = bench.folder("concat_imgs")
    return Command([sys.executable, "-c", CONCAT_IMGS, out / "image.nii.gz", *runs], runs, out)


def decompression(bench: Bench, image: Path, programs: Sequence[str]) -> dict[str, Command]:
    """Word plain decompression: the floor for whoever reads a ``.nii.gz``."""
    found = {program: path for program in programs if (path := shutil.which(program))}
    return {f"{name} -dc": Command([path, "-dc", image], [image], bench.folder(name)) for name, path in found.items()}


def workbench(bench: Bench, image: Path, mask: Path) -> dict[str, Command]:
    """Word the mean of one region by Connectome Workbench."""
    if not (path := shutil.which("wb_command")):
        return {}
    out = bench.folder("workbench")
    words = [*PRINTING, out / "values.txt", path, "-volume-stats", image, "-reduce", "MEAN", "-roi", mask]
    return {"wb_command -volume-stats, 1 region": Command(words, [image], out)}


def mrstats(bench: Bench, image: Path, mask: Path) -> dict[str, Command]:
    """Word the mean of one region by MRtrix3."""
    if not (path := shutil.which("mrstats")):
        return {}
    out = bench.folder("mrstats")
    words = [*PRINTING, out / "values.txt", path, "-quiet", "-mask", mask, image, "-output", "mean"]
    return {"mrstats -mask, 1 region": Command(words, [image], out)}
