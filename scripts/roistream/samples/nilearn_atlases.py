"""Nilearn's fetchers of atlases, all in one way: by their name, with the options of their own signature.

What they give differs: maps are a path, a list of one, or an image in memory; names are a list, with or without the
background, or a table; coordinates stand in ``rois``. Nothing here knows a fetcher by its name.
"""

import difflib
import gzip
import importlib.metadata
import inspect
import re
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from nilearn import datasets

from roistream.errors import UserError
from roistream.samples.bunches import RADIUS, files_of, take_apart
from roistream.samples.cache import alone_in
from roistream.samples.downloads import cache_folder, fetching, finding_damage, one_line
from roistream.samples.fetched import FetchedAtlas, write_fetched
from roistream.samples.new_files import check_sums, new_files, time_there

PREFIXES = ("fetch_atlas_", "fetch_coords_")
OURS = ("data_dir", "resume", "verbose")
"""Parameters of fetchers that are no options."""

SERVER = "the server that nilearn knows"
"""What messages call it where the failure itself does not say which it was."""


class NoAtlasError(Exception):
    """What a fetcher has found in its files, or was asked for, makes no atlas."""


def short(name: str) -> str:
    """Give what is common to the ways of writing a fetcher's name.

    >>> short("fetch_atlas_schaefer_2018"), short("Schaefer2018"), short("harvard-oxford")
    ('schaefer2018', 'schaefer2018', 'harvardoxford')
    """
    name = name.lower()
    for prefix in PREFIXES:
        name = name.removeprefix(prefix)
    return re.sub(r"[^a-z0-9]", "", name)


def list_fetchers() -> dict[str, Callable[..., Any]]:
    """List nilearn's fetchers of atlases and coordinates by their short names."""
    return {short(name): getattr(datasets, name) for name in sorted(dir(datasets)) if name.startswith(PREFIXES)}


def find_fetcher(name: str) -> Callable[..., Any]:
    """Find a fetcher by its name.

    Raises
    ------
    UserError
        There is none.
    """
    fetchers = list_fetchers()
    if short(name) not in fetchers:
        close = difflib.get_close_matches(short(name), ["simulated", "basc", *fetchers], n=1)
        guess = f" (did you mean {close[0]!r}?)" if close else ""
        raise UserError(
            f"atlas {name!r} is neither simulated, basc, a file here, nor one that nilearn fetches{guess}; "
            f"nilearn's are {', '.join(fetchers)}."
        )
    return fetchers[short(name)]


def check_options(name: str, fetcher: Callable[..., Any], options: Mapping[str, Any]) -> None:
    """Refuse options that a fetcher does not have, or lacks.

    Raises
    ------
    UserError
        Lists what is allowed, from the fetcher's own signature.
    """
    parameters = {key: parameter for key, parameter in inspect.signature(fetcher).parameters.items() if key not in OURS}
    words = [
        key if parameter.default is parameter.empty else f"{key} ({parameter.default!r})"
        for key, parameter in parameters.items()
    ]
    if gives_coordinates(fetcher):
        words.append(f"{RADIUS} (mm)")
    allowed = (
        f"the options of {name}, with their defaults, are {', '.join(words)}" if words else f"{name} has no options"
    )
    for key in options:
        if key not in parameters and not (key == RADIUS and gives_coordinates(fetcher)):
            raise UserError(f"atlas_options: {key!r} is unknown; {allowed}.")
    for key, parameter in parameters.items():
        if parameter.default is parameter.empty and key not in options:
            raise UserError(f"atlas_options: {key!r} is missing; {allowed}.")


def gives_coordinates(fetcher: Callable[..., Any]) -> bool:
    """Tell whether a fetcher gives coordinates and no images."""
    return fetcher.__name__.startswith(PREFIXES[1])


def fetch_from_nilearn(name: str, options: Mapping[str, Any], folder: Path, data_dir: str | None) -> None:
    """Fetch an atlas into nilearn's cache, check it, and write what `roistream.samples.fetched` describes.

    Parameters
    ----------
    name : str
        The fetcher, without ``fetch_atlas_``; case, blanks and underscores do not matter.
    options : mapping
        Of the fetcher; of coordinates without radii also ``radius``.
    folder : path
        Where to write.
    data_dir : str or None
        nilearn's data folder; None for nilearn's default. What it holds already is used without network.

    Raises
    ------
    UserError
        There is no such fetcher or option, it gives surfaces only, the server cannot be reached, or sends something else.
    """
    fetcher = find_fetcher(name)
    check_options(name, fetcher, options)
    facts = facts_of(fetcher, options)
    if gives_coordinates(fetcher):  # they come with nilearn
        given = {key: value for key, value in options.items() if key in inspect.signature(fetcher).parameters}
        write_fetched(take_apart(name, fetcher(**given), facts, options), folder)
        return
    data_dir = data_dir and str(Path(data_dir).expanduser())
    roots = [Path(root) for root in datasets.get_data_dirs(data_dir)]
    cache = cache_folder(".", data_dir)
    remedy = f"run again, or let nilearn fetch it on another machine, and copy its folder into {cache.absolute()}"
    with alone_in(cache):
        since = time_there(cache)
        try:
            with fetching(f"The atlas {name}", str(options.get("url") or options.get("base_url") or SERVER), remedy):
                bunch = call(fetcher, {**options, "data_dir": data_dir})
            atlas = take_apart(name, bunch, facts, options)
            files = files_of(bunch)
            facts = {**atlas.facts, "SHA256": check_sums(files, roots, since)}
            with finding_damage(files[0]) if files else nullcontext():
                write_fetched(FetchedAtlas(atlas.source, atlas.names, facts), folder)
        except (NoAtlasError, ValueError) as problem:
            raise UserError(f"The atlas {name} {what_to_do(problem, roots, since)}") from problem


def call(fetcher: Callable[..., Any], given: Mapping[str, Any]) -> Any:
    """Call a fetcher: what it finds in its files may make it raise anything."""
    try:
        return fetcher(**given, **({"verbose": 0} if "verbose" in inspect.signature(fetcher).parameters else {}))
    except gzip.BadGzipFile as error:
        raise NoAtlasError(one_line(error)) from error
    except OSError:  # of the network, of nilearn's own fetching, or of the system: see `fetching`
        raise
    except Exception as error:
        raise NoAtlasError(one_line(error) or type(error).__name__) from error


def what_to_do(problem: Exception, roots: list[Path], since: float) -> str:
    """Word what is wrong with an atlas. What has come just now is removed: nilearn would take it for good the next time."""
    new = new_files(roots, since)
    for path in new:
        path.unlink()
    if new:
        return (
            f"is not what the server should send ({problem}); what came was removed from nilearn's cache: run again, and if "
            "that does not help, ask those who offer it."
        )
    return (
        f"cannot be used as nilearn finds it ({problem}); check 'atlas_options', or delete the atlas's folder in nilearn's "
        f"cache, {' or '.join(str(root.absolute()) for root in roots)}, and run again."
    )


def facts_of(fetcher: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Tell by what an atlas is fetched."""
    parameters = inspect.signature(fetcher).parameters
    defaults = {key: entry.default for key, entry in parameters.items() if key not in OURS}
    return {
        "Name": fetcher.__name__.partition("_")[2].partition("_")[2],
        "Fetcher": f"nilearn.datasets.{fetcher.__name__}",
        "Options": {**defaults, **options},
        "NilearnVersion": importlib.metadata.version("nilearn"),
    }
