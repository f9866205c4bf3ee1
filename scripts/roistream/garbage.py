"""Python's collector of garbage, kept from searching what is no garbage."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused_collections() -> Iterator[None]:
    """Collect nothing meanwhile: for imports, of which a tenth of the time is spent on searching what they have just loaded."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def quick_collections() -> Iterator[None]:
    """Spare the collections that nilearn forces all the objects that there are already.

    It forces nine of them for a masker of labels, each of which takes 0.1 s with its modules loaded. Frozen objects live on as
    always; they are only not searched for cycles meanwhile.
    """
    if gc.get_freeze_count():  # by somebody else, who will thaw them
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
