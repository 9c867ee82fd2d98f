"""The pages that stand in for a client that does not know a stage of authentication."""

from collections.abc import Mapping
from typing import Any

from homeserver.clock import TokenSource
from homeserver.email_validations import EmailValidations
from homeserver.limits import Limits
from homeserver.mail.letters import Purpose
from homeserver.sign_up import REQUEST as SIGN_UP
from homeserver.terms import Terms
from homeserver.uia import DUMMY, EMAIL, PASSWORD, REGISTRATION_TOKEN, TERMS, Uia
from rest.html import PAGE_STYLE, Pages, headers
from rest.routing import Access, Answer, Call, Query, Route
from schema.errors import InteractiveAuth, InvalidParam, LimitExceeded, MatrixError, NotFound

_PAGE = "/_matrix/client/v3/auth/{stage}/fallback/web"
_MAX_FORM = 4096
_SCRIPT = """
if (window.onAuthDone) {
    window.onAuthDone();
} else if (window.opener && window.opener.postMessage) {
    window.opener.postMessage("authDone", "*");
}
"""
_STAGES = (PASSWORD, REGISTRATION_TOKEN, DUMMY, TERMS, EMAIL)


class AuthFallbackApi:
    """Client-server API, "Fallback" of the user-interactive authentication."""

    def __init__(
        self,
        uia: Uia,
        terms: Terms,
        validations: EmailValidations | None,
        limits: Limits,
        random_token: TokenSource,
        pages: Pages,
        server_name: str,
    ) -> None:
        self._uia = uia
        self._terms = terms
        self._validations = validations
        self._limits = limits
        self._random_token = random_token
        self._pages = pages
        self._server_name = server_name

    def routes(self) -> list[Route]:
        """The routes of this feature."""
        public = Access.PUBLIC
        return [
            Route("GET", _PAGE, self.show, public),
            Route(
                "POST", _PAGE, self.submit, public,
                limit="registration", upload=True, max_body=_MAX_FORM,
            ),
        ]  # fmt: skip

    async def show(self, call: Call) -> Answer:
        """The page for a stage of a session."""
        stage, session = _stage_and_session(call)
        try:
            self._uia.check_stage(session, stage)
        except NotFound as expired:
            return self._page(call, "", error=expired)
        return self._page(call, stage)

    async def submit(self, call: Call) -> Answer:
        """The form of that page."""
        stage, session = _stage_and_session(call)
        assert call.content is not None
        form = Query(call.content.read())
        hidden: dict[str, str] = {}
        try:
            self._uia.check_stage(session, stage)
            if stage == EMAIL and form.text("email") is not None:
                hidden = await self._send_letter(call, session, form)
                return self._page(call, stage, hidden=hidden)
            hidden = {name: form.text(name) or "" for name in ("sid", "client_secret")}
            await self._uia.submit(session, stage, _auth(stage, form, hidden))
        except NotFound as expired:
            return self._page(call, "", error=expired)
        except (InteractiveAuth, InvalidParam, LimitExceeded) as refusal:
            shown = hidden if hidden.get("sid") else {}
            return self._page(call, stage, error=refusal, hidden=shown)
        return self._page(call, stage, done=True)

    async def _send_letter(self, call: Call, session: str, form: Query) -> dict[str, str]:
        """The first half of the page for an e-mail address; what the second half needs to know."""
        if self._validations is None:
            raise NotFound("This server sends no e-mail")
        is_new = self._uia.belongs_to(session, SIGN_UP)
        purpose = Purpose.REGISTER if is_new else Purpose.PASSWORD
        self._limits.spend("email", call.address)
        address, client_secret = (form.text("email") or "").strip(), self._random_token()
        sid = await self._validations.request(purpose, address, client_secret, 1, None)
        return {"sid": sid, "client_secret": client_secret}

    def _page(
        self,
        call: Call,
        stage: str,
        *,
        done: bool = False,
        error: MatrixError | None = None,
        hidden: Mapping[str, str] | None = None,
    ) -> Answer:
        html = self._pages.render(
            "auth_fallback.html",
            server_name=self._server_name,
            stage=stage,
            done=done,
            error=None if error is None else error.body()["error"],
            hidden=hidden or {},
            policies=self._terms.for_reader(_languages(call)),
            script=_SCRIPT,
            style=PAGE_STYLE,
        )
        status = 200 if error is None else 403 if error.status == 401 else error.status
        shown = headers(script=_SCRIPT, style=PAGE_STYLE)
        return Answer(html, status, "text/html; charset=utf-8", shown)


def _stage_and_session(call: Call) -> tuple[str, str]:
    stage = call.path["stage"]
    if stage not in _STAGES:
        raise NotFound("There is no page for this step of authentication")
    return stage, call.query.needed("session")


def _auth(stage: str, form: Query, hidden: Mapping[str, str]) -> dict[str, Any]:
    """What a client would send as ``auth``."""
    if stage == TERMS and form.text("accept") is None:
        raise InvalidParam("You can only go on if you accept this")
    if stage == EMAIL:
        return {"threepid_creds": hidden}
    return {
        "token": (form.text("token") or "").strip(),
        "password": form.text("password") or "",
    }


def _languages(call: Call) -> list[str]:
    """What the reader reads, best first: ``Accept-Language``, whose weights browsers sort by."""
    header = (call.headers("accept-language") or "")[:200]
    languages = [part.partition(";")[0].strip() for part in header.split(",")]
    return [name for each in languages for name in (each, each.partition("-")[0])]
