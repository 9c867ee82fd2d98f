"""HTTP as the route check needs it: one request, one answer, and people with accounts."""

import http.client
import json
import secrets
import time
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from attrs import frozen

V3 = "/_matrix/client/v3"
TIMEOUT = 20


@frozen
class Answer:
    status: int
    """0: there was none."""
    body: Any
    """What the JSON says; None where there is none."""
    text: str
    headers: dict[str, str]

    @property
    def errcode(self) -> str | None:
        return self.body.get("errcode") if isinstance(self.body, dict) else None

    def get(self, key: str, otherwise: Any = None) -> Any:
        return self.body.get(key, otherwise) if isinstance(self.body, dict) else otherwise


@frozen
class Person:
    id: str
    token: str
    device: str
    password: str

    @property
    def password_auth(self) -> dict[str, Any]:
        """The ``auth`` of a request that asks for the password again."""
        identifier = {"type": "m.id.user", "user": self.id}
        return {
            "type": "m.login.password",
            "identifier": identifier,
            "password": self.password,
        }


@frozen
class Client:
    base: str

    def call(
        self,
        method: str,
        path: str,
        token: str | None = None,
        body: Any = None,
        query: dict[str, Any] | None = None,
        content_type: str = "application/json",
    ) -> Answer:
        """One request. ``body`` is sent as JSON, unless it is bytes already."""
        headers = {"Accept": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        if body is not None:
            headers["Content-Type"] = content_type
            body = body if isinstance(body, bytes) else json.dumps(body).encode()
        url = urlsplit(self.base)
        tls = url.scheme == "https"
        kind = http.client.HTTPSConnection if tls else http.client.HTTPConnection
        connection = kind(url.netloc, timeout=TIMEOUT)
        try:
            target = url.path.rstrip("/") + path + (f"?{urlencode(query)}" if query else "")
            connection.request(method, target, body, headers)
            response = connection.getresponse()
            text = response.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            return Answer(0, None, str(error), {})
        finally:
            connection.close()
        try:
            parsed = json.loads(text)
        except ValueError:
            parsed = None
        names = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, parsed, text, names)

    def person(self) -> Person:
        """A new account.

        Raises:
            RuntimeError: registration is not open to everybody.
        """
        password = secrets.token_urlsafe(12)
        wish: dict[str, Any] = {
            "username": f"probe_{secrets.token_hex(6)}",
            "password": password,
            "initial_device_display_name": "probe",
        }
        answer = self.call("POST", f"{V3}/register", body=wish)
        if answer.status == 401:
            wish["auth"] = {"type": "m.login.dummy", "session": answer.get("session")}
            answer = self.call("POST", f"{V3}/register", body=wish)
        while answer.status == 429:
            time.sleep(answer.get("retry_after_ms", 1000) / 1000)
            answer = self.call("POST", f"{V3}/register", body=wish)
        if answer.status != 200:
            raise RuntimeError(f"Nobody can register here: {answer.status} {answer.text[:200]}")
        user_id, token = answer.get("user_id"), answer.get("access_token")
        return Person(user_id, token, answer.get("device_id"), password)


def segment(value: str) -> str:
    """``value`` as one part of a path."""
    return quote(value, safe="")
