"""Disks of the tests' own, small enough to be filled up (root only)."""
import contextlib
import os
import subprocess

import pytest

from harness import wait_until


@contextlib.contextmanager
def small_disk(folder, megabytes):
    os.makedirs(folder, exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=700", "tanist",
                           folder], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        wait_until("it is unmounted", lambda: subprocess.run(
            ["umount", folder], capture_output=True).returncode == 0, 10)


def fill_up(path):
    """Takes every free byte of the disk that path is on."""
    with open(path, "wb", buffering=0) as f:
        for size in (1 << 16, 4096, 512, 1):
            with contextlib.suppress(OSError):
                while True:
                    f.write(b"x" * size)
