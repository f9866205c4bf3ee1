"""A plugin of pytest: our maskers stand in the place of nilearn's while its tests are collected and run."""

import nilearn._utils.estimator_checks  # they ask what subclass of which of nilearn's classes something is
import nilearn.maskers

from roistream import maskers

for name in maskers.__all__:
    setattr(nilearn.maskers, name, getattr(maskers, name))
