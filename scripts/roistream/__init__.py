"""Region time series from fMRI images that are too long to load.

The library under the workflow's scripts. It knows images, masks, runs and memory; it knows nothing of Snakemake.
"""

__version__ = "0.2.0"
