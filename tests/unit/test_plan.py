"""What the workflow is going to do, found out of a configuration; and how little of it a job looks at."""

import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import yaml

from conftest import AFFINE, GRID, ROOT, save_run
from roistream.errors import UserError
from roistream.images.grids import grid_id
from roistream.samples import adhd
from roistream.study.plan import make_plan

DEFAULTS = yaml.safe_load((ROOT / "config.yaml").read_text("utf-8"))
SCHEMAS = {
    name: yaml.safe_load((ROOT / f"workflow/schemas/{name}.schema.yaml").read_text("utf-8"))
    for name in ("config", "runs")
}
OTHER_GRID = (4, 4, 4)


def plan(check=True, **config):
    return make_plan({**DEFAULTS, **config}, SCHEMAS, check)


@pytest.fixture
def folder(tmp_path, monkeypatch, rng):
    """A study of three images on two grids, one of them of two runs, in the working directory."""
    monkeypatch.chdir(tmp_path)
    for name, grid, length in (("a", GRID, 3), ("b", GRID, 2), ("c", OTHER_GRID, 4), ("d", GRID, 5)):
        save_run(f"{name}.nii.gz", rng.normal(size=(*grid, length)).astype(np.float32))
        Path(f"{name}.tsv").write_text("x\n" + "1\n" * length)
    labels = np.zeros((9, 9, 9), np.int16)
    labels[1:3], labels[3:5], labels[5:7] = 4, 2, 77
    nib.Nifti1Image(labels, AFFINE).to_filename("tpl-X_atlas-Mine_dseg.nii.gz")
    write_table({"a": "sub-1_desc-preproc_bold", "b": "sub-1_desc-preproc_bold", "c": "other", "d": "sub-2"})
    return tmp_path


def write_table(images):
    rows = [f"{image}\t{run}.nii.gz\t{run}.tsv\n" for run, image in images.items()]
    Path("runs.tsv").write_text("image\trun\tconfounds\n" + "".join(rows))


OWN = {"dataset": "runs.tsv", "atlas": "tpl-X_atlas-Mine_dseg.nii.gz", "regions": "all"}


def test_simulated():
    found = plan(n_subjects=3, n_volumes=None, resolution=36)
    assert list(found.runs) == ["large_fmri"]
    assert [run.n_volumes for run in found.runs["large_fmri"]] == [176, 176, 176]
    subjects = adhd.SUBJECT_IDS[:3]
    assert list(found.study) == [f"sub-{subject}_task-rest" for subject in subjects]
    for subject, [run] in zip(subjects, found.study.values(), strict=True):
        assert run.path == Path("resources/simulated") / adhd.run_path(subject)
        assert (run.time.seconds, run.time.source) == (adhd.T_R, "sample")
    assert found.atlas == "resources/simulated/atlas_scale036_dseg.nii.gz"
    grid = grid_id(adhd.GRID, adhd.AFFINE)
    images = ["large_fmri", *found.study]
    assert {found.placed_atlas(image) for image in images} == {f"resources/atlases/simulated036_grid-{grid}"}
    assert found.run_on(grid) == found.runs["large_fmri"][0].path
    assert found.finest("large_fmri") == np.prod(adhd.GRID)
    assert found.placing_mib(grid) == 50 + 60 * np.prod(adhd.GRID) / 1e6
    assert list(found.names.values()) == [f"region-{label}" for label in range(1, 7)]


def test_the_simulated_grid_is_that_of_what_is_made(tmp_path):
    """It is named in paths before there is any file."""
    from simulate_adhd import simulate_adhd

    simulate_adhd(tmp_path / "run.nii", tmp_path / "confounds.tsv", adhd.SUBJECT_IDS[0], 2, 0)
    image = nib.load(tmp_path / "run.nii")
    assert plan().grid_of("large_fmri") == grid_id(image.shape[:3], image.affine)


def test_adhd():
    found = plan(dataset="adhd", n_subjects=2, atlas="basc", regions="all", cleaning={"confounds": True})
    assert list(found.study) == ["sub-0010042_task-rest", "sub-0010064_task-rest"]
    assert found.confounds_of("large_fmri") == [
        Path("resources/adhd") / adhd.confounds_path(subject) for subject in adhd.SUBJECT_IDS[:2]
    ]
    assert found.confounds_of("sub-0010064_task-rest") == found.confounds_of("large_fmri")[1:]
    assert found.atlas_name == "BASC064"
    assert len(found.names) == 64
    assert found.atlas_voxels == 0


def test_a_table(folder):
    found = plan(**{**OWN, "regions": [77, 4]}, cleaning={"confounds": True, "detrend": True})
    assert list(found.runs) == ["sub-1_desc-preproc_bold", "other", "sub-2"]
    assert list(found.study) == ["sub-1", "other", "sub-2"], "as files are called"
    assert found.runs_of("sub-1") == found.runs_of("sub-1_desc-preproc_bold")
    assert [run.path for run in found.runs_of("sub-1")] == [Path("a.nii.gz"), Path("b.nii.gz")]
    assert found.confounds_of("sub-1") == [Path("a.tsv"), Path("b.tsv")]
    assert found.cleaning_options("sub-1") == {"detrend": True}
    assert found.names == {77: "region-77", 4: "region-4"}
    assert found.atlas_name == "Mine"
    assert found.placed_atlas("sub-1") == found.placed_atlas("sub-2") != found.placed_atlas("other")
    grid, other = grid_id(GRID, AFFINE), grid_id(OTHER_GRID, AFFINE)
    assert found.placed_atlas("other") == f"resources/atlases/Mine_grid-{other}"
    assert found.run_on(grid) == Path("a.nii.gz")
    assert found.run_on(other) == Path("c.nii.gz")
    assert found.finest("other") == 9**3, "the atlas has more voxels"
    assert found.placing_mib(other) == 50 + 60 * 9**3 / 1e6
    assert found.timeseries_mib("sub-1") > 20
    with pytest.raises(UserError, match="There is no image 'sub-9'"):
        found.runs_of("sub-9")
    with pytest.raises(UserError, match="No run lies on the grid 000000000000"):
        found.run_on("0" * 12)


def test_no_confounds_unless_they_are_asked_for(folder):
    assert plan(**OWN).confounds_of("sub-1") == []


@pytest.mark.parametrize("check", [True, False])
def test_checked_or_not_it_is_the_same_plan(folder, check):
    config = {**OWN, "atlas_name": "Other", "regions": 2}
    found, checked = plan(check=check, **config), plan(**config)
    for name in ("names", "strategies", "atlas_name", "atlas"):
        assert getattr(found, name) == getattr(checked, name)
    for image in ("sub-1", "other", "sub-2", "sub-1_desc-preproc_bold"):
        assert found.placed_atlas(image) == checked.placed_atlas(image)
        assert [run.path for run in found.runs_of(image)] == [run.path for run in checked.runs_of(image)]


@pytest.fixture
def other_atlases(folder):
    """An atlas of maps and one of spheres, on the grid of the runs."""
    maps = np.zeros((*GRID, 3), np.float32)
    maps[1:3, 2, 2, 0], maps[3, 3, 1:3, 1], maps[4, 1:3, 1, 2] = 1, 2, 3
    nib.Nifti1Image(maps, AFFINE).to_filename("tpl-X_atlas-Maps_probseg.nii.gz")
    Path("atlas-Seeds_coordinates.tsv").write_text("x\ty\tz\tname\n0\t0\t0\tPCC\n3\t3\t3\tmPFC\n")


def test_maps_and_spheres(folder, other_atlases):
    found = plan(**{**OWN, "atlas": "tpl-X_atlas-Maps_probseg.nii.gz", "regions": [3, 1]})
    assert (found.atlas_kind, found.atlas_name, found.statistics) == ("maps", "Maps", ["leastsquares"])
    assert found.names == {3: "region-3", 1: "region-1"}
    assert found.placed_endings == ("probseg.npz", "probseg.json")
    assert found.placing_mib(found.grid_of("sub-1")) > 200
    found = plan(**{**OWN, "atlas": "atlas-Seeds_coordinates.tsv"})
    assert (found.atlas_kind, found.atlas_name, found.statistics) == ("spheres", "Seeds", ["mean"])
    assert found.names == {1: "PCC", 2: "mPFC"}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"statistics": ["mean", "median"]}, "statistics: mean is not possible with an atlas of maps"),
        ({"save_voxels": True}, "save_voxels is not possible with an atlas of maps"),
        ({"regions": [4]}, "has no label 4"),
        ({"regions": 4}, "4 asked for, but .* has 3 labels"),
        ({"atlas": "atlas-Seeds_coordinates.tsv", "statistics": ["median"]}, "median is not possible .* of spheres"),
        ({"atlas": "atlas-Seeds_coordinates.tsv", "atlas_labels": "runs.tsv"}, "has names itself"),
        ({"atlas": "runs.tsv"}, "lacks the column 'x'"),
    ],
)
def test_what_maps_and_spheres_cannot(folder, other_atlases, config, message):
    with pytest.raises(UserError, match=message):
        plan(**{**OWN, "atlas": "tpl-X_atlas-Maps_probseg.nii.gz", **config})


def test_two_images_of_one_name(folder):
    write_table({"a": "sub-1_desc-preproc_bold", "c": "sub-1_bold"})
    with pytest.raises(UserError, match=r"'sub-1_desc-preproc_bold' and 'sub-1_bold' would both be called 'sub-1'"):
        plan(**OWN)


def test_an_atlas_without_a_name(folder):
    Path("tpl-X_atlas-Mine_dseg.nii.gz").rename("_.nii.gz")
    with pytest.raises(UserError, match="set the config key 'atlas_name'"):
        _ = plan(**{**OWN, "atlas": "_.nii.gz"}).atlas_name


OPENED = """
import json, sys
opened = []
sys.addaudithook(lambda event, arguments: event == "open" and opened.append(str(arguments[0])))
sys.path.insert(0, sys.argv[1])
from roistream.study.plan import make_plan
settings = json.loads(sys.argv[2])
found = make_plan(settings["config"], settings["schemas"], check=False)
image = settings["image"]
if settings["asks"]:
    found.placed_atlas(image), found.confounds_of(image), found.names, found.atlas_name
print(json.dumps([name for name in opened if not name.startswith((sys.prefix, sys.base_prefix, sys.argv[1]))]))
print(json.dumps(sorted(sys.modules)))
"""


@pytest.mark.parametrize("asks", [False, True])
def test_a_job_opens_nothing_but_the_table(folder, asks):
    """It makes the plan again in a process of its own, for itself; of the runs it looks at the first of its own image."""
    config = {**DEFAULTS, **OWN, "regions": [2, 4], "cleaning": {"confounds": True}}
    settings = json.dumps({"config": config, "schemas": SCHEMAS, "image": "sub-2", "asks": asks})
    done = subprocess.run(
        [sys.executable, "-c", OPENED, ROOT / "scripts", settings], capture_output=True, text=True, check=True
    )
    opened, modules = map(json.loads, done.stdout.splitlines())
    files = {Path(name).name for name in opened if Path(name).suffix in (".tsv", ".gz")}
    assert files == {"runs.tsv"} | ({"d.nii.gz", "tpl-X_atlas-Mine_dseg.nii.gz"} if asks else set())
    assert not {"nilearn", "scipy", "pandas", "matplotlib"} & set(modules)
