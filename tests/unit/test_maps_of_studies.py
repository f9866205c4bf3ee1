"""Atlases of maps in a study: the signals of nilearn's NiftiMapsMasker, and what is told of each map."""

import json
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from extracted import save_names
from hypothesis import given, settings
from hypothesis import strategies as st
from nilearn.maskers import NiftiMapsMasker

from conftest import AFFINE, GRID, read_table, save_run
from extract_timeseries import extract_timeseries
from place_atlas import place_atlas
from roistream.errors import UserError
from roistream.regions.placed_maps import read_placed_maps

N_VOLUMES, N_MAPS = 30, 4
pytestmark = pytest.mark.filterwarnings("ignore:From release 0.14.0:DeprecationWarning")

COARSE = np.array([[-4.0, 0, 0, 10], [0, 4, 0, -13], [0, 0, 4, -7], [0, 0, 0, 1]])
NAMES = [f"region-{number}" for number in range(1, N_MAPS + 1)]


def make_maps(rng, grid=GRID):
    """Smooth blobs that overlap; the last one negative in part."""
    where = np.moveaxis(np.indices(grid), 0, -1)
    maps = np.zeros((*grid, N_MAPS), np.float32)
    for number in range(N_MAPS):
        centre = rng.uniform(1, np.array(grid) - 2)
        distance = np.linalg.norm(where - centre, axis=-1)
        maps[..., number] = np.where(distance < 2.6, 1.5 - distance / 2, 0)
    maps[..., -1] -= 0.5 * (maps[..., -1] > 0)
    return maps


def make_data(rng, dtype=np.float32):
    data = rng.normal(1000, 30, (*GRID, N_VOLUMES))
    return data.astype(dtype)


def save_maps(path, maps, affine=AFFINE):
    nib.Nifti1Image(maps, affine).to_filename(path)
    return path


def table_of(out, statistic="leastsquares"):
    return read_table(f"{out}_stat-{statistic}_timeseries.tsv")


def sidecar_of(out, statistic="leastsquares"):
    return json.loads(Path(f"{out}_stat-{statistic}_timeseries.json").read_text("utf-8"))


def coverage_of(out):
    [row] = read_table(f"{out}_stat-coverage_bold.tsv").to_numpy()
    return row


def nilearn_signals(atlas, run, cleaned=None, **options):
    masker = NiftiMapsMasker(atlas, **{"standardize": None, "reports": False, **options})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return masker.fit_transform(run, **(cleaned or {}))


@st.composite
def cases(draw):
    mask = draw(st.booleans())
    confounds = draw(st.booleans())
    return {
        "dtype": draw(st.sampled_from([np.float32, np.float64, np.int16])),
        "other_grid": draw(st.booleans()),
        "mask": mask,
        "confounds": confounds,
        "sample_mask": draw(st.booleans()),
        "smoothing": draw(st.sampled_from([None, 5.0])),
        "options": draw(
            st.sampled_from([{}, {"detrend": True}, {"standardize": "zscore_sample"}, {"high_pass": 0.03, "t_r": 2.0}])
        ),
        "few_at_a_time": draw(st.booleans()),
        "seed": draw(st.integers(0, 2**32 - 1)),
    }


@settings(max_examples=15, deadline=None)
@given(cases())
def test_like_nilearn(tmp_path_factory, case):
    """With confounds, volumes left out, a mask, smoothing: within 1e-6 of nilearn, and as close to the solution as it is."""
    folder, rng = tmp_path_factory.mktemp("maps"), np.random.default_rng(case["seed"])
    data = make_data(rng, case["dtype"])
    run = save_run(folder / "run.nii", data)
    atlas = save_maps(folder / "maps.nii.gz", make_maps(rng), COARSE if case["other_grid"] else AFFINE)
    given, ours = {"smoothing_fwhm": case["smoothing"], **case["options"]}, {}
    cleaned = {}
    if case["mask"]:
        mask = nib.Nifti1Image((rng.random(GRID) > 0.2).astype(np.uint8), AFFINE)
        mask.to_filename(folder / "mask.nii")
        given["mask_img"] = mask
        ours["masks"] = [folder / "mask.nii"]
    if case["confounds"]:
        confounds = rng.normal(size=(N_VOLUMES, 2))
        np.savetxt(folder / "confounds.tsv", confounds, header="a\tb", comments="", delimiter="\t")
        cleaned["confounds"] = np.loadtxt(folder / "confounds.tsv", skiprows=1)
        ours["confounds"] = [folder / "confounds.tsv"]
    if case["sample_mask"]:
        cleaned["sample_mask"] = np.arange(4, N_VOLUMES)
        ours["sample_masks"] = [f"4-{N_VOLUMES - 1}"]
    with pytest.MonkeyPatch.context() as patch:
        if case["few_at_a_time"]:
            patch.setattr("roistream.study.extraction.BLOCK_BYTES", 3 * data[..., 0].nbytes)
        extract_timeseries(
            *([run], atlas, str(folder / "out")),
            cleaning={"smoothing_fwhm": case["smoothing"], **case["options"]},
            **ours,
        )
    values = table_of(folder / "out")[NAMES].to_numpy()
    expected = nilearn_signals(atlas, run, cleaned, **given)
    assert values.shape == expected.shape
    # The same, computed in double precision by nilearn; its own float32 is further off.
    exact_run = nib.Nifti1Image(data.astype(float), AFFINE)
    exact = nilearn_signals(atlas, exact_run, cleaned, dtype="float64", **given)
    before = {name: value for name, value in given.items() if name not in case["options"]}
    raw = nilearn_signals(atlas, exact_run, dtype="float64", **before)
    unit = raw[4:].std(axis=0).min() / 2 if "standardize" in case["options"] else 1
    rounding = 1e-6 * np.abs(raw).max() / unit
    assert np.abs(values - exact).max() <= rounding
    assert np.abs(values - exact).max() <= np.abs(expected - exact).max() + rounding / 8
    assert np.abs(values - expected).max() <= 30 * rounding  # what nilearn's float32 leaves


@pytest.fixture
def study(tmp_path, rng):
    """A run, an atlas on a grid of its own, and how they are extracted."""
    run = save_run(tmp_path / "run.nii.gz", make_data(rng))
    return tmp_path, run, save_maps(tmp_path / "maps.nii.gz", make_maps(rng), COARSE)


def test_placed_once_it_gives_the_same(study):
    """The placed atlas is a sparse array, which jobs read without resampling again."""
    folder, run, atlas = study
    placed = [folder / name for name in ("maps_probseg.npz", "regions.tsv", "coverage.npy")]
    place_atlas(atlas, run, *placed)
    extract_timeseries([run], placed[0], str(folder / "placed"), placed=placed[1:])
    extract_timeseries([run], atlas, str(folder / "here"))
    for ending in ("stat-leastsquares_timeseries.tsv", "stat-coverage_bold.tsv"):
        assert Path(f"{folder}/placed_{ending}").read_bytes() == Path(f"{folder}/here_{ending}").read_bytes()
    found = sidecar_of(folder / "placed")
    assert (found["AtlasKind"], found["AtlasSource"], found["Statistic"]) == ("maps", str(atlas), "leastsquares")
    assert found["Fingerprint"] == sidecar_of(folder / "here")["Fingerprint"]
    masker = NiftiMapsMasker(atlas, standardize=None).fit(run)
    columns = read_placed_maps(*placed).columns
    assert np.array_equal(columns.toarray(), np.asarray(masker.maps_img_.dataobj).reshape(-1, N_MAPS, order="F"))
    assert placed[0].stat().st_size < 12 * columns.nnz + 2000


def test_regions_choose_columns_of_all_maps(study):
    """Their order is that of the table; what a region's signal is does not depend on which others are asked for."""
    folder, run, atlas = study
    extract_timeseries([run], atlas, str(folder / "all"))
    labels = save_names(folder / "names.tsv", {3: "precuneus", 1: "V1"})
    extract_timeseries([run], atlas, str(folder / "some"), labels=labels)
    extract_timeseries([run], atlas, str(folder / "keep"), regions=[9, 2], empty_regions="keep")
    whole, some = table_of(folder / "all"), table_of(folder / "some")
    assert list(some) == ["precuneus", "V1"]
    assert np.allclose(some, whole[["region-3", "region-1"]], rtol=1e-6)
    keep = table_of(folder / "keep")
    assert keep["region-9"].isna().all(), "there is no such map"
    assert np.allclose(keep["region-2"], whole["region-2"], rtol=1e-6)
    assert np.isnan(coverage_of(folder / "keep")[0])
    assert sidecar_of(folder / "keep")["RegionsMissing"] == ["region-9"]
    with pytest.raises(UserError, match="1 requested label"):
        extract_timeseries([run], atlas, str(folder / "out"), regions=[9, 2])


def test_coverage_is_a_share_of_the_weight(tmp_path, rng):
    """Within the image, within the mask, and with data; below min_coverage a column is n/a and changes no other."""
    maps = np.zeros((GRID[0] + 2, *GRID[1:], 2), np.float32)
    maps[0, 3, 2, 0], maps[5, 3, 2, 0], maps[6, 3, 2, 0], maps[2, 2, 2, 0] = 1, 2, 4, 3  # the last x two lie outside
    maps[1:3, 5, 1, 1] = 1, -1
    maps[3, 5, 1, 1] = 2
    data = make_data(rng)
    data[0, 3, 2] = 0
    run, atlas = save_run(tmp_path / "run.nii", data), save_maps(tmp_path / "maps.nii", maps)
    out = tmp_path / "out"
    extract_timeseries([run], atlas, str(out))
    assert coverage_of(out).tolist() == pytest.approx([0.5, 1])
    mask = np.ones(GRID, np.uint8)
    mask[5], mask[1] = 0, 0
    nib.Nifti1Image(mask, AFFINE).to_filename(tmp_path / "mask.nii")
    extract_timeseries([run], atlas, str(out), masks=[tmp_path / "mask.nii"], min_coverage=0.5)
    assert coverage_of(out).tolist() == pytest.approx([0.3, 0.75])
    assert table_of(out)["region-1"].isna().all()
    assert sidecar_of(out)["RegionsLowCoverage"] == ["region-1"]
    expected = nilearn_signals(atlas, run, mask_img=tmp_path / "mask.nii")
    assert np.allclose(table_of(out)["region-2"], expected[:, 1], rtol=1e-5)


def test_maps_without_data_are_told(tmp_path, rng):
    """Outside of the image, outside of the mask, or 0 there: n/a, while the others are what nilearn gives."""
    maps = np.zeros((*GRID, 4), np.float32)
    for number in range(4):
        maps[number, 2:5, 1:3, number] = 1
    data = make_data(rng)
    data[1], data[2:4] = 0, 7
    data[3, 2, 1] = np.nan
    run, atlas = save_run(tmp_path / "run.nii", data), save_maps(tmp_path / "maps.nii", maps)
    out = tmp_path / "out"
    extract_timeseries([run], atlas, str(out))
    found = table_of(out)
    assert found["region-2"].isna().all()
    assert not found[["region-1", "region-3", "region-4"]].isna().any(axis=None)
    told = sidecar_of(out)
    assert told["RegionsMissing"] == ["region-2"]
    assert told["ConstantRegions"] == ["region-3", "region-4"]
    assert told["ConstantVoxels"] == 11
    assert told["ValuesNotFinite"] == N_VOLUMES


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"statistics": ["median"]}, "median is not possible with an atlas of maps"),
        ({"save_voxels": True}, "save_voxels is not possible with an atlas of maps"),
    ],
)
def test_what_maps_cannot(study, options, message):
    folder, run, atlas = study
    with pytest.raises(UserError, match=message):
        extract_timeseries([run], atlas, str(folder / "out"), **options)
    assert not list(folder.glob("out*"))


def test_an_atlas_of_nothing(study):
    folder, run, _ = study
    atlas = save_maps(folder / "nothing.nii", np.zeros((*GRID, 3), np.float32))
    with pytest.raises(UserError, match="holds no map"):
        extract_timeseries([run], atlas, str(folder / "out"))


def test_several_runs_are_one_image(study, rng):
    """Each cleaned by itself."""
    folder, run, atlas = study
    other = save_run(folder / "other.nii", make_data(rng, np.int16))
    extract_timeseries([run, other], atlas, str(folder / "both"), cleaning={"detrend": True})
    for number, each in enumerate((run, other)):
        extract_timeseries([each], atlas, str(folder / "one"), cleaning={"detrend": True})
        rows = table_of(folder / "both")[number * N_VOLUMES :][:N_VOLUMES]
        assert np.allclose(rows, table_of(folder / "one"), atol=1e-3)
