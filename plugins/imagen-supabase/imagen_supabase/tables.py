"""What the project has, by name."""

from __future__ import annotations

from typing import NamedTuple

BUCKET = "imagen-generated"


class Table(NamedTuple):
    """A table or view of a schema."""

    schema: str
    name: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


IMAGES = Table("imagen", "images")
MIGRATIONS = Table("imagen", "schema_migrations")
USAGE = Table("mai", "imagen_usage")
DAILY = Table("mai", "imagen_usage_daily")
