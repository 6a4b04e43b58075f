"""Many jobs at once, and how the database finds some of them."""

import json

import psycopg


def filled(backends):
    """The SQL that lets so many jobs wait, of 20 owners and two priorities."""
    return f"""
        insert into imagen.jobs
            (id, owner_user_id, backend, payload, payload_version, priority, run_at, max_attempts,
            created_at)
        select gen_random_uuid(),
            ('00000000-0000-4000-8000-' || lpad((n / 2 %% 20)::text, 12, '0'))::uuid,
            '{backends}', '{{}}', 1, 4 + n %% 2, moment, 3, moment
        from generate_series(1, %s) n, imagen.moment() moment"""


def plans(database, call, *values):
    """The plans of all statements that run inside of a call, with what they touched."""
    found = []

    def note(notice):
        _, begun, plan = notice.message_primary.partition("plan:\n")
        if begun:
            found.append(json.loads(plan))

    with psycopg.connect(database.url(), autocommit=True) as connection:
        connection.execute("load 'auto_explain'")
        for name, value in {
            "log_min_duration": "0",
            "log_analyze": "on",
            "log_buffers": "on",
            "log_timing": "off",
            "log_nested_statements": "on",
            "log_format": "json",
        }.items():
            connection.execute(f"set auto_explain.{name} = {value}")
        connection.execute("set client_min_messages = log")
        connection.add_notice_handler(note)
        connection.execute(call, values)
    return found


def nodes(plan):
    return [plan, *(node for child in plan.get("Plans", []) for node in nodes(child))]
