"""Finding rooms: aliases, and the directory of those that are listed."""

from collections.abc import Collection
from typing import Any

from attrs import frozen

from homeserver.bridges.queries import Queries
from homeserver.bridges.services import Services
from homeserver.guests import lets_guests_in
from homeserver.requester import Requester
from homeserver.rooms.auth_rules import Draft
from homeserver.rooms.cache import RoomCache
from homeserver.rooms.journal import Journal
from homeserver.rooms.kinds import check_may_be_found
from homeserver.rooms.room import Room
from schema.errors import AliasTaken, Forbidden, NotFound
from storage import bridge_directories, rooms
from storage.store import Store
from storage.transaction import Transaction, WriteTransaction


@frozen
class Directory:
    """Client-server API, "Room aliases" and "Published room directory"."""

    store: Store
    rooms: RoomCache
    journal: Journal
    services: Services
    queries: Queries

    async def resolve(self, alias: str) -> str:
        """The room that an alias points to. A service may make one that it has reserved.

        Raises:
            NotFound: to none.
            Timeout: the service did not answer.
        """
        await self.queries.alias(alias)
        found = await self.store.read(lambda txn: rooms.find_alias(txn, alias))
        if found is None:
            raise NotFound(f"The alias {alias} points to no room")
        return found[0]

    async def add_alias(self, requester: Requester, alias: str, room_id: str) -> None:
        """Point an alias to a room that the person is in.

        Raises:
            AliasTaken: it points somewhere already.
            Forbidden: the person is not in the room, or its type has no aliases.
            Exclusive: the alias belongs to an application service, or is none of the service's.
        """
        self.services.check_alias(alias, requester.application_service)

        def work(txn: WriteTransaction) -> None:
            room = self.rooms.head(txn, room_id)
            if room.state.membership(requester.user_id) != "join":
                raise Forbidden("You can only give an alias to a room that you are in")
            check_may_be_found(room)
            if not rooms.add_alias(txn, alias, room_id, requester.user_id):
                raise AliasTaken(f"The alias {alias} is taken")

        await self.store.write(work)

    async def remove_alias(self, requester: Requester, alias: str) -> None:
        """Take an alias away: by who made it, or who may change the room's main alias.

        An application service has full control over the aliases of its namespaces.

        Raises:
            NotFound: it points to no room.
            Forbidden: it is not for this person to do.
            Exclusive: the alias belongs to an application service.
        """
        service_id = requester.application_service
        self.services.check_alias(alias, service_id)

        def work(txn: WriteTransaction) -> None:
            found = rooms.find_alias(txn, alias)
            if found is None:
                raise NotFound(f"The alias {alias} points to no room")
            room_id, creator = found
            room = self.rooms.head(txn, room_id)
            is_own = service_id is not None or creator == requester.user_id
            if not is_own and not self._may_manage(requester, room):
                raise Forbidden(
                    "Only who made this alias, or a moderator of the room, can remove it"
                )
            rooms.remove_alias(txn, alias)
            self._drop_from_state(txn, requester, room, alias)

        await self.store.write(work)

    async def aliases(self, requester: Requester, room_id: str) -> list[str]:
        """Every alias of a room that the person is in.

        Raises:
            Forbidden: they are not in it, and it is not readable by everybody.
        """
        room = await self.rooms.find(room_id)
        if room is None or (
            room.state.membership(requester.user_id) != "join"
            and room.state.text("m.room.history_visibility", "history_visibility")
            != "world_readable"
        ):
            raise Forbidden("You are not a member of this room")
        return await self.store.read(lambda txn: rooms.aliases_of(txn, room_id))

    async def is_published(self, room_id: str) -> bool:
        """Whether the directory lists a room.

        Raises:
            NotFound: there is no such room.
        """
        row = await self.store.read(lambda txn: rooms.find(txn, room_id))
        if row is None:
            raise NotFound(f"There is no room {room_id}")
        return bool(row.is_published)

    async def publish(self, requester: Requester, room_id: str, published: bool) -> None:
        """List a room, or take it out.

        Raises:
            Forbidden: it is not for this person to do, or the room's type is never listed.
        """

        def work(txn: WriteTransaction) -> None:
            room = self.rooms.head(txn, room_id)
            if not self._may_manage(requester, room):
                raise Forbidden("Only a moderator of the room can change whether it is listed")
            if published:
                check_may_be_found(room)
            rooms.publish(txn, room_id, published)

        await self.store.write(work)

    async def publish_in_network(
        self, requester: Requester, network_id: str, room_id: str, published: bool
    ) -> None:
        """List a room in the directory that a service keeps of a network, or take it out.

        Raises:
            Forbidden: it is no service that asks, or the room's type is never listed.
            NotFound: there is no such room.
        """
        service_id = requester.application_service
        if service_id is None:
            raise Forbidden("Only application services keep directories of networks")

        def work(txn: WriteTransaction) -> None:
            room = self.rooms.head(txn, room_id)
            if published:
                check_may_be_found(room)
                bridge_directories.put(txn, service_id, network_id, room_id)
            else:
                bridge_directories.remove(txn, service_id, network_id, room_id)

        await self.store.write(work)

    async def listed(
        self,
        search: str | None,
        room_types: list[str | None] | None,
        *,
        network: str | None = None,
        all_networks: bool = False,
    ) -> list[Any]:
        """The listed rooms, the fullest first, as ``PublishedRoomsChunk``.

        Those of the server itself, or of the ``network`` with this instance id, or of the server
        and all networks.
        """
        found = []
        for room_id in await self.store.read(
            lambda txn: self._listed_in(txn, network, all_networks)
        ):
            room = await self.rooms.get(room_id)
            chunk = describe(room)
            if room_types is not None and chunk.get("room_type") not in room_types:
                continue
            words = (chunk.get("name"), chunk.get("topic"), chunk.get("canonical_alias"))
            if search and not any(search.lower() in word.lower() for word in words if word):
                continue
            found.append(chunk)
        found.sort(key=lambda chunk: (-chunk["num_joined_members"], chunk["room_id"]))
        return found

    def _listed_in(
        self, txn: Transaction, network: str | None, all_networks: bool
    ) -> Collection[str]:
        if all_networks:
            return {*rooms.published(txn), *bridge_directories.all_rooms(txn)}
        if network is None:
            return rooms.published(txn)
        known = self.services.network(network)
        return [] if known is None else bridge_directories.rooms_of(txn, *known)

    def _may_manage(self, requester: Requester, room: Room) -> bool:
        levels = room.power_levels
        needed = levels.needed_for("m.room.canonical_alias", is_state=True)
        return (
            room.state.membership(requester.user_id) == "join"
            and levels.level_of(requester.user_id) >= needed
        )

    def _drop_from_state(
        self, txn: WriteTransaction, requester: Requester, room: Room, alias: str
    ) -> None:
        """The room must not go on naming an alias that is gone, if the person may change that."""
        content = room.state.content("m.room.canonical_alias")
        others = [other for other in content.get("alt_aliases", []) if other != alias]
        changed = {**content, "alt_aliases": others} if content.get("alt_aliases") else content
        if content.get("alias") == alias:
            changed = {key: value for key, value in changed.items() if key != "alias"}
        if changed == content:
            return
        if self._may_manage(requester, room):
            draft = Draft("m.room.canonical_alias", requester.user_id, room.room_id, changed, "")
            self.journal.append(txn, room, draft)


def describe(room: Room) -> dict[str, Any]:
    """A room as the directory shows it: ``PublishedRoomsChunk`` of the specification."""
    state = room.state
    visibility = state.text("m.room.history_visibility", "history_visibility")
    chunk: dict[str, Any] = {
        "room_id": room.room_id,
        "num_joined_members": state.count("join"),
        "world_readable": visibility == "world_readable",
        "guest_can_join": lets_guests_in(room),
        "join_rule": state.text("m.room.join_rules", "join_rule") or "invite",
        "name": state.text("m.room.name", "name"),
        "topic": state.text("m.room.topic", "topic"),
        "canonical_alias": state.text("m.room.canonical_alias", "alias") or None,
        "avatar_url": state.text("m.room.avatar", "url"),
        "room_type": state.text("m.room.create", "type"),
    }
    if not (chunk["avatar_url"] or "").startswith("mxc://"):
        del chunk["avatar_url"]
    return {key: value for key, value in chunk.items() if value is not None}
