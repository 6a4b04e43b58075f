"""A project whose queue belongs to one test at a time, and whose clock can be set."""

import contextlib
import json

import imagen_supabase
from imagen_core.testing import isolated_app
from imagen_supabase.queue import SupabaseQueue
from supabase_servers import Project, migrate_all, wait_until
from supabase_storage import ProjectGateway

CLOCK = """
    create table public.passed (seconds double precision not null);
    revoke all on public.passed from public, anon, authenticated, service_role;
    insert into public.passed values (0);
    create or replace function imagen.moment() returns timestamptz
    language sql volatile set search_path = '' as $$
        select clock_timestamp() + make_interval(secs => (select seconds from public.passed))
    $$;"""
EMPTY = """
    truncate imagen.jobs, imagen.backends, imagen.turns;
    update public.passed set seconds = 0;"""
_projects = {}


def jobs_project(cluster):
    """A migrated project beside that of the other tests, made once."""
    if cluster not in _projects:
        database = cluster.database()
        setting = f"alter role authenticator in database {database.name} set pgrst.db_schemas"
        database.run(f"{setting} = 'public'")
        migrate_all(database.url())
        database.run(CLOCK)
        _projects[cluster] = Project(database, cluster.postgrest(database))
    return _projects[cluster]


class Jobs:
    """An empty queue, and ways to look at it from all sides."""

    def __init__(self, project, gateway, folder):
        self.project = project
        self.gateway = gateway
        self._folder = folder
        self._stack = contextlib.ExitStack()
        self.empty()

    def empty(self):
        """Forget all jobs, and set the clock right."""
        self.sql(EMPTY)

    def sql(self, query, *values):
        """What the database says, asked as its superuser."""
        return self.project.database.run(query, *values)

    def elapse(self, seconds):
        """Let the queue's clock go on."""
        self.sql("update public.passed set seconds = seconds + %s", seconds)

    def queue(self, role="service_role", **environment):
        """The queue as whoever has a key of this role sees it."""
        app = isolated_app(
            self._folder,
            config=json.dumps({"supabase": {"timeout": 2}}),
            environment={
                "SUPABASE_URL": self.gateway.url,
                "SUPABASE_SERVICE_KEY": self.gateway.token(role),
                **environment,
            },
            plugins={"supabase": imagen_supabase},
        )
        self._stack.callback(app.close)
        return SupabaseQueue(app.context)

    def rows(self):
        """All that the tables have, comparable but for what the clock does."""
        return self.sql(
            "select id, state, attempt, crashes, lease_token, worker, resource, progress,"
            " checkpoint, result, errors, cancel_requested from imagen.jobs order by seq"
        )

    def close(self):
        self._stack.close()


@contextlib.contextmanager
def opened_jobs(cluster, folder):
    project = jobs_project(cluster)
    with ProjectGateway(project) as gateway:
        jobs = Jobs(project, gateway, folder)
        # PostgREST takes a moment to see new functions.
        with project.client("service_role") as client:
            wait_until(lambda: client.post("/rpc/stats", json={}).status_code == 200)
        try:
            yield jobs
        finally:
            jobs.close()
