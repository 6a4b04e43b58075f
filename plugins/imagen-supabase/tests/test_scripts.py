"""The migrations as files, and as one script."""

from __future__ import annotations

import re
from typing import Any

import pytest

from imagen_core import UsageError
from imagen_supabase.scripts import (
    LOCK,
    Migration,
    Statement,
    every_file,
    migrations,
    named,
    noting,
    script,
    statements,
)

NAMES = [
    "0001_imagen_schema_init",
    "0002_imagen_schema_grants",
    "0003_imagen_storage_policies",
    "0004_imagen_pgrst_expose",
    "0005_mai_usage",
    "0006_mai_usage_daily",
    "0007_images_one_picture_a_path",
    "0008_jobs",
    "0009_jobs_work",
    "0010_jobs_requests",
    "0011_jobs_worker",
]


def test_migrations_come_in_the_order_of_their_numbers() -> None:
    assert [one.name for one in migrations()] == NAMES
    assert [int(one.name[:4]) for one in migrations()] == [*range(1, len(NAMES) + 1)]


def test_each_migration_has_its_reversal() -> None:
    downs = {one.name for one in every_file().values() if one.is_down}

    assert downs == {f"{name}.down" for name in NAMES}


@pytest.mark.parametrize("name", every_file())
def test_file_begins_with_what_it_is_for(name: str) -> None:
    assert re.match(r"-- [A-Z].*\.\n\n", every_file()[name].sql)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("0003_imagen_storage_policies", "0003_imagen_storage_policies"),
        ("0003_imagen_storage_policies.sql", "0003_imagen_storage_policies"),
        ("0003", "0003_imagen_storage_policies"),
        ("mai_usage", "0005_mai_usage"),
        ("mai_usage.down", "0005_mai_usage.down"),
        ("0005.down", "0005_mai_usage.down"),
        ("0005_mai_usage.down.sql", "0005_mai_usage.down"),
    ],
)
def test_file_is_found_by_name_number_or_both(given: str, found: str) -> None:
    assert [one.name for one in named([given])] == [found]


def test_files_come_in_the_order_that_they_are_named_in() -> None:
    assert [one.name for one in named(["0005.down", "0001"])] == ["0005_mai_usage.down", NAMES[0]]


def test_name_that_is_none_is_told_with_the_nearest() -> None:
    with pytest.raises(UsageError) as caught:
        named(["0005_mai_usge"])

    assert str(caught.value) == "there is no migration '0005_mai_usge'"
    assert "0005_mai_usage" in caught.value.hint


def test_url_in_the_place_of_a_name_is_not_shown() -> None:
    with pytest.raises(UsageError) as caught:
        named(["postgresql://postgres:secret@host/db"])

    assert str(caught.value) == "a database URL is no name of a migration"


# Script


def test_script_is_one_transaction_that_notes_what_it_does() -> None:
    up, down = Migration("0007_x", "select 7;\n"), Migration("0006_y.down", "select 6;\n")

    assert script([up, down]) == (
        "begin;\n\n"
        f"select pg_advisory_xact_lock({LOCK});\n\n"
        f"-- 0007_x\n\nselect 7;\n\n{noting(up)}\n\n"
        f"-- 0006_y.down\n\nselect 6;\n\n{noting(down)}\n\n"
        "commit;"
    )
    assert up.checksum in noting(up)
    assert noting(down) == "delete from imagen.schema_migrations where name = '0006_y';"


def test_checksum_changes_with_the_text() -> None:
    assert Migration("a", "x").checksum != Migration("a", "y").checksum


# Statements


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("", []),
        ("-- nothing\n", []),
        ("a;", [(1, "a;")]),
        ("a;\n\n  b\n;c", [(1, "a;"), (3, "b\n;"), (3 + 1, "c")]),
        ("-- one; two\na;", [(2, "a;")]),
        ("/* one;\n */ a;\nb;", [(2, "a;"), (3, "b;")]),
        ("a ';' ; b 'it''s;';", [(1, "a ';' ;"), (1, "b 'it''s;';")]),
        ('a ";";\nb;', [(1, 'a ";";'), (2, "b;")]),
        ("do $$ a; $x$ ; $x$ $$;\nb;", [(1, "do $$ a; $x$ ; $x$ $$;"), (2, "b;")]),
        ("do $x$ a; $$ ; $x$;b;", [(1, "do $x$ a; $$ ; $x$;"), (1, "b;")]),
        ("select $1; b;", [(1, "select $1;"), (1, "b;")]),
        ("do $$ a; b;", [(1, "do $$ a;"), (1, "b;")]),
    ],
)
def test_statements_are_told_apart_with_their_lines(sql: str, found: list[Any]) -> None:
    assert [*statements(sql)] == [Statement(*one) for one in found]


def test_statements_of_the_files_are_whole() -> None:
    for one in every_file().values():
        found = [statement.text for statement in statements(one.sql)]
        assert all(text.endswith(";") for text in found), one.name
        assert {text.split()[0] for text in found} <= {
            *("alter", "comment", "create", "do", "drop", "grant", "insert", "notify", "revoke")
        }
