"""Profiles, and finding people (client-server API, "User Data")."""

from typing import Any

from tests.support import Person, WireTest

LISTED = {"type": "m.room.history_visibility", "content": {"history_visibility": "world_readable"}}


class ProfilesTest(WireTest):
    """What people show of themselves."""

    async def setUp(self) -> None:
        self.hearth = await self.server()
        self.alice, self.bob = await self.hearth.people("alice", "bob")
        self.path = f"/profile/{self.alice.id}"

    async def refused(
        self, method: str, key: str, body: Any = None, who: Person | None = None
    ) -> tuple[int, str]:
        code, answer = await (who or self.alice).call(method, f"{self.path}/{key}", body)
        self.assertTrue(answer["error"])
        return code, answer["errcode"]

    async def test_fields_are_set_read_and_deleted(self) -> None:
        fields = {
            "displayname": "Alice A.",
            "avatar_url": "mxc://localhost/a",
            "m.tz": "Europe/Vienna",
            "org.example.pets": ["cat", {"name": "Mia"}],
            "org.example.nothing": None,
        }
        for key, value in fields.items():
            await self.alice.ask("PUT", f"{self.path}/{key}", {key: value})
        await self.hearth.restart()
        self.assertEqual(await self.bob.ask("GET", self.path), fields)
        for key, value in fields.items():
            self.assertEqual(await self.bob.ask("GET", f"{self.path}/{key}"), {key: value})
            await self.alice.ask("DELETE", f"{self.path}/{key}")
            self.assertEqual(await self.refused("GET", key), (404, "M_NOT_FOUND"))
            await self.alice.ask("DELETE", f"{self.path}/{key}")
        self.assertEqual(await self.bob.ask("GET", self.path), {})

    async def test_nobody_changes_the_profile_of_somebody_else(self) -> None:
        for key in ("displayname", "org.x"):
            await self.alice.ask("PUT", f"{self.path}/{key}", {key: "mine"})
            refused = await self.refused("PUT", key, {key: "yours"}, self.bob)
            self.assertEqual(refused, (403, "M_FORBIDDEN"))
            refused = await self.refused("DELETE", key, None, self.bob)
            self.assertEqual(refused, (403, "M_FORBIDDEN"))
            self.assertEqual(await self.bob.ask("GET", f"{self.path}/{key}"), {key: "mine"})

    async def test_what_is_no_field_is_refused(self) -> None:
        for key, body, refusal in (
            ("displayname", {}, (400, "M_MISSING_PARAM")),
            ("displayname", {"avatar_url": "x"}, (400, "M_MISSING_PARAM")),
            ("org.x", {}, (400, "M_MISSING_PARAM")),
            ("displayname", {"displayname": 5}, (400, "M_BAD_JSON")),
            ("avatar_url", {"avatar_url": ["x"]}, (400, "M_BAD_JSON")),
            ("k" * 256, {"k" * 256: 1}, (400, "M_KEY_TOO_LARGE")),
            ("avatar_url", {"avatar_url": "https://x.org/a.png"}, (400, "M_INVALID_PARAM")),
            ("avatar_url", {"avatar_url": "mxc://localhost"}, (400, "M_INVALID_PARAM")),
            ("m.tz", {"m.tz": None}, (400, "M_BAD_JSON")),
            ("No-Name", {"No-Name": 1}, (400, "M_INVALID_PARAM")),
            ("5.x", {"5.x": 1}, (400, "M_INVALID_PARAM")),
            ("a%20b", {"a b": 1}, (400, "M_INVALID_PARAM")),
        ):
            self.assertEqual(await self.refused("PUT", key, body), refusal, key)
        for key, refusal in (("No", "M_INVALID_PARAM"), ("k" * 256, "M_KEY_TOO_LARGE")):
            self.assertEqual(await self.refused("DELETE", key), (400, refusal))
        self.assertEqual(await self.alice.ask("GET", self.path), {"displayname": "alice"})

    async def test_an_empty_name_or_picture_is_none(self) -> None:
        for nothing in ("", None):
            for key, value in (("displayname", "A"), ("avatar_url", "mxc://localhost/a")):
                await self.alice.ask("PUT", f"{self.path}/{key}", {key: value})
                await self.alice.ask("PUT", f"{self.path}/{key}", {key: nothing})
        self.assertEqual(await self.alice.ask("GET", self.path), {})

    async def test_a_new_neighbour_has_the_name_that_they_signed_up_with(self) -> None:
        room = await self.alice.create_room()
        members = await self.alice.ask("GET", f"/rooms/{room}/joined_members")
        self.assertEqual(members["joined"], {self.alice.id: {"display_name": "alice"}})
        await self.alice.ask("DELETE", f"{self.path}/displayname")
        self.assertEqual(await self.alice.ask("GET", self.path), {})

    async def test_all_of_a_profile_is_below_64_kib(self) -> None:
        await self.alice.ask("DELETE", f"{self.path}/displayname")
        await self.alice.ask("PUT", f"{self.path}/a", {"a": "x" * 30_000})
        rest = 64 * 1024 - 30_000 - len('{"a":"","b":""}')
        refused = await self.refused("PUT", "b", {"b": "x" * rest})
        self.assertEqual(refused, (400, "M_PROFILE_TOO_LARGE"))
        await self.alice.ask("PUT", f"{self.path}/b", {"b": "x" * (rest - 1)})

    async def test_a_profile_has_a_size(self) -> None:
        await self.alice.ask("PUT", f"{self.path}/org.one", {"org.one": "x" * 40_000})
        refused = await self.refused("PUT", "org.two", {"org.two": "x" * 30_000})
        self.assertEqual(refused, (400, "M_PROFILE_TOO_LARGE"))
        await self.alice.ask("PUT", f"{self.path}/org.one", {"org.one": "x" * 30_000})
        await self.alice.ask("PUT", f"{self.path}/org.two", {"org.two": "x" * 30_000})

    async def test_nobody_is_not_found(self) -> None:
        for path in ("/profile/@nobody:localhost", "/profile/@nobody:localhost/displayname"):
            code, answer = await self.alice.call("GET", path)
            self.assertEqual((code, answer["errcode"]), (404, "M_NOT_FOUND"))

    async def test_neighbours_see_each_other_in_public_rooms_without_sharing_one(self) -> None:
        await self.alice.create_room(preset="public_chat")
        await self.alice.ask("PUT", f"{self.path}/displayname", {"displayname": "Alice A."})
        self.assertEqual(await self.bob.ask("GET", self.path), {"displayname": "Alice A."})

    async def test_a_new_name_is_told_as_presence_to_who_shares_a_room(self) -> None:
        carol = await self.hearth.person("carol")
        room = await self.alice.create_room(preset="public_chat")
        await self.bob.join(room)
        await self.alice.sync()
        tokens = [(who, (await who.sync())["next_batch"]) for who in (self.bob, carol)]
        for key, value in (("displayname", "Alice A."), ("org.x", 1)):
            await self.alice.ask("PUT", f"{self.path}/{key}", {key: value})
        for who, since in tokens:
            answer = await who.sync(since=since)
            events = answer.get("presence", {}).get("events", [])
            told = [e["content"] for e in events if e["sender"] == self.alice.id]
            names = [(each["presence"], each["displayname"]) for each in told]
            self.assertEqual(names, [("online", "Alice A.")] if who is self.bob else [])
        await self.alice.ask("DELETE", f"{self.path}/displayname")
        answer = await self.bob.sync(since=tokens[0][1])
        [content] = [e["content"] for e in answer["presence"]["events"]]
        self.assertNotIn("displayname", content)

    async def test_whoever_leaves_for_good_and_erases_leaves_no_profile(self) -> None:
        for person in (self.alice, self.bob):
            for key in ("displayname", "org.x"):
                await person.ask("PUT", f"/profile/{person.id}/{key}", {key: "mine"})
        accounts, store = self.hearth.app.people.accounts, self.hearth.app.storage.store
        await accounts.deactivate(self.alice.id, erase=True)
        await accounts.deactivate(self.bob.id, erase=False)
        left = await store.read(lambda txn: txn.all("SELECT DISTINCT user_id FROM profiles"))
        self.assertEqual(left, [(self.bob.id,)])
        code, answer = await self.hearth.call("GET", self.path)
        self.assertEqual((code, answer["errcode"]), (404, "M_NOT_FOUND"))


class DirectoryTest(WireTest):
    """Client-server API, "User Directory"."""

    async def setUp(self) -> None:
        self.hearth = await self.server()
        self.alice, self.bob = await self.hearth.people("alice", "bob")

    async def find(self, term: str, **more: Any) -> dict[str, Any]:
        body = {"search_term": term, **more}
        return dict(await self.alice.ask("POST", "/user_directory/search", body))

    async def found(self, term: str) -> list[str]:
        return [each["user_id"] for each in (await self.find(term))["results"]]

    async def test_names_and_ids_are_found_in_any_case_and_language(self) -> None:
        name = {"displayname": "Özlem Müller"}
        await self.bob.ask("PUT", f"/profile/{self.bob.id}/displayname", name)
        for term in ("özlem", "ÖZLEM", "Müller", "mÜlLeR", "BOB", "@bob", "bob:LOCAL"):
            self.assertEqual(await self.found(term), [self.bob.id], term)
        for term in ("%", "_", '"', "Ozlem Muller", "charlie"):
            self.assertEqual(await self.found(term), [], term)

    async def test_every_word_counts_and_who_fits_best_comes_first(self) -> None:
        for localpart, name in (("kim", None), ("mia", "Joachim"), ("zoe", "Kim Z"), ("kimo", "K")):
            person = await self.hearth.person(localpart)
            if name is not None:
                await person.ask("PUT", f"/profile/{person.id}/displayname", {"displayname": name})
        for term, expected in (
            ("kim", ["kim", "kimo", "zoe"]),
            ("@kim", ["kim", "kimo"]),
            ("im", ["kim", "kimo", "mia", "zoe"]),
            ("z kim", ["zoe"]),
            (" Kim  Z ", ["zoe"]),
            ("kim mia", []),
        ):
            found = [user_id[1:].split(":")[0] for user_id in await self.found(term)]
            self.assertEqual(found, expected, term)

    async def test_who_is_in_an_open_room_is_found_without_sharing_one(self) -> None:
        carol, dora = await self.hearth.people("carol", "dora")
        await carol.create_room(preset="public_chat")
        await dora.create_room(initial_state=[LISTED])
        self.assertEqual(await self.found("carol"), [carol.id])
        self.assertEqual(await self.found("dora"), [dora.id])

    async def test_results_have_a_limit_and_say_so(self) -> None:
        people = [await self.hearth.person(f"neighbour{n:02}") for n in range(11)]
        for query, count, limited in (({}, 10, True), ({"limit": 11}, 11, False)):
            answer = await self.find("neighbour", **query)
            self.assertEqual(len(answer["results"]), count)
            self.assertIs(answer["limited"], limited)
        name = {"displayname": "The first", "avatar_url": "mxc://localhost/first"}
        for key, value in name.items():
            await people[0].ask("PUT", f"/profile/{people[0].id}/{key}", {key: value})
        [first] = (await self.find("the first"))["results"]
        shown = {"user_id": people[0].id, "display_name": "The first"}
        self.assertEqual(first, {**shown, "avatar_url": "mxc://localhost/first"})
