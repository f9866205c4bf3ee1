"""Denoising strategies: nilearn's presets, which its ``load_confounds_strategy`` makes from the files of fMRIPrep beside a run.

What they are is nilearn's; here is only which options each takes, where its table lies, and what a person is told. nilearn is
imported where a strategy is made, and nowhere else.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from roistream.errors import UserError

if TYPE_CHECKING:
    from roistream.cleaning.confounds import Confounds

COMMON = ("global_signal", "demean")
STRATEGIES = {
    "simple": ("motion", "wm_csf", *COMMON),
    "scrubbing": ("motion", "wm_csf", "scrub", "fd_threshold", "std_dvars_threshold", *COMMON),
    "compcor": ("motion", "compcor", "n_compcor", *COMMON),
    "ica_aroma": ("wm_csf", *COMMON),
}
"""The options that each strategy takes, by nilearn's names; all have defaults of nilearn's."""

OPTIONS = tuple(dict.fromkeys(option for options in STRATEGIES.values() for option in options))

WIDTHS = ("basic", "power2", "derivatives", "full")
"""What ``motion``, ``wm_csf`` and ``global_signal`` may be."""

COMPCOR = ("anat_combined", "anat_separated", "temporal", "temporal_anat_combined", "temporal_anat_separated")

ENDINGS = {"ica_aroma": "_desc-smoothAROMAnonaggr_bold.nii.gz"}
ENDING = "_desc-preproc_bold.nii.gz"
"""How the name of a run ends that a strategy is for."""


def check_strategy(cleaning: Mapping[str, Any]) -> None:
    """Refuse options of cleaning that do not go together with the strategy, or need one.

    Parameters
    ----------
    cleaning : mapping
        The config key ``cleaning``, or options of the same names.

    Raises
    ------
    UserError
        For the first of them.
    """
    strategy = cleaning.get("strategy")
    given = [option for option in OPTIONS if cleaning.get(option) is not None]
    if strategy is None:
        if given:
            takers = ", ".join(name for name, options in STRATEGIES.items() if given[0] in options)
            raise UserError(
                f"cleaning: {given[0]} is an option of a strategy; add 'strategy' (one of {takers}), or leave it out."
            )
        return
    if unknown := [option for option in given if option not in STRATEGIES[strategy]]:
        raise UserError(
            f"cleaning: {unknown[0]} has no effect with the strategy {strategy}, which takes {', '.join(STRATEGIES[strategy])}; "
            "leave it out."
        )
    for key in ("confounds", "confound_columns"):
        if cleaning.get(key):
            raise UserError(
                f"cleaning: the strategy {strategy} chooses the confounds itself; leave out {key}, or the strategy."
            )
    if cleaning.get("high_pass"):
        raise UserError(
            f"cleaning: the strategy {strategy} has a high-pass filter already, the cosines of fMRIPrep (to 1/128 Hz); "
            "leave out high_pass, or the strategy."
        )


def find_table(run: Path, strategy: str) -> Path:
    """Find the table of confounds beside a run, as nilearn does: its name says nothing but what the run's says, in that order.

    Raises
    ------
    UserError
        There is none, or several, or the strategy is not for runs that are called so.
    """
    ending = ENDINGS.get(strategy, ENDING)
    if not run.name.endswith(ending):
        raise UserError(
            f"The strategy {strategy} is for runs whose names end in {ending}, which {run} does not; choose other runs."
        )
    entities = run.name.removesuffix(ending).split("_")
    found = [
        path
        for suffix in ("timeseries", "regressors")
        for path in run.parent.glob(f"*_desc-confounds_{suffix}.tsv")
        if is_part(path.name.removesuffix(f"_desc-confounds_{suffix}.tsv").split("_"), entities)
    ]
    if not found:
        raise UserError(
            f"The strategy {strategy} needs fMRIPrep's confounds beside {run} (*_desc-confounds_timeseries.tsv), but there "
            "are none; leave the run out."
        )
    if len(found) > 1:
        names = " and ".join(sorted(path.name for path in found))
        raise UserError(f"{run} has {len(found)} tables of confounds beside it, {names}; move away all but one.")
    return found[0]


def is_part(some: list[str], of: list[str]) -> bool:
    """Tell whether a list is another one with some entries left out."""
    rest = iter(of)
    return all(entry in rest for entry in some)


def sidecar_of(table: Path) -> Path:
    """Name the sidecar of a table of confounds, which tells the masks of CompCor's components."""
    return table.with_suffix(".json")


def load_strategy(run: Path, strategy: str, options: Mapping[str, Any]) -> tuple[Confounds, np.ndarray | None]:
    """Let nilearn make the confounds of a run.

    Parameters
    ----------
    run : path
        A run of fMRIPrep's, with its files beside it.
    strategy : str
        One of `STRATEGIES`.
    options : mapping
        Options of the strategy; what is None has nilearn's default.

    Returns
    -------
    confounds : Confounds
        float64, as nilearn gives them: the columns sorted by their names, without those of outliers.
    sample_mask : numpy.ndarray or None
        int: the volumes that are kept; None for all.

    Raises
    ------
    UserError
        The files are not what the strategy needs.
    """
    from nilearn.interfaces.fmriprep import load_confounds_strategy

    from roistream.cleaning.confounds import Confounds

    table = find_table(run, strategy)
    given = {name: options[name] for name in STRATEGIES[strategy] if options.get(name) is not None}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # all volumes scrubbed: told by whoever counts them
            # As text: of a path nilearn asks for its length.
            frame, sample_mask = load_confounds_strategy(str(run), denoise_strategy=strategy, **given)
    except (ValueError, KeyError, TypeError, IndexError, OSError) as error:
        said = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise UserError(
            f"The strategy {strategy} cannot be made of {table}, nilearn says: {said}; choose another one, or leave out the run."
        ) from error
    if sample_mask is not None and not sample_mask.size:
        raise UserError(
            f"The strategy {strategy} leaves out all volumes of {run}; leave out the run, or choose another one."
        )
    names, values = list(map(str, frame.columns)), frame.to_numpy()
    lacking = [name for name, column in zip(names, values.T, strict=True) if not np.isfinite(column).all()]
    if lacking:
        raise UserError(
            f"The confounds {table}, column {lacking[0]!r}: a value is missing or no finite number, beyond the first row; "
            "fill it in, or choose another strategy."
        )
    return Confounds(table, names, values), sample_mask
