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
from roistream.regions.kinds import kind_of_atlas, statistics_of_kind
from roistream.regions.label_names import read_label_names
from roistream.regions.seeds import read_seeds
from roistream.study import derivatives
from roistream.study.spaces import Space, space_of_name, space_of_template

ATLASES = ("simulated", "basc")
"""Those that are made or fetched by rules of their own."""

PLACED = {"labels": "dseg.nii.gz", "maps": "probseg.npz", "spheres": "spheres.npz"}
"""How the names of placed atlases end, by kinds; their sidecars end in ``.json`` instead."""

MAPS_AT_A_VOXEL = 20
"""Maps that have a value at a voxel on average, at most: a guess, before the maps have been read."""


class AtlasOfPlan:
    """What `roistream.study.plan.Plan` knows of the atlas."""

    config: Mapping[str, Any]
    place: Callable[[str], str]

    @cached_property
    def atlas_kind(self) -> str:
        """Kind of the atlas, see `roistream.regions.kinds`."""
        return "labels" if self.config["atlas"] in ATLASES else kind_of_atlas(self.config["atlas"])

    @cached_property
    def atlas_labels(self) -> list[int]:
        """The labels that the atlas has; of maps and spheres their numbers, from 1."""
        atlas = self.config["atlas"]
        if atlas in ATLASES:
            return list(range(1, self.config["resolution"] + 1))
        if self.atlas_kind == "spheres":
            return [seed.label for seed in read_seeds(atlas)]
        if self.atlas_kind == "maps":
            return list(range(1, describe(Path(atlas), 4)[0].n_volumes + 1))
        return read_labels(atlas)

    @cached_property
    def statistics(self) -> list[str]:
        """What the regions' voxels become; with a kind of atlas that has only one, that one."""
        return statistics_of_kind(self.atlas_kind, self.config["statistics"])

    @cached_property
    def names(self) -> dict[int, str]:
        """The requested labels in order, with the name of each region."""
        atlas = self.config["atlas"]
        if self.config["atlas_labels"]:
            names = read_label_names(self.config["atlas_labels"])
        elif self.atlas_kind == "spheres":
            names = {seed.label: seed.name for seed in read_seeds(atlas)}
        else:
            names = {label: f"region-{label}" for label in self.atlas_labels}
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
        """Voxels of a volume of a user's atlas; 0 for ours, which are small, and for a table."""
        if self.config["atlas"] in ATLASES or self.atlas_kind == "spheres":
            return 0
        return describe(Path(self.config["atlas"]), 3)[0].n_voxels

    @property
    def placed_endings(self) -> tuple[str, str]:
        """How the names of the atlas on a grid and of its sidecar end."""
        ending = PLACED[self.atlas_kind]
        return ending, f"{ending.partition('.')[0]}.json"

    def refuse_comparison(self) -> None:
        """Refuse an atlas that only the target ``timeseries`` can use."""
        if self.atlas_kind != "labels":
            raise UserError(
                f"The comparison of strategies takes one 3D label image, and {self.config['atlas']} is an atlas of "
                f"{self.atlas_kind}; ask for 'snakemake timeseries', or give another atlas."
            )

    def placing_mib_on(self, n_voxels: int) -> float:
        """Guess what it takes to put the atlas on a grid of so many voxels: both are held in memory, of maps what is not 0."""
        if self.atlas_kind == "labels":
            return 50 + 60 * max(self.atlas_voxels, n_voxels) / 1e6
        mib = 240 + 60 * max(self.atlas_voxels, n_voxels) / 1e6
        if self.atlas_kind == "maps":
            maps, _ = describe(Path(self.atlas), 4)
            n_weights = maps.n_voxels * min(maps.n_volumes, MAPS_AT_A_VOXEL)
            if maps.compression:  # to one or two bytes for a value that is not 0, at best
                n_weights = min(n_weights, maps.data_path.stat().st_size)
            mib += 40 * n_weights / 2**20
        return mib

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
