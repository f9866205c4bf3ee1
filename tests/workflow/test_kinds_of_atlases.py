"""Studies with atlases of maps and of spheres, beside each other in one folder."""

import json
import warnings

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from nilearn.maskers import NiftiMapsMasker, NiftiSpheresMasker

from conftest import save_run
from roistream.study.matrices import read_matrix
from workflow.conftest import ATLAS_AFFINE, ATLAS_GRID, GRID, assert_no_traceback, plan, snakemake, write_table

AFFINES = {"one": np.diag([3.0, 3, 3, 1]), "two": np.diag([3.0, 3, 3, 1]), "three": np.diag([-3.2, 3, 3, 1])}
AFFINES["three"][0, 3] = 30
SEEDS = [(9.0, 9.0, 9.0), (20.5, 18.0, 12.0), (12.0, 27.0, 15.0)]
MAPS = {"dataset": "runs.tsv", "atlas": "maps.nii.gz", "regions": "all", "connectivity": ["correlation"]}
SPHERES = {"dataset": "runs.tsv", "atlas": "seeds.tsv", "regions": [3, 1], "cleaning": {"detrend": True}}
FOLDER = "derivatives/roistream"


def extract(masker, run):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return masker.fit_transform(run)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Three images on two grids, extracted with maps, then with spheres."""
    folder = tmp_path_factory.mktemp("kinds")
    rng = np.random.default_rng(3)
    for name, affine in AFFINES.items():
        save_run(folder / f"{name}.nii.gz", rng.normal(100, 5, (*GRID, 12)).astype(np.float32), affine)
    write_table(folder / "runs.tsv", [(name, f"{name}.nii.gz") for name in AFFINES])
    maps = np.zeros((*ATLAS_GRID, 5), np.float32)
    for number in range(5):
        maps[11:, number * 3 : number * 3 + 4, 4 + number : 9, number] = rng.random((5, 4, 5 - number))
    affine = ATLAS_AFFINE.copy()
    affine[:3, 3] = (-20, 0, 0)
    nib.Nifti1Image(maps, affine).to_filename(folder / "maps.nii.gz")
    rows = ["x\ty\tz\tradius\tname", *("\t".join(map(str, (*seed, 5, f"seed {n}"))) for n, seed in enumerate(SEEDS))]
    (folder / "seeds.tsv").write_text("\n".join(rows) + "\n", "utf-8")
    return folder, {
        kind: snakemake(folder, "timeseries", config=config) for kind, config in (("maps", MAPS), ("spheres", SPHERES))
    }


def test_both_end_well(study):
    folder, ended = study
    for kind in ("maps", "spheres"):
        assert ended[kind].status == 0, ended[kind].output
        assert_no_traceback(folder, ended[kind])
    placed = sorted(path.name.rpartition("_")[2] for path in (folder / "resources/atlases").glob("*.npz"))
    assert placed == ["probseg.npz"] * 2 + ["spheres.npz"] * 2, "once for each grid"
    rows = pd.read_csv(folder / FOLDER / "study.tsv", sep="\t", na_values="n/a")
    assert rows["status"].tolist() == ["done"] * 3
    assert rows["n_regions"].tolist() == [2] * 3
    assert (rows["predicted_mib"] > 0.6 * rows["peak_mib"]).all()


@pytest.mark.parametrize("image", AFFINES)
def test_values(study, image):
    folder, _ = study
    run = folder / f"{image}.nii.gz"
    found = pd.read_csv(folder / FOLDER / image / f"{image}_atlas-maps_stat-leastsquares_timeseries.tsv", sep="\t")
    expected = extract(NiftiMapsMasker(folder / "maps.nii.gz", standardize=None, dtype="float64"), run)
    assert list(found) == [f"region-{number}" for number in range(1, 6)]
    assert np.allclose(found, expected, rtol=0, atol=1e-6 * np.abs(expected).max())
    names, matrix = read_matrix(folder / FOLDER / image / f"{image}_atlas-maps_stat-pearsoncorrelation_relmat.tsv")
    assert names == list(found)
    assert np.isfinite(matrix).all()
    spheres = folder / FOLDER / image / f"{image}_atlas-seeds_stat-mean_timeseries.tsv"
    found = pd.read_csv(spheres, sep="\t", dtype=np.float32)
    masker = NiftiSpheresMasker([SEEDS[0], SEEDS[2]], radius=5, standardize=None, detrend=True)
    assert list(found) == ["seed 2", "seed 0"]
    assert np.array_equal(found[["seed 0", "seed 2"]], extract(masker, run))
    told = json.loads(spheres.with_suffix(".json").read_text("utf-8"))
    assert (told["AtlasKind"], told["AtlasSource"]) == ("spheres", "seeds.tsv")


def test_it_is_up_to_date(study):
    assert plan(study[0], "timeseries", config=SPHERES) == []


@pytest.mark.parametrize(("config", "kind"), [(MAPS, "maps"), (SPHERES, "spheres")])
def test_the_comparison_takes_labels_only(study, config, kind):
    ended = snakemake(study[0], "--dry-run", config={**config, "connectivity": []})
    assert ended.status == 1
    assert ended.errors == [
        f"The comparison of strategies takes one 3D label image, and {config['atlas']} is an atlas of {kind}; ask for "
        "'snakemake timeseries', or give another atlas."
    ]
    assert "Traceback" not in ended.output
