import gzip

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from nilearn import datasets, image

from roistream.errors import UserError
from roistream.samples import adhd, simulation
from simulate_adhd import simulate_adhd
from simulate_atlas import simulate_atlas

SUBJECT = "0010042"
N_VOLUMES = 60


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulated")
    simulate_adhd(folder / "run.nii.gz", folder / "regressors.csv", SUBJECT, N_VOLUMES, seed=0)
    return nib.load(folder / "run.nii.gz"), pd.read_csv(folder / "regressors.csv", sep="\t"), folder


@pytest.fixture(scope="module")
def brain():
    return simulation.template_brain(adhd.GRID, adhd.AFFINE) > 0


@pytest.fixture(scope="module")
def voxels(run, brain):
    """Time series of the brain, (n_voxels, n_volumes), and each voxel's parcel."""
    positions = simulation.voxel_positions(np.argwhere(brain), adhd.AFFINE)
    return np.asarray(run[0].dataobj)[brain], simulation.parcel_labels(positions, simulation.N_PARCELS, seed=0)


def test_brain_is_that_of_nilearn():
    grid, affine = (40, 48, 40), np.array([[4.0, 0, 0, -75], [0, 4, 0, -110], [0, 0, 4, -70], [0, 0, 0, 1]])
    expected = image.resample_img(
        datasets.load_mni152_brain_mask(resolution=1),
        target_affine=affine,
        target_shape=grid,
        interpolation="nearest",
        force_resample=True,
        copy_header=True,
    )
    brain = simulation.template_brain(grid, affine)
    assert np.array_equal(brain > 0, np.asarray(expected.dataobj) > 0)
    assert brain.max() <= 1


def test_brain_has_the_size_of_the_adhd_datas(brain):
    # nilearn's 3 mm mask on this grid has 69,765 voxels.
    assert brain.sum() == pytest.approx(69_765, rel=2e-3)


def test_header_is_the_adhd_datas(run):
    loaded = run[0]
    assert loaded.shape == (*adhd.GRID, N_VOLUMES)
    assert loaded.get_data_dtype() == np.dtype("<f4")
    assert np.array_equal(loaded.affine, adhd.AFFINE)
    for affine, code in (loaded.get_sform(coded=True), loaded.get_qform(coded=True)):
        assert np.allclose(affine, adhd.AFFINE)
        assert code == 4
    assert loaded.header.get_zooms() == (3, 3, 3, 2)
    assert loaded.header["pixdim"][4] == adhd.T_R
    assert loaded.header.get_xyzt_units() == ("mm", "sec")


def test_zeros_outside_and_positive_inside_the_brain(run, brain):
    data = np.asarray(run[0].dataobj)
    assert not data[~brain].any()
    assert data[brain].min() > 0
    assert np.isfinite(data).all()


def test_compresses_as_the_adhd_data_do(run):
    megabytes = (run[2] / "run.nii.gz").stat().st_size / 1e6
    assert 44 < megabytes * 176 / N_VOLUMES < 48


def test_gzip_streams_tell_neither_time_nor_name(run):
    header = (run[2] / "run.nii.gz").read_bytes()[:8]
    assert header == b"\x1f\x8b\x08\x00\x00\x00\x00\x00"


def test_same_bytes_again_whatever_the_block(tmp_path):
    for name, block_volumes in (("a", 5), ("b", 2), ("c", 1)):
        simulation.simulate_run(tmp_path / f"{name}.nii.gz", SUBJECT, 5, 0, block_volumes)
    contents = {gzip.decompress(path.read_bytes()) for path in tmp_path.iterdir()}
    assert len(contents) == 1
    simulation.simulate_run(tmp_path / "d.nii.gz", SUBJECT, 5, 0, 2)
    assert (tmp_path / "d.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_seed_and_subject_matter_but_not_the_length(tmp_path, run, brain):
    def first_volumes(subject, seed):
        simulation.simulate_run(tmp_path / "run.nii.gz", subject, 2, seed)
        return np.asarray(nib.load(tmp_path / "run.nii.gz").dataobj)[brain]

    longer = np.asarray(run[0].dataobj[..., :2])[brain]
    assert np.array_equal(first_volumes(SUBJECT, 0), longer)
    assert not np.isclose(first_volumes("0010064", 0), longer).all()
    assert not np.isclose(first_volumes(SUBJECT, 1), longer).all()


def test_voxels_of_a_parcel_go_together(voxels):
    series, parcels = voxels
    chosen = np.concatenate([np.flatnonzero(parcels == label)[:40] for label in (3, 20, 50)])
    correlations = np.corrcoef(series[chosen]).reshape(3, 40, 3, 40)
    within = [correlations[a, :, a][np.triu_indices(40, 1)].mean() for a in range(3)]
    between = [correlations[a, :, b].mean() for a, b in ((0, 1), (0, 2), (1, 2))]
    assert min(within) > 0.12
    assert min(within) > max(between) + 0.08


def test_parcel_signals_are_slow():
    signals = simulation.band_limited(np.random.default_rng(0), 20, 500, simulation.SLOW_BAND)
    frequencies = np.fft.rfftfreq(500, adhd.T_R)
    power = (abs(np.fft.rfft(signals * np.hanning(500)[:, None], axis=0)) ** 2).sum(axis=1)
    inside = (frequencies > 0.008) & (frequencies < 0.102)
    assert power[inside].sum() > 0.99 * power.sum()
    assert signals.std() == pytest.approx(1, rel=0.1)


def test_regressors_have_the_columns_and_rows_of_the_adhd_data(run):
    regressors = run[1]
    assert list(regressors.columns) == list(adhd.REGRESSORS)
    assert len(regressors) == N_VOLUMES
    assert np.isfinite(regressors.to_numpy()).all()
    assert (regressors["constant"] == 1).all()
    assert np.array_equal(regressors["linearTrend"], np.arange(N_VOLUMES))


def test_tissue_regressors_are_means_of_the_data(run, brain, voxels):
    regressors, intensity = run[1], simulation.template_brain(adhd.GRID, adhd.AFFINE)[brain]
    assert np.allclose(regressors["global"], voxels[0].mean(axis=0, dtype=float))
    low, high = simulation.TISSUE_BOUNDS
    assert np.allclose(regressors["csf"], voxels[0][intensity < low].mean(axis=0, dtype=float))
    assert np.allclose(regressors["wm"], voxels[0][intensity >= high].mean(axis=0, dtype=float))
    assert (regressors["csf"] < regressors["gm"]).all()
    assert (regressors["gm"] < regressors["wm"]).all()


def test_cleaning_removes_what_the_regressors_tell(run, voxels):
    series = voxels[0][::20].T
    percent = 100 * (series / series.mean(axis=0) - 1)
    confounds = run[1].to_numpy()
    cleaned = percent - confounds @ np.linalg.lstsq(confounds, percent, rcond=None)[0]
    own_signal = np.hypot(simulation.NOISE, simulation.PARCEL)
    # The regressors take degrees of freedom of the voxel's own signal, too.
    expected = own_signal * np.sqrt(1 - confounds.shape[1] / N_VOLUMES)
    assert np.median(cleaned.std(axis=0)) == pytest.approx(expected, rel=0.05)
    assert np.median(percent.std(axis=0)) > 1.05 * own_signal


def test_real_length_without_a_length(tmp_path):
    simulate_adhd(tmp_path / "run.nii.gz", tmp_path / "regressors.csv", "0023008", None, seed=0)
    assert nib.load(tmp_path / "run.nii.gz").shape[3] == 77
    assert len(pd.read_csv(tmp_path / "regressors.csv", sep="\t")) == 77


def test_unknown_subject_without_a_length(tmp_path):
    with pytest.raises(UserError, match="'nobody' is no subject"):
        simulate_adhd(tmp_path / "run.nii.gz", tmp_path / "regressors.csv", "nobody", None, seed=0)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("n_volumes", [1, 2])
def test_shortest_runs(tmp_path, n_volumes):
    regressors = simulation.simulate_run(tmp_path / "run.nii.gz", SUBJECT, n_volumes, seed=0)
    assert all(len(values) == n_volumes and np.isfinite(values).all() for values in regressors.values())


@pytest.mark.parametrize("n_parcels", [7, 12, 64, 197, 444])
def test_atlas_has_every_label_and_similar_sizes(n_parcels):
    labels = simulation.simulate_labels(n_parcels, seed=0)
    sizes = np.bincount(labels.ravel())[1:]
    assert len(sizes) == n_parcels
    assert sizes.min() > 0.4 * sizes.mean()
    assert sizes.max() < 2.5 * sizes.mean()


def test_atlas_has_bascs_geometry_and_lies_in_the_brain(tmp_path):
    simulate_atlas(tmp_path / "atlas.nii.gz", 12, seed=0)
    atlas = nib.load(tmp_path / "atlas.nii.gz")
    assert atlas.shape == (53, 64, 52)
    assert atlas.get_data_dtype() == np.dtype("<i2")
    assert np.array_equal(atlas.affine, [[3, 0, 0, -78], [0, 3, 0, -112], [0, 0, 3, -68], [0, 0, 0, 1]])
    inside = simulation.template_brain(simulation.ATLAS_GRID, simulation.ATLAS_AFFINE) > 0
    assert np.array_equal(np.asarray(atlas.dataobj) > 0, inside)


def test_parcels_are_compact(tmp_path):
    labels = simulation.simulate_labels(64, seed=0)
    for label in (1, 30, 64):
        positions = simulation.voxel_positions(np.argwhere(labels == label), simulation.ATLAS_AFFINE)
        distances = np.linalg.norm(positions - positions.mean(axis=0), axis=1)
        radius_of_a_ball = (3 * 27 * len(positions) / (4 * np.pi)) ** (1 / 3)
        assert distances.max() < 2.2 * radius_of_a_ball


def test_atlas_is_reproducible_and_depends_on_the_seed(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        simulate_atlas(tmp_path / f"{name}.nii.gz", 36, seed)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()
    assert (tmp_path / "a.nii.gz").read_bytes() != (tmp_path / "c.nii.gz").read_bytes()


def test_signals_follow_the_atlas_of_64(voxels, brain):
    """But for borders, the atlas resampled to the runs' grid gives the parcels behind the data."""
    resampled = image.resample_img(
        nib.Nifti1Image(simulation.simulate_labels(64, seed=0), simulation.ATLAS_AFFINE),
        target_affine=adhd.AFFINE,
        target_shape=adhd.GRID,
        interpolation="nearest",
        force_resample=True,
        copy_header=True,
    )
    labels = np.asarray(resampled.dataobj)[brain]
    known = labels > 0
    assert known.mean() > 0.9
    assert (labels[known] == voxels[1][known]).mean() > 0.85
