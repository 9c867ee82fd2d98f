"""Push rules, the list of notifications, and pushers."""

from typing import Any

from homeserver.push.notifications import Notifications
from homeserver.push.personal_rules import PersonalRules
from homeserver.push.pushers import Pushers
from homeserver.rooms.client_events import Viewer
from rest.routing import Call, Route
from schema.errors import InvalidParam

_V3 = "/_matrix/client/v3"
_RULE = f"{_V3}/pushrules/global/{{kind}}/{{rule_id}}"
_LATEST = 2**62
_DEFAULT_LIMIT, _MAX_LIMIT = 20, 100


class PushApi:
    """Client-server API, "Push Notifications"."""

    def __init__(
        self, rules: PersonalRules, notifications: Notifications, pushers: Pushers
    ) -> None:
        self._rules = rules
        self._notifications = notifications
        self._pushers = pushers

    def routes(self) -> list[Route]:
        """The routes of this feature."""
        return [
            Route("GET", f"{_V3}/pushrules/", self.everything),
            Route("GET", f"{_V3}/pushrules/global/", self.rules),
            Route("GET", _RULE, self.rule),
            Route("PUT", _RULE, self.put_rule, body="pushrules.rule"),
            Route("DELETE", _RULE, self.delete_rule),
            Route("GET", f"{_RULE}/enabled", self.enabled),
            Route("PUT", f"{_RULE}/enabled", self.set_enabled, body="pushrules.enabled"),
            Route("GET", f"{_RULE}/actions", self.actions),
            Route("PUT", f"{_RULE}/actions", self.set_actions, body="pushrules.actions"),
            Route("GET", f"{_V3}/notifications", self.notifications),
            Route("GET", f"{_V3}/pushers", self.pushers),
            Route("POST", f"{_V3}/pushers/set", self.set_pusher, body="pushers.set"),
        ]

    async def everything(self, call: Call) -> dict[str, Any]:
        """All rule sets: there is one."""
        return {"global": await self._rules.all(call.requester.user_id)}

    async def rules(self, call: Call) -> dict[str, Any]:
        """All rules, by kind."""
        return await self._rules.all(call.requester.user_id)

    async def rule(self, call: Call) -> dict[str, Any]:
        """One rule."""
        user_id = call.requester.user_id
        return (await self._rules.get(user_id, *_place(call))).as_json(user_id)

    async def put_rule(self, call: Call) -> dict[str, Any]:
        """Add or replace a rule."""
        before, after = call.query.text("before"), call.query.text("after")
        await self._rules.change(
            call.requester.user_id,
            lambda rules: rules.put_rule(*_place(call), call.body, before, after),
        )
        return {}

    async def delete_rule(self, call: Call) -> dict[str, Any]:
        """Remove a rule."""
        await self._rules.change(
            call.requester.user_id, lambda rules: rules.delete_rule(*_place(call))
        )
        return {}

    async def enabled(self, call: Call) -> dict[str, Any]:
        """Whether a rule is enabled."""
        rule = await self._rules.get(call.requester.user_id, *_place(call))
        return {"enabled": rule.enabled}

    async def set_enabled(self, call: Call) -> dict[str, Any]:
        """Enable or disable a rule."""
        await self._rules.change(
            call.requester.user_id,
            lambda rules: rules.set_enabled(*_place(call), call.body["enabled"]),
        )
        return {}

    async def actions(self, call: Call) -> dict[str, Any]:
        """What a rule does."""
        rule = await self._rules.get(call.requester.user_id, *_place(call))
        return {"actions": rule.actions}

    async def set_actions(self, call: Call) -> dict[str, Any]:
        """Say what a rule does."""
        await self._rules.change(
            call.requester.user_id,
            lambda rules: rules.set_actions(*_place(call), call.body["actions"]),
        )
        return {}

    async def notifications(self, call: Call) -> dict[str, Any]:
        """What the person was notified of, newest first."""
        who = call.requester
        page, next_position = await self._notifications.page(
            Viewer(who.user_id, who.device_id),
            _position(call.query.text("from")),
            call.query.integer("limit", _DEFAULT_LIMIT, least=1, most=_MAX_LIMIT),
            highlights=call.query.text("only") == "highlight",
        )
        answer: dict[str, Any] = {"notifications": page}
        if next_position is not None:
            answer["next_token"] = str(next_position)
        return answer

    async def pushers(self, call: Call) -> dict[str, Any]:
        """The person's pushers."""
        return {"pushers": await self._pushers.all(call.requester.user_id)}

    async def set_pusher(self, call: Call) -> dict[str, Any]:
        """Add, change or remove a pusher."""
        await self._pushers.set(call.requester, call.body)
        return {}


def _place(call: Call) -> tuple[str, str]:
    return call.path["kind"], call.path["rule_id"]


def _position(token: str | None) -> int:
    """The token of a page is the position of the stream before which it begins."""
    if token is None:
        return _LATEST
    if not (token.isascii() and token.isdigit() and len(token) < 19):
        raise InvalidParam("`from` must be the `next_token` of an earlier answer")
    return int(token)
