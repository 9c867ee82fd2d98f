"""The limit: an in-memory toy on bare twisted.web and orjson. ``python -m benchmarks.toy PORT``

No storage, no rules, no checks: it answers just enough of the client-server API for the scenarios
send, send-one, fanout and idle, and so shows what the web server alone costs.
"""

import itertools
import sys
import time
import urllib.parse
from collections.abc import Mapping
from typing import Any

import orjson
from twisted.internet import reactor as default_reactor
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

LONGEST_POLL_MS = 30_000


class Toy(Resource):
    """Everybody sees every room; the only thing that is kept is a list of events."""

    isLeaf = True

    def __init__(self, reactor: Any) -> None:
        super().__init__()
        self._reactor = reactor
        self._numbers = itertools.count()
        self._users: dict[str, str] = {}
        self._members: dict[str, set[str]] = {}
        self._events: list[tuple[str, bytes]] = []
        self._woken_at = 0
        self._waiting: dict[Request, Any] = {}

    def render(self, request: Request) -> Any:
        """Answer at once, or, for a long-poll, when something comes."""
        path = request.path.decode()
        user = self._users.get((request.getHeader("authorization") or "")[7:], "")
        if path.endswith("/sync"):
            return self._sync(request, user)
        if "/send/" in path:
            return self._send(request, path, user)
        if path.endswith("/register"):
            return self._register(request)
        if path.endswith("/createRoom"):
            room = f"!r{next(self._numbers)}:hearth.test"
            self._members[room] = {user}
            return _json(request, {"room_id": room})
        if path.endswith("/join"):
            room = _room_in(path)
            self._members[room].add(user)
            return _json(request, {"room_id": room})
        if path.endswith("/invite"):
            return _json(request, {})
        if path.endswith("/joined_members"):
            return _json(
                request, {"joined": {member: {} for member in self._members[_room_in(path)]}}
            )
        if "/filter" in path:
            return _json(request, {"filter_id": "1"})
        if path.endswith("/versions"):
            return _json(request, {"versions": ["v1.1", "v1.11"]})
        if "/typing/" in path or "/receipt/" in path:
            return _json(request, {})
        return _json(request, {"errcode": "M_UNRECOGNIZED", "error": path}, 404)

    def _register(self, request: Request) -> bytes:
        body = orjson.loads(_body(request) or b"{}")
        if "auth" not in body:
            flows = [{"stages": ["m.login.dummy"]}]
            return _json(request, {"session": "x", "flows": flows, "params": {}}, 401)
        token = f"t{next(self._numbers)}"
        user = self._users[token] = f"@{body['username']}:hearth.test"
        return _json(request, {"user_id": user, "access_token": token, "device_id": "D"})

    def _send(self, request: Request, path: str, user: str) -> bytes:
        room = _room_in(path)
        event_id = f"$e{len(self._events) + 1}"
        event = {
            "type": path.split("/send/")[1].split("/")[0],
            "room_id": room,
            "sender": user,
            "event_id": event_id,
            "origin_server_ts": int(time.time() * 1000),
            "content": orjson.loads(_body(request)),
            "unsigned": {"age": 1},
        }
        self._events.append((room, orjson.dumps(event)))
        self._reactor.callLater(0, self._wake)
        return _json(request, {"event_id": event_id})

    def _sync(self, request: Request, user: str) -> Any:
        since = request.args.get(b"since")
        timeout = int(request.args.get(b"timeout", [b"0"])[0])
        if since is None:
            empty = {"timeline": {"events": [], "limited": False}, "state": {"events": []}}
            rooms = {room: empty for room, members in self._members.items() if user in members}
            return _json(request, {"next_batch": self._token(), "rooms": {"join": rooms}})
        place = int(since[0][1:])
        if place < len(self._events):
            return _raw(request, self._news(place))
        if not timeout:
            return _json(request, {"next_batch": self._token()})
        delay = min(timeout, LONGEST_POLL_MS) / 1000
        self._waiting[request] = self._reactor.callLater(delay, self._expire, request)
        request.notifyFinish().addErrback(self._gone, request)
        return NOT_DONE_YET

    def _gone(self, _: object, request: Request) -> None:
        call = self._waiting.pop(request, None)
        if call is not None and call.active():
            call.cancel()

    def _expire(self, request: Request) -> None:
        if self._waiting.pop(request, None) is not None:
            request.write(_json(request, {"next_batch": self._token()}))
            request.finish()

    def _wake(self) -> None:
        """One answer, built once, for everybody who waits."""
        if self._woken_at == len(self._events):
            return
        answer = self._news(self._woken_at)
        self._woken_at = len(self._events)
        waiting, self._waiting = self._waiting, {}
        for request, call in waiting.items():
            call.cancel()
            request.setHeader(b"content-length", b"%d" % len(answer))
            request.write(_raw(request, answer))
            request.finish()

    def _news(self, place: int) -> bytes:
        rooms: dict[str, list[orjson.Fragment]] = {}
        for room, event in self._events[place:]:
            rooms.setdefault(room, []).append(orjson.Fragment(event))
        return orjson.dumps(
            {
                "next_batch": self._token(),
                "rooms": {
                    "join": {
                        room: {
                            "timeline": {
                                "events": events,
                                "limited": False,
                                "prev_batch": f"s{place}",
                            },
                            "state": {"events": []},
                            "ephemeral": {"events": []},
                            "account_data": {"events": []},
                            "unread_notifications": {
                                "notification_count": 1,
                                "highlight_count": 0,
                            },
                        }
                        for room, events in rooms.items()
                    }
                },
            }
        )

    def _token(self) -> str:
        return f"s{len(self._events)}"


def _body(request: Request) -> bytes:
    return b"" if request.content is None else request.content.read()


def _room_in(path: str) -> str:
    return urllib.parse.unquote(path.split("/rooms/")[1].split("/")[0])


def _json(request: Request, answer: Mapping[str, Any], code: int = 200) -> bytes:
    return _raw(request, orjson.dumps(answer), code)


def _raw(request: Request, answer: bytes, code: int = 200) -> bytes:
    request.setResponseCode(code)
    request.setHeader(b"content-type", b"application/json")
    request.setHeader(b"access-control-allow-origin", b"*")
    return answer


def main(port: int, reactor: Any = default_reactor) -> None:
    """Serve on the loopback interface until the process is stopped."""
    reactor.listenTCP(port, Site(Toy(reactor)), interface="127.0.0.1", backlog=2048)
    reactor.run()


if __name__ == "__main__":
    main(int(sys.argv[1]))
