"""Volumes that are left out: how they are written, and what nilearn's filter makes of them."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nilearn import signal

from roistream.cleaning.left_out import (
    LeftOut,
    beyond,
    join_left_out,
    misplaced,
    outside_of,
    parse_sample_mask,
    span,
    unfilled,
    within,
)
from roistream.cleaning.options import Cleaning
from roistream.cleaning.signals import clean_signals, clean_time_series
from roistream.errors import UserError

N_VOLUMES = 60

kept_volumes = st.sets(st.integers(0, N_VOLUMES - 1), min_size=40).map(lambda some: np.array(sorted(some), np.int64))


@given(st.sets(st.integers(0, 300), min_size=1), st.sampled_from([" ", ",", ", ", ";", "\n"]))
def test_sample_masks_as_text(volumes, separator):
    ordered = np.array(sorted(volumes))
    blocks = np.split(ordered, np.flatnonzero(np.diff(ordered) > 1) + 1)
    text = separator.join(str(block[0]) if block.size == 1 else f"{block[0]}-{block[-1]}" for block in blocks)
    assert parse_sample_mask(text).tolist() == ordered.tolist()
    assert outside_of(ordered, 301, "it") == tuple(sorted(set(range(301)) - volumes))


def test_all_volumes():
    assert [parse_sample_mask(text) for text in ("", "n/a", "all")] == [None] * 3
    assert outside_of(None, 5, "it") == ()


@pytest.mark.parametrize("text", ["none", "3-1", "1-", "-4", "1.5", "0-3-5", "1 x", "9999999999"])
def test_what_is_no_sample_mask(text):
    with pytest.raises(UserError, match="give the volumes that are kept"):
        parse_sample_mask(text)


def test_a_volume_that_there_is_not():
    with pytest.raises(UserError, match="The mask keeps volume 10, but there are 10, from 0 to 9"):
        outside_of(np.array([3, 10]), 10, "The mask")


def test_reasons_and_runs():
    first, second = LeftOut(5, {"drop_first": (0, 1), "scrubbing": (1, 4)}), LeftOut(3, {"scrubbing": (2,)})
    assert first.volumes == [0, 1, 4]
    assert first.kept.tolist() == [2, 3]
    assert span(LeftOut(9, {"x": (0, 4, 8)})) == 7
    assert span(LeftOut(3, {"x": (0, 1)})) == 0
    both = join_left_out([first, second])
    assert both == LeftOut(8, {"drop_first": (0, 1), "scrubbing": (1, 4, 7)})
    assert beyond(np.array([np.nan, 0.5, 0.6]), 0.5) == (2,)


@settings(max_examples=60, deadline=None)
@given(kept_volumes)
def test_what_nilearn_does_not_fill(kept):
    """Told from what its own function leaves of huge values in the gaps."""
    gaps = np.setdiff1d(np.arange(N_VOLUMES), kept)
    volumes = np.zeros((N_VOLUMES, 1))
    volumes[gaps] = 1e9
    found = signal._interpolate_volumes(volumes, kept, 2.0, False)
    assert np.flatnonzero(found[:, 0] == 1e9).tolist() == unfilled(kept, N_VOLUMES).tolist()
    values = np.arange(float(N_VOLUMES))[:, None]
    signals, _, places = signal._handle_scrubbed_volumes(values.copy(), None, kept.copy(), "butterworth", 2.0, False)
    right = places[-1] < len(signals) and np.allclose(signals[places], values[kept])
    assert right != misplaced(kept, N_VOLUMES)


@settings(max_examples=60, deadline=None)
@given(
    kept=kept_volumes,
    dtype=st.sampled_from([np.float32, np.float64]),
    detrend=st.booleans(),
    low_pass=st.sampled_from([None, 0.1]),
    standardize=st.sampled_from([None, "zscore_sample", "psc"]),
    n_confounds=st.integers(0, 5),
    order=st.sampled_from("CF"),
)
def test_cleaning_is_that_of_nilearn(kept, dtype, detrend, low_pass, standardize, n_confounds, order):
    """To the bit; where nilearn would misplace volumes, as it cleans the run without those at its ends."""
    rng = np.random.default_rng(kept.size)
    values = np.asarray(500 + rng.normal(size=(N_VOLUMES, 5)).cumsum(axis=0), dtype, order=order)
    confounds = rng.normal(size=(N_VOLUMES, n_confounds)).cumsum(axis=0) if n_confounds else None
    options = {"detrend": detrend, "standardize": standardize, "low_pass": low_pass, "t_r": 2.0}
    left_out = LeftOut(N_VOLUMES, {"sample_mask": outside_of(kept, N_VOLUMES, "it")})
    cleaning = Cleaning(**options, confounds=confounds, left_out=(left_out,) if left_out.volumes else ())
    inside, sample_mask = slice(0, N_VOLUMES), kept
    if low_pass and misplaced(kept, N_VOLUMES):
        inside, sample_mask = within(kept)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = values.copy()
        expected = signal.clean(
            before[inside],
            confounds=None if confounds is None else confounds[inside],
            sample_mask=sample_mask if left_out.volumes else None,
            **options,
        )
        clean = clean_signals if order == "F" else clean_time_series
        found = clean(values.copy(order="K"), cleaning)
        again = clean(values.copy(order="K"), replace(cleaning, runs=None))
    assert np.array_equal(found, expected.astype(found.dtype))
    assert np.array_equal(found, again)  # nothing of it has changed the confounds or the volumes
    assert cleaning.kept_volumes(N_VOLUMES).tolist() == kept.tolist()
