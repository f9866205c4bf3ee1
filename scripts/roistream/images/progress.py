"""How far a pass over an image has come: a bar on a terminal, a line now and then in a log."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator

from roistream.images.image import Image
from roistream.images.series import Series
from roistream.images.volumes import Block

logger = logging.getLogger("roistream")

SECONDS_BETWEEN_LINES = 30


def progress(blocks: Iterable[Block], image: Image | Series, doing: str) -> Iterator[Block]:
    """Pass blocks on and show how many volumes have been done.

    Parameters
    ----------
    blocks : iterable of Block
        From `roistream.images.volumes.read_blocks`.
    image : Image or Series
        The image that they come from.
    doing : str
        What is being done, for the reader.
    """
    if sys.stderr.isatty():
        from tqdm import tqdm  # of no use in a job

        with tqdm(total=image.n_volumes, desc=doing, unit="volume", leave=False) as bar:
            for block in blocks:
                yield block
                bar.update(block.first_volume + len(block.values) - bar.n)
        return
    last_line = time.monotonic()
    for block in blocks:
        yield block
        if time.monotonic() - last_line > SECONDS_BETWEEN_LINES:
            last_line = time.monotonic()
            done = block.first_volume + len(block.values)
            logger.info("%s: %d of %d volumes of %s", doing, done, image.n_volumes, image.path)
