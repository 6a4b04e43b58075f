"""The tokens of a project: JWTs signed by HS256 with one secret, for users and for signed URLs."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import time
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

if TYPE_CHECKING:
    from collections.abc import Mapping

SECRET = "a-secret-of-the-tests-with-over-32-characters"


class Visitor(NamedTuple):
    """Who asks: a role of the database, and the user that the token is for."""

    role: str = "anon"
    owner: str = ""


SERVER = Visitor("service_role")
"""Storage itself, when it looks at something for which no visitor needs rights."""


class TokenError(ValueError):
    """A token that is not good; its text is what the server says of it."""


def sign(claims: Mapping[str, Any], secret: str = SECRET) -> str:
    """Makes a token of these claims."""
    signed = f"{_encoded({'alg': 'HS256'})}.{_encoded(claims)}"
    return f"{signed}.{_base64(_digest(signed, secret))}"


def read(token: str, secret: str = SECRET) -> dict[str, Any]:
    """Gives the claims of a token; raises TokenError if it is none, is altered, or has expired."""
    signed, _, signature = token.rpartition(".")
    if signed.count(".") != 1:
        raise TokenError("Invalid Compact JWS")
    if not hmac.compare_digest(_base64(_digest(signed, secret)), signature):
        raise TokenError("signature verification failed")
    claims = _claims(signed.partition(".")[2])
    if claims.get("exp", time.time() + 1) <= time.time():
        raise TokenError('"exp" claim timestamp check failed')
    return claims


def user_token(
    role: str, owner: UUID | str | None = None, seconds: float = 3600, secret: str = SECRET
) -> str:
    """Makes a token as the project's Auth does; one of negative seconds has expired."""
    claims: dict[str, Any] = {"role": role, "exp": int(time.time() + seconds)}
    if owner:
        claims["sub"] = str(UUID(str(owner)))
    return sign(claims, secret)


def _claims(part: str) -> dict[str, Any]:
    try:
        claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, binascii.Error) as error:
        raise TokenError("Invalid Compact JWS") from error
    if not isinstance(claims, dict):
        raise TokenError("Invalid Compact JWS")
    return claims


def _digest(signed: str, secret: str) -> bytes:
    return hmac.digest(secret.encode(), signed.encode("utf-8", "surrogateescape"), "sha256")


def _encoded(value: Mapping[str, Any]) -> str:
    return _base64(json.dumps(value, separators=(",", ":")).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
