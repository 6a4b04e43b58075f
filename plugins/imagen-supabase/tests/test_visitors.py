"""Two owners, an anonymous visitor and the service role, over a real PostgREST."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from imagen_supabase.migrate import migrating
from imagen_supabase.scripts import migrations
from supabase_catalog import functions, tables
from supabase_servers import Project, image, token, wait_until

pytestmark = pytest.mark.system

EDGES = [2**53 - 1, 2**53, 2**53 + 1, 2**63 - 1, -(2**63), 0, -1]
PROMPTS = {
    "emoji": "a 🐈‍⬛ in a 🫧, 👩🏽‍🚀 watching",
    "long": "ü" * 32_000,
    "right to left": "قطة في حوض سمك \u200f\u05d7\u05ea\u05d5\u05dc",
    "control": "tab\tand\nnewline",
    "quotes": 'it\'s "quoted" \\ $$ -- ; drop table',
}
NOBODY = "00000000-0000-0000-0000-000000000000"


def usage(**fields: Any) -> dict[str, Any]:
    """A row of mai.imagen_usage."""
    usual = {"id": str(uuid4()), "backend": "r", "model": "m", "prompt_hash": "a" * 64}
    return {**usual, **fields}


@pytest.fixture
def service(project: Any) -> Any:
    with project.client("service_role") as client:
        yield client


@pytest.fixture
def owners(service: Any) -> Any:
    """Two owners: one with three pictures, one with one."""
    found = {"a": uuid4(), "b": uuid4()}
    rows = [image(found["a"]), image(found["a"]), image(found["a"]), image(found["b"])]
    assert service.post("/images", json=rows).status_code == 201
    return found


# Reading


def test_each_owner_sees_exactly_the_own_rows(project: Any, owners: Any) -> None:
    for name, count in (("a", 3), ("b", 1)):
        with project.client("authenticated", owners[name]) as client:
            rows = client.get("/images").json()
        assert [row["owner_user_id"] for row in rows] == [str(owners[name])] * count


def test_asking_for_somebody_elses_rows_gives_nothing(project: Any, owners: Any) -> None:
    with project.client("authenticated", owners["b"]) as client:
        found = client.get("/images", params={"owner_user_id": f"eq.{owners['a']}"})

    assert (found.status_code, found.json()) == (200, [])


def test_user_without_pictures_sees_none(project: Any, owners: Any) -> None:
    del owners
    with project.client("authenticated", uuid4()) as client:
        assert client.get("/images").json() == []


def test_token_without_a_user_sees_nothing(project: Any, owners: Any) -> None:
    del owners
    with project.client("authenticated") as client:
        assert client.get("/images").json() == []


def test_visitor_sees_nothing(project: Any, owners: Any) -> None:
    del owners
    with project.client("anon") as client:
        found = client.get("/images")

    assert (found.status_code, found.json()["code"]) == (401, "42501")


def test_service_role_sees_all(service: Any, owners: Any) -> None:
    wanted = f"in.({owners['a']},{owners['b']})"

    assert len(service.get("/images", params={"owner_user_id": wanted}).json()) == 4


@pytest.mark.parametrize("how", ["expired", "signature", "none"])
def test_token_that_is_not_good_is_refused(project: Any, owners: Any, how: str) -> None:
    good = token("authenticated", owners["a"])
    head, claims, signature = good.split(".")
    bad = {
        "expired": token("authenticated", owners["a"], seconds=-100),
        "signature": f"{head}.{claims}.{signature[::-1]}",
        "none": f"eyJhbGciOiJub25lIn0.{claims}.",
    }
    with project.client("authenticated") as client:
        found = client.get("/images", headers={"Authorization": f"Bearer {bad[how]}"})

    assert found.status_code == 401


# Writing


def test_owner_changes_the_tags_of_the_own_rows_alone(project: Any, owners: Any) -> None:
    with project.client("authenticated", owners["a"]) as client:
        done = client.patch(
            "/images",
            params={"id": "not.is.null"},
            json={"tags": ["cat", "شعر", "a,b"]},
            headers={"Prefer": "return=representation"},
        )

    assert done.status_code == 200
    assert [row["tags"] for row in done.json()] == [["cat", "شعر", "a,b"]] * 3
    rows = project.database.run(
        "select owner_user_id::text, tags from imagen.images where owner_user_id = any (%s)",
        [owners["a"], owners["b"]],
    )
    assert sorted(tags for owner, tags in rows if owner == str(owners["b"])) == [[]]


def test_owner_changes_nothing_but_tags(project: Any, owners: Any) -> None:
    before = project.database.run("select * from imagen.images order by id")
    [(_, _, columns)] = [found for found in tables(project.database) if found[1] == "images"]

    with project.client("authenticated", owners["a"]) as client:
        for column in {*columns} - {"tags"}:
            for body in ({column: None}, {column: None, "tags": ["x"]}):
                done = client.patch("/images", params={"id": "not.is.null"}, json=body)
                assert (done.status_code, done.json()["code"]) == (403, "42501"), column

    assert project.database.run("select * from imagen.images order by id") == before


def test_owner_and_visitor_write_into_no_table(project: Any, owners: Any) -> None:
    """Every table and column that the catalog has, with every method of PostgREST."""
    for role, owner, refused in (("authenticated", owners["a"], 403), ("anon", None, 401)):
        for schema, table, columns in tables(project.database):
            open_to_read = role == "authenticated" and table in ("images", "backends")
            with project.client(role, owner, schema) as client:
                path, params = f"/{table}", {columns[0]: "not.is.null"}
                for column in columns:
                    if (role, table, column) == ("authenticated", "images", "tags"):
                        continue
                    for found in (
                        client.post(path, json={column: None}),
                        client.post(path, json={column: None}, headers=MERGING),
                        client.put(path, json={column: None}, params={column: "eq.1"}),
                        client.patch(path, json={column: None}, params=params),
                    ):
                        assert found.status_code in (refused, 400, 405), (table, column)
                        made_by_the_database = found.status_code == 400 and GENERATED in found.text
                        assert (
                            found.status_code == refused
                            or found.request.method == "PUT"
                            or made_by_the_database
                        )
                assert client.delete(path, params=params).status_code == refused
                seen = client.get(path).status_code
                assert seen == (200 if open_to_read else refused), (role, table)


GENERATED = '"428C9"'
"""What is said of a column that takes no values, before rights are looked at."""
MERGING = {"Prefer": "resolution=merge-duplicates"}


def test_upsert_changes_nobodys_row(project: Any, owners: Any) -> None:
    [(id,)] = project.database.run(
        "select id::text from imagen.images where owner_user_id = %s", owners["b"]
    )
    for owner in owners.values():
        with project.client("authenticated", owner) as client:
            row = image(owner, id=id, tags=["stolen"])
            assert client.post("/images", json=row, headers=MERGING).status_code == 403


def test_two_functions_are_open_to_owners_and_none_to_visitors(project: Any, owners: Any) -> None:
    names = functions(project.database)
    for role, owner in (("authenticated", owners["a"]), ("anon", None)):
        for schema, name, arguments in [*names, ("imagen", "nothing_of_that_name", [])]:
            with project.client(role, owner, schema) as client:
                done = client.post(f"/rpc/{name}", json=dict.fromkeys(arguments))
            is_open = role == "authenticated" and name in ("request_picture", "cancel_mine")
            assert done.status_code in ((200, 400) if is_open else (401, 403, 404)), name


def test_accounts_are_for_the_service_role_alone(project: Any, owners: Any) -> None:
    with project.client("service_role", schema="mai") as client:
        assert client.post("/imagen_usage", json=usage()).status_code == 201
        assert client.patch("/imagen_usage", json={"caller": "x"}).status_code == 403
        assert client.delete("/imagen_usage").status_code == 403
    for role, owner, code in (("authenticated", owners["a"], 403), ("anon", None, 401)):
        with project.client(role, owner, "mai") as client:
            assert client.get("/imagen_usage").status_code == code
            assert client.post("/imagen_usage", json=usage()).status_code == code


def test_usage_of_one_id_is_one_row(project: Any) -> None:
    row = usage(caller="agent-7")
    ignoring = {"Prefer": "resolution=ignore-duplicates,return=representation"}
    with project.client("service_role", schema="mai") as client:
        first = client.post(
            "/imagen_usage", params={"on_conflict": "id"}, json=row, headers=ignoring
        )
        second = client.post(
            "/imagen_usage", params={"on_conflict": "id"}, json=row, headers=ignoring
        )

    assert [first.status_code, second.status_code] == [201, 201]
    assert [len(first.json()), len(second.json())] == [1, 0]


@pytest.mark.parametrize("text", ["a cat", "A" * 64, "", "0" * 63])
def test_prompt_does_not_get_into_the_accounts(project: Any, text: str) -> None:
    with project.client("service_role", schema="mai") as client:
        done = client.post("/imagen_usage", json=usage(prompt_hash=text))

    assert (done.status_code, done.json()["code"]) == (400, "23514")


def test_same_path_twice_is_refused_for_one_owner_and_fine_for_two(service: Any) -> None:
    one, other = uuid4(), uuid4()
    path = "2026-05-08/a-cat-7.png"

    first = service.post("/images", json=image(one, storage_path=path))
    again = service.post("/images", json=image(one, storage_path=path))
    others = service.post("/images", json=image(other, storage_path=path))

    assert (first.status_code, others.status_code) == (201, 201)
    assert (again.status_code, again.json()["code"]) == (409, "23505")


def test_row_without_an_owner_is_refused(service: Any) -> None:
    done = service.post("/images", json={**image(NOBODY), "owner_user_id": None})

    assert (done.status_code, done.json()["code"]) == (400, "23502")


# Values


@pytest.mark.parametrize("seed", EDGES)
def test_seed_comes_back_to_the_last_digit(project: Any, service: Any, seed: int) -> None:
    owner = uuid4()
    sidecar = {"seed": seed, "nested": {"seeds": [seed]}}
    service.post("/images", json=image(owner, seed=seed, sidecar=sidecar))

    with project.client("authenticated", owner) as client:
        [row] = client.get("/images", params={"select": "seed,sidecar,text:seed::text"}).json()

    assert row == {"seed": seed, "sidecar": sidecar, "text": str(seed)}


@pytest.mark.parametrize("seed", [2**63, -(2**63) - 1])
def test_seed_that_is_too_large_is_refused(service: Any, seed: int) -> None:
    done = service.post("/images", json=image(uuid4(), seed=seed))

    assert (done.status_code, done.json()["code"]) == (400, "22003")


@pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS)
def test_prompt_comes_back_as_it_was(project: Any, service: Any, prompt: str) -> None:
    owner = uuid4()
    row = image(owner, prompt=prompt, sidecar={"prompt": prompt}, tags=[prompt[:50]])
    assert service.post("/images", json=row).status_code == 201

    with project.client("authenticated", owner) as client:
        found = client.get("/images").json()

    assert [(one["prompt"], one["sidecar"], one["tags"]) for one in found] == [
        (prompt, {"prompt": prompt}, [prompt[:50]])
    ]


@pytest.mark.parametrize("cost", ["0.000001", "0.003", "123456789.123456789", "0"])
def test_cost_is_kept_to_the_last_digit(project: Any, cost: str) -> None:
    row = usage()
    body = json.dumps(row)[:-1] + f', "cost_usd_estimate": {cost}}}'
    with project.client("service_role", schema="mai") as client:
        headers = {"Content-Type": "application/json"}
        assert client.post("/imagen_usage", content=body, headers=headers).status_code == 201
        query = {"id": f"eq.{row['id']}", "select": "cost_usd_estimate::text"}
        [found] = client.get("/imagen_usage", params=query).json()

    assert Decimal(found["cost_usd_estimate"]) == Decimal(cost)


def test_many_small_costs_add_up_exactly(project: Any) -> None:
    with project.database.connect() as connection, connection.transaction(force_rollback=True):
        connection.execute(
            "insert into mai.imagen_usage"
            " (id, backend, model, prompt_hash, cost_usd_estimate, caller)"
            " select gen_random_uuid(), 'b', 'm', repeat('a', 64), 0.000001, 'sum'"
            " from generate_series(1, 10000)"
        )
        query = "select sum(cost_usd_estimate) from mai.imagen_usage where caller = 'sum'"
        assert connection.execute(query).fetchone() == (Decimal("0.010000"),)


@pytest.mark.parametrize("cost", ["NaN", "Infinity", -0.1])
def test_cost_that_is_none_is_refused(project: Any, service: Any, cost: Any) -> None:
    with project.client("service_role", schema="mai") as client:
        done = client.post("/imagen_usage", json=usage(cost_usd_estimate=cost))
    also = service.post("/images", json=image(uuid4(), cost_usd_estimate=cost))

    assert [done.json()["code"], also.json()["code"]] == ["23514", "23514"]


def test_tags_are_empty_unless_somebody_sends_some(service: Any) -> None:
    kept = {"Prefer": "return=representation"}

    [row] = service.post("/images", json=image(uuid4()), headers=kept).json()

    assert row["tags"] == []
    assert row["created_at"]


# Storage


def test_owner_alone_sees_the_object_of_the_own_row(project: Any, service: Any) -> None:
    mine, other = uuid4(), uuid4()
    rows = [image(mine), image(other)]
    service.post("/images", json=rows)
    paths = [row["storage_path"] for row in rows]
    orphan = f"2026-05-08/{uuid4()}.png"
    database = project.database
    database.run("insert into storage.buckets (id, name) values ('b', 'b') on conflict do nothing")
    for bucket, name in [
        *(("imagen-generated", path) for path in (*paths, orphan)),
        ("b", paths[0]),
    ]:
        database.run("insert into storage.objects (bucket_id, name) values (%s, %s)", bucket, name)

    def visible(role: str, owner: Any = None) -> list[Any]:
        query = "select bucket_id, name from storage.objects where name = any (%s) order by 1, 2"
        with database.acting(role, owner) as connection:
            return connection.execute(query, [[*paths, orphan]]).fetchall()

    assert visible("authenticated", mine) == [("imagen-generated", paths[0])]
    assert visible("authenticated", other) == [("imagen-generated", paths[1])]
    assert visible("authenticated", uuid4()) == visible("anon") == []
    assert len(visible("service_role")) == 4
    database.run("delete from storage.objects where bucket_id = 'b'")
    database.run("delete from storage.buckets where id = 'b'")


@pytest.mark.parametrize("role", ["authenticated", "anon"])
def test_nobody_but_the_service_role_writes_objects_or_buckets(
    project: Any, service: Any, role: str
) -> None:
    owner = uuid4()
    row = image(owner)
    service.post("/images", json=row)
    path = row["storage_path"]
    database = project.database
    database.run(
        "insert into storage.objects (bucket_id, name) values ('imagen-generated', %s)", path
    )

    with database.acting(role, owner) as connection:
        changed = connection.execute("update storage.objects set name = 'x'").rowcount
        deleted = connection.execute("delete from storage.objects").rowcount
        opened = connection.execute("update storage.buckets set public = true").rowcount
    with (
        pytest.raises(Exception, match="violates row-level security policy"),
        database.acting(role, owner) as connection,
    ):
        connection.execute(
            "insert into storage.objects (bucket_id, name) values ('imagen-generated', 'x')"
        )

    assert (changed, deleted, opened) == (0, 0, 0)


# Exposing


def test_schemas_are_served_after_the_migration_without_a_restart(cluster: Any) -> None:
    database = cluster.database()
    rest = cluster.postgrest(database)
    project = Project(database, rest)
    # It reads its settings once more when it has begun to listen.
    wait_until(lambda: database.run(LISTENING) == [(1,)])
    with (
        project.client("service_role") as images,
        project.client("service_role", schema="mai") as mai,
    ):
        database.run("alter role authenticator set pgrst.db_schemas = 'public, auth'")
        database.run("notify pgrst, 'reload config'")
        wait_until(lambda: "auth" in images.get("/images").json()["message"])

        run_some(database, migrations()[:4])

        wait_until(lambda: images.get("/images").status_code == 200)
        wait_until(lambda: images.post("/images", json=image(uuid4())).status_code == 201)
        assert "auth" in images.get("/", headers={"Accept-Profile": "x"}).json()["message"]

        run_some(database, migrations()[4:])

        wait_until(lambda: mai.post("/imagen_usage", json=usage()).status_code == 201)
    rest.close()
    cluster.drop(database)


def run_some(database: Any, chosen: Any) -> None:
    with migrating(database.url()) as migrator:
        for one in chosen:
            migrator.apply(one)


LISTENING = """select count(*)::int from pg_stat_activity
    where datname = current_database() and query ilike 'listen%'"""
