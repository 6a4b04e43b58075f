"""Who may do what, read from the catalog: a migration that opens something fails here.

What is allowed is written out. Whatever else the catalog has, for anybody, is a failure, also a
table, column, function, view or policy that did not exist when this was written.
"""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from supabase_catalog import openings, seen, tables, unguarded
from supabase_servers import image, migrate_all

pytestmark = pytest.mark.system

IMAGES = [
    *("backend", "cost_usd_estimate", "created_at", "height", "id", "latency_ms", "mime", "model"),
    *("owner_user_id", "prompt", "prompt_hash", "run_id", "seed", "sha256", "sidecar", "size"),
    *("steps", "storage_path", "tags", "width"),
]
HISTORY = ["applied_at", "checksum", "name"]
USAGE = [
    *("backend", "caller", "cost_usd_estimate", "created_at", "id", "latency_ms", "model"),
    *("prompt_hash", "seed"),
]
JOBS = [
    *("attempt", "backend", "cancel_requested", "checkpoint", "crashes", "created_at"),
    *("deadline_at", "errors", "finished_at", "id", "key", "lease_expires_at", "lease_token"),
    *("max_attempts", "owner_user_id", "payload", "payload_version", "priority", "progress"),
    *("resource", "result", "run_at", "seq", "started_at", "state", "whose", "worker"),
]
HIDDEN = ("lease_token", "whose")
BACKENDS = ["about", "backend", "max_running", "resource", "seen_at", "worker"]
WORK = {
    "announce": "text,jsonb",
    "claim": "text,uuid,jsonb,double precision,double precision",
    "complete": "uuid,uuid,jsonb",
    "fail": "uuid,uuid,jsonb,boolean,double precision",
    "heartbeat": "uuid,uuid,double precision,jsonb,jsonb",
    "prune": "double precision,double precision,integer",
    "put_aside": "uuid,uuid,jsonb",
    "release": "uuid,uuid",
    "rescue": "integer",
}
"""What workers call, and with what."""
QUEUE = {
    **WORK,
    "cancel": "uuid",
    "enqueue": "uuid,text,jsonb,integer,uuid,text,integer,double precision,integer",
    "get_job": "uuid",
    "list_backends": "",
    "list_jobs": "text[],uuid,text,uuid,integer",
    "retry": "uuid",
    "stats": "",
}
"""What the service role calls."""
REQUESTS = {
    "cancel_mine": "uuid",
    "request_picture": "text,jsonb,text,uuid,integer,integer,double precision",
}
"""What signed-in users call."""
INSIDE = {
    "as_job": "imagen.jobs",
    "backoff": "integer",
    "be_brief": "",
    "check_length": "double precision",
    "check_limits": "uuid",
    "daily_job_limit": "",
    "end_attempt": "imagen.jobs,jsonb,boolean,double precision,integer",
    "free_backends": "jsonb",
    "images_one_picture_a_path": "",
    "is_legible": "jsonb",
    "iso": "timestamp with time zone",
    "job_limit": "",
    "known_backends": "",
    "moment": "",
    "next_job": "text[]",
}
"""What nobody calls but these functions, and a trigger."""
DAILY = ["backend", "caller", "cost_usd", "count", "day", "latency_ms", "model", "unknown"]


def columns(right: str, table: str, names: list[str]) -> list[str]:
    return [f"column {right} {table}.{name}" for name in names]


def signatures(functions: dict[str, str]) -> list[str]:
    return [f"imagen.{name}({arguments})" for name, arguments in sorted(functions.items())]


def calls(functions: dict[str, str]) -> list[str]:
    return [f"function EXECUTE {one}" for one in signatures(functions)]


ALLOWED = {
    "anon": [],
    "authenticated": [
        *columns("SELECT", "imagen.backends", BACKENDS),
        *columns("SELECT", "imagen.images", IMAGES),
        *columns("SELECT", "imagen.jobs", [one for one in JOBS if one not in HIDDEN]),
        "column UPDATE imagen.images.tags",
        *calls(REQUESTS),
        "schema USAGE imagen",
    ],
    "imagen_worker": [
        *columns("INSERT", "imagen.images", [one for one in IMAGES if one != "tags"]),
        *columns("INSERT", "mai.imagen_usage", USAGE),
        *columns("SELECT", "imagen.images", ["id", "owner_user_id", "sha256", "storage_path"]),
        *columns("SELECT", "mai.imagen_usage", ["id"]),
        *calls(WORK),
        "schema USAGE imagen",
        "schema USAGE mai",
    ],
    "service_role": [
        *columns("INSERT", "imagen.images", IMAGES),
        *columns("INSERT", "mai.imagen_usage", USAGE),
        *columns("SELECT", "imagen.backends", BACKENDS),
        *columns("SELECT", "imagen.images", IMAGES),
        *columns("SELECT", "imagen.jobs", JOBS),
        *columns("SELECT", "imagen.schema_migrations", HISTORY),
        *columns("SELECT", "mai.imagen_usage", USAGE),
        *columns("SELECT", "mai.imagen_usage_daily", DAILY),
        *columns("UPDATE", "imagen.images", IMAGES),
        *calls(QUEUE),
        "schema USAGE imagen",
        "schema USAGE mai",
        "table DELETE imagen.images",
    ],
    "authenticator": [],
}
OWN_ROWS = "(owner_user_id = ( SELECT auth.uid() AS uid))"
OWN_FOLDER = "(split_part(name, '/'::text, 1) = (( SELECT auth.uid() AS uid))::text)"
SIGNED_IN, WORKER = "authenticated", "imagen_worker"
POLICIES = {
    ("imagen.backends", "backends_are_seen"): ("SELECT", SIGNED_IN, "true", None),
    ("imagen.images", "images_owner_reads"): ("SELECT", SIGNED_IN, OWN_ROWS, None),
    ("imagen.images", "images_owner_tags"): ("UPDATE", SIGNED_IN, OWN_ROWS, OWN_ROWS),
    ("imagen.images", "images_worker_adds"): ("INSERT", WORKER, None, "true"),
    ("imagen.images", "images_worker_reads"): ("SELECT", WORKER, "true", None),
    ("imagen.jobs", "jobs_owner_reads"): ("SELECT", SIGNED_IN, OWN_ROWS, None),
    ("mai.imagen_usage", "usage_worker_adds"): ("INSERT", WORKER, None, "true"),
    ("mai.imagen_usage", "usage_worker_reads"): ("SELECT", WORKER, "true", None),
    ("storage.objects", "imagen_inputs_owner_adds"): (
        "INSERT",
        SIGNED_IN,
        None,
        f"((bucket_id = 'imagen-inputs'::text) AND {OWN_FOLDER} AND"
        " (split_part(name, '/'::text, 2) ~ '^[0-9a-f]{64}$'::text) AND"
        " (split_part(name, '/'::text, 3) = ''::text))",
    ),
    ("storage.objects", "imagen_inputs_owner_reads"): (
        "SELECT",
        SIGNED_IN,
        f"((bucket_id = 'imagen-inputs'::text) AND {OWN_FOLDER})",
        None,
    ),
    ("storage.objects", "imagen_owner_reads"): (
        "SELECT",
        SIGNED_IN,
        "((bucket_id = 'imagen-generated'::text) AND (EXISTS ( SELECT FROM imagen.images WHERE"
        " ((images.storage_path = objects.name) AND"
        " (images.owner_user_id = ( SELECT auth.uid() AS uid))))))",
        None,
    ),
    ("storage.objects", "imagen_worker_adds"): (
        "INSERT",
        WORKER,
        None,
        "(bucket_id = 'imagen-generated'::text)",
    ),
    ("storage.objects", "imagen_worker_reads"): (
        "SELECT",
        WORKER,
        "(bucket_id = ANY (ARRAY['imagen-generated'::text, 'imagen-inputs'::text]))",
        None,
    ),
}


@pytest.fixture
def migrated(database: Any) -> Any:
    """A database in its newest state, which the test may change."""
    migrate_all(database.url())
    return database


@pytest.mark.parametrize("role", ALLOWED)
def test_role_may_do_what_is_written_here_and_nothing_else(project: Any, role: str) -> None:
    assert openings(project.database, role) == ALLOWED[role]


def test_nothing_goes_round_the_rights(project: Any) -> None:
    assert unguarded(project.database) == [
        f"security definer function: {one}" for one in sorted(signatures({**QUEUE, **REQUESTS}))
    ]


def test_policies_are_these_and_each_is_for_one_role(project: Any) -> None:
    rows = project.database.run(
        "select schemaname || '.' || tablename, policyname, cmd, roles::text[], qual, with_check,"
        " permissive from pg_policies"
    )

    found = {row[:2]: (row[2], *row[3], *map(_one_line, row[4:6])) for row in rows}
    assert found == POLICIES
    assert {row[6] for row in rows} == {"PERMISSIVE"}


def _one_line(condition: str | None) -> str | None:
    return " ".join(condition.split()) if condition else condition


def test_tables_are_these(project: Any) -> None:
    found = {f"{schema}.{name}": sorted(names) for schema, name, names in tables(project.database)}

    assert found == {
        "imagen.backends": BACKENDS,
        "imagen.images": IMAGES,
        "imagen.jobs": JOBS,
        "imagen.schema_migrations": HISTORY,
        "imagen.turns": ["served_at", "whose"],
        "mai.imagen_usage": USAGE,
        "mai.imagen_usage_daily": DAILY,
    }


def test_functions_and_triggers_are_these(project: Any) -> None:
    found = seen(project.database)

    assert [one.split("'")[1] for one in found["functions"]] == sorted(
        signatures({**QUEUE, **REQUESTS, **INSIDE})
    )
    assert [one.split()[2] for one in found["triggers"]] == ["images_one_picture_a_path"]
    assert [row for row in found["rights"] if "'default'" in row] == []


def test_path_in_the_bucket_is_one_picture(project: Any) -> None:
    path, digests = f"2026-05-08/{uuid4()}.png", ["1" * 64, "1" * 64, "2" * 64]
    with project.client("service_role") as client:
        rows = [image(uuid4(), storage_path=path, sha256=digest) for digest in digests]
        codes = [client.post("/images", json=row).status_code for row in rows]
        moved = client.patch(
            "/images", params={"id": f"eq.{rows[0]['id']}"}, json={"sha256": "3" * 64}
        )

    assert codes == [201, 201, 409]
    assert moved.status_code == 409


def test_buckets_are_private_and_take_pictures_alone(project: Any) -> None:
    mimes = ["image/png", "image/jpeg", "image/webp"]

    assert project.database.run(
        "select id, name, public, file_size_limit, allowed_mime_types from storage.buckets"
        " order by id"
    ) == [
        ("imagen-generated", "imagen-generated", False, None, mimes),
        ("imagen-inputs", "imagen-inputs", False, 50 * 2**20, mimes),
    ]


def test_buckets_that_were_public_are_shut(database: Any) -> None:
    database.run(
        "insert into storage.buckets (id, name, public) values ('imagen-generated', 'x', true),"
        " ('imagen-inputs', 'y', true)"
    )

    migrate_all(database.url())

    assert database.run("select public from storage.buckets") == [(False,)] * 2


def test_indexes_are_those_that_the_questions_need(project: Any) -> None:
    found = "\n".join(seen(project.database)["indexes"])

    assert "(owner_user_id, created_at DESC)" in found
    assert "USING gin (tags)" in found
    assert "UNIQUE INDEX images_owner_path_key ON imagen.images USING btree" in found
    assert "imagen_usage USING btree (created_at DESC)" in found
    assert "imagen_usage USING btree (caller)" in found


# That it would be noticed

OPENED = {
    "create table imagen.more (id int)": ("unguarded", "row-level security is off: imagen.more"),
    "create table imagen.t (a int); grant insert (a) on imagen.t to anon": (
        "anon",
        "column INSERT imagen.t.a",
    ),
    "grant update (prompt) on imagen.images to authenticated": (
        "authenticated",
        "column UPDATE imagen.images.prompt",
    ),
    "alter table imagen.images add secret text": (
        "authenticated",
        "column SELECT imagen.images.secret",
    ),
    "grant delete on imagen.images to public": ("anon", "table DELETE imagen.images"),
    "grant truncate on mai.imagen_usage to authenticated": (
        "authenticated",
        "table TRUNCATE mai.imagen_usage",
    ),
    "grant select (caller) on mai.imagen_usage to anon": (
        "anon",
        "column SELECT mai.imagen_usage.caller",
    ),
    "grant usage on schema mai to authenticated": ("authenticated", "schema USAGE mai"),
    "create function imagen.f(a int) returns int language sql return 1": (
        "anon",
        "function EXECUTE imagen.f(integer)",
    ),
    "create procedure mai.p() language sql as ''": ("authenticated", "function EXECUTE mai.p()"),
    "create function imagen.g() returns int language sql security definer return 1": (
        "unguarded",
        "security definer function: imagen.g()",
    ),
    "create function imagen.h() returns int language sql return 1": (
        "unguarded",
        "function without a fixed search_path: imagen.h()",
    ),
    "create view imagen.v as select * from mai.imagen_usage": (
        "unguarded",
        "view that acts as its owner: imagen.v",
    ),
    "create sequence imagen.s; grant usage on sequence imagen.s to anon": (
        "anon",
        "sequence USAGE imagen.s",
    ),
    "grant select (lease_token) on imagen.jobs to authenticated": (
        "authenticated",
        "column SELECT imagen.jobs.lease_token",
    ),
    "grant execute on function imagen.claim to anon": (
        "anon",
        f"function EXECUTE imagen.claim({WORK['claim']})",
    ),
    "grant select (prompt) on imagen.images to imagen_worker": (
        "imagen_worker",
        "column SELECT imagen.images.prompt",
    ),
    "alter table mai.imagen_usage disable row level security": (
        "unguarded",
        "row-level security is off: mai.imagen_usage",
    ),
}


@pytest.mark.parametrize("sql", OPENED)
def test_what_a_later_migration_opens_is_noticed(migrated: Any, sql: str) -> None:
    where, what = OPENED[sql]
    migrated.run(sql)

    found = unguarded(migrated) if where == "unguarded" else openings(migrated, where)

    assert what in found
    assert what not in ALLOWED.get(where, [])


def test_rights_that_the_database_gives_by_default_do_not_open_our_tables(database: Any) -> None:
    for kind in ("tables", "sequences", "functions"):
        database.run(f"alter default privileges grant all on {kind} to public, anon, authenticated")

    migrate_all(database.url())

    assert openings(database, "anon") == []
    assert openings(database, "authenticated") == ALLOWED["authenticated"]
