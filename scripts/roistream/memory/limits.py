"""How much memory a process may still take: the machine's, its control group's, the batch system's; and its address space."""

import logging
import os
import resource
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from roistream.errors import UserError

logger = logging.getLogger("roistream")

UNLIMITED_BYTES = 2**60
"""Version 1 of the control groups says "no limit" with a number near 2⁶³."""


@dataclass(frozen=True)
class Available:
    """Memory that is still to be had.

    Attributes
    ----------
    mib : float
        In MiB.
    limited_by : str
        What ends there, for the reader.
    each_process : bool
        Whether this is the address space of each process, in which everything counts that is mapped, rather than memory of
        all of them.
    """

    mib: float
    limited_by: str
    each_process: bool = False


def available_memory(root: Path = Path("/"), environment: Mapping[str, str] = os.environ) -> Available | None:
    """Find the tightest limit on what this process and its children may still take.

    Parameters
    ----------
    root : path
        Where ``proc`` and ``sys`` lie.
    environment : mapping
        Variables that a batch system has set.

    Returns
    -------
    Available or None
        None where the system tells nothing of it (other systems than Linux).
    """
    found = [*machine_memory(root), *control_group_memory(root), *slurm_memory(environment)]
    return min(found, key=lambda available: available.mib, default=None)


def address_space() -> Available | None:
    """Look up how much address space each process may have (``ulimit -v``); None where it is not limited."""
    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    if most == resource.RLIM_INFINITY:
        return None
    return Available(most / 2**20, "the limit of its address space (ulimit -v)", each_process=True)


def memory_limits() -> list[Available]:
    """List what is to be kept: the tightest limit on memory, and that of address space."""
    return [limit for limit in (available_memory(), address_space()) if limit is not None]


def check_memory(predicted_mib: float, what: str, shortage: str) -> None:
    """Refuse, or only tell, that a process will take more memory than there is.

    Parameters
    ----------
    predicted_mib : float
        Its predicted peak.
    what : str
        What the message calls it.
    shortage : {"error", "warn"}
        What to do.

    Raises
    ------
    UserError
        It does not fit.
    """
    available = min(memory_limits(), key=lambda limit: limit.mib, default=None)
    if available is None or predicted_mib <= available.mib:
        return
    sentence = (
        f"{what} needs about {predicted_mib:,.0f} MiB of memory, but {available.limited_by} allows "
        f"{max(0.0, available.mib):,.0f} MiB"
    )
    if shortage == "error":
        raise UserError(
            f"{sentence}; use a machine with more, or go on all the same by --memory-shortage warn "
            "(config key memory_shortage)."
        )
    logger.warning("%s.", sentence)


def machine_memory(root: Path) -> Iterator[Available]:
    """Ask the kernel for what can be had without swapping."""
    for line in lines_of(root / "proc/meminfo"):
        if line.startswith("MemAvailable:"):
            yield Available(int(line.split()[1]) / 1024, "this machine's free memory")


def control_group_memory(root: Path) -> Iterator[Available]:
    """Look at the control group of this process and at those around it; page cache that can be dropped is not in use.

    The files of the kernel's interface are described in its documentation, cgroup-v1/memory and cgroup-v2.
    """
    for line in lines_of(root / "proc/self/cgroup"):
        _, controllers, path = line.rstrip("\n").split(":", 2)
        if controllers == "":
            mount, limit, usage, cache = "sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"
        elif "memory" in controllers.split(","):
            mount, limit, usage = "sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
            cache = "total_inactive_file"
        else:
            continue
        top = root / mount
        group = top / path.lstrip("/")
        if not group.is_dir():  # inside a container, whose own group is mounted at the top
            group = top
        for folder in (group, *[parent for parent in group.parents if parent == top or top in parent.parents]):
            # A group without a limit says "max", or has no such file at all.
            with suppress(OSError, ValueError):
                most = int((folder / limit).read_text())
                if most < UNLIMITED_BYTES:
                    used = int((folder / usage).read_text())
                    for entry in lines_of(folder / "memory.stat"):
                        if entry.split()[0] == cache:
                            used -= int(entry.split()[1])
                    yield Available((most - used) / 2**20, "the limit of its control group")


def slurm_memory(environment: Mapping[str, str]) -> Iterator[Available]:
    """Read what a SLURM job has asked for; it may be enforced by killing, without any control group."""
    with suppress(KeyError, ValueError):
        yield Available(float(environment["SLURM_MEM_PER_NODE"]) or float("inf"), "the memory of its SLURM job")
    with suppress(KeyError, ValueError):
        mib = float(environment["SLURM_MEM_PER_CPU"]) * int(environment["SLURM_CPUS_ON_NODE"])
        yield Available(mib or float("inf"), "the memory of its SLURM job")


def lines_of(path: Path) -> list[str]:
    """Read a file of the kernel's; nothing if it is not there."""
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
