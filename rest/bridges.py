"""What application services ask for, and the networks behind them."""

from typing import Any

from federation_disabled.ours import Ours
from homeserver.bridges.ping import Ping
from homeserver.bridges.third_party import ThirdParty
from homeserver.directory import Directory
from rest.routing import Call, Route

_V3 = "/_matrix/client/v3"
_NOT_FIELDS = ("access_token", "user_id", "device_id", "org.matrix.msc3202.device_id")


class BridgesApi:
    """Application Service API, "Client-Server API Extensions"; client-server API, "Third-party
    Networks"."""

    def __init__(
        self, ping: Ping, directory: Directory, third_party: ThirdParty, ours: Ours
    ) -> None:
        self._ping = ping
        self._directory = directory
        self._third_party = third_party
        self._ours = ours

    def routes(self) -> list[Route]:
        """The routes of this feature."""
        ping = "/_matrix/client/v1/appservice/{service_id}/ping"
        listing = f"{_V3}/directory/list/appservice/{{network_id}}/{{room_id}}"
        networks = f"{_V3}/thirdparty"
        return [
            Route("POST", ping, self.ping, body="appservice.ping"),
            Route("PUT", listing, self.publish, body="directory.list.appservice"),
            Route("GET", f"{networks}/protocols", self.protocols),
            Route("GET", networks + "/protocol/{protocol}", self.protocol),
            Route("GET", f"{networks}/location", self.location_of_alias),
            Route("GET", networks + "/location/{protocol}", self.locations),
            Route("GET", f"{networks}/user", self.user_of_id),
            Route("GET", networks + "/user/{protocol}", self.users),
        ]

    async def ping(self, call: Call) -> dict[str, Any]:
        """Call the service back."""
        duration = await self._ping.ping(
            call.requester, call.path["service_id"], call.body.get("transaction_id")
        )
        return {"duration_ms": duration}

    async def publish(self, call: Call) -> dict[str, Any]:
        """List a room in the directory of a network, or take it out."""
        await self._directory.publish_in_network(
            call.requester,
            call.path["network_id"],
            self._ours.room(call.path["room_id"]),
            call.body["visibility"] == "public",
        )
        return {}

    async def protocols(self, call: Call) -> dict[str, Any]:
        """Every protocol that bridges connect."""
        return await self._third_party.protocols()

    async def protocol(self, call: Call) -> dict[str, Any]:
        """One of them."""
        return await self._third_party.protocol(call.path["protocol"])

    async def locations(self, call: Call) -> list[Any]:
        """Portal rooms to a location."""
        fields = call.query.others(_NOT_FIELDS)
        return await self._third_party.search("location", call.path["protocol"], fields)

    async def users(self, call: Call) -> list[Any]:
        """Users of this server who stand for somebody elsewhere."""
        fields = call.query.others(_NOT_FIELDS)
        return await self._third_party.search("user", call.path["protocol"], fields)

    async def location_of_alias(self, call: Call) -> list[Any]:
        """Where an alias leads."""
        alias = self._ours.alias(call.query.needed("alias"))
        return await self._third_party.lookup_location(alias)

    async def user_of_id(self, call: Call) -> list[Any]:
        """Whom a user stands for."""
        user_id = self._ours.user(call.query.needed("userid"))
        return await self._third_party.lookup_user(user_id)
