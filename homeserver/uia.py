"""User-interactive authentication (client-server API, "User-Interactive Authentication API").

Sessions live in memory and for minutes: a restart costs nothing but one more question. A session
belongs to one person and one request; of the request only a keyed digest is kept, because bodies
hold passwords.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from hmac import compare_digest, digest
from typing import Any

import orjson
from attrs import define, field

from homeserver.clock import Clock, TokenSource
from homeserver.limits import Limits
from homeserver.requester import Requester
from schema.errors import Forbidden, InteractiveAuth, MatrixError, NotFound, Unauthorized

SESSION_MS = 15 * 60 * 1000
MAX_SESSIONS = 5_000

PASSWORD = "m.login.password"
REGISTRATION_TOKEN = "m.login.registration_token"
TERMS = "m.login.terms"
EMAIL = "m.login.email.identity"
DUMMY = "m.login.dummy"

Flow = Sequence[str]
Stage = Callable[[str | None, Mapping[str, Any]], Awaitable[Any]]
"""Gets who is being authenticated (None: a stranger) and the auth dict.

Forbidden if it is wrong, Unauthorized if it is only too early. What it returns is kept until all
stages are complete, so it must hold no secret.
"""


def request_key(operation: str, body: Mapping[str, Any]) -> str:
    """What a session is bound to: the operation and everything in the body but ``auth``."""
    rest = {key: value for key, value in body.items() if key != "auth"}
    return f"{operation} {orjson.dumps(rest, option=orjson.OPT_SORT_KEYS).decode()}"


async def dummy_stage(user_id: str | None, auth: Mapping[str, Any]) -> None:
    """Always succeeds ("Dummy Auth")."""


@define
class _Session:
    session_id: str
    user_id: str | None
    request: bytes
    flows: Sequence[Flow]
    expires_at: int
    completed: dict[str, Any] = field(factory=dict)

    def next_stages(self) -> set[str]:
        """Stages are completed in the order of a flow."""
        done = list(self.completed)
        return {
            flow[len(done)]
            for flow in self.flows
            if len(flow) > len(done) and list(flow[: len(done)]) == done
        }

    def is_complete(self) -> bool:
        done = list(self.completed)
        return any(list(flow) == done for flow in self.flows)


class Uia:
    """Asks for authentication until a flow is complete."""

    def __init__(
        self,
        clock: Clock,
        random_token: TokenSource,
        limits: Limits,
        stages: Mapping[str, Stage],
        params: Mapping[str, Mapping[str, Any]],
    ) -> None:
        """``params`` holds, by stage, what clients need to know to take it."""
        self._clock = clock
        self._random_token = random_token
        self._limits = limits
        self._stages = stages
        self._params = params
        self._digest_key = random_token().encode()
        self._sessions: OrderedDict[str, _Session] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sessions)

    async def require(
        self, requester: Requester, request_key: str, auth: Mapping[str, Any] | None
    ) -> None:
        """Return once the requester has given their password with this very request.

        Application services need not: they have no passwords.

        Raises:
            InteractiveAuth: not yet; says how to go on.
            Forbidden: the session belongs to another person or request.
            LimitExceeded: too many attempts.
        """
        if requester.application_service is None:
            await self.complete(requester.user_id, request_key, auth, [[PASSWORD]])

    async def complete(
        self,
        user_id: str | None,
        request_key: str,
        auth: Mapping[str, Any] | None,
        flows: Sequence[Flow],
    ) -> dict[str, Any]:
        """Return what the stages gave, by stage, once one of the flows is complete.

        An ``auth`` without a session, or with one that has expired, begins a new session: what it
        proves counts. The session ends with its completion.

        Raises:
            InteractiveAuth: not yet; says how to go on.
            Forbidden: the session belongs to another person or request.
            LimitExceeded: too many attempts.
        """
        auth = auth or {}
        request = digest(self._digest_key, request_key.encode(), "sha256")
        session = self._find(auth.get("session"))
        if session is None:
            session = self._begin(user_id, request, flows)
        elif (session.user_id, session.request) != (user_id, request):
            raise Forbidden("This authentication belongs to another request; begin it anew")
        stage = auth.get("type")
        if isinstance(stage, str) and stage not in session.completed:
            await self._attempt(session, stage, auth)
        if not session.is_complete():
            raise self._question(session)
        self._sessions.pop(session.session_id, None)
        return session.completed

    def belongs_to(self, session_id: str, request_key: str) -> bool:
        """Whether the session is for this very request."""
        session = self._find(session_id)
        request = digest(self._digest_key, request_key.encode(), "sha256")
        return session is not None and compare_digest(session.request, request)

    def check_stage(self, session_id: str, stage: str) -> None:
        """Refuse unless the session waits for this stage or has it behind it.

        Raises:
            NotFound: it does not, or there is no such session.
        """
        session = self._find(session_id)
        if session is None or stage not in session.next_stages() | session.completed.keys():
            raise NotFound("This page has expired; go back to your app and try again")

    async def submit(self, session_id: str, stage: str, auth: Mapping[str, Any]) -> None:
        """Attempt a stage in a browser instead of the client ("Fallback").

        Raises:
            NotFound: the session does not wait for this stage.
            InteractiveAuth: the stage failed.
        """
        self.check_stage(session_id, stage)
        session = self._sessions[session_id]
        if stage not in session.completed:
            await self._attempt(session, stage, auth)

    async def _attempt(self, session: _Session, stage: str, auth: Mapping[str, Any]) -> None:
        if stage not in session.next_stages():
            raise self._question(session, Forbidden("This is not the step that comes next"))
        if session.user_id is not None:
            self._limits.spend("login", session.user_id)
        try:
            session.completed[stage] = await self._stages[stage](session.user_id, auth)
        except (Forbidden, Unauthorized) as failed:
            raise self._question(session, failed) from None

    def _find(self, session_id: Any) -> _Session | None:
        session = self._sessions.get(session_id) if isinstance(session_id, str) else None
        if session is not None and session.expires_at <= self._clock():
            return None
        return session

    def _begin(self, user_id: str | None, request: bytes, flows: Sequence[Flow]) -> _Session:
        expires_at = self._clock() + SESSION_MS
        session = _Session(self._random_token(), user_id, request, flows, expires_at)
        self._sessions[session.session_id] = session
        while self._is_superfluous(next(iter(self._sessions.values()))):
            self._sessions.popitem(last=False)
        return session

    def _is_superfluous(self, oldest: _Session) -> bool:
        return len(self._sessions) > MAX_SESSIONS or oldest.expires_at <= self._clock()

    def _question(self, session: _Session, failed: MatrixError | None = None) -> InteractiveAuth:
        return InteractiveAuth(
            failed,
            flows=[{"stages": list(flow)} for flow in session.flows],
            params={
                stage: self._params[stage]
                for stage in {stage for flow in session.flows for stage in flow}
                if stage in self._params
            },
            session=session.session_id,
            completed=list(session.completed),
        )
