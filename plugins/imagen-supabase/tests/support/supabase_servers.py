"""A real PostgreSQL with what a Supabase project has, and a real PostgREST before it.

All of it listens on this machine alone, belongs to one process of pytest, and ends with it.
"""

import base64
import contextlib
import hmac
import json
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import quote
from uuid import UUID, uuid4

import httpx
import psycopg

import supabase_programs
from imagen_supabase import scripts
from imagen_supabase.migrate import migrating

BOOTSTRAP = Path(__file__).with_name("supabase_bootstrap.sql")
PASSWORD = "p@ss/w:rd%and#more"
"""Of the superuser: whatever has to be written otherwise in a URL."""
JWT_SECRET = "a-secret-of-the-tests-with-over-32-characters"
SECONDS = 120
"""How long a server may take to start or to end."""


def migrate_all(url):
    """Bring a database to the newest state, as the command does."""
    with migrating(url) as migrator:
        return [migrator.apply(one) for one in scripts.migrations()]


class Database:
    """One database of a cluster."""

    def __init__(self, cluster, name):
        self.cluster = cluster
        self.name = name

    def url(self, user="postgres", password=PASSWORD):
        address = f"127.0.0.1:{self.cluster.port}"
        return f"postgresql://{user}:{quote(password, safe='')}@{address}/{self.name}"

    def connect(self):
        """A connection of the superuser."""
        return psycopg.connect(self.url(), autocommit=True)

    def run(self, sql, *values):
        """The rows, if it gives any."""
        with self.connect() as connection:
            cursor = connection.execute(sql, values or None)
            return cursor.fetchall() if cursor.description else []

    @contextlib.contextmanager
    def acting(self, role, owner=None):
        """A transaction in which statements run as PostgREST and Storage run them."""
        claims = json.dumps({"role": role, **({"sub": str(owner)} if owner else {})})
        with self.connect() as connection, connection.transaction(force_rollback=True):
            connection.execute("select set_config('request.jwt.claims', %s, true)", [claims])
            connection.execute(f"set local role {role}")
            yield connection


class Cluster:
    """A PostgreSQL of its own, in a folder of its own."""

    def __init__(self, programs):
        self._folder = Path(tempfile.mkdtemp(prefix="imagen-pg-", dir=_open_folder()))
        self._postgrests = []
        self._project = None
        self._kept, self.port = kept_port()
        self._number = 0
        self.user = _plain_user()
        self._programs = self._reachable(programs)
        try:
            self._initialise()
            self._start()
            with Database(self, "postgres").connect() as connection:
                self.version = connection.info.server_version // 10000
                connection.execute("create database supabase")
            Database(self, "supabase").run(BOOTSTRAP.read_text())
        except BaseException:
            self.close()
            raise

    def _reachable(self, programs):
        """The programs, copied if that plain user can't reach them where they are."""
        if self.user is None or all(p.stat().st_mode & stat.S_IXOTH for p in programs.parents):
            return programs
        package, copy = programs.parents[1], self._folder / "site" / programs.parents[1].name
        shutil.copytree(programs.parent, copy / programs.parent.name)
        # The libraries of a Python package lie beside it.
        if (libraries := package.with_name(f"{package.name}.libs")).is_dir():
            shutil.copytree(libraries, copy.with_name(libraries.name))
        return copy / programs.parent.name / programs.name

    def _initialise(self):
        secret = self._folder / "password"
        secret.write_text(PASSWORD)
        if self.user:
            for path in (self._folder, secret):
                os.chown(path, self.user.pw_uid, self.user.pw_gid)
        options = ["-U", "postgres", "-A", "scram-sha-256", f"--pwfile={secret}", "--no-sync"]
        command = ["initdb", "-D", str(self._data), "-E", "UTF8", "--locale=C", *options]
        subprocess.run(self._as_user(command), check=True, capture_output=True)

    def restart(self):
        """Let it crash, and come back at the same address."""
        end(self._process, signal.SIGQUIT)
        self._start()

    def _start(self):
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",
            "fsync": "off",
            "full_page_writes": "off",
            "synchronous_commit": "off",
            # An analysis that begins by itself changes plans, and keeps old rows for a while.
            "autovacuum": "off",
            "shared_buffers": "16MB",
        }
        options = [word for name in settings for word in ("-c", f"{name}={settings[name]}")]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._as_user(["postgres", "-D", str(self._data), *options]),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(self._answers, self._process, self._log)

    def _as_user(self, command):
        program = str(self._programs / command[0])
        return ["setpriv", *_rights(self.user), "--pdeathsig", "INT", program, *command[1:]]

    def _answers(self):
        with contextlib.suppress(psycopg.OperationalError):
            Database(self, "postgres").connect().close()
            return True
        return False

    @property
    def _data(self):
        return self._folder / "data"

    @property
    def _log(self):
        return self._folder / "log"

    def database(self):
        """A new database, as a Supabase project is before anything of ours."""
        self._number += 1
        name = f"test_{self._number}"
        self.run(f"create database {name} template supabase")
        # Roles belong to all databases together.
        Database(self, name).run("alter role authenticator reset all")
        return Database(self, name)

    def run(self, sql):
        """For what belongs to no single database."""
        return Database(self, "postgres").run(sql)

    def drop(self, database):
        self.run(f"drop database {database.name} with (force)")

    def project(self):
        """A migrated database with a PostgREST, the same for all tests: they use new owners."""
        if self._project is None:
            database = self.database()
            # Its own list: that of all databases belongs to other tests.
            setting = "alter role authenticator in database {} set pgrst.db_schemas = 'public'"
            database.run(setting.format(database.name))
            migrate_all(database.url())
            self._project = Project(database, self.postgrest(database))
        return self._project

    def postgrest(self, database):
        found = PostgREST(database)
        self._postgrests.append(found)
        return found

    def close(self):
        for one in self._postgrests:
            one.close()
        if hasattr(self, "_process"):
            end(self._process, signal.SIGQUIT)
        self._kept.close()
        shutil.rmtree(self._folder)


class PostgREST:
    """A PostgREST before one database; it serves `public`, and what the database itself says."""

    def __init__(self, database):
        program = supabase_programs.postgrest()
        self._folder = Path(tempfile.mkdtemp(prefix="imagen-rest-"))
        (self._kept, port), (self._kept_too, admin) = kept_port(), kept_port()
        self.url = f"http://127.0.0.1:{port}"
        settings = {
            "DB_URI": database.url("authenticator", "authenticator"),
            "DB_SCHEMAS": "public",
            "DB_ANON_ROLE": "anon",
            "DB_POOL": "4",
            "DB_MAX_ROWS": "1000",
            "JWT_SECRET": JWT_SECRET,
            "SERVER_HOST": "127.0.0.1",
            "SERVER_PORT": str(port),
            "ADMIN_SERVER_PORT": str(admin),
            "LOG_LEVEL": "error",
        }
        log = self._folder / "log"
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", str(program)],
                env={f"PGRST_{name}": value for name, value in settings.items()},
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        try:
            wait_until(lambda: _is_ready(f"http://127.0.0.1:{admin}/ready"), self._process, log)
        except BaseException:
            self.close()
            raise

    def close(self):
        end(self._process, signal.SIGTERM)
        self._kept.close()
        self._kept_too.close()
        shutil.rmtree(self._folder, ignore_errors=True)


class Project:
    """What a client of a Supabase project has to do with."""

    def __init__(self, database, rest):
        self.database = database
        self.rest_url = rest.url

    def token(self, role, owner=None, seconds=3600):
        return token(role, owner, seconds)

    def client(self, role, owner=None, schema="imagen"):
        """An HTTP client that asks PostgREST as this role, for this schema."""
        headers = {
            "Authorization": f"Bearer {token(role, owner)}",
            "Accept-Profile": schema,
            "Content-Profile": schema,
        }
        if role == "anon":
            del headers["Authorization"]
        # Certificates take long to load, and there are none here.
        return httpx.Client(base_url=self.rest_url, headers=headers, verify=False, timeout=60)


def token(role, owner=None, seconds=3600):
    """A JWT as Supabase's Auth signs them."""
    claims = {"role": role, "exp": int(time.time()) + seconds}
    if owner:
        claims["sub"] = str(UUID(str(owner)))
    head = _encoded({"alg": "HS256", "typ": "JWT"})
    signed = f"{head}.{_encoded(claims)}"
    digest = hmac.digest(JWT_SECRET.encode(), signed.encode(), "sha256")
    return f"{signed}.{_base64(digest)}"


def image(owner, **fields):
    """A row of imagen.images."""
    name = uuid4()
    usual = {
        "id": str(name),
        "owner_user_id": str(owner),
        "run_id": str(uuid4()),
        "prompt": "a cat",
        "prompt_hash": "0" * 64,
        "backend": "mock",
        "model": "mock-landscape",
        "seed": 7,
        "steps": 4,
        "width": 64,
        "height": 64,
        "latency_ms": 12,
        "cost_usd_estimate": None,
        "storage_path": f"2026-05-08/{name}.png",
        "sha256": "1" * 64,
        "mime": "image/png",
        "size": 100,
        "sidecar": {"schema": 1},
    }
    return {**usual, **fields}


def kept_port():
    """A port that nobody else gets while this socket is open, and what can listen there.

    A server may listen on the port of a socket that does not listen, if both reuse addresses.
    """
    found = socket.socket()
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    found.bind(("127.0.0.1", 0))
    return found, found.getsockname()[1]


def wait_until(holds, process=None, log=None):
    """Wait for what a server does in its own time."""
    waiting = threading.Event()
    end = time.monotonic() + SECONDS
    while not holds():
        if process and process.poll() is not None:
            raise ConnectionError(f"it ended: {log.read_text()[-2000:]}")
        if time.monotonic() > end:
            raise TimeoutError(log.read_text()[-2000:] if log else "it never happened")
        waiting.wait(0.02)


def end(process, number):
    """End a process that this one has started, and wait for it."""
    if process.poll() is None:
        process.send_signal(number)
        try:
            process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _is_ready(url):
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(url, timeout=60).status_code == 200
    return False


def _plain_user():
    """Whom PostgreSQL runs as, since it refuses to run as root."""
    if os.geteuid() != 0:
        return None
    with contextlib.suppress(KeyError):
        return pwd.getpwnam("postgres")
    return pwd.getpwnam("nobody")


def _rights(user):
    if user is None:
        return []
    return [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]


def _open_folder():
    """A folder for temporary files that the plain user can reach, too."""
    folder = Path(tempfile.gettempdir())
    return folder if folder.stat().st_mode & stat.S_IXOTH else Path("/tmp")


def _encoded(value):
    return _base64(json.dumps(value, separators=(",", ":")).encode())


def _base64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
