"""What we use of nilearn that it does not document, in one place.

Where one of these is missing, nilearn's maskers have been built in another way than we know; ours are then nilearn's, which hold
the image whole (`roistream.maskers.classes` says so). tests/unit/test_private_names.py does without each of them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import FunctionType
from typing import Any

import numpy as np

from roistream.cleaning.signals import signal_module

__all__ = [
    "MISSING",
    "apply_mask_and_get_affinity",
    "cache",
    "clean",
    "ensure_finite_data",
    "filter_and_extract",
    "filter_and_mask",
    "mask_logger",
    "resample_img",
]

MISSING = ""
"""The first of these that this nilearn does not have."""

try:
    from nilearn._utils import logger
    from nilearn._utils.cache_mixin import cache
    from nilearn._utils.niimg import ensure_finite_data
    from nilearn.image import resample_img
    from nilearn.maskers.base_masker import filter_and_extract, mask_logger
    from nilearn.maskers.nifti_masker import filter_and_mask
    from nilearn.maskers.nifti_spheres_masker import apply_mask_and_get_affinity
except ImportError as error:
    MISSING = str(error)


def rebound(function: Callable, **names: Callable) -> Callable:
    """Copy a function of nilearn that calls others under these names; nilearn's own stays as it is."""
    original: Any = inspect.unwrap(function)
    copied = FunctionType(
        original.__code__, {**original.__globals__, **names}, original.__name__, original.__defaults__
    )
    copied.__kwdefaults__ = original.__kwdefaults__
    return copied


def clean(signals: np.ndarray, **options: Any) -> np.ndarray:
    """Clean signals along time as ``nilearn.signal.clean`` does, but many columns at a time, and without a copy for nothing."""
    module = signal_module()
    if signals.shape[1] > 1 and not changes(options):
        # The same checks, warnings and type as for all columns.
        cleaned = module.clean(signals[:, :1], **options)
        return signals.astype(cleaned.dtype, copy=False)
    return module.clean(signals, **options)


def changes(options: dict[str, Any]) -> bool:
    """Tell whether cleaning with some options changes any value."""
    idle = {"detrend", "standardize", "low_pass", "high_pass", "confounds", "sample_mask", "runs", "ensure_finite"}
    known = idle | {"t_r", "standardize_confounds", "filter"}
    used = [options.get(name) is not None and options.get(name) is not False for name in idle]
    return any(used) or not options.keys() <= known


def said(text: str, verbose: int) -> None:
    """Say what is being done as nilearn does."""
    logger.log(text, verbose=verbose)
