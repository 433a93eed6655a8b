"""API and agent link over TLS: certificates made here with openssl, the real programs, and clients
that are strict, careless or hostile. Certificates are exchanged under connections that live."""
import base64
import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import time

import pytest

from harness import BUILD, TANIST, AddressRange, servers_below, wait_until

LIMIT_S = 30


def openssl(*words, **more):
    return subprocess.run(["openssl", *words], check=True, capture_output=True, timeout=60,
                          **more).stdout


class Certificates:
    """A CA, another one, and what they have signed."""

    def __init__(self, folder):
        self.dir = folder
        for ca in ("ca", "other-ca"):
            self.key(ca)
            openssl("req", "-x509", "-new", "-key", self[ca + ".key"], "-days", "30", "-subj",
                    f"/CN={ca}", "-out", self[ca + ".pem"])
        self.make("server")
        self.make("next")
        self.make("stranger", ca="other-ca")
        self.make("expired", days=-1)
        self.make("elsewhere", names="DNS:elsewhere.example,IP:127.0.0.2")
        self.make("middle", more="basicConstraints=critical,CA:TRUE\n")
        self.make("chained", ca="middle")
        with open(self["chained.pem"], "a") as f, open(self["middle.pem"]) as middle:
            f.write(middle.read())

    def __getitem__(self, name):
        return os.path.join(self.dir, name)

    def key(self, name):
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", self[name + ".key"])

    def make(self, name, ca="ca", days=30, names="IP:127.0.0.1,DNS:localhost",
             more=""):
        self.key(name)
        openssl("req", "-new", "-key", self[name + ".key"], "-subj", f"/CN={name}", "-out",
                self[name + ".csr"])
        with open(self[name + ".ext"], "w") as f:
            f.write(f"subjectAltName={names}\n{more}")
        openssl("x509", "-req", "-in", self[name + ".csr"], "-CA", self[ca + ".pem"], "-CAkey",
                self[ca + ".key"], "-CAcreateserial", "-days", str(days), "-extfile",
                self[name + ".ext"], "-out", self[name + ".pem"])

    def pin(self, name):
        """SHA-256 of the public key, as openssl and hashlib see it."""
        der = openssl("pkey", "-in", self[name + ".key"], "-pubout", "-outform", "DER")
        return hashlib.sha256(der).digest()

    def fingerprint(self, name):
        with open(self[name + ".pem"]) as f:
            return ssl.PEM_cert_to_DER_cert(f.read())


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return Certificates(str(tmp_path_factory.mktemp("certificates")))


class Program:
    """One of the two daemons, with what it logs in a file."""

    def __init__(self, name, folder, *words):
        self.dir, self.log_path = folder, folder + ".log"
        read, write = os.pipe()
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [os.path.join(BUILD, name), "--dir", folder, "--ready-fd", str(write), *words],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=[write])
        os.close(write)
        self.ready = open(read)

    def wait_ready(self):
        line = self.ready.readline()  # ends when the program ends
        assert line.startswith("ready"), self.log()
        return line.split()

    def log(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()

    def said(self, event, *more):
        """The lines with this event that have all of `more` in them."""
        return [line for line in self.log().splitlines()
                if f"event={event} " in line + " " and all(m in line for m in more)]

    def wait_said(self, event, *more, times=1):
        return wait_until(f"{event} {more}, {times} times, in:\n{self.log()}", lambda:
                          (lambda got: got if len(got) >= times else None)(
                              self.said(event, *more)), LIMIT_S)

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
        status = self.process.wait(LIMIT_S)
        self.ready.close()
        return status


class Plane(Program):
    """tanistd with a certificate that can be exchanged."""

    def __init__(self, folder, certificates, shown="server", settings=()):
        os.makedirs(folder, exist_ok=True)
        self.certificates = certificates
        self.cert, self.key = os.path.join(folder, "tls.pem"), os.path.join(folder, "tls.key")
        self.show(shown)
        words = []
        for s in (f"api.tls_cert={self.cert}", f"api.tls_key={self.key}", *settings):
            words += ["--set", s]
        super().__init__("tanistd", os.path.join(folder, "tanistd"), "--listen", "127.0.0.1:0",
                         *words)
        self.url = self.wait_ready()[1]
        self.port = int(self.url.rsplit(":", 1)[1])

    def show(self, name):
        shutil.copy(self.certificates[name + ".pem"], self.cert)
        shutil.copy(self.certificates[name + ".key"], self.key)

    def reload(self):
        self.process.send_signal(signal.SIGHUP)

    def connect(self, context=None):
        if context is None:
            context = ssl.create_default_context(cafile=self.certificates["ca.pem"])
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=LIMIT_S)
        try:
            return context.wrap_socket(raw, server_hostname="127.0.0.1")
        except BaseException:
            raw.close()
            raise

    def shown(self):
        """The certificate that a new connection gets."""
        with self.connect() as s:
            return s.getpeercert(binary_form=True)

    def works(self):
        with self.connect() as s:
            return get(s, "/v1.0/dev/instances")[0] == 200


@pytest.fixture
def plane(tmp_path, certificates, request):
    p = Plane(str(tmp_path / "plane"), certificates, **getattr(request, "param", {}))
    yield p
    assert p.stop() == 0, p.log()
    assert "Sanitizer" not in p.log() and "runtime error" not in p.log(), p.log()


def ask(s, path):
    s.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())


def answer(s):
    """Status and body of the next answer."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = s.recv(1)
        assert byte, f"closed after {head!r}"
        head += byte
    length, body = int(re.search(rb"(?i)content-length: *(\d+)", head)[1]), b""
    while len(body) < length:
        piece = s.recv(length - len(body))
        assert piece, "closed within the body"
        body += piece
    return int(head.split()[1]), json.loads(body) if body else None


def get(s, path):
    ask(s, path)
    return answer(s)


def tanist(url, *words, **env):
    clean = {k: v for k, v in os.environ.items()
             if k not in ("TANIST_CA", "TANIST_PIN", "OS_CACERT")}
    return subprocess.run([TANIST, *words], env=dict(clean, TANIST_URL=url, **env), text=True,
                          capture_output=True, timeout=120, stdin=subprocess.DEVNULL)


# What tanistd starts with.

def refused(tmp_path, *settings):
    """tanistd must not start; what it says."""
    words = []
    for s in settings:
        words += ["--set", s]
    words = [os.path.join(BUILD, "tanistd"), "--dir", str(tmp_path / "state"), *words]
    done = subprocess.run(words, capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 1, done
    assert not os.path.exists(tmp_path / "state" / "tanist.db"), "it has begun"
    return done.stderr


def test_bad_files_are_refused_by_name(tmp_path, certificates):
    c = certificates
    with open(tmp_path / "empty.pem", "w"):
        pass
    with open(tmp_path / "garbage.pem", "wb") as f:
        f.write(os.urandom(500))
    openssl("ec", "-in", c["server.key"], "-aes256", "-passout", "pass:x", "-out",
            str(tmp_path / "locked.key"))
    good = ["api.listen=127.0.0.1:0"]
    for cert, key, names in (
            (c["server.pem"], c["none.key"], ["none.key", "api.tls_key"]),
            (c["none.pem"], c["server.key"], ["none.pem", "api.tls_cert"]),
            (c["server.pem"], str(tmp_path), [str(tmp_path)]),
            (str(tmp_path / "empty.pem"), c["server.key"], ["empty.pem", "no certificate"]),
            (str(tmp_path / "garbage.pem"), c["server.key"], ["garbage.pem", "no certificate"]),
            (c["server.key"], c["server.key"], ["server.key", "no certificate"]),
            (c["server.pem"], c["server.pem"], ["server.pem", "no private key"]),
            (c["server.pem"], str(tmp_path / "empty.pem"), ["empty.pem", "no private key"]),
            (c["server.pem"], str(tmp_path / "locked.key"), ["locked.key", "password"]),
            (c["server.pem"], c["next.key"], ["server.pem", "next.key", "not that of"])):
        said = refused(tmp_path, *good, f"api.tls_cert={cert}", f"api.tls_key={key}")
        assert all(n in said for n in names), (cert, key, said)
    assert "api.tls_key is not" in refused(tmp_path, *good, f"api.tls_cert={c['server.pem']}")
    assert "api.tls_cert is not" in refused(tmp_path, *good, f"api.tls_key={c['server.key']}")


@pytest.mark.skipif(os.geteuid() == 0 and not shutil.which("setpriv"), reason="root reads all")
def test_an_unreadable_key_is_named(tmp_path, certificates):
    key = tmp_path / "own.key"
    shutil.copy(certificates["server.key"], key)
    key.chmod(0)
    words = [os.path.join(BUILD, "tanistd"), "--dir", str(tmp_path / "state"), "--set",
             f"api.tls_cert={certificates['server.pem']}", "--set", f"api.tls_key={key}"]
    if os.geteuid() == 0:  # who reads what the mode forbids
        words = ["setpriv", "--bounding-set=-dac_override,-dac_read_search",
                 "--inh-caps=-dac_override,-dac_read_search", *words]
    done = subprocess.run(words, capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 1 and str(key) in done.stderr, done
    assert "Permission denied" in done.stderr, done


def test_plain_text_beyond_loopback_must_be_allowed(tmp_path, certificates):
    """Asked of an address that no machine has: it is refused before, or cannot be bound."""
    for listen in ("0.0.0.0:0", "192.0.2.1:0", "[::]:0"):
        said = refused(tmp_path, f"api.listen={listen}")
        assert "api.plain_text = yes" in said and "api.tls_cert" in said, said
    for more in (["--set", "api.plain_text=yes"],
                 ["--set", f"api.tls_cert={certificates['server.pem']}",
                  "--set", f"api.tls_key={certificates['server.key']}"]):
        done = subprocess.run([os.path.join(BUILD, "tanistd"), "--dir", str(tmp_path / "beyond"),
                               "--listen", "192.0.2.1:1", *more], capture_output=True, text=True,
                              timeout=LIMIT_S)
        assert done.returncode == 1 and "listen on 192.0.2.1:1" in done.stderr, done
        assert "api.plain_text" not in done.stderr, done


@pytest.mark.parametrize("plane", [{"shown": "expired"}], indirect=True)
def test_an_expired_certificate_is_a_warning(plane):
    assert plane.said("certificate.expired", "level=warn", "valid_until=")
    done = tanist(plane.url, "list", TANIST_CA=plane.certificates["ca.pem"])
    assert done.returncode == 3 and "its certificate has expired" in done.stderr, done


# Clients.

def test_versions_and_what_is_no_tls(plane):
    """TLS 1.2 and 1.3 work; older ones, plain HTTP and garbage end without harm to others."""
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = ssl.create_default_context(cafile=plane.certificates["ca.pem"])
        context.minimum_version = context.maximum_version = version
        with plane.connect(context) as s:
            assert s.version() == version.name.replace("_", ".")
            for _ in range(3):
                assert get(s, "/v1.0/dev/instances") == (200, {"instances": []})
            assert get(s, "/nowhere")[0] == 404
    kept = plane.connect()
    assert get(kept, "/v1.0/dev/instances")[0] == 200
    for name, flags in (("TLSv1", ["-tls1"]), ("TLSv1.1", ["-tls1_1"])):
        done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{plane.port}",
                               "-cipher", "ALL:@SECLEVEL=0", *flags], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=LIMIT_S)
        assert "Cipher is (NONE)" in done.stdout and done.returncode == 1, (name, done)
    for sent in (b"GET /v1.0/dev/instances HTTP/1.1\r\nHost: x\r\n\r\n", b"\0" * 4096,
                 os.urandom(4096), b"\x16\x03\x01\xff\xff" + b"\x01" * 100,
                 b"\x16\x03\x01\x00\x05\x01\xff\xff\xff\x00"):
        with socket.create_connection(("127.0.0.1", plane.port), timeout=LIMIT_S) as s:
            with contextlib.suppress(ConnectionError):  # it may have hung up already
                s.sendall(sent)
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_WR)
            got = b""
            with contextlib.suppress(ConnectionError):
                while piece := s.recv(4096):
                    got += piece
            assert not got.startswith(b"HTTP/"), got
    assert get(kept, "/v1.0/dev/instances")[0] == 200
    kept.close()


@pytest.mark.parametrize("plane", [{"settings": ("api.head_limit=1", "api.max_connections=8")}],
                         indirect=True)
def test_slow_handshakes_have_the_heads_limit_and_count(plane):
    """Eight that never finish their handshake leave no place, and are cut: then there is one."""
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
    slow = []
    began = time.monotonic()
    for n in range(8):
        s = socket.create_connection(("127.0.0.1", plane.port), timeout=LIMIT_S)
        s.sendall(hello[:n])
        slow.append(s)
    assert plane.works()
    assert time.monotonic() - began >= 1.0, "there was a ninth place, or they were cut too early"
    for s in slow:
        assert s.recv(1) == b"", "an answer to half a handshake"
        s.close()
    began = time.monotonic()
    with plane.connect() as s:  # done with the handshake, and then nothing: it is a head too
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            assert s.recv(1) == b""
        assert time.monotonic() - began >= 1.0
    with plane.connect() as s:  # an idle one may stay
        assert get(s, "/v1.0/dev/instances")[0] == 200
        s.settimeout(2.5)
        with pytest.raises(TimeoutError):
            s.recv(1)
        assert get(s, "/v1.0/dev/instances")[0] == 200


@pytest.mark.parametrize("plane", [{"settings": ("api.max_connections=8",)}], indirect=True)
def test_who_leaves_a_held_request_frees_its_place(plane):
    held = [plane.connect() for _ in range(8)]
    for s in held:
        ask(s, "/v1.0/dev/events?after=0&wait=50")  # there are none
    held[7].settimeout(0.2)
    with pytest.raises(TimeoutError):
        pytest.fail(f"not held: {answer(held[7])}")
    for s in held[:4]:  # a reset, as of a program that is killed
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        s.close()
    for s in held[4:6]:
        s.close()
    for s in held[6:]:
        s.shutdown(socket.SHUT_WR)
    assert plane.works()
    for s in held[6:]:
        s.close()


def test_the_command_line_trusts_whom_it_is_told_to(plane, certificates):
    c = certificates
    no = tanist(plane.url, "list")
    assert no.returncode == 3 and "not signed by a CA that is trusted here" in no.stderr, no
    assert "TANIST_CA" in no.stderr and "TANIST_PIN" in no.stderr, no
    for env in ({"TANIST_CA": c["ca.pem"]}, {"OS_CACERT": c["ca.pem"]},
                {"TANIST_CA": c["ca.pem"], "OS_CACERT": c["other-ca.pem"]},
                {"TANIST_PIN": c.pin("server").hex()},
                {"TANIST_PIN": c.pin("server").hex().upper()},
                {"TANIST_PIN": base64.b64encode(c.pin("server")).decode()},
                {"TANIST_PIN": "sha256//" + base64.b64encode(c.pin("server")).decode()},
                {"TANIST_PIN": c.pin("server").hex(), "TANIST_CA": c["ca.pem"]}):
        done = tanist(plane.url, "list", **env)
        assert done.returncode == 0, (env, done)
    for env, status, words in (
            ({"TANIST_CA": c["other-ca.pem"]}, 3, "not signed by a CA"),
            ({"TANIST_PIN": c.pin("next").hex()}, 3, "not the pinned one"),
            ({"TANIST_PIN": c.pin("next").hex(), "TANIST_CA": c["ca.pem"]}, 3, "pinned"),
            ({"TANIST_PIN": c.pin("server").hex(), "TANIST_CA": c["other-ca.pem"]}, 3, "a CA"),
            ({"TANIST_CA": c["none.pem"]}, 2, "none.pem"),
            ({"TANIST_CA": c["server.key"]}, 2, "no certificate"),
            ({"TANIST_PIN": "abc"}, 2, "'abc'")):
        done = tanist(plane.url, "list", **env)
        assert done.returncode == status and words in done.stderr, (env, done)
    plain = tanist(plane.url.replace("https", "http"), "list")
    assert plain.returncode == 3 and "https://" in plain.stderr, plain
    logged = base64.b64encode(c.pin("server")).decode()
    assert plane.said("certificate.loaded", f"sha256//{logged}"), plane.log()


@pytest.mark.parametrize("plane", [{"shown": "elsewhere"}], indirect=True)
def test_a_certificate_of_another_name(plane, certificates):
    done = tanist(plane.url, "list", TANIST_CA=certificates["ca.pem"])
    assert done.returncode == 3 and "for another name" in done.stderr, done
    done = tanist(plane.url, "list", TANIST_PIN=certificates.pin("elsewhere").hex())
    assert done.returncode == 0, "with a pin the key says who it is: " + str(done)


@pytest.mark.parametrize("plane", [{"shown": "chained"}], indirect=True)
def test_a_ca_between(plane, certificates):
    done = tanist(plane.url, "list", TANIST_CA=certificates["ca.pem"])
    assert done.returncode == 0, done
    assert plane.works()


def test_https_to_a_plain_server(tmp_path):
    p = Program("tanistd", str(tmp_path / "plain"), "--listen", "127.0.0.1:0")
    try:
        done = tanist(p.wait_ready()[1].replace("http", "https"), "list")
        assert done.returncode == 3 and "no TLS 1.2 or later" in done.stderr, done
        assert "http://" in done.stderr
        p.process.send_signal(signal.SIGHUP)
        p.wait_said("server.nothing-to-reload")
    finally:
        assert p.stop() == 0


# New certificates.

def test_new_files_on_sighup_and_the_old_ones_when_they_are_bad(plane, certificates):
    c = certificates
    assert plane.shown() == c.fingerprint("server")
    kept = plane.connect()
    assert get(kept, "/v1.0/dev/instances")[0] == 200
    begun = socket.create_connection(("127.0.0.1", plane.port), timeout=LIMIT_S)
    plane.show("next")
    assert plane.shown() == c.fingerprint("server"), "nobody has said so yet"
    plane.reload()
    plane.wait_said("certificate.loaded", times=2)
    assert plane.shown() == c.fingerprint("next")
    assert get(kept, "/v1.0/dev/instances")[0] == 200

    shutil.copy(c["server.key"], plane.key)
    plane.reload()
    said = plane.wait_said("certificate.kept", "level=error")
    assert plane.key in said[0] and "not that of" in said[0], said
    os.unlink(plane.cert)
    plane.reload()
    plane.wait_said("certificate.kept", times=2)
    assert plane.shown() == c.fingerprint("next")

    plane.show("server")
    for n in range(3, 30):  # each frees the one before, but for who has begun with it
        plane.reload()
        plane.wait_said("certificate.loaded", times=n)
    context = ssl.create_default_context(cafile=c["ca.pem"])
    with context.wrap_socket(begun, server_hostname="127.0.0.1") as s:
        assert s.getpeercert(binary_form=True) == c.fingerprint("server")
        assert get(s, "/v1.0/dev/instances")[0] == 200
    assert get(kept, "/v1.0/dev/instances")[0] == 200
    kept.close()


class Scene:
    """A control plane and an agent over TLS."""

    def __init__(self, folder, certificates):
        self.folder, self.range = folder, AddressRange()
        self.plane = Plane(os.path.join(folder, "plane"), certificates)
        self.agent = None

    def start_agent(self, *words):
        self.agent = Program(
            "tanist-agent", os.path.join(self.folder, "agent"), "--server", self.plane.url,
            "--token-file", os.path.join(self.plane.dir, "agent.token"), "--set",
            f"agent.addresses={self.range}", *words)
        return self.agent

    def close(self):
        if self.agent is not None:
            if self.agent.process.poll() is None:
                self.agent.process.send_signal(signal.SIGUSR2)
            self.agent.process.wait(LIMIT_S)
            self.agent.ready.close()
        self.plane.stop()
        for pid in servers_below(self.folder):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.range.close()


@pytest.fixture
def scene(tmp_path, certificates):
    s = Scene(str(tmp_path), certificates)
    yield s
    s.close()
    for p in filter(None, (s.plane, s.agent)):
        assert p.process.returncode == 0, p.log()
        assert "Sanitizer" not in p.log() and "runtime error" not in p.log(), p.log()


@pytest.mark.parametrize("by", ["ca", "pin"])
def test_a_held_request_and_the_agent_live_over_a_new_certificate(scene, certificates, by):
    c = certificates
    agent = scene.start_agent(*(["--ca", c["ca.pem"]] if by == "ca" else
                                ["--pin", c.pin("server").hex()]))
    agent.wait_ready()
    env = {"TANIST_CA": c["ca.pem"]}
    held, last, news = scene.plane.connect(), 0, True
    while news:  # until nothing more happens
        status, events = get(held, f"/v1.0/dev/events?after={last}&wait=1")
        assert status == 200, events
        last, news = events["last"], events["events"]
    ask(held, f"/v1.0/dev/events?after={last}&wait=30")
    scene.plane.show("next")
    scene.plane.reload()
    scene.plane.wait_said("certificate.loaded", times=2)
    assert scene.plane.shown() == c.fingerprint("next")
    held.settimeout(0.2)
    with pytest.raises(TimeoutError):
        pytest.fail(f"not held any more: {answer(held)}")
    held.settimeout(LIMIT_S)
    made = tanist(scene.plane.url, "create", "one", "1", "--size", "1", "--wait", **env)
    assert made.returncode == 0, (made, agent.log())
    status, events = answer(held)
    assert status == 200 and events["events"], events
    held.close()
    assert not agent.said("link.lost"), agent.log()


def test_the_agent_says_once_what_is_wrong_with_the_certificate(scene, certificates):
    c = certificates
    scene.plane.show("elsewhere")
    scene.plane.reload()
    scene.plane.wait_said("certificate.loaded", times=2)
    agent = scene.start_agent("--ca", c["ca.pem"])
    agent.wait_said("link.lost", "for another name")
    for n, (shown, words) in enumerate((("expired", "has expired"),
                                        ("stranger", "not signed by a CA")), start=2):
        scene.plane.show(shown)
        scene.plane.reload()
        scene.plane.wait_said("certificate.loaded", times=n + 1)
        agent.wait_said("link.lost", words)
        assert len(agent.said("link.lost")) == n, agent.log()
    assert not agent.said("link.up")
    scene.plane.show("server")
    scene.plane.reload()
    agent.wait_ready()
    agent.wait_said("link.up")
    assert len(agent.said("link.lost")) == 3, agent.log()


def test_the_agent_does_not_repeat_itself(tmp_path, certificates):
    """Five attempts that fail for the same reason are one line."""
    c = certificates
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(c["stranger.pem"], c["stranger.key"])
    (tmp_path / "token").write_text("x\n")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(LIMIT_S)
        agent = Program("tanist-agent", str(tmp_path / "agent"), "--server",
                        f"https://127.0.0.1:{listener.getsockname()[1]}", "--token-file",
                        str(tmp_path / "token"), "--ca", c["ca.pem"])
        try:
            for _ in range(5):
                connection, _ = listener.accept()
                connection.settimeout(LIMIT_S)
                with connection, contextlib.suppress(OSError):
                    with context.wrap_socket(connection, server_side=True) as s:
                        s.recv(1)
            agent.wait_said("link.lost", "not signed by a CA")
            assert len(agent.said("link.lost")) == 1, agent.log()
        finally:
            status = agent.stop()
        assert status == 0, agent.log()


def test_what_an_agent_does_not_start_with(tmp_path, certificates):
    c = certificates
    for words, says in ((["https://127.0.0.1:1", "--ca", c["none.pem"]], "none.pem"),
                        (["https://127.0.0.1:1", "--ca", c["server.key"]], "no certificate"),
                        (["https://127.0.0.1:1", "--pin", "xyz"], "--pin: 'xyz'"),
                        (["http://127.0.0.1:1", "--ca", c["ca.pem"]], "https://")):
        done = subprocess.run([os.path.join(BUILD, "tanist-agent"), "--dir", str(tmp_path / "a"),
                               "--token-file", "/dev/null", "--server", *words],
                              capture_output=True, text=True, timeout=LIMIT_S)
        assert done.returncode in (1, 2) and says in done.stderr, done


def test_a_wrong_pin_of_the_agent(scene, certificates):
    agent = scene.start_agent("--pin", certificates.pin("next").hex())
    agent.wait_said("link.lost", "its key is not the pinned one")
    scene.plane.show("next")
    scene.plane.reload()
    agent.wait_ready()
