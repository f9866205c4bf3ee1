"""Images in batches, for jobs that are too short for one image each."""

import hashlib
from collections.abc import Iterable

MOST = 100
"""Images of a batch, more or less."""


def in_batches(images: Iterable[str], most: int = MOST) -> dict[str, list[str]]:
    """Sort images into batches by their names alone: one image more or less changes its own batch, and no other.

    Only when the number of images passes `most` times a power of two are all of them sorted anew.

    Parameters
    ----------
    images : iterable of str
        What file names call them.
    most : int
        About the largest number of images in a batch.

    Returns
    -------
    dict
        The images of each batch, in order, by the batch's name; none is empty.
    """
    images = list(images)
    n_batches = 1
    while n_batches * most < len(images):
        n_batches *= 2
    batches: dict[str, list[str]] = {}
    for image in images:
        number = int.from_bytes(hashlib.sha256(image.encode()).digest()[:4], "big") % n_batches
        batches.setdefault(f"{number:03}-of-{n_batches:03}", []).append(image)
    return dict(sorted(batches.items()))
