"""The Debian packages: units that systemd accepts, and what dpkg does with state, users and
settings. What needs systemd as the first process is packaging/try-on-systemd."""
import hashlib
import os
import re
import shutil
import subprocess
import tempfile

import pytest

from harness import BUILD, wait_until

TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
DEBIAN = os.path.join(TOP, "packaging", "debian")
UNITS = ("tanistd", "tanist-agent")


def run(*words, **more):
    return subprocess.run(words, text=True, capture_output=True, timeout=900, **more)


def unit(name):
    with open(os.path.join(DEBIAN, name + ".service")) as f:
        return f.read()


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
@pytest.mark.parametrize("name", UNITS)
def test_systemd_accepts_the_unit(name):
    with tempfile.TemporaryDirectory(prefix="tanist-unit-") as folder:
        path = os.path.join(folder, name + ".service")
        with open(path, "w") as f:  # the programs that were built, since these are not installed
            f.write(unit(name).replace("/usr/bin/tanist", BUILD + "/tanist"))
        verified = run("systemd-analyze", "verify", "--man=no", path)
        # It goes on reading what a unit refers to: only lines about ours count.
        said = [line for line in verified.stderr.splitlines() if name in line]
        assert verified.returncode == 0 and not said, verified.stderr

        with open(path, "a") as f:
            f.write("[Service]\nProtectSistem=strict\n")
        assert "ProtectSistem" in run("systemd-analyze", "verify", "--man=no", path).stderr


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
@pytest.mark.parametrize("name,most", [("tanistd", 14), ("tanist-agent", 20)])
def test_the_sandbox_is_as_tight_as_it_was(name, most):
    """By systemd's own measure, 0 to 100."""
    done = run("systemd-analyze", "security", "--offline=true", f"--threshold={most}",
               "--no-pager", os.path.join(DEBIAN, name + ".service"))
    assert done.returncode == 0, done.stdout[-300:] + done.stderr


def test_the_agents_servers_outlive_it():
    lines = unit("tanist-agent").splitlines()
    for line in ("KillMode=process", "Delegate=yes", "OOMPolicy=continue", "Restart=on-failure",
                 "RuntimeDirectoryPreserve=yes"):
        assert line in lines, line
    assert not [line for line in lines if line.startswith(("MemoryMax", "MemoryHigh"))]


def test_versions_agree():
    with open(os.path.join(TOP, "meson.build")) as f:
        ours = re.search(r"version: '([^']*)'", f.read())[1]
    with open(os.path.join(DEBIAN, "changelog")) as f:
        assert f.readline().split()[1] == f"({ours})"


def test_the_agents_settings_are_its_own(tmp_path):
    """The file that is installed: no section but its own, and the agent can read it."""
    whole = run(os.path.join(BUILD, "tanistd"), "--settings").stdout
    part = run("awk", "-f", os.path.join(DEBIAN, "agent-settings.awk"), input=whole).stdout
    assert re.findall(r"^\[(.*)\]$", part, re.M) == ["agent", "log"]
    assert "#addresses = " in part and "#level = info" in part
    path = tmp_path / "agent.conf"
    path.write_text(part.replace("#addresses = ", "addresses = nonsense "))
    done = run(os.path.join(BUILD, "tanist-agent"), "--dir", str(tmp_path / "state"), "--server",
               "http://127.0.0.1:1", "--token-file", str(path), "--config", str(path))
    assert done.returncode != 0 and "addresses" in done.stderr


@pytest.mark.parametrize("name", [n for n in sorted(os.listdir(DEBIAN))
                                  if n.endswith(("inst", "rm"))])
def test_the_shell_reads_the_script(name):
    done = run("sh", "-n", os.path.join(DEBIAN, name))
    assert done.returncode == 0, done.stderr


# ---- the packages themselves, in a Debian of their own ----

def not_here():
    if os.geteuid() != 0:
        return "a chroot needs root"
    if not shutil.which("debootstrap"):
        return "debootstrap is not installed"
    return None


def digests(folder):
    found = {}
    for name in os.listdir(folder):
        if name.endswith(".deb"):
            with open(os.path.join(folder, name), "rb") as f:
                found[name] = hashlib.sha256(f.read()).hexdigest()
    return found


def build_packages(folder, top=TOP, **env):
    done = run(os.path.join(top, "tools", "deb"), folder, env=dict(os.environ, **env))
    assert done.returncode == 0, done.stdout + done.stderr
    return digests(folder)


class Chroot:
    def __init__(self, path):
        self.path = path
        done = run("debootstrap", "--variant=minbase", "--include=adduser,ca-certificates,systemd",
                   "bookworm", path,
                   os.environ.get("DEBIAN_MIRROR", "http://deb.debian.org/debian"))
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr
        shutil.copy("/etc/resolv.conf", os.path.join(path, "etc/resolv.conf"))
        self.write("usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", 0o755)
        os.makedirs(os.path.join(path, "packages"), exist_ok=True)
        run("mount", "-t", "proc", "proc", os.path.join(path, "proc"), check=True)

    def close(self):
        run("umount", os.path.join(self.path, "proc"))

    def at(self, name):
        return os.path.join(self.path, name.lstrip("/"))

    def write(self, name, text, mode=0o644):
        with open(self.at(name), "w") as f:
            f.write(text)
        os.chmod(self.at(name), mode)

    def run(self, *words, ok=True):
        done = run("chroot", self.path, "env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8",
                   *words)
        assert not ok or done.returncode == 0, (words, done.stdout[-3000:] + done.stderr[-3000:])
        return done

    def out(self, *words):
        return self.run(*words).stdout.strip()

    def install(self, folder):
        names = [n for n in os.listdir(folder) if n.endswith(".deb") and "-dbgsym" not in n]
        for name in names:
            shutil.copy(os.path.join(folder, name), self.at("packages"))
        return self.run("apt-get", "install", "-y", "-q", "--no-install-recommends",
                        "--allow-downgrades", *[f"/packages/{n}" for n in sorted(names)])


@pytest.mark.slow
@pytest.mark.skipif(not_here() is not None, reason=str(not_here()))
def test_two_builds_are_the_same_and_install_upgrade_and_purge(record_property):
    with tempfile.TemporaryDirectory(prefix="tanist-deb-") as folder:
        one, two, newer, tree, root = (os.path.join(folder, n) for n in
                                       ("one", "two", "newer", "tree", "root"))
        built = build_packages(one)
        assert {name.split("_")[0] for name in built} >= {"tanistd", "tanist-agent", "tanist"}
        assert build_packages(two, TZ="Asia/Tokyo", LC_ALL="C") == built

        os.mkdir(tree)
        for name in ("src", "man", "bench", "doc", "tools", "packaging"):
            shutil.copytree(os.path.join(TOP, name), os.path.join(tree, name))
        for name in ("meson.build", "meson_options.txt", "LICENSE", "README.md"):
            shutil.copy(os.path.join(TOP, name), tree)
        changelog = os.path.join(tree, "packaging/debian/changelog")
        with open(changelog) as f:
            first = f.read()
        with open(changelog, "w") as f:
            f.write(re.sub(r"\(([^)]*)\)", r"(\1+next)", first, count=1) + "\n" + first)
        assert build_packages(newer, tree) != built

        chroot = Chroot(root)
        try:
            install_upgrade_purge(chroot, one, newer)
        finally:
            chroot.close()
        record_property("told", "packages: two builds gave the same bytes; install, upgrade and "
                        "purge in a chroot. Under systemd as init: not shown here "
                        "(packaging/try-on-systemd)")


def install_upgrade_purge(chroot, one, newer):
    chroot.install(one)
    # Settings may hold tokens: each program reads its own.
    assert chroot.out("stat", "-c", "%a %U:%G", "/etc/tanist/tanist.conf") == "640 root:tanist"
    assert chroot.out("stat", "-c", "%a %U:%G",
                      "/etc/tanist/tanist-agent.conf") == "640 root:tanist-agent"
    for name in ("tanist", "tanist-agent"):
        assert chroot.out("getent", "passwd", name).endswith("/usr/sbin/nologin")
    for name in ("tanistd", "tanist-agent"):
        assert chroot.out("systemctl", "is-enabled", name) == "enabled"
        verified = chroot.run("systemd-analyze", "verify", "--man=no",
                              f"/lib/systemd/system/{name}.service", ok=False)
        assert verified.returncode == 0 and name not in verified.stderr, verified.stderr
    for words in (("tanistd", "--version"), ("tanist-agent", "--version"), ("tanist", "--version")):
        chroot.run(*words)

    # State and changed settings stay over an upgrade, a removal and a new installation.
    changed = chroot.at("/etc/tanist/tanist.conf")
    with open(changed, "a") as f:
        f.write("[quota]\ninstances = 7\n")
    for name in ("tanistd", "tanist-agent"):
        chroot.run("install", "-d", "-m", "0700", "-o", name.replace("tanistd", "tanist"),
                   f"/var/lib/{name}")
        chroot.write(f"/var/lib/{name}/kept", "x")
    chroot.install(newer)
    assert chroot.out("dpkg-query", "-W", "-f", "${Version}", "tanistd").endswith("+next")
    assert chroot.out("stat", "-c", "%a %U:%G", "/etc/tanist/tanist.conf") == "640 root:tanist"
    with open(changed) as f:
        assert "instances = 7" in f.read()

    # A server of ours, as far as the scripts can see: a process in an instance's folder.
    instance = "/var/lib/tanist-agent/instances/one"
    chroot.run("mkdir", "-p", instance)
    server = subprocess.Popen(["chroot", chroot.path, "sh", "-c",
                               f"cd {instance} && exec sleep 900"])
    try:
        wait_until("it is in its folder", lambda: os.path.samefile(f"/proc/{server.pid}/cwd",
                                                                   chroot.at(instance)))
        removed = chroot.run("apt-get", "remove", "-y", "tanistd", "tanist-agent", "tanist")
        assert "servers that go on running: 1" in removed.stderr + removed.stdout
        assert server.poll() is None
        for name in ("tanistd", "tanist-agent"):
            assert os.path.exists(chroot.at(f"/var/lib/{name}/kept"))
        purged = chroot.run("apt-get", "purge", "-y", "tanist-agent")
        assert "is left as it is" in purged.stderr + purged.stdout
        assert os.path.exists(chroot.at("/var/lib/tanist-agent/kept")) and server.poll() is None
    finally:
        server.kill()
        server.wait(20)

    chroot.install(one)
    chroot.run("apt-get", "purge", "-y", "tanistd", "tanist-agent", "tanist")
    for path in ("/etc/tanist", "/var/lib/tanistd", "/var/lib/tanist-agent",
                 "/etc/default/tanist-agent", "/usr/bin/tanistd",
                 "/lib/systemd/system/tanistd.service",
                 "/etc/systemd/system/multi-user.target.wants/tanistd.service"):
        assert not os.path.lexists(chroot.at(path)), path
