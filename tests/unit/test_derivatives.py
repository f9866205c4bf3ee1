"""The names of a study's results, and what makes their folder a BIDS dataset."""

import fnmatch

import pytest

from roistream import __version__
from roistream.errors import UserError
from roistream.study.derivatives import (
    IGNORED,
    LONGEST_NAME,
    atlas_name,
    check_names,
    dataset_description,
    image_folder,
    image_prefix,
    image_stem,
)

STEM = "sub-01_ses-02_task-rest_run-1_space-MNI152NLin2009cAsym"


@pytest.mark.parametrize(
    ("image", "stem", "folder"),
    [
        (f"{STEM}_desc-preproc_bold", STEM, "sub-01/ses-02/func"),
        (f"{STEM}_desc-preproc", STEM, "sub-01/ses-02/func"),
        ("sub-01_desc-preproc_task-rest", "sub-01_task-rest", "sub-01/func"),
        ("sub-01", "sub-01", "sub-01/func"),
        ("sub-01_desc-preprocessed", "sub-01_desc-preprocessed", "sub-01/func"),
        ("sub-01_desc-smooth_bold", "sub-01_desc-smooth", "sub-01/func"),
        ("sub-01_ses-02", "sub-01_ses-02", "sub-01/ses-02/func"),
        ("ses-02_sub-01", "ses-02_sub-01", "ses-02_sub-01"),
        ("sub-01x.y", "sub-01x.y", "sub-01x.y"),
        ("pilot_bold", "pilot", "pilot"),
        ("bold", "bold", "bold"),
        ("Übung 1", "Übung 1", "Übung 1"),
    ],
)
def test_an_image(image, stem, folder):
    assert image_stem(image) == stem == image_stem(stem)
    assert image_folder(image) == folder == image_folder(stem)
    assert image_prefix(image, "A") == f"derivatives/roistream/{folder}/{stem}_atlas-A"


def test_two_images_of_one_name():
    check_names(["sub-1", "sub-2_bold", "sub-3_desc-preproc"])
    with pytest.raises(
        UserError, match=r"'sub-2' and 'sub-2_bold' would both be called 'sub-2' in the results; rename one"
    ):
        check_names(["sub-1", "sub-2", "sub-2_bold"])


@pytest.mark.parametrize(
    ("atlas", "name"),
    [
        ("basc", "BASC064"),
        ("simulated", "simulated064"),
        ("a/tpl-MNI_atlas-Schaefer2018_res-02_dseg.nii.gz", "Schaefer2018"),
        ("tpl-MNI_seg-4S156Parcels_dseg.nii.gz", "4S156Parcels"),
        ("my atlas-1.NII.GZ", "myatlas1"),
        ("AAL3_labels.img", "AAL3"),
        ("größe_2.hdr.gz", "gre2"),
    ],
)
def test_an_atlas(atlas, name):
    assert atlas_name(atlas, 64) == name


def test_an_atlas_of_which_no_letter_is_left():
    with pytest.raises(UserError, match=r"the atlas 内側\.nii; set the config key 'atlas_name'"):
        atlas_name("内側.nii", 64)


def test_the_longest_names_make_files_that_can_be_written():
    """With what else is in the name of a file, and in that which it has until it is whole."""
    assert len(atlas_name("a" * LONGEST_NAME, 64)) == LONGEST_NAME
    with pytest.raises(UserError, match="set the config key 'atlas_name'"):
        atlas_name("a" * (LONGEST_NAME + 1), 64)
    longest = f".partial-{'x' * 120}_atlas-{'a' * LONGEST_NAME}_stat-standard_deviation_timeseries"
    assert len(longest) + len(".json") <= 255


def test_description():
    found = dataset_description(["../fMRIPrep"])
    assert found["DatasetType"] == "derivative"
    assert found["GeneratedBy"] == [{"Name": "roistream", "Version": __version__}]
    assert found["SourceDatasets"] == [{"URL": "../fMRIPrep"}]
    assert {"Name", "BIDSVersion"} <= found.keys()


@pytest.mark.parametrize(
    "name",
    [
        "sub-01/func/sub-01_atlas-A_stat-mean_timeseries.tsv",
        "sub-01/func/sub-01_atlas-A_stat-mean_timeseries.json",
        "sub-01/func/sub-01_atlas-A_stat-coverage_bold.tsv",
        "sub-01/func/sub-01_atlas-A_voxels.npy",
        "atlas-A_dseg.tsv",
        "study.png",
    ],
)
def test_a_validator_is_told_what_the_standard_does_not_know(name):
    assert any(fnmatch.fnmatch(name.rsplit("/", 1)[-1], pattern) for pattern in IGNORED)
