"""nilearn's extraction, block by block: resample, smooth, reduce each volume by itself, then clean along time.

`filter_and_extract` and `filter_and_mask` do what nilearn's functions of these names do, with their parameters and results. All
its maskers for volumes go through the first, and those of masks through the second, which goes through the first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Memory

from roistream.maskers import nilearn_internals as internals
from roistream.maskers.blocks import blocks_of
from roistream.maskers.inputs import as_series
from roistream.maskers.reductions import prepare
from roistream.maskers.saving import extract_to_file
from roistream.maskers.steps import Steps


def filter_and_extract(
    imgs: object,
    extraction_function: Callable,
    parameters: Mapping[str, Any],
    memory_level: int = 0,
    memory: Memory | None = None,
    verbose: int = 0,
    confounds: object = None,
    sample_mask: object = None,
    copy: bool = True,
    dtype: object = None,
    sklearn_output_config: object = None,
) -> tuple[np.ndarray, object]:
    """Extract signals from an image, which is read once and not held.

    Parameters and results are those of nilearn's function of this name. ``parameters["output"]``, a path, is ours: the signals
    are written there, and a memory map of the file is returned.
    """
    series = as_series(imgs)
    steps = None if series is None else Steps.of(series, parameters, dtype)
    if series is None or steps is None:
        return internals.filter_and_extract(
            imgs,
            extraction_function,
            parameters,
            memory_level=memory_level,
            memory=memory,
            verbose=verbose,
            confounds=confounds,
            sample_mask=sample_mask,
            copy=copy,
            dtype=dtype,
            sklearn_output_config=sklearn_output_config,
        )
    internals.mask_logger("load_data", imgs, verbose)
    steps.tell(verbose)
    internals.mask_logger("extracting", verbose=verbose)
    options = {
        **{name: parameters[name] for name in ("detrend", "standardize", "standardize_confounds", "t_r")},
        **{name: parameters[name] for name in ("low_pass", "high_pass")},
        "confounds": confounds,
        "sample_mask": sample_mask,
        "runs": parameters.get("runs"),
        **parameters["clean_kwargs"],
    }
    if parameters.get("output") is not None:
        return extract_to_file(Path(parameters["output"]), series, steps, extraction_function, options)
    signals, aux = reduce_volumes(series, steps, extraction_function)
    internals.mask_logger("cleaning", verbose=verbose)
    cached = internals.cache(
        internals.clean,
        Memory(location=None) if memory is None else memory,
        func_memory_level=2,
        memory_level=memory_level,
    )
    signals = cached(signals, **options)
    return (signals.squeeze() if series.ndim == 3 and sklearn_output_config is None else signals), aux


def reduce_volumes(series: Any, steps: Steps, extraction_function: Callable) -> tuple[np.ndarray, object]:
    """Read an image once and reduce each of its volumes."""
    reduction, first = None, 0
    n_volumes = (*series.shape, 1)[3]
    for values in blocks_of(series, steps.block_bytes):
        block = steps.take(values)
        if reduction is None:
            reduction = prepare(extraction_function, block.stand_in(series), n_volumes)
        reduction.add(first, block.values)
        first += len(values)
    assert reduction is not None
    return reduction.result()


def filter_and_mask(
    imgs: object,
    mask_img_: object,
    parameters: Mapping[str, Any],
    memory_level: int = 0,
    memory: Memory | None = None,
    verbose: int = 0,
    confounds: object = None,
    sample_mask: object = None,
    copy: bool = True,
    **options: object,
) -> np.ndarray:
    """Extract the voxels of a mask, as nilearn's function of this name, of which it is a copy that goes through ours."""
    series = as_series(imgs)
    return internals.rebound(internals.filter_and_mask, filter_and_extract=filter_and_extract)(
        imgs if series is None else series,
        mask_img_,
        parameters,
        memory_level=memory_level,
        memory=memory,
        verbose=verbose,
        confounds=confounds,
        sample_mask=sample_mask,
        copy=copy,
        **options,
    )
