"""The atlas that a configuration chooses, as a part of the plan: where it is, what it is called, and which of its regions."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from roistream.errors import UserError
from roistream.images.image import describe
from roistream.regions.atlas import read_labels, select_labels
from roistream.regions.atlas_sidecar import read_template, sidecar_of
from roistream.regions.label_names import read_label_names
from roistream.study import derivatives
from roistream.study.spaces import Space, space_of_name, space_of_template

ATLASES = ("simulated", "basc")
"""Those that are made or fetched by rules of their own."""


class AtlasOfPlan:
    """What `roistream.study.plan.Plan` knows of the atlas."""

    config: Mapping[str, Any]
    place: Callable[[str], str]

    @cached_property
    def names(self) -> dict[int, str]:
        """The requested labels in order, with the name of each region."""
        atlas = self.config["atlas"]
        if atlas in ATLASES:
            names = {label: f"region-{label}" for label in range(1, self.config["resolution"] + 1)}
        elif self.config["atlas_labels"]:
            names = read_label_names(self.config["atlas_labels"])
        else:
            names = {label: f"region-{label}" for label in read_labels(atlas)}
        labels = select_labels(self.config["regions"], list(names), atlas)
        if self.config["empty_regions"] == "error" and not self.config["atlas_labels"]:
            absent = [label for label in labels if label not in names]
            if absent:
                raise UserError(
                    f"regions: the atlas {atlas} has no label {absent[0]}; leave it out, "
                    "or set 'empty_regions: keep' for a column of NaN."
                )
        return {label: names.get(label, f"region-{label}") for label in labels}

    @property
    def atlas(self) -> str:
        """Path of the atlas on its own grid."""
        scale = self.config["resolution"]
        ours = {
            "simulated": f"resources/simulated/atlas_scale{scale:03}_dseg.nii.gz",
            "basc": f"resources/basc/basc_scale{scale:03}_dseg.nii.gz",
        }.get(self.config["atlas"])
        return str(self.place(ours)) if ours else self.config["atlas"]

    @cached_property
    def atlas_name(self) -> str:
        """What file names call the atlas."""
        given = self.config["atlas_name"]
        return given or derivatives.atlas_name(self.config["atlas"], self.config["resolution"])

    @cached_property
    def atlas_voxels(self) -> int:
        """Voxels of a user's atlas; 0 for ours, which are small."""
        if self.config["atlas"] in ATLASES:
            return 0
        return describe(Path(self.config["atlas"]), 3)[0].n_voxels

    @property
    def atlas_sidecar(self) -> Path | None:
        """The JSON file beside the atlas that says what it is: of a fetched one, or as in BIDS."""
        if self.config["atlas"] in ATLASES:
            return None
        path = sidecar_of(Path(self.config["atlas"]))
        return path if path.is_file() else None

    @cached_property
    def atlas_space(self) -> Space | None:
        """In which space the atlas is, as its name or its sidecar says; of ours nobody says it."""
        if self.config["atlas"] in ATLASES:
            return None
        if space := space_of_name(Path(self.config["atlas"]).name):
            return space
        return space_of_template(read_template(self.atlas_sidecar))

    def region_options(self) -> dict[str, Any]:
        """Give which regions are wanted as options of place_atlas.py."""
        regions = self.config["regions"]
        return {
            "labels": self.config["atlas_labels"],
            "regions": regions if regions == "all" else json.dumps(regions),
            "empty_regions": self.config["empty_regions"],
            "missing_orientation": self.config["missing_orientation"],
        }
