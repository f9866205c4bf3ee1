"""nilearn's maskers for volumes, in flat memory: ``from roistream.maskers import NiftiLabelsMasker``.

Names, parameters, attributes, reports and results are nilearn's, of which these classes are subclasses; images are read block by
block and never held whole. What only nilearn can read (other formats than NIfTI, say) it reads itself, at its own cost.

Examples
--------
>>> import nibabel, numpy
>>> from roistream.maskers import NiftiLabelsMasker
>>> labels = nibabel.Nifti1Image(numpy.arange(27, dtype="i4").reshape(3, 3, 3) // 9, numpy.eye(4))
>>> image = nibabel.Nifti1Image(numpy.ones((3, 3, 3, 5), "f4"), numpy.eye(4))
>>> NiftiLabelsMasker(labels, standardize=None, reports=False).fit_transform(image).shape
(5, 2)
"""

from roistream.garbage import paused_collections

with paused_collections():  # nilearn is imported, which takes two seconds
    from roistream.maskers.classes import (
        MultiNiftiLabelsMasker,
        MultiNiftiMapsMasker,
        MultiNiftiMasker,
        NiftiLabelsMasker,
        NiftiMapsMasker,
        NiftiMasker,
        NiftiSpheresMasker,
    )

__all__ = [
    "MultiNiftiLabelsMasker",
    "MultiNiftiMapsMasker",
    "MultiNiftiMasker",
    "NiftiLabelsMasker",
    "NiftiMapsMasker",
    "NiftiMasker",
    "NiftiSpheresMasker",
]
