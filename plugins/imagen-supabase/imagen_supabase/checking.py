"""What a project needs, looked at one by one; each fault comes with what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from imagen_core import CredentialsError, ImagenError, RejectedError, UnavailableError, told
from imagen_supabase.client import BUCKET, IMAGES, MIGRATIONS, USAGE, connect
from imagen_supabase.config import needed_credentials, owner, role
from imagen_supabase.pictures import EXTENSIONS
from imagen_supabase.postgres import VARIABLE, open_database
from imagen_supabase.problems import MIGRATE, SetUpError
from imagen_supabase.scripts import migrations

if TYPE_CHECKING:
    from imagen_core import Context
    from imagen_supabase.client import Project, Table

NOBODY = "00000000-0000-0000-0000-000000000000"
POLICIES = {
    "imagen.images": {"images_owner_reads", "images_owner_tags"},
    "storage.objects": {"imagen_owner_reads"},
}
SHUT = """
    select nspname || '.' || relname, relrowsecurity,
        array(select polname::text from pg_policy where polrelid = c.oid)
    from pg_class c join pg_namespace n on n.oid = relnamespace
    where nspname || '.' || relname = any (%s)"""


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
    return _writable(_project(context), IMAGES)


def _usage(context: Context) -> str:
    return _writable(_project(context), USAGE)


def _writable(project: Project, table: Table) -> str:
    """That rows can be read, and would be taken: one without its values is refused for these."""
    next(project.select(table, "id"), None)
    try:
        project.insert(table, [{"id": NOBODY}])
    except (CredentialsError, UnavailableError, SetUpError):
        raise
    except RejectedError:
        return "can be read and written"
    raise ImagenError(f"{table.schema}.{table.name} takes rows without values", hint=MIGRATE)


def _bucket(context: Context) -> str:
    found = _project(context).bucket()
    if found.public:
        raise SetUpError(f"{BUCKET} is public: anybody can read it", hint=MIGRATE)
    allowed = found.allowed_mime_types
    if allowed and (refused := set(EXTENSIONS) - set(allowed)):
        hint = "add them in the dashboard, under Storage"
        raise SetUpError(f"{BUCKET} refuses {', '.join(sorted(refused))}", hint=hint)
    limit = f", up to {found.file_size_limit:,} bytes each" if found.file_size_limit else ""
    return f"{BUCKET} is private{limit}"


def _owner(context: Context) -> str:
    return f"owner_user_id is {owner(context)}"


def _policies(context: Context) -> str:
    with _database(context) as connection:
        rows = connection.execute(SHUT, [list(POLICIES)]).fetchall()
    there = {name: set(policies) if secured else None for name, secured, policies in rows}
    for name, wanted in POLICIES.items():
        found = there.get(name, set())
        if found is None:
            raise SetUpError(f"row-level security is off for {name}", hint=MIGRATE)
        if missing := wanted - found:
            raise SetUpError(f"{name} lacks {', '.join(sorted(missing))}", hint=MIGRATE)
    return "every owner sees their own rows and objects"


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
    ("bucket", _bucket),
    ("owner", _owner),
)
_IN_THE_DATABASE = (("policies", _policies), ("user", _user))
