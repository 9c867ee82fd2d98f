"""The page behind the link in a letter: it asks, and only a click there proves anything."""

from urllib.parse import urlsplit

from homeserver.email_validations import CONFIRM_PATH, EmailValidations, Pending
from rest.html import PAGE_STYLE, Pages, headers
from rest.routing import Access, Answer, Call, Route
from schema.errors import NotFound


class EmailConfirmationApi:
    """What the identity service's ``submitToken`` is: here for people, and in two steps.

    Programs that look at letters before people do open links, so opening this one does nothing.
    """

    def __init__(
        self, validations: EmailValidations | None, pages: Pages, server_name: str
    ) -> None:
        self._validations = validations
        self._pages = pages
        self._server_name = server_name

    def routes(self) -> list[Route]:
        """The routes of this feature: none where the server sends no e-mail."""
        if self._validations is None:
            return []
        public, limit = Access.PUBLIC, "registration"
        return [
            Route("GET", CONFIRM_PATH, self.ask, public, limit=limit),
            Route(
                "POST", CONFIRM_PATH, self.confirm, public, limit=limit, upload=True, max_body=1024
            ),
        ]

    async def ask(self, call: Call) -> Answer:
        """What the link is about, and a button."""
        assert self._validations is not None
        try:
            pending = await self._validations.open(*_sid_and_token(call))
        except NotFound as expired:
            return self._page(None, error=expired.error, status=404)
        return self._page(pending)

    async def confirm(self, call: Call) -> Answer:
        """The button. Leads on to where the client wants people to go."""
        assert self._validations is not None
        try:
            pending = await self._validations.confirm(*_sid_and_token(call))
        except NotFound as expired:
            return self._page(None, error=expired.error, status=404)
        answer = self._page(pending, done=True)
        if pending.next_link is not None:
            answer.status = 303
            answer.headers["Location"] = pending.next_link
        return answer

    def _page(
        self,
        pending: Pending | None,
        *,
        done: bool = False,
        error: str | None = None,
        status: int = 200,
    ) -> Answer:
        parts = urlsplit("" if pending is None else pending.next_link or "")
        html = self._pages.render(
            "email_confirmation.html",
            server_name=self._server_name,
            purpose=None if pending is None else pending.purpose.value,
            address=None if pending is None else pending.address,
            leads_to=parts.hostname,
            done=done,
            error=error,
            style=PAGE_STYLE,
        )
        shown = headers(style=PAGE_STYLE)
        if parts.netloc:
            # Browsers count where a form's answer leads as a target of the form.
            shown["Content-Security-Policy"] = shown["Content-Security-Policy"].replace(
                "form-action 'self'", f"form-action 'self' {parts.scheme}://{parts.netloc}"
            )
        return Answer(html, status, "text/html; charset=utf-8", shown)


def _sid_and_token(call: Call) -> tuple[str, str]:
    return call.query.text("sid") or "", call.query.text("token") or ""
