"""The few HTML pages of the server: templates in ``pages``, without anybody's text as HTML."""

from base64 import b64encode
from functools import cached_property
from hashlib import sha256
from importlib.resources import files
from typing import Any

PAGE_STYLE = """
body { font: 1.1rem/1.5 system-ui, sans-serif; color-scheme: light dark; }
main { max-width: 28rem; margin: 10vh auto; padding: 0 1rem; }
label, input, button { display: block; width: 100%; box-sizing: border-box; font: inherit; }
label { margin-top: .6rem; }
input, button { padding: .6rem; margin-top: .6rem; }
[type=checkbox] { display: inline; width: auto; }
[role=alert] { color: #c33; }
"""


class Pages:
    """Renders pages. The engine is loaded for the first one: it would cost 0.1 s of every start."""

    @cached_property
    def _environment(self) -> Any:
        from jinja2 import DictLoader, Environment, StrictUndefined

        sources = {
            file.name: file.read_text("utf-8")
            for file in (files("rest") / "pages").iterdir()
            if file.name.endswith(".html")
        }
        return Environment(autoescape=True, undefined=StrictUndefined, loader=DictLoader(sources))

    def render(self, name: str, **values: Any) -> bytes:
        """The page called ``name`` with these values, which are escaped."""
        html: str = self._environment.get_template(name).render(**values)
        return html.encode()


def headers(*, script: str | None = None, style: str) -> dict[str, str]:
    """The headers of a page that may run this script and this style, and nothing else."""
    may_run = "'none'" if script is None else _hash(script)
    return {
        "Content-Security-Policy": (
            f"default-src 'none'; script-src {may_run}; style-src {_hash(style)};"
            " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        ),
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
    }


def _hash(source: str) -> str:
    return f"'sha256-{b64encode(sha256(source.encode()).digest()).decode()}'"
