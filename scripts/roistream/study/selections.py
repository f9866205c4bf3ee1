"""Before any job: the brain masks of runs, and which of their volumes are kept."""

from __future__ import annotations

from roistream.cleaning.left_out import outside_of, parse_sample_mask
from roistream.errors import UserError
from roistream.images.image import Image, inspect_volume
from roistream.regions.masks import check_fits
from roistream.study.run import Run


class SelectionChecks:
    """Looks at the columns ``mask`` and ``sample_mask`` of run after run."""

    def __init__(self) -> None:
        self._masked: dict[str, bool] = {}

    def look(self, run: Run, image: Image) -> None:
        """Look at what a run is restricted to.

        Raises
        ------
        UserError
            The mask cannot be read or does not fit, or the volumes are none of the run's.
        """
        if self._masked.setdefault(run.image, run.mask is not None) != (run.mask is not None):
            raise UserError(f"the image {run.image!r} has a mask for some of its runs only; name one for each")
        if run.mask is not None:
            check_fits(inspect_volume(run.mask), image.grid, image.affine, "mask")
        kept = parse_sample_mask(run.sample_mask)
        if kept is not None and run.is_volume:
            raise UserError(
                f"{run.path} is a single volume, which needs no sample_mask; remove the row to leave it out"
            )
        outside_of(kept, image.n_volumes, "sample_mask")
