"""Atlases of spheres in a study: the signals of nilearn's NiftiSpheresMasker to the last bit, and the tables that name them."""

import json
import os
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nilearn.maskers import NiftiSpheresMasker

from conftest import AFFINE, GRID, read_table, save_run
from extract_timeseries import extract_timeseries
from place_atlas import place_atlas
from roistream.errors import UserError
from roistream.regions.kinds import kind_of_atlas
from roistream.regions.seeds import read_seeds

pytestmark = pytest.mark.filterwarnings("ignore:From release 0.14.0:DeprecationWarning")

N_VOLUMES = 20


def save_seeds(path, rows, columns="x\ty\tz\tradius\tname"):
    path.write_text("\n".join([columns, *("\t".join(map(str, row)) for row in rows)]) + "\n", "utf-8")
    return path


def table_of(out):
    return read_table(f"{out}_stat-mean_timeseries.tsv")


def sidecar_of(out):
    return json.loads(Path(f"{out}_stat-mean_timeseries.json").read_text("utf-8"))


def nilearn_signals(seeds, run, radius, cleaned=None, **options):
    masker = NiftiSpheresMasker(
        seeds, radius, **{"standardize": None, "reports": False, "allow_overlap": True, **options}
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return masker.fit_transform(run, **(cleaned or {}))


@settings(max_examples=15, deadline=None)
@given(
    dtype=st.sampled_from([np.float32, np.float64]),
    radius=st.sampled_from([None, 3.0, 4.5, 7.0]),
    masked=st.booleans(),
    cleaned=st.booleans(),
    options=st.sampled_from([{}, {"smoothing_fwhm": 5.0}, {"detrend": True, "standardize": "zscore_sample"}]),
    seed=st.integers(0, 2**32 - 1),
)
def test_like_nilearn(tmp_path_factory, dtype, radius, masked, cleaned, options, seed):
    folder, rng = tmp_path_factory.mktemp("spheres"), np.random.default_rng(seed)
    run = save_run(folder / "run.nii", rng.normal(1000, 30, (*GRID, N_VOLUMES)).astype(dtype))
    voxels = rng.integers(1, np.array(GRID) - 1, (5, 3))
    seeds = np.round(voxels @ AFFINE[:3, :3].T + AFFINE[:3, 3] + rng.uniform(-1.4, 1.4, (5, 3)), 2)
    given, ours, extra = dict(options), {}, {}
    if masked:
        mask = (rng.random(GRID) > 0.2).astype(np.uint8)
        mask[tuple(voxels.T)] = 1
        nib.Nifti1Image(mask, AFFINE).to_filename(folder / "mask.nii")
        given["mask_img"], ours["masks"] = folder / "mask.nii", [folder / "mask.nii"]
    if cleaned:
        np.savetxt(
            folder / "confounds.tsv", rng.normal(size=(N_VOLUMES, 2)), header="a\tb", comments="", delimiter="\t"
        )
        extra = {
            "confounds": np.loadtxt(folder / "confounds.tsv", skiprows=1),
            "sample_mask": np.arange(3, N_VOLUMES),
        }
        ours |= {"confounds": [folder / "confounds.tsv"], "sample_masks": [f"3-{N_VOLUMES - 1}"]}
    rows = [(*place, radius or "n/a", f"seed {number}") for number, place in enumerate(seeds)]
    atlas = save_seeds(folder / "seeds.tsv", rows)
    extract_timeseries([run], atlas, str(folder / "out"), cleaning=options, **ours)
    found = table_of(folder / "out")[[row[-1] for row in rows]].to_numpy()
    expected = nilearn_signals(seeds, run, radius, extra, **given)
    assert np.array_equal(found.astype(expected.dtype), expected)


@pytest.fixture
def study(tmp_path, rng):
    run = save_run(tmp_path / "run.nii.gz", rng.normal(1000, 30, (*GRID, N_VOLUMES)).astype(np.float32))
    return tmp_path, run


def place_of(*voxel):
    return (AFFINE @ [*voxel, 1])[:3].tolist()


def test_each_sphere_has_its_own_radius(study):
    """A sphere without one is a voxel; spheres that overlap are told; columns are named in the order of the rows."""
    folder, run = study
    seeds = [place_of(2, 3, 2), place_of(3, 3, 2), place_of(1, 5, 3)]
    atlas = save_seeds(
        folder / "seeds.tsv", [(*seeds[0], 3.5, "PCC"), (*seeds[1], 7, "mPFC"), (*seeds[2], "n/a", "LIPL")]
    )
    extract_timeseries([run], atlas, str(folder / "out"))
    found, told = table_of(folder / "out"), sidecar_of(folder / "out")
    for name, place, radius in zip(("PCC", "mPFC", "LIPL"), seeds, (3.5, 7, None), strict=True):
        assert np.array_equal(found[name].to_numpy(np.float32), nilearn_signals([place], run, radius)[:, 0])
    assert np.array_equal(found["LIPL"].to_numpy(np.float32), nib.load(run).get_fdata()[1, 5, 3].astype(np.float32))
    assert (told["AtlasKind"], told["AtlasSource"]) == ("spheres", str(atlas))
    assert told["Remarks"] == [f"{atlas}: 1 pair(s) of spheres share voxels, PCC and mPFC are the first"]
    placed = [folder / name for name in ("a_spheres.npz", "regions.tsv", "coverage.npy")]
    place_atlas(atlas, run, *placed)
    extract_timeseries([run], placed[0], str(folder / "placed"), placed=placed[1:])
    assert table_of(folder / "placed").equals(found)
    assert sidecar_of(folder / "placed")["Remarks"] == told["Remarks"]


def test_means_of_integers_are_no_integers(tmp_path, rng):
    """nilearn 0.13.1 gives whole numbers for an image that stores them, cut off; a mean is none."""
    data = rng.integers(0, 9, (*GRID, N_VOLUMES)).astype(np.int16)
    run = save_run(tmp_path / "run.nii", data)
    atlas = save_seeds(tmp_path / "seeds.tsv", [(*place_of(2, 3, 2), 3.5, "a")])
    extract_timeseries([run], atlas, str(tmp_path / "out"))
    expected = nilearn_signals([place_of(2, 3, 2)], nib.Nifti1Image(data.astype(float), AFFINE), 3.5)
    assert np.array_equal(table_of(tmp_path / "out")[["a"]], expected)


def test_coverage_and_what_lies_outside(study):
    """A sphere at the border is partial; one that lies outside is an error, or n/a."""
    folder, run = study
    rows = [
        (*place_of(0, 3, 2), 3.1, "border"),
        (*place_of(-9, 3, 2), 4, "outside"),
        (*place_of(3, 3, 2), 3.1, "inside"),
    ]
    atlas = save_seeds(folder / "seeds.tsv", rows)
    with pytest.raises(UserError, match=r"1 requested label.*: 2"):
        extract_timeseries([run], atlas, str(folder / "out"))
    extract_timeseries([run], atlas, str(folder / "out"), empty_regions="keep")
    [coverage] = read_table(f"{folder}/out_stat-coverage_bold.tsv").to_numpy()
    assert coverage.tolist() == pytest.approx([6 / 7, 0, 1], abs=1e-6)
    found = table_of(folder / "out")
    assert found["outside"].isna().all()
    assert np.array_equal(found["border"].to_numpy(np.float32), nilearn_signals([rows[0][:3]], run, 3.1)[:, 0])
    extract_timeseries([run], atlas, str(folder / "some"), regions=[3, 1])
    assert list(table_of(folder / "some")) == ["inside", "border"]
    mask = np.ones(GRID, np.uint8)
    mask[2:5] = 0
    nib.Nifti1Image(mask, AFFINE).to_filename(folder / "mask.nii")
    extract_timeseries([run], atlas, str(folder / "some"), regions=[3, 1], masks=[folder / "mask.nii"])
    assert table_of(folder / "some")["inside"].isna().all(), "no voxel inside of the mask"
    assert sidecar_of(folder / "some")["RegionsMissing"] == ["inside"]


def test_what_spheres_cannot(study):
    folder, run = study
    atlas = save_seeds(folder / "seeds.tsv", [(*place_of(2, 3, 2), 3, "a")])
    for options, message in (
        ({"statistics": ["mean", "median"]}, "median is not possible with an atlas of spheres, which has mean"),
        ({"save_voxels": True}, "save_voxels is not possible with an atlas of spheres"),
        ({"labels": atlas}, "has names itself"),
    ):
        with pytest.raises(UserError, match=message):
            extract_timeseries([run], atlas, str(folder / "out"), **options)


# Tables.


def test_tables(tmp_path):
    path = save_seeds(tmp_path / "seeds.csv", [(1, -2.5, "3e0", "z")], "x\ty\tz\tnote")
    [seed] = read_seeds(path)
    assert (seed.label, seed.name, seed.place, seed.radius) == (1, "region-1", (1.0, -2.5, 3.0), None)
    assert kind_of_atlas(path) == "spheres"
    assert kind_of_atlas(path.rename(tmp_path / "seeds")) == "spheres", "by its content"


@pytest.mark.parametrize(
    ("columns", "rows", "message"),
    [
        ("x\ty\tradius", [(1, 2, 3)], r"lacks the column 'z'.*its columns are x, y, radius"),
        ("x\ty\tz", [], "has no rows"),
        ("x\ty\tz", [(1, 2, "nan")], r"line 2: z 'nan'; give a number of mm"),
        ("x\ty\tz", [(1, "2_0", 3)], r"line 2: y '2_0'"),
        ("x\ty\tz\tradius", [(1, 2, 3, 0)], r"line 2: radius '0'; give a number of mm above 0"),
        ("x\ty\tz\tname", [(1, 2, 3, "a"), (1, 2, 3, "a")], r"line 3: the name 'a' occurs twice"),
        ("x\ty\tz\tname", [(1, 2, 3, ""), (1, 2, 3, "n/a")], r"2 problems; correct them:\nline 2: it has no name"),
    ],
)
def test_wrong_tables(tmp_path, columns, rows, message):
    with pytest.raises(UserError, match=message):
        read_seeds(save_seeds(tmp_path / "seeds.tsv", rows, columns))


@pytest.mark.parametrize(("make", "message"), [(Path.mkdir, "is a folder"), (os.mkfifo, "is a pipe")])
def test_what_is_no_file_is_told_before_it_is_opened(tmp_path, make, message):
    make(tmp_path / "atlas")
    with pytest.raises(UserError, match=message):
        kind_of_atlas(tmp_path / "atlas")
