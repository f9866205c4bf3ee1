"""How much memory is still to be had: on this machine, in a real control group, and in files that say what others would."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from conftest import ROOT
from roistream.memory.limits import address_space, available_memory

MEMINFO = "MemTotal:       16384000 kB\nMemFree:         1024000 kB\nMemAvailable:    8192000 kB\n"


def write(root, files):
    """Write what the kernel would say."""
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content)
    return root


def test_this_machine():
    found = available_memory(environment={})
    assert 0 < found.mib <= psutil.virtual_memory().total / 2**20


def test_a_machine_without_limits(tmp_path):
    found = available_memory(write(tmp_path, {"proc/meminfo": MEMINFO}), {})
    assert (found.mib, found.limited_by) == (8000, "this machine's free memory")


def test_nothing_is_known_elsewhere(tmp_path):
    assert available_memory(tmp_path, {}) is None


V2 = {
    "proc/meminfo": MEMINFO,
    "proc/self/cgroup": "0::/slurm/job_7/step_0\n",
    "sys/fs/cgroup/slurm/job_7/step_0/memory.max": "max\n",
    "sys/fs/cgroup/slurm/job_7/step_0/memory.current": "1048576\n",
    "sys/fs/cgroup/slurm/job_7/memory.max": f"{500 * 2**20}\n",
    "sys/fs/cgroup/slurm/job_7/memory.current": f"{300 * 2**20}\n",
    "sys/fs/cgroup/slurm/job_7/memory.stat": f"anon {150 * 2**20}\ninactive_file {100 * 2**20}\nactive_file 5\n",
}


def test_the_tightest_group_counts_without_its_page_cache(tmp_path):
    found = available_memory(write(tmp_path, V2), {})
    assert (found.mib, found.limited_by) == (300, "the limit of its control group")


def test_the_first_version_of_control_groups(tmp_path):
    group = "sys/fs/cgroup/memory/user"
    files = {
        "proc/meminfo": MEMINFO,
        "proc/self/cgroup": "5:cpu,cpuacct:/elsewhere\n4:memory:/user\n0::/\n",
        f"{group}/memory.limit_in_bytes": f"{400 * 2**20}\n",
        f"{group}/memory.usage_in_bytes": f"{250 * 2**20}\n",
        f"{group}/memory.stat": f"inactive_file 1\ntotal_inactive_file {50 * 2**20}\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
        "sys/fs/cgroup/memory/memory.usage_in_bytes": "123\n",
    }
    assert available_memory(write(tmp_path, files), {}).mib == 200


def test_a_container_sees_its_group_at_the_top(tmp_path):
    files = {
        "proc/self/cgroup": "0::/docker/0123\n",
        "sys/fs/cgroup/memory.max": f"{100 * 2**20}\n",
        "sys/fs/cgroup/memory.current": "0\n",
    }
    assert available_memory(write(tmp_path, files), {}).mib == 100


@pytest.mark.parametrize(
    ("variables", "mib"),
    [
        ({"SLURM_MEM_PER_NODE": "700"}, 700),
        ({"SLURM_MEM_PER_CPU": "300", "SLURM_CPUS_ON_NODE": "2"}, 600),
        ({"SLURM_MEM_PER_NODE": "0"}, 8000),  # all of the node's
        ({"SLURM_MEM_PER_NODE": "9000"}, 8000),
    ],
)
def test_inside_a_slurm_job(tmp_path, variables, mib):
    assert available_memory(write(tmp_path, {"proc/meminfo": MEMINFO}), variables).mib == mib


def test_address_space_is_not_limited_here():
    assert address_space() is None


def test_a_real_limit_of_address_space():
    script = "from roistream.memory.limits import check_memory; check_memory(1025, 'This', 'error')"
    done = subprocess.run(
        ["/bin/sh", "-c", f'ulimit -v {1024**2} && exec "$0" -c "{script}"', sys.executable],
        env={**os.environ, "PYTHONPATH": str(ROOT / "scripts")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (
        "This needs about 1,025 MiB of memory, but the limit of its address space (ulimit -v) allows 1,024 MiB"
        in done.stderr
    )


@pytest.fixture
def control_group():
    """A real group with a limit of 200 MiB, of whichever version is mounted."""
    for folder, limit in (
        (Path("/sys/fs/cgroup/memory/roistream-test"), "memory.limit_in_bytes"),
        (Path("/sys/fs/cgroup/roistream-test"), "memory.max"),
    ):
        try:
            folder.mkdir()
            (folder / limit).write_text(str(200 * 2**20))
        except OSError:
            if folder.is_dir():
                folder.rmdir()
            continue
        yield folder
        folder.rmdir()
        return
    pytest.skip("no control group can be made here")


def test_a_real_control_group(control_group):
    script = (
        "from pathlib import Path; import os; "
        f"Path({str(control_group / 'cgroup.procs')!r}).write_text(str(os.getpid())); "
        "from roistream.memory.limits import available_memory; found = available_memory(); print(found.limited_by, found.mib)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "scripts")}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    said, mib = done.stdout.rsplit(maxsplit=1)
    assert said == "the limit of its control group"
    assert 150 < float(mib) <= 200
