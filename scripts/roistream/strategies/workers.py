"""The workers that strategies share: whether joblib can start them here."""

from roistream.errors import UserError
from roistream.faults import free_space


def check_workers(n_jobs: int) -> None:
    """Refuse workers that joblib would replace by none: what is measured would not be what it is called."""
    from joblib import effective_n_jobs  # of no use to a strategy without workers

    if effective_n_jobs(n_jobs) < n_jobs:
        raise UserError(
            f"{n_jobs} workers cannot be started, their semaphores need room in {free_space()}; make room there, or use one "
            "worker (--n-jobs 1, config key n_jobs) or the strategy 'stream'."
        )
