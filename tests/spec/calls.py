"""One plausible request for each operation of the specification, so that most answers are a 200.

Calls that end a session or an account are made by people who exist for that one call.
"""

import base64
import secrets
import time
from collections.abc import Callable
from typing import Any

from attrs import define, field

from tests.spec.people import V3, Client, Person, segment
from tests.spec.validate import Operation

DOT = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
BACKUP = {
    "algorithm": "m.megolm_backup.v1.curve25519-aes-sha2",
    "auth_data": {"public_key": 43 * "A", "signatures": {}},
}
BACKED_UP_KEY = {
    "first_message_index": 1,
    "forwarded_count": 0,
    "is_verified": False,
    "session_data": {"ephemeral": "AAAA", "ciphertext": "AAAA", "mac": "AAAA"},
}
IDENTITY_SERVER = {"id_server": "localhost:1", "id_access_token": "x"}
NAMES = {
    "appserviceId": "unknown",
    "eventType": "m.room.message",
    "fileName": "dot.png",
    "idpId": "unknown",
    "keyName": "displayname",
    "kind": "content",
    "networkId": "unknown",
    "protocol": "irc",
    "receiptType": "m.read",
    "relType": "m.thread",
    "ruleId": "probe",
    "sessionId": "session",
    "stateKey": "",
    "tag": "u.probe",
    "type": "com.example.probe",
}
BODIES: dict[str, Any] = {
    "bind3PID": {"sid": "1", "client_secret": "abc", **IDENTITY_SERVER},
    "createRoom": {"name": "probe"},
    "defineFilter": {"room": {"timeline": {"limit": 5}}},
    "delete3pidFromAccount": {"medium": "email", "address": "a@example.invalid"},
    "inviteBy3PID": {"medium": "email", "address": "a@example.invalid", **IDENTITY_SERVER},
    "post3PIDs": {"three_pid_creds": {"sid": "1", "client_secret": "abc", **IDENTITY_SERVER}},
    "postPusher": {
        "kind": "http",
        "app_id": "com.example.probe",
        "pushkey": "abc",
        "app_display_name": "probe",
        "device_display_name": "probe",
        "lang": "en",
        "data": {"url": "https://push.example.invalid/_matrix/push/v1/notify"},
    },
    "postRoomKeysVersion": BACKUP,
    "putRoomKeysVersion": BACKUP,
    "queryPublicRooms": {"limit": 3},
    "reportEvent": {"reason": "probe"},
    "reportRoom": {"reason": "probe"},
    "reportUser": {"reason": "probe"},
    "search": {"search_categories": {"room_events": {"search_term": "hello"}}},
    "searchUserDirectory": {"search_term": "probe"},
    "sendMessage": {"msgtype": "m.text", "body": "hello"},
    "setAccountData": {"a": 1},
    "setAccountDataPerRoom": {"a": 1},
    "setAdminLockUser": {"locked": False},
    "setAdminSuspendUser": {"suspended": False},
    "setPresence": {"presence": "online"},
    "setProfileField": {"displayname": "Probe"},
    "setPushRule": {"pattern": "probe", "actions": ["notify"]},
    "setPushRuleActions": {"actions": ["notify"]},
    "setPushRuleEnabled": {"enabled": True},
    "setRoomStateWithKey": {"topic": "probe"},
    "setRoomTag": {"order": 0.5},
    "setRoomVisibilityOnDirectory": {"visibility": "public"},
    "setTyping": {"typing": True, "timeout": 1000},
    "unbind3pidFromAccount": {"medium": "email", "address": "a@example.invalid"},
    "updateDevice": {"display_name": "probe"},
    "upgradeRoom": {"new_version": "11"},
    "uploadKeys": {"fallback_keys": {}, "one_time_keys": {}},
}
QUERIES: dict[str, dict[str, Any]] = {
    "checkUsernameAvailability": {"username": "probe_unused"},
    "getContentThumbnail": {"width": 32, "height": 32, "method": "scale"},
    "getContentThumbnailAuthed": {"width": 32, "height": 32, "method": "scale"},
    "getEvents": {"timeout": 0},
    "getPublicRooms": {"limit": 3},
    "getRoomEvents": {"dir": "b", "limit": 5},
    "getUrlPreview": {"url": "http://localhost:1/"},
    "getUrlPreviewAuthed": {"url": "http://localhost:1/"},
    "redirectToIdP": {"redirectUrl": "http://localhost:1/"},
    "redirectToSSO": {"redirectUrl": "http://localhost:1/"},
    "registrationTokenValidity": {"token": "unknown"},
    "sync": {"timeout": 0},
}


@define
class Call:
    """A request in the making: ``token`` None means nobody is logged in."""

    operation: Operation
    token: str | None
    names: dict[str, str]
    body: Any = None
    query: dict[str, Any] = field(factory=dict)
    content_type: str = "application/json"

    @property
    def path(self) -> str:
        path = self.operation.path
        for name in self.operation.parameters:
            path = path.replace("{" + name + "}", segment(self.names[name]))
        return path


class Neighbourhood:
    """Alice, Bob and a room with something of everything, for the requests to be about."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.alice, self.bob = client.person(), client.person()
        self.domain = self.alice.id.partition(":")[2]
        self.room = self.new_room()
        self.alias = self.new_alias()
        self._as_alice("PUT", f"/directory/room/{segment(self.alias)}", {"room_id": self.room})
        self.join(self.room)
        self.event = self.send(self.room, {"msgtype": "m.text", "body": "hello world"})
        thread = {"rel_type": "m.thread", "event_id": self.event}
        self.send(self.room, {"msgtype": "m.text", "body": "reply", "m.relates_to": thread})
        mine = f"/user/{segment(self.alice.id)}"
        self.filter = self._as_alice("POST", f"{mine}/filter", {}).get("filter_id", "0")
        self._as_alice("PUT", f"{mine}/account_data/com.example.probe", {"a": 1})
        in_room = f"{mine}/rooms/{segment(self.room)}/account_data/com.example.probe"
        self._as_alice("PUT", in_room, {"a": 1})
        self.new_push_rule("probe")
        upload = client.call(
            "POST", "/_matrix/media/v3/upload", self.alice.token, DOT, None, "image/png"
        )
        self.media = upload.get("content_uri", "mxc://x/none").rpartition("/")[2]
        self.backup = self._as_alice("POST", "/room_keys/version", BACKUP).get("version", "1")
        key = f"/room_keys/keys/{segment(self.room)}/session?version={self.backup}"
        self._as_alice("PUT", key, BACKED_UP_KEY)

    def new_room(self, **wish: Any) -> str:
        answer = self._as_alice("POST", "/createRoom", {"preset": "public_chat", **wish})
        return str(answer.get("room_id", f"!none:{self.domain}"))

    def new_alias(self) -> str:
        return f"#probe_{secrets.token_hex(4)}:{self.domain}"

    def new_push_rule(self, name: str) -> None:
        rule = {"pattern": name, "actions": ["notify"]}
        self._as_alice("PUT", f"/pushrules/global/content/{name}", rule)

    def join(self, room: str) -> None:
        self.client.call("POST", f"{V3}/join/{segment(room)}", self.bob.token, {})

    def send(self, room: str, content: dict[str, Any]) -> str:
        path = f"/rooms/{segment(room)}/send/m.room.message/{secrets.token_hex(4)}"
        return str(self._as_alice("PUT", path, content).get("event_id", "$none"))

    def room_action(self, room: str, action: str, body: dict[str, Any]) -> None:
        self._as_alice("POST", f"/rooms/{segment(room)}/{action}", body)

    def sync_token(self) -> str:
        return str(self._as_alice("GET", "/sync?timeout=0", None).get("next_batch", "0"))

    def refresh_token(self) -> str:
        wish = {**self.alice.password_auth, "refresh_token": True}
        return str(self._as_alice("POST", "/login", wish).get("refresh_token", "none"))

    def _as_alice(self, method: str, path: str, body: Any) -> Any:
        return self.client.call(method, V3 + path, self.alice.token, body)

    def call_for(self, operation: Operation) -> Call:
        """The request to try ``operation`` with."""
        names = NAMES | {
            "deviceId": self.alice.device,
            "eventId": self.event,
            "filterId": self.filter,
            "mediaId": self.media,
            "roomAlias": self.alias,
            "roomId": self.room,
            "roomIdOrAlias": self.room,
            "serverName": self.domain,
            "txnId": secrets.token_hex(4),
            "userId": self.alice.id,
            "version": self.backup,
        }
        token = self.alice.token if operation.definition.get("security") else None
        call = Call(operation, token, names)
        if operation.method in ("POST", "PUT"):
            call.body = dict(BODIES.get(operation.id, {}))
        call.query = dict(QUERIES.get(operation.id, {}))
        _about_path(self, call)
        if prepare := PREPARATIONS.get(operation.id):
            prepare(self, call)
        return call


def _about_path(here: Neighbourhood, call: Call) -> None:
    """What whole families of paths have in common."""
    path = call.operation.path
    if "/admin/" in path and "whois" not in path:
        call.names["userId"] = here.bob.id
    if path.endswith("/thirdparty/location"):
        call.query = {"alias": here.alias}
    if path.endswith("/thirdparty/user"):
        call.query = {"userid": here.alice.id}
    if path.endswith("/requestToken"):
        address = {"country": "GB", "phone_number": "07700900001"}
        call.body = {"client_secret": "abc123", "send_attempt": 1, **address}
        if "/email/" in path:
            call.body["email"] = "a@example.invalid"
    if "/room_keys/keys" in path:
        call.query = {"version": here.backup}
        if call.operation.method == "PUT":
            session = BACKED_UP_KEY if "{sessionId}" in path else {}
            in_room = {"sessions": {"session": BACKED_UP_KEY}} if "{roomId}" in path else {}
            call.body = session or in_room or {"rooms": {here.room: {"sessions": {}}}}


def _by_somebody_else(here: Neighbourhood, call: Call) -> Person:
    """Let a person make the call who is not needed afterwards."""
    person = here.client.person()
    call.token = person.token
    call.body = {**call.body, "auth": person.password_auth} if call.body is not None else None
    return person


def _end_a_device(here: Neighbourhood, call: Call) -> None:
    call.body = {}
    person = _by_somebody_else(here, call)
    call.names["deviceId"] = person.device
    if call.operation.id == "deleteDevices":
        call.body["devices"] = [person.device]


def _change_password(here: Neighbourhood, call: Call) -> None:
    _by_somebody_else(here, call)
    call.body["new_password"] = secrets.token_urlsafe(12)


def _cross_sign(here: Neighbourhood, call: Call) -> None:
    person = _by_somebody_else(here, call)
    key = base64.b64encode(secrets.token_bytes(32)).decode().rstrip("=")
    keys = {"user_id": person.id, "usage": ["master"], "keys": {f"ed25519:{key}": key}}
    call.body["master_key"] = keys


def _moderate(here: Neighbourhood, call: Call) -> None:
    call.names["roomId"] = room = here.new_room()
    here.join(room)
    call.body = {"user_id": here.bob.id}
    if call.operation.id == "unban":
        here.room_action(room, "ban", call.body)


def _leave(here: Neighbourhood, call: Call) -> None:
    call.names["roomId"] = room = here.new_room()
    if call.operation.id == "forgetRoom":
        here.room_action(room, "leave", {})


def _knock(here: Neighbourhood, call: Call) -> None:
    rule = {"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}}
    room = here.new_room(preset="private_chat", initial_state=[rule])
    call.names["roomIdOrAlias"], call.token = room, here.bob.token


def _set_alias(here: Neighbourhood, call: Call) -> None:
    call.names["roomAlias"], call.body = here.new_alias(), {"room_id": here.room}


def _delete_alias(here: Neighbourhood, call: Call) -> None:
    alias = call.names["roomAlias"] = here.new_alias()
    path = f"{V3}/directory/room/{segment(alias)}"
    here.client.call("PUT", path, here.alice.token, {"room_id": here.room})


def _delete_push_rule(here: Neighbourhood, call: Call) -> None:
    call.names["ruleId"] = "doomed"
    here.new_push_rule("doomed")


def _upload(here: Neighbourhood, call: Call) -> None:
    call.body, call.content_type = DOT, "image/png"
    if call.operation.id == "uploadContentToMXC":
        made = here.client.call("POST", "/_matrix/media/v1/create", here.alice.token)
        call.names["mediaId"] = made.get("content_uri", "mxc://x/none").rpartition("/")[2]


def _key_changes(here: Neighbourhood, call: Call) -> None:
    token = here.sync_token()
    call.query = {"from": token, "to": token}


def _redact(here: Neighbourhood, call: Call) -> None:
    call.names["eventId"] = here.send(here.room, {"msgtype": "m.text", "body": "a mistake"})


def _set(part: str, **values: Callable[[Neighbourhood], Any]) -> Callable[..., None]:
    """Entries of the body, the query or the path that depend on the neighbourhood."""

    def prepare(here: Neighbourhood, call: Call) -> None:
        getattr(call, part).update({name: value(here) for name, value in values.items()})

    return prepare


def _log_in(here: Neighbourhood, call: Call) -> None:
    call.body = here.alice.password_auth


def _as_bob(here: Neighbourhood, call: Call) -> None:
    call.token = here.bob.token


PREPARATIONS: dict[str, Callable[[Neighbourhood, Call], Any]] = {
    "ban": _moderate,
    "changePassword": _change_password,
    "deactivateAccount": _by_somebody_else,
    "deleteDevice": _end_a_device,
    "deleteDevices": _end_a_device,
    "deletePushRule": _delete_push_rule,
    "deleteRoomAlias": _delete_alias,
    "forgetRoom": _leave,
    "getKeysChanges": _key_changes,
    "joinRoom": _as_bob,
    "joinRoomById": _as_bob,
    "kick": _moderate,
    "knockRoom": _knock,
    "leaveRoom": _leave,
    "login": _log_in,
    "logout": _by_somebody_else,
    "logout_all": _by_somebody_else,
    "redactEvent": _redact,
    "setRoomAlias": _set_alias,
    "unban": _moderate,
    "uploadContent": _upload,
    "uploadContentToMXC": _upload,
    "uploadCrossSigningKeys": _cross_sign,
    "add3PID": _set("body", auth=lambda here: here.alice.password_auth, sid=lambda _: "1"),
    "claimKeys": _set(
        "body",
        one_time_keys=lambda here: {here.bob.id: {here.bob.device: "signed_curve25519"}},
    ),
    "deleteProfileField": _set("names", keyName=lambda _: "com.example.field"),
    "deleteRoomKeysVersion": _set("names", version=lambda _: "999999"),
    "generateLoginToken": _set("body", auth=lambda here: here.alice.password_auth),
    "getEventByTimestamp": _set("query", ts=lambda _: int(time.time() * 1000), dir=lambda _: "b"),
    "getMutualRooms": _set("query", user_id=lambda here: here.bob.id),
    "getRoomStateWithKey": _set("names", eventType=lambda _: "m.room.create"),
    "inviteUser": _set("body", user_id=lambda here: here.client.person().id),
    "peekEvents": _set("query", timeout=lambda _: 0, room_id=lambda here: here.room),
    "queryKeys": _set("body", device_keys=lambda here: {here.alice.id: []}),
    "refresh": _set("body", refresh_token=Neighbourhood.refresh_token),
    "register": _set(
        "body",
        username=lambda _: f"probe_{secrets.token_hex(6)}",
        password=lambda _: secrets.token_urlsafe(12),
        auth=lambda _: {"type": "m.login.dummy"},
    ),
    "reportUser": _set("names", userId=lambda here: here.bob.id),
    "sendToDevice": _set("body", messages=lambda here: {here.bob.id: {"*": {"x": 1}}}),
    "setReadMarker": _set(
        "body", **{name: lambda here: here.event for name in ("m.fully_read", "m.read")}
    ),
    "setRoomStateWithKey": _set("names", eventType=lambda _: "m.room.topic"),
    "upgradeRoom": _set("names", roomId=Neighbourhood.new_room),
}
