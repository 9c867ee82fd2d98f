"""Files go with the last message that shows them, and never because somebody else wants it."""

import os
from time import time
from typing import Any

from homeserver.assembly.media import DAY
from homeserver.media import housekeeping, orphans
from homeserver.media.orphans import Orphans
from homeserver.media.quotas import SMALLEST
from storage import media_totals
from storage.media import MediaFile, add
from storage.transaction import WriteTransaction
from tests.media_case import V3, MediaTest, picture
from tests.support import Person

IMAGE = "m.room.message"


class UsesTest(MediaTest):
    """Alice and Bob show each other pictures in a room that is not encrypted."""

    async def setUp(self) -> None:
        await super().setUp()
        self.alice, self.bob = self.people
        self.room = await self.alice.create_room(preset="public_chat")
        await self.bob.join(self.room)

    async def picture(self) -> str:
        """Alice uploads one; its content URI."""
        return "mxc://" + await self.upload(picture(40, 40), "image/png")

    async def show(self, uri: str, who: Person | None = None, **more: Any) -> str:
        """Somebody, Alice usually, shows a picture openly; the event id."""
        content = {"msgtype": "m.image", "body": "a", "url": uri, **more}
        return await (who or self.alice).send(self.room, IMAGE, content)

    async def redact(self, event_id: str, who: Person | None = None) -> None:
        who = who or self.alice
        await who.ask("PUT", f"/rooms/{self.room}/redact/{event_id}/{who.transaction()}")

    async def days_pass(self, days: int = 7) -> None:
        """Time goes by, and the server looks after its house."""
        sql = "UPDATE media SET taken_back_at = taken_back_at - ?"
        await self.store.write(lambda txn: txn.run(sql, days * DAY))
        await self.hearth.app.repository.housekeeping.run()

    async def is_there(self, uri: str) -> bool:
        answer = await self.download(uri.removeprefix("mxc://"))
        self.assertIn(answer.code, (200, 404))
        return answer.code == 200

    async def assert_goes(self, uri: str) -> None:
        await self.days_pass()
        self.assertFalse(await self.is_there(uri))

    async def assert_stays(self, uri: str) -> None:
        for _ in range(3):
            await self.days_pass()
        self.assertTrue(await self.is_there(uri))

    async def test_a_picture_goes_some_days_after_its_message(self) -> None:
        uri = await self.picture()
        await self.thumbnail(uri.removeprefix("mxc://"), 32, 32, "crop")
        self.assertEqual(len(self.on_disk()), 2)
        message = await self.show(uri)
        await self.redact(message)
        await self.days_pass(6)
        self.assertTrue(await self.is_there(uri))
        await self.days_pass(1)
        self.assertFalse(await self.is_there(uri))
        self.assertEqual(self.on_disk(), [])
        used = await self.store.read(lambda txn: media_totals.totals(txn, ["*", self.alice.id]))
        self.assertEqual(used, {"*": 0, self.alice.id: 0})

    async def test_a_picture_goes_with_its_last_message_only(self) -> None:
        uri = await self.picture()
        first, second = await self.show(uri), await self.show(uri)
        await self.redact(first)
        await self.assert_stays(uri)
        await self.redact(second)
        await self.assert_goes(uri)

    async def test_its_thumbnail_and_an_avatar_count_like_the_picture(self) -> None:
        uri, small, face = [await self.picture() for _ in range(3)]
        message = await self.show(uri, info={"thumbnail_url": small})
        await self.alice.set_state(self.room, "m.room.avatar", {"url": face})
        avatar = await self.alice.set_state(self.room, "m.room.avatar", {"url": face, "info": {}})
        await self.redact(message)
        await self.redact(avatar)
        await self.days_pass()
        there = [await self.is_there(each) for each in (uri, small, face)]
        self.assertEqual(there, [False, False, True])

    async def test_the_redaction_by_a_moderator_counts_too(self) -> None:
        item = (await self.call("POST", f"{V3}/upload", "bob", b"x")).json["content_uri"]
        await self.redact(await self.show(item, self.bob), self.alice)
        await self.assert_goes(item)

    async def test_what_was_never_shown_openly_stays(self) -> None:
        unseen = await self.picture()
        encrypted = await self.picture()
        content = {"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "…"}
        await self.redact(await self.alice.send(self.room, "m.room.encrypted", content))
        attachment = {"url": encrypted, "key": {}, "iv": "x", "hashes": {}, "v": "v2"}
        said = {"msgtype": "m.image", "body": "a", "file": attachment}
        await self.redact(await self.alice.send(self.room, IMAGE, said))
        await self.assert_stays(unseen)
        await self.assert_stays(encrypted)

    async def test_bob_cannot_destroy_what_alice_has_uploaded(self) -> None:
        uri = await self.picture()  # shown by Alice in an encrypted event, which nobody can see
        await self.redact(await self.show(uri, self.bob), self.bob)
        await self.assert_stays(uri)

    async def test_what_somebody_else_shows_stays_as_long_as_they_do(self) -> None:
        uri = await self.picture()
        mine = await self.show(uri)
        link = f'<img src="{uri}">'
        said = {"msgtype": "m.text", "body": "look", "formatted_body": link}
        theirs = await self.bob.send(self.room, IMAGE, said)
        await self.redact(mine)
        await self.assert_stays(uri)
        await self.redact(theirs, self.bob)
        await self.days_pass(6)
        self.assertTrue(await self.is_there(uri))
        await self.assert_goes(uri)

    async def test_the_days_begin_again_when_the_last_one_stops_to_show_it(self) -> None:
        uri = await self.picture()
        mine, theirs = await self.show(uri), await self.show(uri, self.bob)
        await self.redact(mine)
        await self.days_pass(5)
        await self.redact(theirs, self.bob)
        await self.days_pass(5)
        self.assertTrue(await self.is_there(uri))
        await self.days_pass(2)
        self.assertFalse(await self.is_there(uri))

    async def test_what_stays_does_not_hold_up_what_goes(self) -> None:
        self.patch(housekeeping, "REMOVED_AT_ONCE", 1)
        shown, gone = await self.picture(), await self.picture()
        await self.show(shown, self.bob)
        for uri in (shown, gone):
            await self.redact(await self.show(uri))
        await self.days_pass()
        await self.hearth.app.repository.housekeeping.run()
        self.assertEqual([await self.is_there(uri) for uri in (shown, gone)], [True, False])

    async def test_profiles_and_account_data_keep_a_picture(self) -> None:
        face, emote = await self.picture(), await self.picture()
        for uri in (face, emote):
            await self.redact(await self.show(uri))
        await self.bob.ask("POST", f"/rooms/{self.room}/leave")  # so that no event has his face
        profile, data = f"/profile/{self.bob.id}", f"/user/{self.alice.id}/account_data/emotes"
        await self.bob.ask("PUT", f"{profile}/avatar_url", {"avatar_url": face})
        await self.alice.ask("PUT", data, {"images": {"wave": {"url": emote}}})
        await self.assert_stays(face)
        await self.assert_stays(emote)
        await self.alice.ask("PUT", data, {})
        await self.assert_goes(emote)

    async def test_a_new_face_leaves_the_old_one_where_it_was_shown(self) -> None:
        old, new = await self.picture(), await self.picture()
        for uri in (old, new):
            await self.alice.ask("PUT", f"/profile/{self.alice.id}/avatar_url", {"avatar_url": uri})
        await self.assert_stays(old)
        await self.assert_stays(new)

    async def test_what_was_uploaded_before_uses_were_noted_stays(self) -> None:
        uri = await self.picture()
        small = await self.upload(b"x")
        await self.store.write(older_database)
        await self.hearth.restart()
        self.store = self.hearth.app.storage.store
        size = len(picture(40, 40))
        used = await self.store.read(lambda txn: media_totals.totals(txn, ["*", self.alice.id]))
        total = max(size, SMALLEST) + SMALLEST
        self.assertEqual(used, {"*": total, self.alice.id: total})
        await self.redact(await self.show(uri))
        await self.redact(await self.show("mxc://" + small))
        await self.assert_stays(uri)
        await self.assert_stays("mxc://" + small)

    async def test_foreign_and_odd_mentions_do_no_harm(self) -> None:
        uri = await self.picture()
        for odd in (
            {"url": 5},
            {"url": [uri]},
            {"url": uri + "/../x", "info": [uri]},
            {"url": "mxc://localhost/", "info": {"thumbnail_url": {}}},
            {"url": "mxc://elsewhere/" + uri.rpartition("/")[2]},
            {"body": " ".join(f"mxc://localhost/{number}" for number in range(2000))},
        ):
            content = {"msgtype": "m.text", "body": "a", **odd}
            await self.redact(await self.alice.send(self.room, IMAGE, content))
        await self.assert_stays(uri)

    async def test_the_rows_of_uses_do_not_outlive_their_events(self) -> None:
        uri = await self.picture()
        for message in [await self.show(uri) for _ in range(3)]:
            await self.redact(message)
        count = "SELECT COUNT(*) FROM media_uses"
        self.assertEqual(await self.store.read(lambda txn: txn.value(count)), 0)


def older_database(txn: WriteTransaction) -> None:
    """Take back what the migrations of media from 0100 on have made."""
    for statement in (
        "DROP TABLE media_totals",
        "DROP TABLE media_uses",
        "DROP TABLE url_previews",
        "DROP INDEX media_taken_back",
        "DROP INDEX media_file",
        "ALTER TABLE media DROP COLUMN taken_back_at",
        "ALTER TABLE media DROP COLUMN sealed",
        "DELETE FROM schema_version WHERE number BETWEEN 100 AND 104",
    ):
        txn.run(statement)


class OrphanTest(MediaTest):
    """What a crash between a file and its row leaves."""

    async def orphan(self, name: str, hours: int = 2) -> None:
        for path in (self.files.original(name), self.files.thumbnail(name, "32x32-crop")):
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"lost")
            os.utime(path, (time() - hours * 3600,) * 2)

    async def sweep(self) -> None:
        await Orphans(self.store, self.files).sweep()

    async def age(self) -> None:
        for name in self.on_disk():
            os.utime(self.folder / name, (time() - 7200,) * 2)

    async def test_a_start_removes_what_no_row_knows(self) -> None:
        items = [await self.upload(picture(200, 200), "image/png") for _ in range(3)]
        await self.thumbnail(items[0], 32, 32, "crop")
        await self.age()
        kept = self.on_disk()
        await self.orphan("lost")
        await self.orphan("other")
        await self.orphan("just being stored", hours=0)
        self.assertEqual(len(self.on_disk()), len(kept) + 6)
        await self.hearth.restart()
        await self.hearth.app.background.finish()
        new = {name for name in self.on_disk() if "just being stored" in name}
        self.assertEqual((set(self.on_disk()), len(new)), ({*kept, *new}, 2))

    async def test_a_database_that_does_not_belong_to_the_files_removes_none(self) -> None:
        items = [await self.upload(b"x") for _ in range(3)]
        await self.age()
        await self.store.write(lambda txn: txn.run("DELETE FROM media WHERE size = 1"))
        await self.sweep()
        self.assertEqual(len(self.on_disk()), len(items))

    async def test_a_sweep_that_is_stopped_removes_nothing_more(self) -> None:
        await self.upload(b"x")
        await self.age()
        await self.orphan("lost")
        before = len(self.on_disk())
        sweeper = Orphans(self.store, self.files)
        sweeper.stop()
        await sweeper.sweep()
        self.assertEqual(len(self.on_disk()), before)

    async def test_a_sweep_stops_looking_when_it_has_found_enough(self) -> None:
        self.patch(orphans, "MOST_AT_ONCE", 1)
        for number in range(4):
            await self.orphan(f"{number}0lost")
            media_id = f"{number}"
            row = MediaFile(f"{number}0known", 1, "text/plain", None, False)
            path = self.files.original(row.file_id)
            path.write_bytes(b"x")
            os.utime(path, (time() - 7200,) * 2)
            await self.store.write(
                lambda txn, row=row, media_id=media_id: add(txn, media_id, "@a:b", 0, row)
            )
        await self.sweep()
        left = {name for name in self.on_disk() if "lost" in name and "originals" in name}
        self.assertEqual(len(left), 2)
