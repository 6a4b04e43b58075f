"""The ledger: every Run on this machine, in SQLite, failed ones too, and usage over them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import msgspec

from imagen_core.errors import (
    ConfigError,
    CredentialsError,
    ImagenError,
    PluginError,
    RejectedError,
    UsageError,
)
from imagen_core.specs import Switch
from imagen_core.types import Run, Status, UsageRow

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from imagen_core.database import Database
    from imagen_core.protocols import Context
    from imagen_core.queueing import Queue

SWITCH = Switch(
    key="ledger",
    env="IMAGEN_LEDGER",
    off_flag="--no-ledger",
    help="a record of each run, with its prompt, on this machine",
)
FILE_NAME = "ledger.db"
REFUSALS = {
    kind.code for kind in (UsageError, ConfigError, PluginError, CredentialsError, RejectedError)
}
"""Failures that mean, if no server has the Run, that none has begun it."""

MIGRATIONS = (
    """
    create table runs (
        id text primary key,
        started_at text not null,
        finished integer not null,
        failure text not null,
        billed integer not null,
        run text not null
    );
    create index runs_started_at on runs (started_at);
    create table outputs (
        run_id text not null references runs (id) on delete cascade,
        ordinal integer not null,
        path text not null,
        sha256 text not null,
        primary key (run_id, ordinal)
    );
    create index outputs_path on outputs (path);
    create index outputs_sha256 on outputs (sha256)
    """,
)


class Ledger:
    """Records Runs under their id; what is recorded twice leaves one row."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE_NAME
        self._lock = threading.Lock()
        self._database: Database | None = None
        self.unreadable = 0
        """How many rows the last reading had to leave out, since they can't be decoded."""

    @property
    def database(self) -> Database:
        """The file behind it, opened at first use."""
        from imagen_core.database import Database

        with self._lock:
            self._database = self._database or Database(self.path, MIGRATIONS)
        return self._database

    def record(self, run: Run, *, finished: bool) -> None:
        """Write the Run down as it is now."""
        failure = run.failure.code if run.failure else ""
        text = encoded(run)
        outputs = [(run.id, o.ordinal, o.path, o.sha256) for o in run.outputs]
        with self.database.write() as connection:
            connection.execute(
                "insert into runs values (?, ?, ?, ?, ?, ?) on conflict (id) do update set "
                "started_at = excluded.started_at, finished = excluded.finished, "
                "failure = excluded.failure, billed = excluded.billed, run = excluded.run",
                (run.id, run.started_at, finished, failure, is_billed(run), text),
            )
            connection.execute("delete from outputs where run_id = ?", (run.id,))
            connection.executemany("insert into outputs values (?, ?, ?, ?)", outputs)

    def get(self, run_id: str) -> Run | None:
        """The Run of that id, if it was recorded."""
        return self._one("id = ?", run_id)

    def is_finished(self, run_id: str) -> bool:
        """Whether it was written down how the Run of that id ended."""
        rows = self.database.rows("select finished from runs where id = ?", (run_id,))
        return bool(rows and rows[0]["finished"])

    def with_remote_id(self, remote_id: str) -> Run | None:
        """The latest Run that the remote side knows by this id, if one was recorded."""
        return self._one("json_extract(run, '$.remote_id') = ?", remote_id)

    def runs(self, since: str = "") -> Iterator[Run]:
        """Finished Runs from that UTC date on, oldest first."""
        query = "select run from runs where finished and started_at >= ? order by started_at, id"
        yield from self._read(query, since)

    def latencies(self, backend: str, limit: int) -> list[int]:
        """How long the latest Runs of an instance took that went well, in milliseconds."""
        query = (
            "select json_extract(run, '$.latency_ms') as latency from runs where finished and "
            "failure = '' and json_extract(run, '$.request.backend') = ? "
            "order by started_at desc limit ?"
        )
        return [row["latency"] for row in self.database.rows(query, (backend, limit))]

    def usage(self, since: str = "", *, everything: bool = False) -> Iterator[UsageRow]:
        """What `imagen usage` counts; see the protocol Store."""
        query = "select run from runs where finished and started_at >= ?"
        if not everything:
            query += " and billed and failure = ''"
        yield from map(usage_row, self._read(f"{query} order by started_at, id", since))

    def left_out(self, since: str = "") -> Iterator[UsageRow]:
        """What `usage` leaves out although it may have been paid for: Runs that failed."""
        query = "select run from runs where finished and failure != '' and started_at >= ?"
        rows = map(usage_row, self._read(f"{query} order by started_at, id", since))
        return (row for row in rows if row.cost_usd_estimate != 0)

    def _one(self, condition: str, value: str) -> Run | None:
        query = f"select id, run from runs where {condition} order by started_at desc limit 1"
        rows = self.database.rows(query, (value,))
        try:
            return msgspec.json.decode(rows[0]["run"], type=Run) if rows else None
        except msgspec.DecodeError as error:
            raise ImagenError(
                f"the run {rows[0]['id']} can't be read: {error}",
                hint="a newer imagen may have written it",
            ) from error

    def _read(self, query: str, since: str) -> Iterator[Run]:
        """The Runs that a query finds, without those that can't be decoded, which are counted."""
        self.unreadable = 0
        for row in self.database.rows(query, (since,)):
            try:
                run = msgspec.json.decode(row["run"], type=Run)
            except msgspec.DecodeError:
                self.unreadable += 1
            else:
                yield run

    def status(self) -> Status:
        """Where it is, and whether it opens."""
        from imagen_core.database import DatabaseError

        try:
            self.database.rows("select 1 from runs limit 1")
        except DatabaseError as error:
            return Status(ok=False, text=str(error))
        return Status(ok=True, text=str(self.path))

    def queue(self) -> Queue:
        """The jobs of this machine, in a file of their own."""
        from imagen_core.jobs import SqliteQueue

        return SqliteQueue(self.path.parent)

    def close(self) -> None:
        """Give the file back."""
        if self._database:
            self._database.close()


def local_store(context: Context) -> Ledger:
    """The Store that is this machine's ledger."""
    ledger: Ledger = context.ledger
    return ledger


def stored(run: Run) -> Run:
    """The Run without the bytes of its input images."""
    images = tuple(msgspec.structs.replace(image, data=b"") for image in run.request.images)
    request = msgspec.structs.replace(run.request, images=images)
    return msgspec.structs.replace(run, request=request)


def encoded(run: Run) -> str:
    """A Run as it is stored."""
    try:
        return msgspec.json.encode(stored(run), enc_hook=str).decode()
    except (TypeError, ValueError, OverflowError) as error:
        raise ImagenError(f"the run {run.id} cannot be written down: {error}") from error


def is_billed(run: Run) -> bool:
    """Whether it was, or may have been, paid for: an unknown cost is not free."""
    return _usd(run) != 0


def _usd(run: Run) -> float | None:
    """What it cost, which is nothing if it was refused at once; None if nobody knows."""
    if run.cost:
        return run.cost.usd
    refused = run.failure is not None and run.failure.code in REFUSALS
    return 0.0 if refused and not (run.remote_id or run.outputs) else None


def usage_row(run: Run) -> UsageRow:
    """The Run as the accounts see it."""
    seed = run.outputs[0].seed if run.outputs else run.request.seed
    return UsageRow(
        id=run.id,
        created_at=run.started_at,
        backend=run.request.backend,
        model=run.model,
        seed=seed,
        latency_ms=run.latency_ms,
        cost_usd_estimate=_usd(run),
        caller=run.caller,
        failure=run.failure.code if run.failure else "",
    )
