"""A plugin of pytest: the collector of garbage, which nilearn calls again and again, is spared what is loaded already."""

import gc


def pytest_collection_finish() -> None:
    """Take what there is out of its sight."""
    gc.collect()
    gc.freeze()
