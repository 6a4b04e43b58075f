"""What somebody who means harm may try with the queue, and what it comes to."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import psycopg
import pytest

pytestmark = pytest.mark.system

EVIL = """
    create function pg_temp.evil() returns boolean language plpgsql as $$
    begin
        raise notice 'run as %', current_user;
        return true;
    end
    $$;
    grant execute on function pg_temp.evil to public;"""
"""What tells whose rights it has got."""
TYPES = ("uuid", "jsonb", "timestamptz", "text")


def test_types_of_the_caller_are_not_those_of_the_functions(jobs: Any) -> None:
    ran: list[str] = []
    claims = json.dumps({"role": "authenticated", "sub": str(uuid4())})
    with psycopg.connect(jobs.project.database.url(), autocommit=True) as connection:
        connection.add_notice_handler(lambda notice: ran.append(notice.message_primary or ""))
        connection.execute("select set_config('request.jwt.claims', %s, false)", [claims])
        connection.execute("set role authenticated")
        connection.execute(EVIL)
        for name in TYPES:
            domain = f"create domain pg_temp.{name} as pg_catalog.{name} check (pg_temp.evil())"
            connection.execute(domain)

        connection.execute("select imagen.request_picture('flux', '{}'::pg_catalog.jsonb)")

    assert "run as postgres" not in ran
