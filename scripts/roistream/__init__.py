"""Region time series from fMRI images that are too long to load.

The library under the workflow's scripts. It knows images, masks, runs and memory; it knows nothing of Snakemake.
nilearn's maskers in flat memory are in `roistream.maskers`.
"""

__version__ = "0.2.0"

# Where each public name lives. It is imported when it is asked for: a script should load what it uses, and no more.
_PLACES = {
    "UserError": "errors",
    "inspect": "images.image",
    "open_series": "images.series",
    "read_blocks": "images.volumes",
    "write_image": "images.writing",
    "predict_peak_mib": "memory.predict",
    "measure": "memory.measure",
}

__all__ = [*_PLACES]


def __getattr__(name: str) -> object:
    """Import a public name."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(__import__(f"{__name__}.{_PLACES[name]}", fromlist=[name]), name)


def __dir__() -> list[str]:
    """List the public names."""
    return [*__all__, "__version__"]
