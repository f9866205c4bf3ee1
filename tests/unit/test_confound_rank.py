"""What confounds take from a signal, held against what nilearn leaves of one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nilearn import signal

from roistream.cleaning.rank import look_at_confounds, odd_confounds, refuse_nothing_left, slow_cosines, tell_confounds
from roistream.errors import UserError

pytestmark = [pytest.mark.filterwarnings(f"ignore::{kind}") for kind in ("UserWarning", "DeprecationWarning")]

N_VOLUMES = 30
DETREND = {"detrend": True}


def look(values, options=DETREND, names=None):
    values = np.asarray(values, np.float64)
    return look_at_confounds(values, names or [f"c{number}" for number in range(values.shape[1])], "table.tsv", options)


@given(
    n_independent=st.integers(1, 34),
    n_dependent=st.integers(0, 5),
    detrend=st.booleans(),
    extra=st.sampled_from(["none", "constant", "line", "both"]),
    seed=st.integers(0, 999),
)
def test_what_is_left_is_what_nilearn_leaves(n_independent, n_dependent, detrend, extra, seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(N_VOLUMES, n_independent)).cumsum(axis=0)
    values = np.column_stack([values, values @ rng.normal(size=(n_independent, n_dependent))])
    if extra in ("constant", "both"):
        values = np.column_stack([values, np.full(N_VOLUMES, 4.0)])
    if extra in ("line", "both"):
        values = np.column_stack([values, np.arange(N_VOLUMES) * 0.5 + 3])
    found = look(values, {"detrend": detrend})
    # As many random signals as there are volumes span whatever is left.
    signals = rng.normal(size=(N_VOLUMES, N_VOLUMES))
    cleaned = signal.clean(signals, detrend=detrend, standardize=None, confounds=values)
    left = np.linalg.matrix_rank(cleaned - cleaned.mean(axis=0), tol=1e-6)
    # Rounding error of a line counts as a confound, here and there.
    assert abs(found.n_left - left) <= (detrend and extra in ("line", "both"))
    assert found.n_left == max(0, N_VOLUMES - 1 - detrend - found.rank)
    if n_independent < N_VOLUMES - 3:
        assert len(found.dependent) == n_dependent
    assert bool(found.constant) == (extra in ("constant", "both"))
    assert bool(found.linear) == (detrend and extra in ("line", "both"))


@pytest.mark.parametrize("n_confounds", [28, 29, 30, 60])
@pytest.mark.parametrize("detrend", [False, True])
def test_confounds_that_leave_nothing_are_refused(rng, n_confounds, detrend):
    found = look(rng.normal(size=(N_VOLUMES, n_confounds)), {"detrend": detrend})
    if n_confounds == 28 and not detrend:
        assert refuse_nothing_left(found) is None
        assert found.n_left == 1
        return
    with pytest.raises(UserError) as error:
        refuse_nothing_left(found)
    for part in ("table.tsv", f"{n_confounds} columns", f"rank {found.rank}", "30 volumes", "confound_columns"):
        assert part in str(error.value)
    assert ("linear trend" in str(error.value)) == detrend


def test_many_columns_that_are_few_leave_enough(rng):
    base = rng.normal(size=(N_VOLUMES, 3))
    found = look(base[:, rng.integers(0, 3, 90)] * rng.normal(size=90))
    assert (found.rank, found.n_left, len(found.dependent)) == (3, 25, 87)
    assert refuse_nothing_left(found) is None


def test_nothing_is_told_of_sound_confounds(rng):
    for options in ({}, DETREND, {"detrend": True, "high_pass": 0.01, "t_r": 2.0}, {"standardize_confounds": False}):
        assert odd_confounds(look(rng.normal(size=(200, 12)), options)) == []


def test_what_is_odd_is_named(rng):
    line, noise = np.arange(N_VOLUMES) * 0.0057 + 1, rng.normal(size=(N_VOLUMES, 2))
    values = np.column_stack([noise[:, 0], np.full(N_VOLUMES, 3.7), np.round(line, 7), noise[:, 1], noise.sum(axis=1)])
    names = ["csf", "constant", "linearTrend", "wm", "global"]
    found = look(values, DETREND, names)
    assert (found.constant, found.linear, found.dependent) == (("constant",), ("linearTrend",), ("global",))
    told = odd_confounds(found)
    assert len(told) == 3
    for name, word, text in zip(names[1:3] + names[4:], ("constant", "detrend", "columns before"), told, strict=True):
        assert name in text
        assert word in text
    found = look(values, {"detrend": False}, names)
    assert (found.constant, found.linear) == (("constant",), ())
    # Without their means removed, a column of ones removes that of the signal.
    assert look(values, {"detrend": False, "standardize_confounds": False}, names).constant == ()


@pytest.mark.parametrize("name", ["cosine03", "dct_4", "x"])
def test_signals_that_are_high_passed_twice(rng, name):
    cosine = 5 + 3 * slow_cosines(N_VOLUMES)[:, 3] if name != "cosine03" else rng.normal(size=N_VOLUMES)
    values = np.column_stack([rng.normal(size=N_VOLUMES), np.round(cosine, 8)])
    filtered = {"high_pass": 0.01, "t_r": 2.0}
    assert look(values, filtered, ["csf", name]).cosines == (name,)
    assert any("twice" in text and name in text for text in odd_confounds(look(values, filtered, ["csf", name])))
    assert look(values, {}, ["csf", name]).cosines == ()


def test_few_degrees_of_freedom_are_told(rng):
    assert "1 degrees of freedom" in odd_confounds(look(rng.normal(size=(N_VOLUMES, 27))))[0]
    band = {"high_pass": 0.01, "low_pass": 0.08, "t_r": 2.0}
    [told] = odd_confounds(look(rng.normal(size=(150, 45)), band))
    assert "filters let about 42 dimensions pass" in told
    assert "0 degrees of freedom" in told
    assert odd_confounds(look(rng.normal(size=(150, 24)), band)) == []


def test_what_is_true_of_many_tables_is_told_once(rng):
    found = look(np.column_stack([rng.normal(size=N_VOLUMES), np.arange(N_VOLUMES)]))
    told = []
    tell_confounds(
        [found, found, *[type(found)(**{**vars(found), "table": f"{n}.tsv"}) for n in range(3)]],
        lambda *a: told.append(a),
    )
    [[pattern, tables, oddity]] = told
    assert tables == "table.tsv and 3 more"
    assert "c1" in pattern % (tables, oddity)
