"""The page that logs in for a client which knows no way of its own."""

from rest.html import PAGE_STYLE, Pages, headers
from rest.routing import Access, Answer, Call, Route

_PAGE = "/_matrix/static/client/login"
_SCRIPT = """
const form = document.querySelector("form");
const error = document.getElementById("error");
form.addEventListener("submit", async (event) => {
    event.preventDefault();
    error.textContent = "";
    const asked = new URLSearchParams(location.search);
    const body = {
        type: "m.login.password",
        identifier: {type: "m.id.user", user: form.elements.user.value},
        password: form.elements.password.value,
    };
    for (const name of ["device_id", "initial_device_display_name"]) {
        if (asked.has(name)) body[name] = asked.get(name);
    }
    if (asked.has("refresh_token")) body.refresh_token = asked.get("refresh_token") === "true";
    try {
        const sent = {method: "POST", body: JSON.stringify(body)};
        const response = await fetch("/_matrix/client/v3/login", sent);
        const answer = await response.json();
        if (!response.ok) throw new Error(answer.error);
        form.textContent = "You are logged in. You can go back to your app.";
        if (window.matrixLogin && window.matrixLogin.onLogin) window.matrixLogin.onLogin(answer);
    } catch (problem) {
        error.textContent = problem.message;
    }
});
"""


class LoginFallbackApi:
    """Client-server API, "Login Fallback"."""

    def __init__(self, pages: Pages, server_name: str) -> None:
        self._pages = pages
        self._server_name = server_name

    def routes(self) -> list[Route]:
        """The routes of this feature."""
        public = Access.PUBLIC
        return [
            Route("GET", f"{_PAGE}/", self.show, public),
            Route("GET", _PAGE, self.show, public),
        ]

    async def show(self, call: Call) -> Answer:
        """The page; what it does, it does in the browser."""
        html = self._pages.render(
            "login.html", server_name=self._server_name, script=_SCRIPT, style=PAGE_STYLE
        )
        shown = headers(script=_SCRIPT, style=PAGE_STYLE)
        shown["Content-Security-Policy"] += "; connect-src 'self'"
        return Answer(html, 200, "text/html; charset=utf-8", shown)
