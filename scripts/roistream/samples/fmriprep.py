"""A simulated dataset as fMRIPrep leaves it: runs at rest in several spaces, masks, confounds, sidecars; small, and offline.

A head is nilearn's MNI152 brain on a grid of 10 mm; in ``T1w`` it is turned, moved and scaled, for each subject in another
way. The voxels of a parcel share a slow signal. Head motion, drift and physiological noise lie on all voxels and are told by
the confounds; the first volumes of some runs have not reached a steady state, and jumps of the head leave spikes. The spaces
of a run hold the same signals.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from roistream import __version__
from roistream.errors import UserError
from roistream.images.writing import new_header, write_image
from roistream.outputs import whole_file
from roistream.samples.fmriprep_confounds import describe_components, make_confounds, write_confounds
from roistream.samples.simulation import (
    TISSUE_BOUNDS,
    band_limited,
    parcel_labels,
    random_walks,
    smooth_fields,
    template_brain,
    voxel_positions,
)

T_R = 2.0
"""Repetition time in seconds."""

N_PARCELS = 20
"""Parcels with a signal of their own; those of the atlas that goes with the dataset."""

SPACES = {
    "T1w": ((19, 23, 20), np.array([[-10.0, 0, 0, 90], [0, 10, 0, -120], [0, 0, 10, -85], [0, 0, 0, 1]]), "scanner"),
    "MNI152NLin2009cAsym": (
        *((20, 24, 20), np.array([[10.0, 0, 0, -96], [0, 10, 0, -132], [0, 0, 10, -78], [0, 0, 0, 1]])),
        "mni",
    ),
    "MNI152NLin6Asym": (
        *((18, 22, 18), np.array([[10.0, 0, 0, -90], [0, 10, 0, -126], [0, 0, 10, -72], [0, 0, 0, 1]])),
        "mni",
    ),
}
"""Grid, affine and orientation code of each space. In the last one are the runs that ICA-AROMA has cleaned, and nothing else."""

AROMA = "MNI152NLin6Asym"

ODD_RUNS = ("broken", "without confounds", "restless")
"""What the last runs of a dataset are, the very last one first."""

MEAN_INTENSITY = 1_000.0
PARCEL, GLOBAL, DRIFT, MOTION, PHYSIOLOGICAL, NOISE = 1.0, 0.5, 1.0, 1.0, 0.3, 1.5
"""Standard deviations in per cent of the mean intensity; drift over the run; motion for each 0.1 mm."""

SPIKE, UNSTEADY = 6.0, (25.0, 10.0, 4.0)
"""Per cent by which a jump of the head and the first volumes differ from others."""


@dataclass(frozen=True)
class SimulatedRun:
    """A run to be made.

    Attributes
    ----------
    subject, session : str
        Labels; the session's is empty where there are none.
    oddity : str
        One of `ODD_RUNS`, or nothing.
    """

    subject: str
    session: str
    oddity: str = ""

    @property
    def stem(self) -> str:
        """The beginning of the names of its files."""
        entities = [f"sub-{self.subject}", *([f"ses-{self.session}"] if self.session else []), "task-rest"]
        return "_".join(entities)

    @property
    def folder(self) -> Path:
        """Where its files lie in the dataset."""
        return Path(*self.stem.split("_")[:-1], "func")


def simulate_fmriprep(
    dataset: Path,
    n_subjects: int = 4,
    n_sessions: int = 2,
    spaces: Sequence[str] = ("T1w", "MNI152NLin2009cAsym"),
    n_volumes: int = 120,
    odd_runs: bool = True,
    seed: int = 0,
) -> list[SimulatedRun]:
    """Write a dataset. The same arguments give the same bytes, and a run does not depend on the other runs.

    Parameters
    ----------
    dataset : path
        The folder to write, with a ``dataset_description.json`` and ``sub-*``.
    n_subjects, n_sessions : int
        How many; without sessions (0) names and folders have none.
    spaces : sequence of str
        Some of `SPACES`. With `AROMA` the confounds have columns of ICA-AROMA, too.
    n_volumes : int
        Volumes of each run, at least 40.
    odd_runs : bool
        Make the last three runs `ODD_RUNS`: images that are cut off, no confounds, and a head that hardly ever lies still.
    seed : int
        Of the random numbers.

    Returns
    -------
    list of SimulatedRun
        In the order of their names.

    Raises
    ------
    UserError
        Too few runs for odd ones, or volumes, or an unknown space.
    """
    if n_volumes < 40:
        raise UserError(f"A simulated run of {n_volumes} volumes is too short for its confounds; ask for 40 at least.")
    if unknown := [space for space in spaces if space not in SPACES]:
        raise UserError(f"The space {unknown[0]} cannot be simulated; choose from {', '.join(SPACES)}.")
    sessions = [str(number + 1) for number in range(n_sessions)] or [""]
    runs = [SimulatedRun(f"{number + 1:02}", session) for number in range(n_subjects) for session in sessions]
    if odd_runs:
        if len(runs) <= len(ODD_RUNS):
            raise UserError(
                f"Of {len(runs)} run(s) {len(ODD_RUNS)} cannot be odd ones; ask for more subjects, or for none odd."
            )
        for place, oddity in enumerate(ODD_RUNS, 1):
            runs[-place] = SimulatedRun(runs[-place].subject, runs[-place].session, oddity)
    for run in runs:
        write_run(dataset, run, spaces, n_volumes, seed)
    with whole_file(dataset / "dataset_description.json") as partial:
        write_json(
            partial,
            {
                "Name": "Simulated results of fMRIPrep",
                "BIDSVersion": "1.9.0",
                "DatasetType": "derivative",
                "GeneratedBy": [{"Name": "roistream", "Version": __version__, "Description": "a simulation"}],
            },
        )
    return runs


def write_run(dataset: Path, run: SimulatedRun, spaces: Sequence[str], n_volumes: int, seed: int) -> None:
    """Write all files of one run."""
    folder = dataset / run.folder
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([seed, *run.stem.encode()])
    nuisance = make_nuisance(rng, n_volumes, run.oddity == "restless")
    tissues = tissue_signals(rng, nuisance, n_volumes)
    for space in spaces:
        grid, affine, code = SPACES[space]
        stem = f"{run.stem}_space-{space}"
        brain, volumes = simulate_volumes(run, space, nuisance, seed)
        bold = folder / f"{stem}_desc-{'smoothAROMAnonaggr' if space == AROMA else 'preproc'}_bold.nii.gz"
        save(bold, volumes.astype("<f4"), grid, affine, code, T_R)
        save(folder / f"{stem}_desc-brain_mask.nii.gz", brain.astype(np.uint8), grid, affine, code)
        sidecar = {"RepetitionTime": T_R, "TaskName": "rest", "SkullStripped": False}
        write_json(bold.with_name(bold.name.replace(".nii.gz", ".json")), sidecar)
        if run.oddity == "broken":
            content = bold.read_bytes()
            bold.write_bytes(content[: len(content) // 2])
    if run.oddity != "without confounds":
        columns = make_confounds(rng, nuisance.motion, tissues, nuisance.n_unsteady, T_R, with_aroma=AROMA in spaces)
        write_confounds(columns, folder / f"{run.stem}_desc-confounds_timeseries.tsv")
        write_json(folder / f"{run.stem}_desc-confounds_timeseries.json", describe_components(columns))


@dataclass(frozen=True)
class Nuisance:
    """What lies on the voxels of a run beside the signals of the parcels.

    Attributes
    ----------
    motion : numpy.ndarray
        ``(n_volumes, 6)``: translations in mm, rotations in radians.
    sources : numpy.ndarray
        ``(n_volumes, n_sources)``, in per cent: drift, motion, physiological noise; each has a pattern over the brain.
    everywhere : numpy.ndarray
        ``(n_volumes,)``, in per cent: the global signal, spikes, and what the first volumes have too much.
    n_unsteady : int
        Volumes before the steady state.
    """

    motion: np.ndarray
    sources: np.ndarray
    everywhere: np.ndarray
    n_unsteady: int


def make_nuisance(rng: np.random.Generator, n_volumes: int, restless: bool) -> Nuisance:
    """Let a head move: it drifts, and jumps now and then; if it is restless, all the time but for a dozen volumes."""
    motion = random_walks(rng, 6, n_volumes, step=0.015) * np.array([1, 1, 1, 0.02, 0.02, 0.02])
    n_unsteady = int(rng.integers(0, len(UNSTEADY) + 1))
    jumps = rng.choice(np.arange(10, n_volumes), int(rng.integers(0, 5)), replace=False)
    if restless:
        jumps = np.array([volume for volume in range(4, n_volumes, 4) if not 20 <= volume < 32])
    steps = np.zeros(n_volumes)
    steps[jumps] = rng.uniform(0.7, 1.5, jumps.size) * rng.choice([-1, 1], jumps.size)
    motion[:, 1] += steps.cumsum()
    drift = np.linspace(-DRIFT, DRIFT, n_volumes)[:, None]
    physiological = PHYSIOLOGICAL * band_limited(rng, 5, n_volumes, (0.01, 0.2))
    everywhere = GLOBAL * band_limited(rng, 1, n_volumes, (0.01, 0.1))[:, 0]
    everywhere[jumps] -= SPIKE
    everywhere[:n_unsteady] += UNSTEADY[:n_unsteady]
    moved = MOTION * (motion - motion.mean(axis=0)) * np.array([10, 10, 10, 500, 500, 500])
    return Nuisance(motion, np.hstack([drift, moved, physiological]), everywhere, n_unsteady)


def tissue_signals(rng: np.random.Generator, nuisance: Nuisance, n_volumes: int) -> dict[str, np.ndarray]:
    """Make the mean signals of brain, white matter and cerebrospinal fluid, which share the nuisance."""
    signals = {}
    for name in ("global_signal", "white_matter", "csf"):
        mixed = nuisance.everywhere + nuisance.sources @ rng.normal(0, 0.3, nuisance.sources.shape[1])
        signals[name] = MEAN_INTENSITY * (1 + (mixed + rng.normal(0, 0.05, n_volumes)) / 100)
    return signals


def simulate_volumes(run: SimulatedRun, space: str, nuisance: Nuisance, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Make a run in one of its spaces.

    Returns
    -------
    brain : numpy.ndarray
        bool, 3D.
    volumes : numpy.ndarray
        float64, ``(n_volumes, n_voxels)`` in the order of a file; exactly 0 outside of the brain.
    """
    grid, affine, _ = SPACES[space]
    to_mni = (head_of(run.subject, seed) if space == "T1w" else np.eye(4)) @ affine
    intensity = template_brain(grid, to_mni)
    in_file_order = intensity.ravel(order="F")
    inside = np.flatnonzero(in_file_order)
    positions = voxel_positions(np.stack(np.unravel_index(inside, grid, order="F"), axis=1), to_mni)
    n_volumes = len(nuisance.motion)
    for_signals, for_fields = (np.random.default_rng([seed, number, *run.stem.encode()]) for number in (1, 2))
    parcels = PARCEL * band_limited(for_signals, N_PARCELS, n_volumes, (0.01, 0.1))
    fields = smooth_fields(for_fields, nuisance.sources.shape[1], positions)
    percent = parcels[:, parcel_labels(positions, N_PARCELS, seed) - 1] + nuisance.everywhere[:, None]
    percent += NOISE * np.random.default_rng([seed, 3, *f"{run.stem}{space}".encode()]).standard_normal(percent.shape)
    kept = 0.3 if space == AROMA else 1.0  # ICA-AROMA has taken the most of it out
    for field, source in zip(fields, nuisance.sources.T, strict=True):
        percent += kept * np.outer(source, field)
    tissue = np.array([1.3, 1.0, 0.8])[np.digitize(in_file_order[inside], TISSUE_BOUNDS)]
    volumes = np.zeros((n_volumes, in_file_order.size))
    volumes[:, inside] = MEAN_INTENSITY * tissue * (1 + percent / 100)
    return intensity > 0, volumes


def head_of(subject: str, seed: int) -> np.ndarray:
    """Give the 4 × 4 affine from a subject's T1w space to MNI space, in mm."""
    rng = np.random.default_rng([seed, 4, *subject.encode()])
    head = np.eye(4)
    head[:3, :3] = Rotation.from_euler("xyz", rng.uniform(-5, 5, 3), degrees=True).as_matrix() * rng.uniform(0.95, 1.05)
    head[:3, 3] = rng.uniform(-4, 4, 3)
    return head


def save(
    path: Path, values: np.ndarray, grid: tuple[int, int, int], affine: np.ndarray, code: str, t_r: float | None = None
) -> None:
    """Write volumes ``(n_volumes, n_voxels)`` in the order of a file, or a 3D array; compressed, without a time of day."""
    shape = (*grid, len(values)) if values.ndim == 2 else grid
    header = new_header(shape, values.dtype, affine, t_r)
    header.set_sform(affine, code=code)
    header.set_qform(affine, code=code)
    write_image(path, header, pieces(values))


def pieces(values: np.ndarray) -> Iterator[np.ndarray]:
    """Give the values of an image in the order of its file (x fastest)."""
    yield values if values.ndim == 2 else values.ravel(order="F")


def write_json(path: Path, content: object) -> None:
    """Write a sidecar."""
    path.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
