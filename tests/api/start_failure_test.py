"""A server that will not start puts its instance, alone, in ERROR with the server's own words;
it recovers when the reason is gone, and `delete` cleans it up.

The second datastore version is Debian's redis-server behind a few lines of shell that call
themselves 6.2.99, so that its binary can be taken away and its arguments spoilt.
"""
import os
import subprocess

import pytest

from harness import Dev

WRAPPER = """#!/bin/sh
case "$1" in
--version | -v) echo "Redis server v=6.2.99 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=0" ;;
*) exec /usr/bin/redis-server "$@" {more} ;;
esac
"""


@pytest.fixture()
def wrapped(tmp_path):
    path = tmp_path / "redis-server"

    def write(more=""):
        path.write_text(WRAPPER.format(more=more))
        path.chmod(0o755)

    write()
    with Dev(settings=[f"agent.servers=/usr/bin/redis-server {path}"]) as d:
        d.create("witness")
        yield d, path, write


def create_62(d, name):
    d.tanist("create", name, "1", "--size", "1", "--datastore", "redis",
             "--datastore-version", "6.2")


def alone_in_error(d, name, words):
    broken = d.wait_status(name, "ERROR")
    for word in words:
        assert word in broken["fault"]["message"], broken["fault"]["message"]
    assert d.show("witness")["status"] == "ACTIVE"
    assert d.redis(d.show("witness")).ping()


def test_two_versions_side_by_side(wrapped):
    d, _, _ = wrapped
    versions = {v["name"] for v in d.api.get("/datastores/redis/versions")["versions"]}
    assert {"6.2", "7.0"} <= versions
    create_62(d, "old")
    assert d.wait_status("old", "ACTIVE")["datastore"]["version_number"] == "6.2.99"


def test_bad_configuration(wrapped):
    d, _, write = wrapped
    write(more="--no-such-directive yes")
    create_62(d, "spoilt")
    alone_in_error(d, "spoilt", ["no-such-directive"])
    write()
    d.wait_status("spoilt", "ACTIVE")
    assert "instance.returned" in [e["event"] for e in d.events()]


def test_binary_missing(wrapped):
    d, path, _ = wrapped
    create_62(d, "lost")
    lost = d.wait_status("lost", "ACTIVE")
    path.unlink()
    d.kill_server(lost)
    alone_in_error(d, "lost", ["No such file"])
    d.tanist("delete", "lost", "--wait")
    assert not os.path.exists(d.folder(lost))


def test_delete_of_one_that_never_started(wrapped):
    d, _, write = wrapped
    write(more="--port nonsense")
    create_62(d, "never")
    alone_in_error(d, "never", [])
    d.tanist("delete", "never", "--wait")
    assert [i["name"] for i in d.instances()] == ["witness"]


def test_disk_full(tmp_path):
    """The servers' folders on a small file system of their own, which is filled up."""
    state = tmp_path / "state"
    small = state / "agent"
    small.mkdir(parents=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,mode=0700", "tmpfs",
                              str(small)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("needs root to mount a small file system")
    try:
        with Dev(folder=str(state)) as d:
            source = d.create("witness")
            d.redis(source).set("k", "v")
            filler = small / "filler"
            with open(filler, "wb", buffering=0) as f, pytest.raises(OSError):
                while True:
                    f.write(b"x" * 4096)
            d.tanist("create", "more", "1", "--size", "1")
            broken = d.wait_status("more", "ERROR")
            assert "No space left" in broken["fault"]["message"], broken["fault"]["message"]
            assert d.show("witness")["status"] == "ACTIVE"
            assert d.redis(source).get("k") == "v"
            filler.unlink()
            d.wait_status("more", "ACTIVE")
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)
