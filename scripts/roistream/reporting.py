"""How a program of this project speaks: one log, one sentence for a user's mistake, no silent warning."""

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from roistream.errors import UserError
from roistream.faults import sentence_of
from roistream.lifetime import ending_with_starter

logger = logging.getLogger("roistream")


class LogFile(logging.FileHandler):
    """A log that may lie on the very disk of which it has to tell that it is full; stderr has it, too."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Pass over a disk that takes no more."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


@contextmanager
def reporting(log_file: str | Path | None = None) -> Iterator[None]:
    """Send logging, warnings and failures of the enclosed code to stderr and, if given, to a log file.

    Snakemake's ``log:`` only reserves a name; this fills it. A `UserError` and a fault of the machine (`roistream.faults`)
    become one sentence; anything else is a defect and keeps its traceback. The program ends with the workflow that started
    it (`roistream.lifetime`).

    Parameters
    ----------
    log_file : path, optional
        Rewritten by this run. Its folder is made when it is missing.

    Raises
    ------
    SystemExit
        Status 1 when the enclosed code failed, 130 when it was interrupted from the keyboard, 143 when it was to end.
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
            add(LogFile(log_file, mode="w", encoding="utf-8", errors="backslashreplace"))
        with ending_with_starter():
            yield
    except UserError as error:
        logger.error("%s", error)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        logger.error("Interrupted.")
        raise SystemExit(130) from None
    except Exception as error:
        if sentence := sentence_of(error):
            logger.error("%s", sentence)
            logger.debug("The system's error came from here:", exc_info=True)
        else:
            logger.exception("This is a defect of roistream, not a mistake of yours; please report it with this text:")
        raise SystemExit(1) from None
    finally:
        for handler in handlers:
            root.removeHandler(handler)
            with suppress(OSError):  # see LogFile
                handler.close()
        logging.captureWarnings(False)
        warnings.formatwarning = formatwarning
