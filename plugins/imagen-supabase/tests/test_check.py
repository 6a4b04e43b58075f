"""`imagen supabase check`: each thing, how it stands, and what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from imagen_supabase.testing import faults
from supabase_machine import states, wrong
from supabase_servers import migrate_all, wait_until

if TYPE_CHECKING:
    pass

pytestmark = [pytest.mark.system]

ALL = [
    "credentials",
    "API",
    "migrations",
    "imagen.images",
    "mai.imagen_usage",
    "queue",
    "bucket",
    "input images",
    "owner",
    "policies",
    "rights",
    "worker",
    "user",
]


@pytest.fixture
def check(machine: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs the command, with the database's URL or without."""

    def run(*args: str, database: bool = True, **settings: Any) -> Any:
        if database:
            monkeypatch.setenv("SUPABASE_DB_URL", machine.gateway.project.database.url())
        return machine.run("supabase", "check", *args, **settings)

    return run


def test_project_that_is_set_up_is_found_well(machine: Any, check: Any) -> None:
    machine.sql("insert into auth.users (id) values (%s)", machine.owner)

    done = check("--json")

    assert (done.exit_code, done.err) == (0, "")
    assert states(done) == dict.fromkeys(ALL, "ok")


def test_checking_changes_nothing(machine: Any, check: Any) -> None:
    count = "select (select count(*) from imagen.images), (select count(*) from mai.imagen_usage)"
    before = machine.sql(count)

    check()

    assert machine.sql(count) == before


def test_without_the_database_the_policies_are_not_known(check: Any) -> None:
    done = check(database=False)

    assert done.exit_code == 0
    assert done.out.splitlines()[-4:] == [
        "unknown  policies: not looked at; SUPABASE_DB_URL has to be set for that",
        "unknown  rights: not looked at; SUPABASE_DB_URL has to be set for that",
        "unknown  worker: not looked at; SUPABASE_DB_URL has to be set for that",
        "unknown  user: not looked at; SUPABASE_DB_URL has to be set for that",
    ]


def test_owner_who_is_no_user_is_told(check: Any) -> None:
    done = check()

    assert done.exit_code == 1
    assert "wrong    user: there is no user" in done.out


def test_missing_credentials_end_it(check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUPABASE_SERVICE_KEY")

    done = check()

    assert done.exit_code == 1
    [line] = done.out.splitlines()
    assert line.startswith(
        "wrong    credentials: $SUPABASE_URL is set and $SUPABASE_SERVICE_KEY is not; "
    )


def test_server_that_does_not_answer_ends_it(machine: Any, check: Any) -> None:
    machine.gateway.fail(faults.UNAVAILABLE, times=99)

    done = check("--json")

    assert done.exit_code == 1
    assert states(done) == {"credentials": "ok", "API": "wrong"}


def test_refused_key_is_told_with_its_variable(machine: Any, check: Any) -> None:
    machine.gateway.fail(faults.EXPIRED_KEY, times=99)

    done = check(database=False)

    assert done.exit_code == 1
    assert "wrong    API: Supabase at 127.0.0.1:" in done.out
    assert "look at the key in $SUPABASE_SERVICE_KEY" in done.out


FAULTS = {
    "drop policy images_owner_reads on imagen.images": ("policies", "lacks images_owner_reads"),
    "alter table imagen.images disable row level security": (
        "policies",
        "row-level security is off for imagen.images",
    ),
    "drop policy imagen_owner_reads on storage.objects": ("policies", "lacks imagen_owner_reads"),
    "update storage.buckets set public = true where id = 'imagen-generated'": (
        "bucket",
        "imagen-generated is public: anybody can read it",
    ),
    "update storage.buckets set allowed_mime_types = '{image/png}' where id ~ 'generated'": (
        "bucket",
        "imagen-generated refuses image/jpeg, image/webp",
    ),
    "delete from storage.buckets where id = 'imagen-generated'": ("bucket", "has no such bucket"),
    "delete from storage.buckets where id = 'imagen-inputs'": (
        "input images",
        "has no such bucket",
    ),
    "update storage.buckets set public = true where id = 'imagen-inputs'": (
        "input images",
        "imagen-inputs is public: anybody can read it",
    ),
    "drop function imagen.heartbeat": ("queue", "lacks a table, a column or a function"),
    "revoke execute on function imagen.enqueue from service_role": ("queue", "refuses it"),
    "alter table imagen.jobs drop constraint jobs_backend_check": (
        "queue",
        "imagen.jobs takes rows without values",
    ),
    "drop policy jobs_owner_reads on imagen.jobs": (
        "policies",
        "imagen.jobs lacks jobs_owner_reads",
    ),
    "create policy x on imagen.jobs for select to authenticated using (true)": (
        "policies",
        "imagen.jobs has another policy: x",
    ),
    "create policy y on imagen.images to imagen_worker, anon using (true)": (
        "policies",
        "imagen.images has another policy: y",
    ),
    "grant select (lease_token) on imagen.jobs to authenticated": (
        "rights",
        "authenticated may select the tokens of imagen.jobs",
    ),
    "grant execute on function imagen.claim to authenticated": (
        "rights",
        "authenticated may call imagen.claim(",
    ),
    "revoke execute on function imagen.claim from imagen_worker": (
        "worker",
        "the role imagen_worker is not set up",
    ),
    "revoke insert on imagen.images from service_role": ("imagen.images", "refuses it"),
    "revoke select on mai.imagen_usage from service_role": ("mai.imagen_usage", "refuses it"),
    "delete from imagen.schema_migrations where name = '0005_mai_usage'": (
        "migrations",
        "not applied: 0005_mai_usage",
    ),
    "alter table mai.imagen_usage disable row level security": (
        "policies",
        "row-level security is off for mai.imagen_usage",
    ),
    "create policy x on imagen.images for select to anon using (true)": (
        "policies",
        "imagen.images has another policy: x",
    ),
    "create policy x on storage.objects for select to public using (true)": (
        "rights",
        "anybody may read storage.objects by the policy x",
    ),
    "alter policy images_owner_reads on imagen.images using (true)": (
        "policies",
        "imagen.images lacks images_owner_reads",
    ),
    "alter table imagen.images rename column sha256 to sha": (
        "imagen.images",
        "lacks a table, a column or a function",
    ),
    "grant select on imagen.images to anon": ("rights", "anon may select imagen.images"),
    "grant update on imagen.images to authenticated": (
        "rights",
        "authenticated may update imagen.images",
    ),
    "grant insert on mai.imagen_usage to public": (
        "rights",
        "anon may insert mai.imagen_usage; authenticated may insert mai.imagen_usage",
    ),
    "drop view mai.imagen_usage_daily; drop table mai.imagen_usage": (
        "mai.imagen_usage",
        "lacks a table, a column or a function",
    ),
}


@pytest.mark.parametrize("cluster", ["system"], indirect=True)
@pytest.mark.parametrize(("fault", "found"), FAULTS.items(), ids=FAULTS)
def test_fault_is_found_with_its_mend(own_machine: Any, fault: str, found: tuple[str, str]) -> None:
    own_machine.sql(fault)

    done = own_machine.run("supabase", "check", "--json")

    assert done.exit_code == 1
    told = {one["name"]: one["text"] for one in done.json() if one["state"] == "wrong"}
    assert set(told) == {found[0], "user"}
    assert found[1] in told[found[0]]


@pytest.mark.parametrize("cluster", ["system"], indirect=True)
def test_project_that_was_never_set_up_is_told_what_to_do(empty_machine: Any) -> None:
    done = empty_machine.run("supabase", "check")

    assert done.exit_code == 1
    assert "does not serve the schemas imagen and mai; 'imagen supabase migrate'" in done.out
    migrate_all(empty_machine.gateway.project.database.url())
    wait_until(lambda: wrong(empty_machine) == {"user"})
