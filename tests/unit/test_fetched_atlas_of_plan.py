"""A study whose atlas is fetched: the plan fetches it, a job only finds it, and what is wrong is told before any job."""

import gzip
import re

import nibabel as nib
import numpy as np
import pytest
import yaml

from conftest import AFFINE, GRID, ROOT, save_run
from roistream.errors import UserError
from roistream.study import fetching
from roistream.study.derivatives import LONGEST_NAME
from run_bids_app import located
from summarise_study import copy_sidecar
from unit.test_fetch_atlas import filled, schaefer_names
from unit.test_plan import plan

TPL = "tpl-MNI152NLin2009cAsym"
SCHAEFER_OF_TPL = "atlas-Schaefer2018_desc-400Parcels7Networks"


def label_image(n_labels):
    labels = (np.arange(np.prod(GRID)).reshape(GRID) % (n_labels + 1)).astype(np.int16)
    return nib.Nifti1Image(labels, AFFINE).to_bytes()


@pytest.fixture
def folder(tmp_path, monkeypatch, rng):
    """A study with caches in which the atlases of the documentation are, in the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TEMPLATEFLOW_HOME", raising=False)
    for variable in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    save_run("sub-1_bold.nii.gz", rng.normal(size=(*GRID, 3)).astype(np.float32))
    (tmp_path / "runs.tsv").write_text("image\trun\nsub-1\tsub-1_bold.nii.gz\n")
    table = "index\tname\n" + "".join(f"{k}\tparcel {k}\n" for k in range(1, 401))
    schaefer = "schaefer_2018/Schaefer2018_100Parcels_7Networks_order"
    filled(
        tmp_path / "cache",
        {
            f"{schaefer}.txt": schaefer_names(),
            f"{schaefer}_FSLMNI152_2mm.nii.gz": label_image(100),
            f"templateflow/{TPL}/{TPL}_res-02_{SCHAEFER_OF_TPL}_dseg.nii.gz": label_image(100),
            f"templateflow/{TPL}/{TPL}_{SCHAEFER_OF_TPL}_dseg.tsv": table.encode(),
            f"templateflow/{TPL}/template_description.json": b"{}",
        },
    )
    return tmp_path


def configs():
    page = (ROOT / "docs/inputs.md").read_text("utf-8")
    return [yaml.safe_load(text) for text in re.findall(r"^```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)]


def test_the_configs_of_the_documentation(folder):
    own = {"dataset": "runs.tsv", "regions": "all", "data_dir": "cache"}
    nilearns, templateflows = configs()
    found = plan(**own, **nilearns)
    assert list(found.names.items())[:2] == [(1, "7Networks_LH_Vis_1"), (2, "7Networks_LH_Vis_2")]
    assert len(found.names) == 100
    assert found.atlas_name == "Schaefer2018NRois100YeoNetworks7ResolutionMm2"
    assert found.atlas_sidecar.is_file()
    found = plan(**own, **templateflows)
    assert (found.names[100], found.atlas_name) == ("parcel 100", "Schaefer2018400Parcels7Networks")
    assert len(found.names) == 100, "those that the image has"
    # A job finds what the plan has fetched; nobody fetches twice.
    for path in (folder / "cache").rglob("*.t*"):
        path.unlink()
    for check in (False, True):
        assert plan(check, **own, **nilearns).names[100] == "7Networks_LH_Vis_100"


def test_mistakes_are_told_before_any_job(folder):
    own = {"dataset": "runs.tsv", "data_dir": "cache"}
    with pytest.raises(UserError, match=r"^atlas 'simulatet' is neither .* \(did you mean 'simulated'\?\)"):
        plan(**own, atlas="simulatet")
    with pytest.raises(UserError, match=r"^atlas_options has no effect on the atlas basc"):
        plan(**own, atlas="basc", atlas_options={"n_rois": 100})
    with pytest.raises(
        UserError, match=r"'atlas_options: n_rois' is .*; it must be text, a number, true, false or null"
    ):
        plan(**own, atlas="schaefer2018", atlas_options={"n_rois": [100]})
    with pytest.raises(UserError, match="is no longer below resources/fetched"):
        plan(False, **own, atlas="schaefer2018")


def test_a_file_goes_before_a_name(folder):
    (folder / "msdl").write_bytes(gzip.compress(label_image(2)))
    assert not fetching.is_fetched("msdl")
    assert fetching.is_fetched("schaefer2018")
    assert not any(map(fetching.is_fetched, ["simulated", "basc", "a/b", "absent.nii.gz", "x\0", "1"]))


def test_the_bids_app_leaves_names_as_they_are(folder):
    (folder / "mine.nii").touch()
    settings = {"atlas_labels": "names.tsv", "data_dir": "cache"}
    for atlas in ("schaefer2018", "basc", f"{TPL}_{SCHAEFER_OF_TPL}_dseg"):
        assert located({"atlas": atlas, **settings})["atlas"] == atlas
    assert located({"atlas": "mine.nii", **settings}) == {
        "atlas": str(folder / "mine.nii"),
        "atlas_labels": str(folder / "names.tsv"),
        "data_dir": str(folder / "cache"),
    }


def test_names_for_results():
    assert fetching.name_of("fetch_atlas_aal", {"version": "SPM12", "url": "http://x"}) == "AalVersionSPM12"
    long = fetching.name_of("schaefer2018", {"n_rois": "1" * 99})
    assert len(long) == LONGEST_NAME
    assert long != fetching.name_of("schaefer2018", {"n_rois": "1" * 98 + "2"})
    assert fetching.name_of("tpl-MNI152NLin2009cAsym_res-01_desc-carpet_dseg", {}) == "carpet"


def test_what_is_said_of_the_atlas_goes_into_the_dataset(tmp_path):
    sidecar, copied = tmp_path / "atlas_dseg.json", tmp_path / "study" / "atlas-A_dseg.json"
    sidecar.write_text('{"License": "MIT"}')
    copy_sidecar(sidecar, copied)
    assert copied.read_text() == sidecar.read_text()
    copy_sidecar(None, copied)  # another atlas of that name, of which nothing is said
    assert not copied.exists()
