"""Workers, and what they have to tell: it reaches the log once, however many of them say it."""

import logging
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from typing import Any

from roistream.errors import UserError
from roistream.faults import free_space
from roistream.images.image import Image
from roistream.images.series import Series
from roistream.images.volumes import read_blocks

logger = logging.getLogger("roistream")


def run_in_parallel(n_jobs: int, function: Callable, tasks: Iterable[tuple]) -> list[Any]:
    """Call a function with each of some tuples of arguments, in worker processes, and tell what they had to tell."""
    from joblib import Parallel, delayed  # of no use to a strategy without workers

    results, told = [], {}
    for result, lines in Parallel(n_jobs=n_jobs)(delayed(listen)(function, *task) for task in tasks):
        results.append(result)
        told.update(dict.fromkeys(lines))
    for level, line in told:
        logger.log(level, "%s", line)
    return results


def listen(function: Callable, *task: Any) -> tuple[Any, list[tuple[int, str]]]:
    """Call a function; give its result and what it has put into the log."""
    with keeping_lines() as lines:
        result = function(*task)
    return result, lines


class Keeper(logging.Handler):
    """Keeps lines of the log."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[int, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        self.lines.append((record.levelno, record.getMessage()))


@contextmanager
def keeping_lines() -> Iterator[list[tuple[int, str]]]:
    """Keep what is put into the log meanwhile, instead of showing it."""
    keeper, propagate = Keeper(), logger.propagate
    logger.addHandler(keeper)
    logger.propagate = False
    try:
        yield keeper.lines
    finally:
        logger.removeHandler(keeper)
        logger.propagate = propagate


@contextmanager
def explaining_bus_errors(source: Image | Series) -> Iterator[None]:
    """Let our reader say why a worker could not read a page of a mapped image: all that the worker gets is a signal.

    Raises
    ------
    UserError
        A worker of the enclosed code was ended by SIGBUS, and the image cannot be read to its end.
    """
    try:
        yield
    except BrokenExecutor as error:
        if "SIGBUS" in str(error):
            for _ in read_blocks(source):
                pass
        raise


def check_workers(n_jobs: int) -> None:
    """Refuse workers that joblib would replace by none: what is measured would not be what it is called."""
    from joblib import effective_n_jobs

    if effective_n_jobs(n_jobs) < n_jobs:
        raise UserError(
            f"{n_jobs} workers cannot be started, their semaphores need room in {free_space()}; make room there, or use one "
            "worker (--n-jobs 1, config key n_jobs) or the strategy 'stream'."
        )
