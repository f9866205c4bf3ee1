"""A folder of masks stands for those of all regions of a table."""

from pathlib import Path

import pytest

from roistream.errors import UserError
from roistream.regions.coverage import Region, write_regions
from roistream.regions.requested import list_masks


def test_a_folder_stands_for_its_masks_in_the_order_of_the_table(tmp_path):
    regions = [Region(label, f"name {label}", 3, 3, 1.0, "whole") for label in (7, 10, 2)]
    write_regions(regions, tmp_path / "regions.tsv")
    masks = list_masks([tmp_path], tmp_path / "regions.tsv")
    assert masks == [tmp_path / f"region-{label}_mask.nii.gz" for label in (7, 10, 2)]
    with pytest.raises(UserError, match="is a folder; give --regions as well"):
        list_masks([tmp_path], None)
    files = [Path("a_mask.nii.gz"), Path("b_mask.nii.gz")]
    assert list_masks(files, tmp_path / "regions.tsv") == files
