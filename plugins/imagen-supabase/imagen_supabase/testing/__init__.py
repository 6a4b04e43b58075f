"""A Supabase project for tests: Storage, and a gateway that can stand before a real PostgREST.

with Gateway() as gateway:
    gateway.fail(faults.REPLY_LOST, method="POST", path="/storage/v1/object/")
    ...  # a client that talks to gateway.url with gateway.service_key
"""

from __future__ import annotations

from imagen_core.testing import Received
from imagen_supabase.testing import faults
from imagen_supabase.testing.faults import Fault
from imagen_supabase.testing.gateway import Gateway
from imagen_supabase.testing.objects import Bucket, Entry, MemoryObjects, Objects
from imagen_supabase.testing.problems import StorageProblem
from imagen_supabase.testing.storage import Storage
from imagen_supabase.testing.tokens import SERVER, Visitor

__all__ = [
    "SERVER",
    "Bucket",
    "Entry",
    "Fault",
    "Gateway",
    "MemoryObjects",
    "Objects",
    "Received",
    "Storage",
    "StorageProblem",
    "Visitor",
    "faults",
]
