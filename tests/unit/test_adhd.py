import subprocess
import sys
from pathlib import Path

import nibabel as nib
import nilearn.datasets.func
import numpy as np
import pytest

from roistream.errors import UserError
from roistream.samples import adhd


def test_subjects_are_nilearns_in_its_order():
    assert list(adhd.SUBJECT_IDS) == nilearn.datasets.func.adhd_ids()


def test_first_six_runs_have_857_volumes():
    assert [adhd.run_length(subject) for subject in adhd.SUBJECT_IDS[:6]] == [176, 176, 176, 175, 77, 77]
    assert sum(adhd.run_length(subject) for subject in adhd.SUBJECT_IDS[:6]) == 857
    assert {adhd.run_length(subject) for subject in adhd.SUBJECT_IDS[6:]} == {176}


def test_unknown_subject_is_named():
    with pytest.raises(UserError, match="'10042' is no subject"):
        adhd.run_length("10042")


def test_paths():
    assert adhd.run_path("0010042") == "data/0010042/0010042_rest_tshift_RPI_voreg_mni.nii.gz"
    assert adhd.confounds_path("0010042") == "data/0010042/0010042_regressors.csv"


def test_grid_is_3_mm_from_right_to_left():
    assert nib.aff2axcodes(adhd.AFFINE) == ("L", "A", "S")
    assert np.array_equal(nib.affines.voxel_sizes(adhd.AFFINE), [3, 3, 3])


def test_columns_are_those_of_the_table_that_nilearn_ships():
    shipped = Path(nilearn.datasets.__path__[0], "data", "confounds_with_header.csv")
    columns = shipped.read_text().splitlines()[0].split("\t")
    assert [column for column in columns if column != "pc1"] == list(adhd.REGRESSORS)


def test_importing_costs_no_nilearn():
    code = "import sys; from roistream.samples import adhd; sys.exit('nilearn' in sys.modules)"
    folder = Path(adhd.__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=folder, check=False).returncode == 0
