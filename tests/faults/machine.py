"""A machine that can be broken: mounts that only one process tree sees, and a control group with a limit.

What runs in a `Machine` has a /dev/shm and a folder for temporary files of its own, so that whatever is left there is seen, and
disks of any size. All of it vanishes with the machine; nothing else on this computer is touched.
"""

import os
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from workflow.conftest import finish


class Machine:
    """A mount namespace, held open by a process that sleeps in it."""

    def __init__(self, folder):
        self.folder = folder
        self.temporary = folder / "tmp"
        self.temporary.mkdir(parents=True)
        # Not root: a namespace of users in which one is.
        self.options = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        command = ["unshare", *self.options, "--mount", "--propagation", "private", "sh", "-c", "echo; exec sleep 1d"]
        self.holder = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        if not self.holder.stdout.readline():
            reason = self.holder.communicate()[1].decode().strip()
            pytest.skip(f"mounts of one's own are refused here: {reason}")
        self.disk("/dev/shm", "3g")

    def inside(self, command, cwd=None):
        """Word a command that runs another one in here, in its place: the process is the same."""
        user = ["--user", "--preserve-credentials"] if self.options else []
        enter = ["nsenter", "--target", self.holder.pid, *user, "--mount", "--", "sh", "-c", 'cd "$0" && exec "$@"']
        return list(map(str, [*enter, cwd or self.folder, *command]))

    def start(self, command, cwd=None, **environment):
        """Start a command in here, in a session of its own."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith("SNAKEMAKE_")}
        return subprocess.Popen(
            self.inside(command, cwd),
            env={**kept, "TMPDIR": str(self.temporary), **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )

    def run(self, command, cwd=None, **environment):
        """Run a command in here to its end."""
        return finish(self.start(command, cwd, **environment))

    def mount(self, *words):
        """Mount something; skip the test where that is refused."""
        done = subprocess.run(self.inside(["mount", *words], "/"), capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"mounting is refused here: {done.stderr.strip()}")

    def disk(self, path, size):
        """Mount an empty disk of a size, such as ``300k``."""
        Path(path).mkdir(parents=True, exist_ok=True)
        self.mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", path)

    def failing_disk(self, path, *files):
        """Mount a disk with files of which the second halves cannot be read: the device ends before them."""
        if not shutil.which("mkfs.ext4"):
            pytest.skip("mkfs.ext4 (e2fsprogs) is missing")
        path.mkdir(parents=True)
        device = path.with_name(f"{path.name}.img")
        with device.open("wb") as stream:
            stream.truncate(2**20 * (4 + 2 * sum(file.stat().st_size for file in files) // 2**20))
        subprocess.run(["mkfs.ext4", "-q", "-b", "1024", "-O", "^has_journal", device], check=True)
        self.mount("-o", "loop", device, path)
        for step in (["cp", *files, path], ["umount", path]):
            done = self.run(step, "/")
            assert done.status == 0, done.output
        written = device.read_bytes()
        halves = [written.index(content[len(content) // 2 :][:512]) for content in map(Path.read_bytes, files)]
        self.mount("-o", "loop,ro", device, path)
        os.truncate(device, min(halves) // 1024 * 1024)

    def enlarge(self, path, size):
        """Give a disk another size."""
        self.mount("-o", f"remount,size={size}", path)

    def read_only(self, path, yes=True):
        """Make a folder a file system that cannot be written, root or not; or a usual one again."""
        if yes:
            self.mount("--bind", path, path)
        self.mount("-o", f"remount,{'ro' if yes else 'rw'},bind", path)

    def seen(self, path):
        """Give the path by which the test sees what a process in here sees as `path`."""
        return Path(f"/proc/{self.holder.pid}/root{path}")

    def copy(self, path, target):
        """Copy a folder of a disk to where the test sees it, files in the place of links: those lead to paths in here."""
        done = self.run(["cp", "--recursive", "--dereference", path, target])
        assert done.status == 0, done.output
        return target

    def left(self):
        """List what lies in /dev/shm and among the temporary files."""
        return [path for folder in ("/dev/shm", self.temporary) for path in sorted(self.seen(folder).iterdir())]

    def processes(self):
        """List the processes in here, whoever started them, zombies not."""
        own = Path(f"/proc/{self.holder.pid}/ns/mnt").readlink()
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal() and int(entry.name) != self.holder.pid:
                with suppress(OSError):
                    if (entry / "ns/mnt").readlink() == own and not is_zombie(entry):
                        found.append(int(entry.name))
        return found

    def wait_until_empty(self, patience_s=30):
        """Wait for all processes in here to end; tell which have not."""
        deadline_s = time.monotonic() + patience_s
        while (living := self.processes()) and time.monotonic() < deadline_s:
            time.sleep(0.05)
        return [command_line(pid) for pid in living]

    def close(self):
        """End whatever runs in here."""
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.holder.kill()
        self.holder.communicate()
        shutil.rmtree(self.temporary, ignore_errors=True)


def is_zombie(entry):
    """Tell whether a process, given by its folder in /proc, has ended."""
    return (entry / "stat").read_text().rpartition(")")[2].split()[0] in "ZX"


def command_line(pid):
    """Give the command line of a process; nothing when it is gone."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


@contextmanager
def machine(folder):
    """Give a machine, and break it up in the end."""
    if not (shutil.which("unshare") and shutil.which("nsenter")):
        pytest.skip("unshare and nsenter (util-linux) are missing")
    made = Machine(folder)
    try:
        yield made
    finally:
        made.close()


@contextmanager
def memory_limit(mib):
    """Give the file into which a process writes its id to be limited to so much memory, swap not to be used.

    Either version of the kernel's control groups; the test is skipped where they may not be written.
    """
    for top, limit in (
        (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
        (Path("/sys/fs/cgroup"), "memory.max"),
    ):
        group = top / f"roistream_test_{os.getpid()}"
        try:
            group.mkdir()
            (group / limit).write_text(str(int(mib * 2**20)))
        except OSError:
            with suppress(OSError):
                group.rmdir()
            continue
        with suppress(OSError):
            (group / "memory.swap.max").write_text("0")
        try:
            yield group / "cgroup.procs"
        finally:
            end_group(group)
        return
    pytest.skip("control groups of memory cannot be made here")


def end_group(group):
    """Kill who is left in a control group, and remove it."""
    for _ in range(100):
        for pid in (group / "cgroup.procs").read_text().split():
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        with suppress(OSError):
            group.rmdir()
            return
        time.sleep(0.05)
