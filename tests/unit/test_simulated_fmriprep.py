"""The example study: what nilearn reads of it, what a listing finds in it, and its odd runs."""

import hashlib
import warnings

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from nilearn.interfaces.fmriprep import load_confounds_strategy

from roistream.errors import UserError
from roistream.samples.fmriprep import SPACES, simulate_fmriprep
from roistream.study.pipelines import find_runs
from simulate_fmriprep import ATLAS, make_example_study

N_VOLUMES = 80
MNI = "MNI152NLin2009cAsym"


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("example")
    make_example_study(folder, n_subjects=3, n_sessions=2, spaces=list(SPACES), n_volumes=N_VOLUMES)
    return folder


@pytest.fixture(scope="module")
def dataset(study):
    return study / "derivatives" / "fmriprep"


def bold(dataset, number, space=MNI):
    """Give one of the six runs, by its number."""
    stem = f"sub-{number // 2 + 1:02}_ses-{number % 2 + 1}_task-rest_space-{space}"
    kind = "smoothAROMAnonaggr" if space == "MNI152NLin6Asym" else "preproc"
    return dataset / stem[:6] / stem[7:12] / "func" / f"{stem}_desc-{kind}_bold.nii.gz"


def load(run, strategy, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nilearn's own remarks
        return load_confounds_strategy(str(run), strategy, **options)


@pytest.mark.parametrize("strategy", ["simple", "scrubbing", "compcor", "ica_aroma"])
def test_nilearn_reads_the_confounds(dataset, strategy):
    space = "MNI152NLin6Asym" if strategy == "ica_aroma" else "T1w"
    widths, left = set(), []
    for number in range(4):
        table, sample_mask = load(bold(dataset, number, space), strategy)
        assert len(table) == N_VOLUMES
        assert not table.isna().any(axis=None)
        assert {name[:6] for name in table} >= {"cosine"}
        widths.add(table.shape[1])
        left.append(N_VOLUMES if sample_mask is None else len(sample_mask))
    assert len(set(left)) > 1  # runs differ in what is left out
    if strategy == "scrubbing":
        assert left[3] < N_VOLUMES / 4 < min(left[:3])  # the last one is restless
    assert len(widths) <= 2  # of the cosines there may be one more in some runs


def test_other_masks_of_compcor(dataset):
    table, _ = load(bold(dataset, 0), "compcor", compcor="anat_separated", n_compcor=3)
    assert {name for name in table if "comp_cor" in name} == {
        f"{tissue}_comp_cor_{number:02}" for tissue in "cw" for number in range(3)
    }
    table, _ = load(bold(dataset, 0), "compcor", compcor="temporal", n_compcor=2)
    assert {name for name in table if "comp_cor" in name} == {"t_comp_cor_00", "t_comp_cor_01"}


def test_tables_look_like_those_of_fmriprep(dataset):
    tables = [pd.read_csv(path, sep="\t") for path in sorted(dataset.rglob("*_desc-confounds_timeseries.tsv"))]
    assert len(tables) == 5
    for table in tables:
        missing = table.columns[table.isna().any()]
        assert set(missing) >= {"trans_x_derivative1", "framewise_displacement", "std_dvars"}
        assert table[missing].iloc[1:].notna().all(axis=None)
        outliers = [name for name in table if name.startswith("motion_outlier")]
        beyond = (table["framewise_displacement"] > 0.5) | (table["std_dvars"] > 1.5)
        assert np.array_equal(beyond, table[outliers].sum(axis=1) == 1)
        unsteady = [name for name in table if name.startswith("non_steady_state_outlier")]
        assert (table.loc[: len(unsteady) - 1, "cosine00"] == 0).all()
        assert table.loc[len(unsteady), "cosine00"] != 0
    assert len({len(table.columns) for table in tables}) > 1


def test_images_fit_together(dataset):
    """The spaces of a run lie on different grids, show the same brain and say where they lie; masks tell the voxels with data."""
    sizes = []
    for space, (grid, affine, _) in SPACES.items():
        image = nib.load(bold(dataset, 0, space))
        assert image.shape == (*grid, N_VOLUMES)
        assert np.array_equal(image.affine, affine)
        assert image.header.get_zooms()[3] == 2
        assert image.get_sform(coded=True)[1] == (1 if space == "T1w" else 4)
        name = bold(dataset, 0, space).name.split("_desc-")[0]
        mask = nib.load(bold(dataset, 0, space).with_name(f"{name}_desc-brain_mask.nii.gz"))
        data, inside = np.asarray(image.dataobj), np.asarray(mask.dataobj) > 0
        assert (data[inside] > 0).all()
        assert (data[~inside] == 0).all()
        sizes.append(inside.sum())
    assert max(sizes) < 1.3 * min(sizes)
    assert not np.array_equal(*(nib.load(bold(dataset, number, "T1w")).dataobj[..., 0] for number in (0, 2)))


def test_parcels_share_a_signal(study, dataset):
    """The mean of an atlas's parcel is more than noise, in MNI space."""
    atlas, image = nib.load(study / f"{ATLAS}.nii.gz"), nib.load(bold(dataset, 0))
    data = np.asarray(image.dataobj)
    voxels = np.argwhere(data[..., 0] > 0)
    places = np.rint(nib.affines.apply_affine(np.linalg.inv(atlas.affine) @ image.affine, voxels)).astype(int)
    inside = (places < atlas.shape).all(axis=1) & (places >= 0).all(axis=1)
    labels = np.asarray(atlas.dataobj)[tuple(places[inside].T)]
    series = data[tuple(voxels[inside].T)]
    series = (series - series.mean(axis=1, keepdims=True)) / series.std(axis=1, keepdims=True)
    series -= series.mean(axis=0)  # without what all share
    variance = [series[labels == label].mean(axis=0).var() for label in np.unique(labels[labels > 0])]
    rng = np.random.default_rng(0)
    shuffled = [series[rng.permutation(labels) == label].mean(axis=0).var() for label in np.unique(labels[labels > 0])]
    assert np.median(variance) > 5 * np.median(shuffled)


def test_odd_runs(dataset):
    nib.load(bold(dataset, 0)).get_fdata()
    for space in SPACES:
        with pytest.raises((EOFError, OSError, ValueError)):
            nib.load(bold(dataset, 5, space)).get_fdata()
    with pytest.raises(ValueError, match="confound file"):
        load(bold(dataset, 4), "simple")


def test_a_listing_finds_the_runs(dataset):
    with pytest.raises(UserError, match="1 of 6 runs have no table of confounds"):
        find_runs([dataset], filters={"space": [MNI]})
    runs = find_runs([dataset], filters={"space": [MNI], "subject": ["01", "02"]})
    assert [run.path.name for run in runs] == [bold(dataset, number).name for number in range(4)]
    assert all(run.confounds is not None and run.confounds.is_file() for run in runs)


def test_equal_arguments_give_equal_bytes(tmp_path):
    options = {"n_subjects": 2, "n_sessions": 0, "spaces": ["T1w"], "n_volumes": 40, "odd_runs": False}
    for name, more in (("a", {}), ("b", {}), ("c", {"n_subjects": 1})):
        simulate_fmriprep(tmp_path / name, **{**options, **more})
    digests = {
        name: {
            str(path.relative_to(tmp_path / name)): hashlib.sha256(path.read_bytes()).digest()
            for path in (tmp_path / name).rglob("*")
            if path.is_file()
        }
        for name in "abc"
    }
    assert digests["a"] == digests["b"]
    assert "sub-02/func/sub-02_task-rest_desc-confounds_timeseries.tsv" in digests["a"]
    assert digests["c"].items() < digests["a"].items()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n_subjects": 1, "n_sessions": 2}, "more subjects"),
        ({"n_volumes": 39}, "ask for 40"),
        ({"spaces": ["MNI"]}, "choose from T1w"),
    ],
)
def test_what_cannot_be_made(tmp_path, options, words):
    with pytest.raises(UserError, match=words):
        simulate_fmriprep(tmp_path, **options)
    assert not list(tmp_path.iterdir())
