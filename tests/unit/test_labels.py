"""Label reductions: every statistic is, to the last bit and in its type, what nilearn's NiftiLabelsMasker gives."""

from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from nilearn.image import resample_to_img
from nilearn.maskers import NiftiLabelsMasker

from conftest import AFFINE, GRID, save_run
from roistream.cleaning.options import Cleaning
from roistream.cleaning.prepare import shortest_filtered
from roistream.cleaning.signals import clean_signals
from roistream.images.series import open_series
from roistream.regions.coverage import Region
from roistream.regions.labels import STATISTICS, LabelReduction, locate_regions, signal_dtype
from roistream.regions.placed import PlacedAtlas
from roistream.study import extraction
from roistream.study.extraction import clean

# nilearn's own remarks on its defaults, on unwise combinations of options, on 64-bit integers and values that are not finite.
pytestmark = [
    *(pytest.mark.filterwarnings(f"ignore::{kind}") for kind in ("UserWarning", "DeprecationWarning", "FutureWarning")),
    pytest.mark.filterwarnings("ignore:.*(divide|cast|invalid value|overflow):RuntimeWarning"),
]

NOTHING = Cleaning()
EVERYTHING = {"detrend": True, "high_pass": 0.02, "t_r": 2.0, "standardize": "zscore_sample"}
LABELS = (1, 2, 3, 40, 614_454_277)
STORED = {
    "float32": ("<f4", None),
    "float64": ("<f8", None),
    "int8": ("i1", None),
    "uint8": ("u1", None),
    "int16": ("<i2", None),
    "uint16": ("<u2", None),
    "int32": ("<i4", None),
    "int64": ("<i8", None),
    "uint64": ("<u8", None),
    "scaled uint8": ("u1", (0.5, -3.0)),
    "scaled int16": ("<i2", (0.0754, 3100.76)),
    "int16 plus an intercept": ("<i2", (1.0, 5.0)),
    "scaled float32": ("<f4", (2.0, 1.5)),
    "big-endian float32": (">f4", None),
    "big-endian float64": (">f8", None),
    "big-endian int16": (">i2", None),
    "big-endian scaled int16": (">i2", (0.01, -3.0)),
}


def save_stored(path, stored, scaling):
    """Save an array as it is, with the scaling only in the header."""
    header = nib.Nifti1Header(endianness=">" if stored.dtype.byteorder == ">" else "<")
    header.set_data_shape(stored.shape)
    header.set_data_dtype(stored.dtype)
    header.set_sform(AFFINE, code=1)
    header["pixdim"][4] = 2
    if scaling:
        header["scl_slope"], header["scl_inter"] = scaling
    header["vox_offset"] = 352
    path.write_bytes(header.binaryblock + b"\0" * 4 + stored.tobytes(order="F"))
    return path


def values_of(rng, stored, shape, not_finite=0.0):
    """Make values that the stored type can hold, beyond the bits that a narrower type keeps."""
    dtype = np.dtype(stored)
    if dtype.kind != "f":
        top = min(np.iinfo(dtype).max, 2**60)
        return rng.integers(max(np.iinfo(dtype).min, -top), top, shape).astype(dtype)
    values = rng.normal(1000, 100, shape).astype(dtype)
    for value in (np.nan, np.inf, -np.inf):
        values[rng.random(shape) < not_finite / 3] = value
    return values


def nilearn_signals(image, labels, wanted, statistic, cleaning, affine=AFFINE, rows=slice(None)):
    """Let nilearn extract the wanted regions of one run; regions that are not on the grid get NaN.

    nilearn's columns go by ascending labels.
    """
    confounds = None if cleaning.confounds is None else cleaning.confounds[rows]
    masker = NiftiLabelsMasker(
        nib.Nifti1Image(np.where(np.isin(labels, wanted), labels, 0).astype(np.int32), affine),
        strategy=statistic,
        resampling_target=None,
        reports=False,
        **{key: value for key, value in cleaning.parameters().items() if key != "runs"},
        smoothing_fwhm=cleaning.smoothing_fwhm,
    )
    found = masker.fit_transform(image, confounds=confounds)
    present = sorted(set(wanted) & set(labels.ravel().tolist()))
    signals = np.full((len(found), len(wanted)), np.nan, found.dtype)
    signals[:, [wanted.index(label) for label in present]] = found
    return signals


def assert_same(found, expected):
    assert found.dtype == expected.dtype
    assert np.array_equal(found, expected, equal_nan=True)


@dataclass(frozen=True)
class Found:
    signals: dict
    n_holding_data: list
    n_constant: list
    n_not_finite: list


def extract(image, labels, wanted, statistics=STATISTICS, cleaning=NOTHING):
    """Extract from an image on whose grid the atlas lies; count the voxels that hold data by the coverage."""
    positions, regions = locate_regions(labels, wanted)
    atlas_voxels = np.column_stack([regions, positions])
    source = open_series([image])
    placed = PlacedAtlas(labels, [Region(label, str(label), 0, 0, 0.0, "ok") for label in wanted], atlas_voxels)
    found = extraction.extract(source, placed.prepare(statistics, source.n_volumes), cleaning.smoothing_fwhm)
    n_voxels = np.bincount(regions, minlength=len(wanted))
    assert found.n_voxels.tolist() == n_voxels.tolist()
    signals = {name: clean(found.signals[name], wanted, cleaning) for name in statistics}
    holding = np.rint(np.nan_to_num(found.coverage) * n_voxels).astype(int)
    return Found(signals, holding.tolist(), found.n_constant.tolist(), found.n_not_finite.tolist())


@st.composite
def cleanings(draw, n_volumes, n_runs):
    with_confounds = draw(st.booleans())
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    bands = [(None, None), (0.1, None), (None, 0.02), (0.1, 0.02)]
    able = [band for band in bands if n_volumes // n_runs > shortest_filtered(*band)]
    low_pass, high_pass = draw(st.sampled_from(able))
    return Cleaning(
        smoothing_fwhm=draw(st.sampled_from([None, None, 5.0])),
        detrend=draw(st.booleans()),
        standardize=draw(st.sampled_from([None, "zscore_sample", "psc"])),
        standardize_confounds=draw(st.booleans()) if with_confounds and n_runs == 1 else True,
        low_pass=low_pass,
        high_pass=high_pass,
        t_r=2.0,
        confounds=rng.standard_normal((n_volumes, 3)).cumsum(axis=0) if with_confounds else None,
        runs=None if n_runs == 1 else np.repeat(np.arange(n_runs), np.diff(ends_of(n_volumes, n_runs))),
    )


def ends_of(n_volumes, n_runs):
    return np.linspace(0, n_volumes, n_runs + 1).astype(int)


@st.composite
def cases(draw):
    n_runs = draw(st.sampled_from([1, 1, 2, 3]))
    n_volumes = draw(st.sampled_from([n_runs, 7, 50, 110]))
    return {
        "stored": draw(st.sampled_from(list(STORED))),
        "grid": tuple(draw(st.lists(st.integers(1, 6), min_size=3, max_size=3))),
        "n_runs": n_runs,
        "n_volumes": n_volumes,
        "wanted": draw(st.permutations(LABELS).flatmap(lambda some: st.integers(1, 5).map(lambda n: some[:n]))),
        "statistics": draw(st.permutations(STATISTICS))[:3],
        "cleaning": draw(st.one_of(st.just(NOTHING), cleanings(n_volumes, n_runs))),
        "not_finite": draw(st.sampled_from([0.0, 0.0, 0.05])),
        "block": draw(st.sampled_from([1, 3000, 2**22])),
        "seed": draw(st.integers(0, 2**32 - 1)),
    }


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=cases())
def test_every_statistic_is_that_of_nifti_labels_masker(tmp_path, case):
    rng = np.random.default_rng(case["seed"])
    dtype, scaling = STORED[case["stored"]]
    stored = values_of(rng, dtype, (*case["grid"], case["n_volumes"]), case["not_finite"])
    labels = rng.choice([0, *LABELS[:4], LABELS[4]], case["grid"]).astype(np.int32)
    labels[tuple(rng.integers(0, case["grid"]))] = case["wanted"][0]  # at least one region has a voxel
    runs = []
    for start, end in zip(*(ends_of(case["n_volumes"], case["n_runs"])[rows] for rows in np.s_[:-1, 1:]), strict=True):
        path = save_stored(tmp_path / f"run-{start}.nii", stored[..., start:end], scaling)
        runs.append((path, slice(start, end)))
    image = save_stored(tmp_path / "run.nii", stored, scaling)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extraction, "BLOCK_BYTES", case["block"])
        patch.setattr(extraction, "SMOOTHING_BLOCK_BYTES", case["block"])
        found = extract(image, labels, case["wanted"], case["statistics"], case["cleaning"])
    values = np.asarray(nib.load(image).dataobj)
    usable = np.isfinite(values) & (values != 0)
    without_data = [not usable[labels == label].any() for label in case["wanted"]]
    assert list(found.signals) == case["statistics"]
    for statistic, signals in found.signals.items():
        parts = [
            nilearn_signals(run, labels, case["wanted"], statistic, case["cleaning"], rows=rows) for run, rows in runs
        ]
        expected = np.concatenate(parts)
        # nilearn gives zeros for a region that has no data; here it has none either way.
        expected[:, without_data] = np.nan
        assert_same(signals, expected)
    for column, label in enumerate(case["wanted"]):
        inside = values[labels == label]
        finite = np.isfinite(inside)
        data = finite.all(axis=1) & (inside != 0).any(axis=1)
        counted = np.where(finite, inside, 0)
        constant = (counted == counted[:, :1]).all(axis=1) & (case["n_volumes"] > 1)
        assert found.n_not_finite[column] == (~finite).sum()
        assert found.n_holding_data[column] == data.sum()
        assert found.n_constant[column] == (constant & usable[labels == label].any(axis=1)).sum()


@pytest.mark.parametrize("cleaning", [NOTHING, Cleaning(**EVERYTHING)], ids=["plain", "cleaned"])
def test_a_real_run_with_a_real_atlas(shared_data, cleaning):
    """All 64 labels, all statistics; the atlas is put on the grid by nilearn."""
    image = shared_data / "sub-001_task-rest_bold.nii.gz"
    atlas = shared_data / "template_cambridge_basc_multiscale_sym_scale064.nii.gz"
    first = nib.load(image).slicer[..., 0]
    placed = resample_to_img(atlas, first, interpolation="nearest", copy_header=True, force_resample=True)
    labels = np.asarray(placed.dataobj).astype(np.int32)
    wanted = list(range(64, 0, -1))
    found = extract(image, labels, wanted, cleaning=cleaning)
    for statistic in STATISTICS:
        expected = nilearn_signals(image, labels, wanted, statistic, cleaning, first.affine)
        assert not np.isnan(expected).any()
        assert_same(found.signals[statistic], expected)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), absent=st.sets(st.integers(0, 7), max_size=8), dtype=st.sampled_from("fd"))
@example(seed=0, absent=set(range(8)), dtype="f")
def test_regions_that_are_absent_have_no_influence(seed, absent, dtype):
    signals = np.random.default_rng(seed).normal(100, 3, (40, 8)).astype(dtype)
    cleaning = Cleaning(standardize="psc", detrend=True, confounds=np.random.default_rng(1).random((40, 2)))
    present = [column for column in range(8) if column not in absent]
    expected = np.full_like(signals, np.nan)
    if present:
        expected[:, present] = clean_signals(np.asfortranarray(signals[:, present]), cleaning)
    signals[:, sorted(absent)] = np.nan
    assert_same(clean(signals, list(range(1, 9)), cleaning), expected)


def test_no_region_on_the_grid(tmp_path, rng):
    image = save_run(tmp_path / "run.nii", rng.standard_normal((*GRID, 9)).astype(np.float32))
    found = extract(image, np.full(GRID, 5, np.int32), [2, 1], cleaning=Cleaning(**EVERYTHING))
    for signals in found.signals.values():
        assert signals.dtype == np.float32
        assert signals.shape == (9, 2)
        assert np.isnan(signals).all()
    assert found.n_holding_data == found.n_constant == found.n_not_finite == [0, 0]


def test_data_are_looked_at_before_smoothing(tmp_path, rng):
    """Afterwards a value that is not finite, or a region of zeros, could not be told from others."""
    data = rng.standard_normal((*GRID, 9)).astype(np.float32)
    labels = np.zeros(GRID, np.int32)
    labels[1:3, 2, 2], labels[4, 4, 1:4] = 1, 2
    data[1, 2, 2, 3], data[4, 4, 1] = np.nan, 0
    found = extract(save_run(tmp_path / "run.nii", data), labels, [2, 1], ["mean"], Cleaning(smoothing_fwhm=6))
    assert (found.n_not_finite, found.n_holding_data) == ([0, 1], [2, 1])
    assert found.n_constant == [0, 0]  # a voxel of zeros is empty
    assert np.isfinite(found.signals["mean"]).all()


def test_a_value_beyond_the_signals_type_is_infinite_as_in_nilearn(tmp_path, rng):
    data = rng.normal(0, 1e30, (*GRID, 3)).astype(np.float32)
    labels = np.full(GRID, 7, np.int32)
    image = save_run(tmp_path / "run.nii", data)
    found = extract(image, labels, [7], ["variance", "mean"])
    for statistic, signals in found.signals.items():
        assert_same(signals, nilearn_signals(image, labels, [7], statistic, NOTHING))


def test_a_region_of_zeros_has_no_signal(tmp_path):
    image = save_run(tmp_path / "run.nii", np.zeros((*GRID, 60), np.float32))
    found = extract(image, np.ones(GRID, np.int32), [1], ["mean"], Cleaning(standardize="psc", high_pass=0.01, t_r=2.0))
    assert np.isnan(found.signals["mean"]).all()
    assert found.n_holding_data == [0]


def test_values_are_left_as_they_are():
    values = np.array([[1, 0, 3, 4.0]])
    values.flags.writeable = False
    reduction = LabelReduction(np.array([0, 0, 1, 1]), 2, STATISTICS)
    assert reduction.reduce(values)["median"].tolist() == [[0.5, 3.5]]


def test_the_type_of_signals():
    assert {stored: signal_dtype(np.dtype(stored)).name for stored in ("<f4", ">f4", "<f8", "<i2")} == {
        "<f4": "float32",
        ">f4": "float64",
        "<f8": "float64",
        "<i2": "float64",
    }


def test_the_real_scaled_run_of_nibabel(rng):
    image = Path(nib.__path__[0]) / "tests/data/functional.nii"
    loaded = nib.load(image)
    labels = rng.integers(0, 30, loaded.shape[:3]).astype(np.int32)
    wanted = [29, 3, 17, 31]
    found = extract(image, labels, wanted)
    for statistic in STATISTICS:
        assert_same(found.signals[statistic], nilearn_signals(image, labels, wanted, statistic, NOTHING, loaded.affine))
