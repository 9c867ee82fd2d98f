"""The pages that stand in for a client that does not know a stage of authentication."""

from homeserver.uia import DUMMY, REGISTRATION_TOKEN, Uia
from rest.html import Pages, headers
from rest.routing import Access, Answer, Call, Query, Route
from schema.errors import InteractiveAuth, NotFound

_PAGE = "/_matrix/client/v3/auth/{stage}/fallback/web"
_MAX_FORM = 4096
_SCRIPT = """
if (window.onAuthDone) {
    window.onAuthDone();
} else if (window.opener && window.opener.postMessage) {
    window.opener.postMessage("authDone", "*");
}
"""
_STYLE = """
body { font: 1.1rem/1.5 system-ui, sans-serif; color-scheme: light dark; }
main { max-width: 28rem; margin: 10vh auto; padding: 0 1rem; }
label, input, button { display: block; width: 100%; box-sizing: border-box; font: inherit; }
input, button { padding: .6rem; margin-top: .6rem; }
[role=alert] { color: #c33; }
"""


class AuthFallbackApi:
    """Client-server API, "Fallback" of the user-interactive authentication."""

    def __init__(self, uia: Uia, pages: Pages, server_name: str) -> None:
        self._uia = uia
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
        stage, session = self._stage_and_session(call)
        try:
            self._uia.check_stage(session, stage)
        except NotFound as expired:
            return self._page("", error=expired.error, status=404)
        return self._page(stage)

    async def submit(self, call: Call) -> Answer:
        """The form of that page."""
        stage, session = self._stage_and_session(call)
        assert call.content is not None
        form = Query(call.content.read())
        auth = {"token": (form.text("token") or "").strip()}
        try:
            await self._uia.submit(session, stage, auth)
        except InteractiveAuth as failed:
            return self._page(stage, error=failed.body()["error"], status=403)
        except NotFound as expired:
            return self._page("", error=expired.error, status=404)
        return self._page(stage, done=True)

    def _stage_and_session(self, call: Call) -> tuple[str, str]:
        stage = call.path["stage"]
        if stage not in (REGISTRATION_TOKEN, DUMMY):
            raise NotFound("There is no page for this step of authentication")
        return stage, call.query.needed("session")

    def _page(
        self, stage: str, *, done: bool = False, error: str | None = None, status: int = 200
    ) -> Answer:
        html = self._pages.render(
            "auth_fallback.html",
            server_name=self._server_name,
            stage=stage,
            done=done,
            error=error,
            script=_SCRIPT,
            style=_STYLE,
        )
        shown = headers(script=_SCRIPT, style=_STYLE)
        return Answer(html, status, "text/html; charset=utf-8", shown)
