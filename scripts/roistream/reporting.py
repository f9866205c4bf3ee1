"""How a program of this project speaks: one log, one sentence for a user's mistake, no silent warning."""

import errno
import logging
import sys
import warnings
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from pathlib import Path

from roistream.errors import UserError

logger = logging.getLogger("roistream")

MORE_MEMORY = "use the strategy 'stream', fewer jobs, or a machine with more"


@contextmanager
def reporting(log_file: str | Path | None = None) -> Iterator[None]:
    """Send logging, warnings and failures of the enclosed code to stderr and, if given, to a log file.

    Snakemake's ``log:`` only reserves a name; this fills it. A `UserError` and an error of the operating system
    become one sentence, memory exhaustion too; anything else is a defect and keeps its traceback.

    Parameters
    ----------
    log_file : path, optional
        Rewritten by this run. Its folder is made when it is missing.

    Raises
    ------
    SystemExit
        Status 1 when the enclosed code failed, 130 when it was interrupted from the keyboard.
    """
    root = logging.getLogger()
    root.handlers.clear()
    root.setLevel(logging.INFO)
    handlers: list[logging.Handler] = []

    def add(handler: logging.Handler) -> None:
        handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
        root.addHandler(handler)
        handlers.append(handler)

    add(logging.StreamHandler(sys.stderr))
    formatwarning = warnings.formatwarning
    warnings.formatwarning = lambda message, category, *_: f"{category.__name__}: {message}"
    logging.captureWarnings(True)
    try:
        if log_file is not None:
            Path(log_file).parent.mkdir(parents=True, exist_ok=True)
            add(logging.FileHandler(log_file, mode="w", encoding="utf-8"))
        yield
    except UserError as error:
        logger.error("%s", error)
        raise SystemExit(1) from None
    except BrokenExecutor:
        logger.error("A worker was killed, most likely because memory ran out; %s.", MORE_MEMORY)
        raise SystemExit(1) from None
    except MemoryError as error:
        logger.error("Not enough memory%s; %s.", f" ({error})" if str(error) else "", MORE_MEMORY)
        raise SystemExit(1) from None
    except OSError as error:
        if error.errno == errno.ENOMEM:
            logger.error("Not enough memory; %s.", MORE_MEMORY)
        else:
            logger.error("%s", " ".join(str(error).split()))  # nibabel's go over two lines
        logger.debug("The operating system's error came from here:", exc_info=True)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        logger.error("Interrupted.")
        raise SystemExit(130) from None
    except Exception:
        logger.exception("This is a defect of roistream, not a mistake of yours; please report it with this text:")
        raise SystemExit(1) from None
    finally:
        for handler in handlers:
            root.removeHandler(handler)
            handler.close()
        logging.captureWarnings(False)
        warnings.formatwarning = formatwarning
