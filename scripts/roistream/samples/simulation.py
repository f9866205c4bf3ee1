"""Simulated subjects and a simulated atlas, laid out as the ADHD data and BASC, for a default that runs offline.

A run is a positive baseline that looks like a brain, times 1 plus a few per cent of

- a slow signal that the voxels of a parcel share, so that region time series have something to show,
- nuisance (the global signal, a drift, head motion, physiological noise) that the regressors table tells of, so that
  cleaning has something to remove,
- Gaussian noise of each voxel.

The parcels are those of the simulated atlas with `N_PARCELS` labels and the same seed. It lies on another grid than the
runs, as BASC does, so that resampling is part of the default.
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
from nilearn.datasets import load_mni152_template
from scipy.ndimage import affine_transform
from scipy.signal import lfilter
from scipy.spatial import cKDTree

from roistream.images.writing import new_header, write_image
from roistream.samples import adhd

ATLAS_GRID = (53, 64, 52)
ATLAS_AFFINE = np.array([[3.0, 0, 0, -78], [0, 3, 0, -112], [0, 0, 3, -68], [0, 0, 0, 1]])
"""BASC's grid: 3 mm, but shifted by fractions of a voxel against the runs' and without their flip of x."""

N_PARCELS = 64
"""Parcels with a signal of their own."""

BLOCK_VOLUMES = 8
"""Volumes made and written at a time; the data do not depend on it."""

BRAIN_THRESHOLD = 0.2
"""Intensity of the T1 template above which a voxel is brain, as in nilearn's ``load_mni152_brain_mask``."""

TISSUES = ("csf", "gm", "wm")
TISSUE_BOUNDS = (0.45, 0.76)
"""Intensities of the T1 template that part cerebrospinal fluid from grey matter, and grey from white matter."""

MEAN_INTENSITY = 8_000.0
"""Mean of the brain, in the arbitrary units of the ADHD data."""

SLOW_BAND = (0.01, 0.1)
PHYSIOLOGICAL_BAND = (0.01, 0.2)
"""In Hz. The first is that of resting-state fluctuations."""

# Standard deviations in per cent of the baseline; drift: over the length of a usual run; motion: for each mm or degree.
PARCEL, GLOBAL, DRIFT, MOTION, PHYSIOLOGICAL, NOISE = 1.0, 0.5, 1.0, 1.0, 0.3, 2.0


def template_brain(grid: tuple[int, int, int], affine: np.ndarray) -> np.ndarray:
    """Take the MNI152 brain that nilearn ships to a grid, by nearest neighbour.

    Sampled from the 1 mm template: nilearn's own 3 mm version is a spline through all of it and needs 80 MiB more.

    Parameters
    ----------
    grid : tuple of int
        Voxels along x, y, z.
    affine : numpy.ndarray
        4 × 4, in mm.

    Returns
    -------
    numpy.ndarray
        float32 T1 intensity from 0.2 to 1 in the brain, exactly 0 elsewhere.
    """
    template = load_mni152_template(resolution=1)
    to_template = np.linalg.inv(template.affine) @ affine
    brain = affine_transform(
        np.asanyarray(template.dataobj), to_template[:3, :3], to_template[:3, 3], grid, order=0, prefilter=False
    )
    brain[brain <= BRAIN_THRESHOLD] = 0
    return brain


def voxel_positions(indices: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Turn voxel indices ``(n, 3)`` into positions in mm."""
    return indices @ affine[:3, :3].T + affine[:3, 3]


def parcel_centres(positions: np.ndarray, n_parcels: int, seed: int) -> np.ndarray:
    """Spread parcels evenly over the brain: Lloyd's algorithm, from random voxels.

    Parameters
    ----------
    positions : numpy.ndarray
        ``(n_voxels, 3)``, in mm.
    n_parcels : int
        How many.
    seed : int
        Of the random numbers.

    Returns
    -------
    numpy.ndarray
        ``(n_parcels, 3)``, in mm. Each is the position of a voxel, so that no parcel is empty.
    """
    rng = np.random.default_rng([seed, n_parcels])
    centres = positions[rng.choice(len(positions), n_parcels, replace=False)]
    for _ in range(20):
        owners = cKDTree(centres).query(positions)[1]
        sizes = np.bincount(owners, minlength=n_parcels)
        sums = np.stack([np.bincount(owners, axis, minlength=n_parcels) for axis in positions.T], axis=1)
        centres = np.where(sizes[:, None] > 0, sums / np.maximum(sizes, 1)[:, None], centres)
    return positions[cKDTree(positions).query(centres)[1]]


def parcel_labels(positions: np.ndarray, n_parcels: int, seed: int) -> np.ndarray:
    """Give positions in mm the labels, from 1 up, of the parcels whose centres are nearest to them.

    The centres come from the atlas's grid, whichever grid `positions` come from.
    """
    return cKDTree(atlas_centres(n_parcels, seed)).query(positions)[1] + 1


@cache
def atlas_centres(n_parcels: int, seed: int) -> np.ndarray:
    """Give the centres of the parcels of an atlas, ``(n_parcels, 3)`` in mm."""
    brain = np.argwhere(template_brain(ATLAS_GRID, ATLAS_AFFINE) > 0)
    return parcel_centres(voxel_positions(brain, ATLAS_AFFINE), n_parcels, seed)


def simulate_labels(n_parcels: int, seed: int) -> np.ndarray:
    """Make a brain atlas of compact parcels of similar size on `ATLAS_GRID`.

    Parameters
    ----------
    n_parcels : int
        Labels 1 to `n_parcels`, each of them present.
    seed : int
        Of the random numbers.

    Returns
    -------
    numpy.ndarray
        int16 of shape `ATLAS_GRID`; 0 is the background.
    """
    brain = np.argwhere(template_brain(ATLAS_GRID, ATLAS_AFFINE) > 0)
    labels = np.zeros(ATLAS_GRID, np.int16)
    labels[tuple(brain.T)] = parcel_labels(voxel_positions(brain, ATLAS_AFFINE), n_parcels, seed)
    return labels


def simulate_run(
    path: str | Path, subject: str, n_volumes: int, seed: int, block_volumes: int = BLOCK_VOLUMES
) -> dict[str, np.ndarray]:
    """Write one subject's run, in flat memory, and give its regressors.

    The data depend on `seed` and `subject` only, not on other subjects; a shorter run is the beginning of a longer one.

    Parameters
    ----------
    path : path
        The ``.nii.gz`` to write: float32 with the ADHD data's grid, affine and TR, exactly 0 outside the brain.
    subject : str
        The subject's id.
    n_volumes : int
        Length of the run.
    seed : int
        Of the random numbers.
    block_volumes : int
        Volumes in memory at a time.

    Returns
    -------
    dict of str to numpy.ndarray
        The columns of the regressors table, in order, each with `n_volumes` values.
    """
    brain = template_brain(adhd.GRID, adhd.AFFINE)
    # A file holds the voxels with x fastest: Fortran order.
    in_file_order = brain.ravel(order="F")
    inside = np.flatnonzero(in_file_order)
    positions = voxel_positions(np.stack(np.unravel_index(inside, adhd.GRID, order="F"), axis=1), adhd.AFFINE)
    intensity = in_file_order[inside]
    parcels = parcel_labels(positions, N_PARCELS, seed) - 1

    for_subject, for_signals, for_motion, for_fields, for_noise = (
        np.random.default_rng(child) for child in np.random.SeedSequence([seed, *subject.encode()]).spawn(5)
    )
    baseline = intensity * np.float32(MEAN_INTENSITY / intensity.mean() * for_subject.uniform(0.9, 1.1))
    parcel_signals = PARCEL * band_limited(for_signals, N_PARCELS, n_volumes, SLOW_BAND)
    global_signal = GLOBAL * band_limited(for_signals, 1, n_volumes, SLOW_BAND)
    physiological = band_limited(for_signals, len(adhd.COMPCOR), n_volumes, PHYSIOLOGICAL_BAND)
    motion = random_walks(for_motion, len(adhd.MOTION), n_volumes)
    drift = np.arange(n_volumes)[:, None] * (DRIFT / adhd.USUAL_LENGTH)
    nuisance = np.hstack([drift, MOTION * motion, PHYSIOLOGICAL * physiological])
    fields = smooth_fields(for_fields, nuisance.shape[1], positions)

    tissue = np.digitize(intensity, TISSUE_BOUNDS)
    means = np.empty((n_volumes, len(TISSUES)))

    def volumes() -> Iterator[np.ndarray]:
        block = np.zeros((block_volumes, brain.size), np.float32)
        for first in range(0, n_volumes, block_volumes):
            last = min(first + block_volumes, n_volumes)
            for volume in range(first, last):
                # One volume at a time and without matrix products: the same bits for every size of block.
                percent = for_noise.standard_normal(len(inside), np.float32) * np.float32(NOISE)
                percent += (parcel_signals[volume] + global_signal[volume]).astype(np.float32)[parcels]
                for field, source in zip(fields, nuisance[volume], strict=True):
                    percent += field * np.float32(source)
                values = baseline * (1 + percent / 100)
                means[volume] = np.bincount(tissue, values) / np.bincount(tissue)
                block[volume - first, inside] = values
            yield block[: last - first].astype("<f4", copy=False)

    header = new_header((*adhd.GRID, n_volumes), np.float32, adhd.AFFINE, adhd.T_R)
    header.set_sform(adhd.AFFINE, code="mni")
    header.set_qform(adhd.AFFINE, code="mni")
    write_image(path, header, volumes())

    regressors = {
        "constant": np.ones(n_volumes),
        "linearTrend": np.arange(n_volumes, dtype=float),
        "global": means @ np.bincount(tissue) / len(tissue),
        **dict(zip(TISSUES, means.T, strict=True)),
        **dict(zip(adhd.MOTION, motion.T, strict=True)),
        **dict(zip(adhd.COMPCOR, unit_components(physiological).T, strict=True)),
    }
    return {name: regressors[name] for name in adhd.REGRESSORS}


def band_limited(
    rng: np.random.Generator, n_signals: int, n_volumes: int, band: tuple[float, float], n_waves: int = 30
) -> np.ndarray:
    """Make signals of unit variance as sums of waves with random frequencies inside `band` (Hz).

    Returns
    -------
    numpy.ndarray
        ``(n_volumes, n_signals)``.
    """
    frequencies = rng.uniform(*band, (n_waves, n_signals))
    phases = rng.uniform(0, 2 * np.pi, (n_waves, n_signals))
    times = adhd.T_R * np.arange(n_volumes)[:, None, None]
    return np.sqrt(2 / n_waves) * np.cos(2 * np.pi * frequencies * times + phases).sum(axis=1)


def random_walks(rng: np.random.Generator, n_walks: int, n_volumes: int, step: float = 0.03) -> np.ndarray:
    """Make smooth random walks, as head motion is; `step` in mm or degrees, ``(n_volumes, n_walks)``."""
    walks = rng.normal(0, step, (n_volumes, n_walks)).cumsum(axis=0)
    return lfilter([0.3], [1, -0.7], walks, axis=0)


def smooth_fields(rng: np.random.Generator, n_fields: int, positions: np.ndarray) -> np.ndarray:
    """Make patterns over the brain, waves of about 10 cm and unit variance: float32 ``(n_fields, n_voxels)``."""
    waves = zip(rng.normal(0, 2 * np.pi / 100, (n_fields, 3)), rng.uniform(0, 2 * np.pi, n_fields), strict=True)
    return np.array(
        [np.sqrt(2) * np.cos((positions * vector).sum(axis=1) + phase) for vector, phase in waves], np.float32
    )


def unit_components(signals: np.ndarray) -> np.ndarray:
    """Centre signals ``(n_volumes, n_signals)`` and scale them to unit length, as CompCor's components are."""
    centred = signals - signals.mean(axis=0)
    lengths = np.linalg.norm(centred, axis=0)
    return centred / np.where(lengths > 0, lengths, 1)
