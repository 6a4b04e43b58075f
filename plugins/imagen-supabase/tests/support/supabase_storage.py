"""Storage's rows in the project's own database, whose policies decide who may do what."""

import contextlib
import json
from dataclasses import replace

import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from imagen_supabase.testing import SERVER, Bucket, Entry, Gateway
from imagen_supabase.testing.problems import database_error, denied, duplicate, internal_error
from supabase_servers import JWT_SECRET

COLUMNS = "bucket_id, name, metadata, user_metadata, owner_id, id, version, created_at, updated_at"
ENTRIES = f"select {COLUMNS}, last_accessed_at from storage.objects"


class DatabaseObjects:
    """The rows of `storage.objects`, asked and changed as the role of whoever asks."""

    def __init__(self, database):
        self._database = database
        self._versions = []
        self._connect()

    def _connect(self):
        self._connection = psycopg.connect(
            self._database.url("authenticator", "authenticator"),
            autocommit=True,
            row_factory=dict_row,
        )

    def buckets(self, visitor):
        with self._acting(visitor) as connection:
            rows = connection.execute("select * from storage.buckets order by id").fetchall()
        return [_bucket(row) for row in rows]

    def add_bucket(self, visitor, bucket):
        mimes = list(bucket.allowed_mime_types) if bucket.allowed_mime_types else None
        values = [bucket.id, bucket.id, bucket.public, bucket.file_size_limit, mimes]
        with self._acting(visitor, "BucketAlreadyExists") as connection:
            connection.execute(
                """insert into storage.buckets
                (id, name, public, file_size_limit, allowed_mime_types)
                values (%s, %s, %s, %s, %s)""",
                values,
            )

    def find(self, visitor, bucket, name):
        with self._acting(visitor) as connection:
            return _find(connection, bucket, name)

    def search(self, visitor, bucket, prefix):
        query = f"{ENTRIES} where bucket_id = %s and starts_with(name, %s) order by name"
        with self._acting(visitor) as connection:
            return [_entry(row) for row in connection.execute(query, [bucket, prefix])]

    def put(self, visitor, entry, *, upsert):
        query = """
            insert into storage.objects
            (bucket_id, name, metadata, user_metadata, owner, owner_id, id, version)
            values (%s, %s, %s, %s, %s, %s, %s, %s)"""
        if upsert:
            query += """ on conflict (bucket_id, name) do update
                set metadata = excluded.metadata, user_metadata = excluded.user_metadata,
                owner = excluded.owner, owner_id = excluded.owner_id,
                version = excluded.version, updated_at = now()"""
        said = None if entry.user_metadata is None else Jsonb(entry.user_metadata)
        owner = entry.owner or None
        values = [entry.bucket, entry.name, Jsonb(entry.metadata), said, owner, owner]
        with self._acting(visitor, "KeyAlreadyExists") as connection:
            connection.execute(query, [*values, entry.id, entry.version])
            connection.execute("set local role service_role")
            self._versions.append(entry.version)
            return _find(connection, entry.bucket, entry.name)

    def remove(self, visitor, bucket, names):
        query = f"""
            delete from storage.objects where bucket_id = %s and name = any (%s)
            returning {COLUMNS}, last_accessed_at"""
        with self._acting(visitor) as connection:
            return [_entry(row) for row in connection.execute(query, [bucket, list(names)])]

    def close(self):
        """Take away what was put here: other tests have the same database."""
        if self._connection.closed or not _is_alive(self._connection):
            self._connect()
        with self._acting(SERVER) as connection:
            query = "delete from storage.objects where version = any (%s)"
            connection.execute(query, [self._versions])
        self._connection.close()

    @contextlib.contextmanager
    def _acting(self, visitor, taken=""):
        claims = {"role": visitor.role, **({"sub": visitor.owner} if visitor.owner else {})}
        try:
            if self._connection.closed:  # the database was restarted
                self._connect()
            connection = self._connection
            with connection.transaction():
                query = "select set_config('request.jwt.claims', %s, true)"
                connection.execute(query, [json.dumps(claims)])
                connection.execute(
                    sql.SQL("set local role {}").format(sql.Identifier(visitor.role))
                )
                yield connection
        except psycopg.errors.UniqueViolation as error:
            raise duplicate(taken) from error
        except psycopg.errors.InsufficientPrivilege as error:
            raise denied() from error
        except psycopg.OperationalError as error:
            raise internal_error() from error
        except psycopg.Error as error:
            raise database_error(error.sqlstate) from error


class ProjectGateway(Gateway):
    """A gateway before the PostgREST and the database of a project."""

    def __init__(self, project):
        self.project = project
        self._rows = DatabaseObjects(project.database)
        super().__init__(rest=project.rest_url, storage=self._rows, secret=JWT_SECRET)

    def __exit__(self, *details):
        try:
            super().__exit__(*details)
        finally:
            self._rows.close()


def _is_alive(connection):
    """Whether the database was not restarted since somebody asked it."""
    try:
        connection.execute("select 1")
    except psycopg.OperationalError:
        return False
    return True


def _find(connection, bucket, name):
    query = f"{ENTRIES} where bucket_id = %s and name = %s"
    row = connection.execute(query, [bucket, name]).fetchone()
    return row and _entry(row)


def _entry(row):
    names = {"bucket": "bucket_id", "owner": "owner_id"}
    fields = Entry.__dataclass_fields__
    entry = Entry(**{field: row[names.get(field, field)] for field in fields})
    return replace(entry, id=str(entry.id), owner=entry.owner or "")


def _bucket(row):
    mimes = row["allowed_mime_types"]
    return Bucket(
        row["id"],
        row["public"],
        row["file_size_limit"],
        tuple(mimes) if mimes else None,
        row["owner_id"] or "",
        row["created_at"],
        row["updated_at"],
    )
