"""A machine whose pictures go to a project, and what the project has of them."""

import base64
import json
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import httpx
from psycopg.rows import dict_row

SIZE = ("--size", "32x32", "--backend", "mock")


class Machine:
    """Runs `imagen` for an owner of its own, with prompts that no other test has."""

    def __init__(self, imagen, home, gateway):
        self.gateway = gateway
        self.home = home
        self.owner = str(uuid4())
        self.word = f"w{uuid4().hex[:12]}"
        self.settings = {"owner_user_id": self.owner, "supabase": {"timeout": 2}}
        self._imagen = imagen

    def run(self, *args, **settings):
        """A command line, with this configuration."""
        folder = self.home / ".config"
        folder.mkdir(exist_ok=True)
        (folder / "imagen.yaml").write_text(json.dumps({**self.settings, **settings}))
        return self._imagen(*args)

    def start(self, *args):
        """A command line as a process of its own."""
        command = [sys.executable, "-m", "imagen_core", *args]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def generate(self, *args, prompt="a cat", **settings):
        """One picture of this prompt, small and at once."""
        return self.run("generate", f"{self.word} {prompt}", *SIZE, *args, **settings)

    @property
    def rows(self):
        """The rows of the owner, oldest first."""
        with self.gateway.project.database.connect() as connection:
            connection.row_factory = dict_row
            query = "select * from imagen.images where owner_user_id = %s order by created_at, id"
            return connection.execute(query, [self.owner]).fetchall()

    @property
    def objects(self):
        """What the bucket has of this test's pictures: bytes by name."""
        found = self.gateway.objects
        return {name: data for name, data in found.items() if self.word in name}

    @property
    def asked(self):
        """Which requests came in."""
        return [f"{one.method} {one.path}" for one in self.gateway.requests]

    def sql(self, query, *values):
        """What the database says, asked as its superuser."""
        return self.gateway.project.database.run(query, *values)

    def lose(self, place):
        """Remove an object from the bucket, as somebody may do in the dashboard."""
        gateway = self.gateway
        headers = {"apikey": gateway.service_key, "Authorization": f"Bearer {gateway.service_key}"}
        url = f"{gateway.url}/storage/v1/object/imagen-generated/{place}"
        assert httpx.delete(url, headers=headers, timeout=60).status_code == 200

    @staticmethod
    def claims(token):
        """What a token says, unchecked."""
        payload = token.split(".")[1]
        return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))

    def runs(self):
        """What the ledger has."""
        from imagen_core.testing import isolated_app

        app = isolated_app(self.home, environment={"IMAGEN_DATA_DIR": str(self.home / "data")})
        try:
            return list(app.context.ledger.runs())
        finally:
            app.close()

    @property
    def pictures(self):
        """The pictures on disk."""
        return sorted(Path(self.home, "output").glob("*.png"))


def states(done):
    """What `supabase check --json` says of each thing."""
    return {one["name"]: one["state"] for one in done.json()}


def wrong(machine):
    """What is found wrong; PostgREST takes a moment to see what was migrated."""
    found = states(machine.run("supabase", "check", "--json"))
    return {name for name, state in found.items() if state == "wrong"}
