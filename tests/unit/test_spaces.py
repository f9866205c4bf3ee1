"""Atlas and runs in different spaces, as their names say: told before any job, and in the results."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from conftest import AFFINE, GRID, save_run
from extract_timeseries import extract_timeseries
from roistream.study.job_options import study_options
from roistream.study.spaces import contradiction, space_of_name, space_of_template
from roistream.study.summary import summarise_image
from unit.test_plan import plan

MNI6, MNI2009 = "MNI152NLin6Asym", "MNI152NLin2009cAsym"


@pytest.mark.parametrize(
    ("atlas", "run", "image", "differ"),
    [
        (f"tpl-{MNI2009}_atlas-A_dseg.nii.gz", f"sub-1_space-{MNI2009}_bold.nii.gz", "sub-1", False),
        (f"tpl-{MNI6}_atlas-A_dseg.nii.gz", f"sub-1_space-{MNI2009}_bold.nii.gz", "sub-1", True),
        (f"tpl-fsLR_space-{MNI6}_dseg.nii.gz", f"sub-1_space-{MNI6}_bold.nii.gz", "sub-1", False),
        (f"tpl-{MNI6}_dseg.nii.gz", "sub-1_space-T1w_bold.nii.gz", "sub-1", True),
        (f"tpl-{MNI6}_dseg.nii.gz", "run.nii.gz", f"sub-1_space-{MNI2009}", True),
        (f"tpl-{MNI6}_dseg.nii.gz", "run.nii.gz", f"sub-1_space-{MNI2009}_bold", True),
        (f"tpl-{MNI6}_dseg.nii.gz", "sub-1_bold.nii.gz", "sub-1", False),
        ("atlas.nii.gz", f"sub-1_space-{MNI6}_bold.nii.gz", "sub-1", False),
        ("tpl-X_cohort-1_dseg.nii", "sub-1_space-X_cohort-2_bold.nii", "sub-1", True),
        ("tpl-X_cohort-1_dseg.nii", "sub-1_space-X_bold.nii", "sub-1", False),
        ("tpl-MNI152_dseg.nii", f"sub-1_space-{MNI6}_bold.nii.gz", "sub-1", False),
    ],
)
def test_what_names_say(atlas, run, image, differ):
    told = contradiction(space_of_name(atlas), Path(run), image)
    assert (told is not None) == differ


@pytest.mark.parametrize(
    ("template", "space"),
    [
        ("MNI?", None),
        ("MNI152", None),
        (None, None),
        (MNI6, MNI6),
        ("X_cohort-2", "X_cohort-2"),
        (5, "5"),
        ("a b", None),
    ],
)
def test_what_a_sidecar_says(template, space):
    found = space_of_template(template)
    assert space == (None if found is None else str(found))


@pytest.fixture
def study(tmp_path, monkeypatch, rng):
    monkeypatch.chdir(tmp_path)
    lines = ["image\trun"]
    for subject, space in enumerate([MNI6, MNI2009, MNI2009], 1):
        name = f"sub-{subject}_space-{space}_bold"
        save_run(f"{name}.nii.gz", rng.normal(size=(*GRID, 3)).astype(np.float32))
        lines.append(f"{name}\t{name}.nii.gz")
    Path("runs.tsv").write_text("\n".join(lines) + "\n")
    labels = np.ones(GRID, np.int16)
    nib.Nifti1Image(labels, AFFINE).to_filename("mine_dseg.nii.gz")
    nib.Nifti1Image(labels, AFFINE).to_filename(f"tpl-{MNI6}_atlas-Mine_dseg.nii.gz")
    return {"dataset": "runs.tsv", "regions": "all"}


@pytest.mark.parametrize("by", ["name", "sidecar"])
def test_told_before_any_job_and_to_the_jobs(study, caplog, by):
    atlas = f"tpl-{MNI6}_atlas-Mine_dseg.nii.gz"
    if by == "sidecar":
        atlas = "mine_dseg.nii.gz"
        Path("mine_dseg.json").write_text(json.dumps({"Template": MNI6}))
    found = plan(**study, atlas=atlas)
    [told] = [message for message in caplog.messages if "the atlas is in the space" in message]
    assert told.startswith(
        f"sub-2_space-{MNI2009}_bold.nii.gz and 1 more: the atlas is in the space {MNI6}, the run in {MNI2009}"
    )
    remarks = {image: study_options(found, image)["remarks"] for image in found.study}
    assert remarks[f"sub-1_space-{MNI6}"] == []
    [remark] = remarks[f"sub-2_space-{MNI2009}"]
    assert remark == f"the atlas is in the space {MNI6}, the run in {MNI2009}, as they say; nothing is registered"


def test_where_nobody_says_it_nothing_is_told(study, caplog):
    Path("mine_dseg.json").write_text("no JSON")
    plan(**study, atlas="mine_dseg.nii.gz")
    assert not [message for message in caplog.messages if "space" in message]


def test_the_results_say_it(study):
    run = Path(f"sub-2_space-{MNI2009}_bold.nii.gz")
    extract_timeseries([run], Path("mine_dseg.nii.gz"), "out/sub-2_atlas-A", remarks=["the atlas is elsewhere"])
    sidecar = Path("out/sub-2_atlas-A_stat-mean_timeseries.json")
    assert json.loads(sidecar.read_text("utf-8"))["Remarks"] == ["the atlas is elsewhere"]
    assert summarise_image("sub-2", sidecar, Path("none.log"), False).remarks == "the atlas is elsewhere"
