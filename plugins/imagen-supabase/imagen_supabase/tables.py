"""What the project has, by name."""

from __future__ import annotations

from typing import NamedTuple

BUCKET = "imagen-generated"
INPUTS = "imagen-inputs"
SCHEMA = "imagen"


class Table(NamedTuple):
    """A table or view of a schema."""

    schema: str
    name: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


IMAGES = Table("imagen", "images")
JOBS = Table("imagen", "jobs")
BACKENDS = Table("imagen", "backends")
MIGRATIONS = Table("imagen", "schema_migrations")
USAGE = Table("mai", "imagen_usage")
DAILY = Table("mai", "imagen_usage_daily")
