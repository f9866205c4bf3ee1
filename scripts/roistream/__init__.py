"""Region time series from fMRI images that are too long to load.

nilearn's maskers in flat memory are in `roistream.maskers`. Here is what they, and the workflow's scripts, are made of:

- `inspect`, `open_series`: what the header of an image says; several files as one image.
- `read_blocks`, `write_image`: the values of an image, some volumes at a time.
- `predict_peak_mib`, `measure`: the peak memory of an extraction, and of any command.
- `UserError`: a mistake in the input, in one sentence.

Nothing here knows of Snakemake.
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
