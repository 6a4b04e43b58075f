"""What a project needs, looked at one by one; each fault comes with what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from imagen_core import ImagenError, Load, UnavailableError, told
from imagen_supabase import usage
from imagen_supabase.client import connect
from imagen_supabase.config import NOBODY, needed_credentials, owner, role
from imagen_supabase.pictures import COLUMNS, EXTENSIONS
from imagen_supabase.postgres import VARIABLE, open_database
from imagen_supabase.problems import AGAIN, MIGRATE, RefusedRowError, SetUpError
from imagen_supabase.scripts import migrations
from imagen_supabase.tables import BUCKET, IMAGES, INPUTS, MIGRATIONS, USAGE

if TYPE_CHECKING:
    from imagen_core import Context
    from imagen_supabase.client import Project
    from imagen_supabase.tables import Table

POLICIES = {
    "imagen.images": {"images_owner_reads", "images_owner_tags"},
    "imagen.jobs": {"jobs_owner_reads"},
    "storage.objects": {
        "imagen_owner_reads",
        "imagen_inputs_owner_reads",
        "imagen_inputs_owner_adds",
    },
}
GUARDED = r"""
    select nspname || '.' || relname, relrowsecurity,
        array(select polname::text from pg_policy where polrelid = c.oid
            and pg_get_expr(coalesce(polqual, polwithcheck), polrelid)
                ~ '(owner_user_id|split_part).*auth\.uid\(\)'),
        array(select polname::text from pg_policy where polrelid = c.oid
            and polroles is distinct from (
                select array[oid] from pg_roles where rolname = 'imagen_worker'))
    from pg_class c join pg_namespace n on n.oid = relnamespace
    where relkind in ('r', 'p')
    and (nspname = 'imagen' or nspname || '.' || relname = any (
        array['mai.imagen_usage', 'storage.objects']))"""
OPEN = """
    select r.role || ' may ' || lower(p) || ' ' || nspname || '.' || relname
    from pg_class c join pg_namespace n on n.oid = relnamespace,
        unnest(array['anon', 'authenticated']) r (role),
        unnest(array['SELECT', 'INSERT', 'UPDATE', 'DELETE']) p
    where relkind in ('r', 'p', 'v', 'm', 'f')
    and (nspname = 'imagen' or (nspname = 'mai' and relname like 'imagen_usage%'))
    and has_table_privilege(r.role, c.oid, p)
    and not (r.role = 'authenticated' and p = 'SELECT' and c.oid in (
        to_regclass('imagen.images'), to_regclass('imagen.backends')))
    union all
    select 'authenticated may select the tokens of imagen.jobs'
    from pg_attribute where attrelid = to_regclass('imagen.jobs') and attname = 'lease_token'
    and has_column_privilege('authenticated', attrelid, attnum, 'SELECT')
    union all
    select r.role || ' may call ' || p.oid::regprocedure
    from pg_proc p join pg_namespace n on n.oid = pronamespace,
        unnest(array['anon', 'authenticated']) r (role)
    where nspname = 'imagen' and has_function_privilege(r.role, p.oid, 'EXECUTE')
    and not (r.role = 'authenticated' and proname in ('request_picture', 'cancel_mine'))
    union all
    select 'anybody may read storage.objects by the policy ' || polname
    from pg_policy where polrelid = to_regclass('storage.objects')
    and polcmd in ('r', '*') and pg_get_expr(polqual, polrelid) = 'true'
    and polroles && (
        select array_agg(oid) || 0::oid from pg_roles where rolname in ('anon', 'authenticated'))
    order by 1"""
"""What is open to visitors and should not be, in sentences."""
WORKER = """
    select pg_has_role('authenticator', oid, 'MEMBER'),
        has_table_privilege(oid, 'storage.objects', 'INSERT'),
        coalesce(has_function_privilege(oid, (
            select p.oid from pg_proc p join pg_namespace n on n.oid = pronamespace
            where nspname = 'imagen' and proname = 'claim'), 'EXECUTE'), false)
    from pg_roles where rolname = 'imagen_worker'"""
"""Whether the API may take the worker's role, and whether that may upload and claim."""


class Finding(NamedTuple):
    """One thing, how it stands, and what there is to say or to do."""

    name: str
    state: Literal["ok", "wrong", "unknown"]
    text: str


class UnknownError(ImagenError):
    """It could not be looked at."""


def findings(context: Context) -> Iterator[Finding]:
    """Everything, in the order in which one needs it; ends where nobody answers."""
    for name, look in (*_THROUGH_THE_API, *_IN_THE_DATABASE):
        try:
            yield Finding(name, "ok", look(context))
        except UnknownError as error:
            yield Finding(name, "unknown", told(error))
        except ImagenError as error:
            yield Finding(name, "wrong", told(error))
            if name == "credentials" or isinstance(error, UnavailableError):
                return


def _credentials(context: Context) -> str:
    found = needed_credentials(context)
    kind = role(found.key.reveal()) or "opaque"
    return f"{found.url}, with the {kind} key in ${found.variable}"


def _api(context: Context) -> str:
    """That the key is taken and the schema served; the history is there after any migration."""
    project = _project(context)
    next(project.select(MIGRATIONS, "name", order="name"), None)
    return f"{project.who} takes the key and serves the schema imagen"


def _migrations(context: Context) -> str:
    there = {row["name"] for row in _project(context).select(MIGRATIONS, "name", order="name")}
    if missing := [one.name for one in migrations() if one.name not in there]:
        raise SetUpError(f"not applied: {', '.join(missing)}", hint=MIGRATE)
    return f"all {len(migrations())} are applied"


def _images(context: Context) -> str:
    return _writable(_project(context), IMAGES, COLUMNS)


def _usage(context: Context) -> str:
    return _writable(_project(context), USAGE, usage.COLUMNS)


def _writable(project: Project, table: Table, columns: str) -> str:
    """That rows can be read, and would be taken: one without its values is refused for these."""
    next(project.select(table, columns), None)
    try:
        project.insert(table, [{"id": NOBODY}])
    except RefusedRowError:
        return "can be read and written"
    raise ImagenError(f"{table} takes rows without values", hint=MIGRATE)


def _queue(context: Context) -> str:
    """That each half of the queue is there; nothing is put into it, and nothing taken."""
    project = _project(context)
    loads: list[Load] = project.call("stats", list[Load])
    project.call("heartbeat", str, job=NOBODY, token=NOBODY, lease=1)
    try:
        project.call("enqueue", Any, id=NOBODY, backend="", payload={})
    except RefusedRowError:
        waiting = sum(load.ready + load.delayed for load in loads)
        return f"takes jobs and gives them; {waiting} wait"
    raise ImagenError("imagen.jobs takes rows without values", hint=MIGRATE)


def _bucket(context: Context) -> str:
    return _sound(_project(context), BUCKET)


def _inputs(context: Context) -> str:
    return _sound(_project(context), INPUTS)


def _sound(project: Project, name: str) -> str:
    found = project.bucket(name)
    if found.public:
        raise SetUpError(f"{name} is public: anybody can read it", hint=AGAIN)
    allowed = found.allowed_mime_types
    if allowed and (refused := set(EXTENSIONS) - set(allowed)):
        hint = "add them in the dashboard, under Storage"
        raise SetUpError(f"{name} refuses {', '.join(sorted(refused))}", hint=hint)
    limit = f", up to {found.file_size_limit:,} bytes each" if found.file_size_limit else ""
    return f"{name} is private{limit}"


def _owner(context: Context) -> str:
    return f"owner_user_id is {owner(context)}"


def _policies(context: Context) -> str:
    with _database(context) as connection:
        rows = connection.execute(GUARDED).fetchall()
    if bare := sorted(name for name, secured, _, _ in rows if not secured):
        raise SetUpError(f"row-level security is off for {', '.join(bare)}", hint=AGAIN)
    sound = {name: set(policies) for name, _, policies, _ in rows}
    for name, wanted in POLICIES.items():
        if missing := wanted - sound.get(name, set()):
            raise SetUpError(f"{name} lacks {', '.join(sorted(missing))}", hint=AGAIN)
    there = {name: set(policies) for name, _, _, policies in rows}
    for name in ("imagen.images", "imagen.jobs"):
        if more := there[name] - POLICIES[name]:
            hint = "look at what it lets through, and drop it"
            raise SetUpError(f"{name} has another policy: {', '.join(sorted(more))}", hint=hint)
    return "every owner sees their own rows and objects"


def _rights(context: Context) -> str:
    with _database(context) as connection:
        found = [sentence for (sentence,) in connection.execute(OPEN).fetchall()]
    if found:
        hint = "revoke it, or drop the policy: the page about Supabase has who may do what"
        raise SetUpError("; ".join(found), hint=hint)
    return "nothing is open to visitors but the owner's own rows"


def _worker(context: Context) -> str:
    with _database(context) as connection:
        found = connection.execute(WORKER).fetchall()
    if found != [(True, True, True)]:
        told = "the role imagen_worker is not set up: workers need the service key"
        raise SetUpError(told, hint=AGAIN)
    return "imagen_worker may do what workers do"


def _user(context: Context) -> str:
    whose = owner(context)
    with _database(context) as connection:
        found = connection.execute("select 1 from auth.users where id = %s", [whose]).fetchall()
    if not found:
        hint = "select id, email from auth.users"
        raise ImagenError(f"there is no user {whose}, so nobody sees the pictures", hint=hint)
    return "the owner is a user of the project"


@contextmanager
def _database(context: Context) -> Iterator[Any]:
    secret = context.secret(VARIABLE)
    if secret is None:
        raise UnknownError("not looked at", hint=f"{VARIABLE} has to be set for that")
    with open_database(secret.reveal()) as (connection, _):
        yield connection


def _project(context: Context) -> Project:
    return context.once(connect)


_THROUGH_THE_API = (
    ("credentials", _credentials),
    ("API", _api),
    ("migrations", _migrations),
    ("imagen.images", _images),
    ("mai.imagen_usage", _usage),
    ("queue", _queue),
    ("bucket", _bucket),
    ("input images", _inputs),
    ("owner", _owner),
)
_IN_THE_DATABASE = (
    ("policies", _policies),
    ("rights", _rights),
    ("worker", _worker),
    ("user", _user),
)
