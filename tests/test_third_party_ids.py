"""E-mail addresses: proving them, logging in with them, and new passwords."""

from typing import Any

import treq

import homeserver.assembly.email
import homeserver.assembly.people
from homeserver.email_validations import CONFIRM_PATH, LIFETIME_MS, MAX_WRONG_TOKENS
from homeserver.third_party_ids import MAX_ADDRESSES
from homeserver.uia import DUMMY, EMAIL, PASSWORD, REGISTRATION_TOKEN
from tests.mail_server import MailServer, link_in
from tests.support import PASSWORD as OLD_PASSWORD
from tests.support import Person, Server, WireTest
from tests.test_accounts import Later, both, own_password

ADD, REGISTER, RESET = "/account/3pid", "/register", "/account/password"
NEW_PASSWORD = "a new one, quite long"


class EmailCase(WireTest):
    """A server with a mail server beside it."""

    async def begin(self, **settings: Any) -> tuple[Server, MailServer]:
        self.later = Later()
        for module in (homeserver.assembly.people, homeserver.assembly.email):
            self.patch(module, "system_clock", self.later)
        self.post = await MailServer(self).start()
        self.hearth = await self.server(
            email=self.post.settings, public_url="https://elm.example/", **settings
        )
        return self.hearth, self.post

    async def ask(
        self, what: str, email: str, secret: str = "secret", attempt: int = 1, **more: Any
    ) -> tuple[int, Any]:
        """Ask for a letter."""
        body = {"email": email, "client_secret": secret, "send_attempt": attempt, **more}
        return await self.hearth.call("POST", f"{what}/email/requestToken", body)

    async def prove(self, what: str, email: str, secret: str = "secret") -> dict[str, str]:
        """Ask for a letter and confirm it; what proves that to the server."""
        code, answer = await self.ask(what, email, secret)
        self.assertEqual(code, 200, answer)
        code, page = await self.hearth.call("POST", await self.post.link(), raw=b"")
        self.assertEqual(code, 200, page)
        return {"sid": answer["sid"], "client_secret": secret}

    async def person_with(self, name: str, email: str) -> Person:
        """Somebody who has added their address."""
        person = await self.hearth.person(name)
        proof = await self.prove(ADD, email, f"secret-of-{name}")
        await person.ask("POST", f"{ADD}/add", {**proof, "auth": own_password(person)})
        return person

    async def addresses(self, person: Person) -> list[str]:
        return [each["address"] for each in (await person.ask("GET", ADD))["threepids"]]

    async def log_in(self, email: str, password: str = OLD_PASSWORD) -> tuple[int, Any]:
        identifier = {"type": "m.id.thirdparty", "medium": "email", "address": email}
        body = {"type": PASSWORD, "identifier": identifier, "password": password}
        return await self.hearth.call("POST", "/login", body)

    async def reset(self, proof: dict[str, str], **more: Any) -> tuple[int, Any]:
        """Set a new password with a proof, as clients do that remember no session."""
        auth = {"type": EMAIL, "threepid_creds": proof}
        body = {"new_password": NEW_PASSWORD, "auth": auth, **more}
        return await self.hearth.call("POST", RESET, body)


class AddingTest(EmailCase):
    async def test_an_address_is_added_by_who_reads_its_letters_and_knows_the_password(
        self,
    ) -> None:
        hearth, post = await self.begin()
        ann = await hearth.person("ann")
        capabilities = (await ann.ask("GET", "/capabilities"))["capabilities"]
        self.assertEqual(capabilities["m.3pid_changes"], {"enabled": True})
        code, answer = await self.ask(ADD, "Ann@Home.example")
        self.assertEqual(code, 200)
        proof = {"sid": answer["sid"], "client_secret": "secret"}
        letter = await post.letter()
        self.assertEqual(letter["To"], "ann@home.example")
        self.assertIn("https://elm.example/_hearth/", letter.get_content())
        add = f"{ADD}/add"
        code, answer = await ann.call("POST", add, proof)
        self.assertEqual((code, answer["errcode"]), (403, "M_THREEPID_AUTH_FAILED"))

        # To look at the page is what programs do, too: it proves nothing.
        code, page = await hearth.call("GET", link_in(letter))
        self.assertEqual(code, 200)
        self.assertIn("ann@home.example", page.decode())
        self.assertEqual((await ann.call("POST", add, proof))[0], 403)
        self.assertEqual((await hearth.call("POST", link_in(letter), raw=b""))[0], 200)

        code, question = await ann.call("POST", add, proof)
        self.assertEqual((code, question["flows"]), (401, [{"stages": [PASSWORD]}]))
        wrong = {**proof, "client_secret": "another"}
        self.assertEqual((await ann.call("POST", add, wrong))[0], 403)
        auth = own_password(ann, session=question["session"])
        await ann.ask("POST", add, {**proof, "auth": auth})
        (known,) = (await ann.ask("GET", ADD))["threepids"]
        self.assertEqual((known["medium"], known["address"]), ("email", "ann@home.example"))
        self.assertLessEqual(known["validated_at"], known["added_at"])
        # A proof is good once.
        again = {**proof, "auth": own_password(ann)}
        code, answer = await ann.call("POST", add, again)
        self.assertEqual((code, answer["errcode"]), (403, "M_THREEPID_AUTH_FAILED"))

        await hearth.restart()
        for spelling in ("ann@home.example", "ANN@home.example"):
            code, answer = await self.log_in(spelling)
            self.assertEqual((code, answer["user_id"]), (200, ann.id))
        identifier = {"type": "m.id.thirdparty", "medium": "email", "address": "ANN@home.example"}
        auth = {"type": PASSWORD, "identifier": identifier, "password": OLD_PASSWORD}
        await ann.ask("POST", "/delete_devices", {"devices": [], "auth": auth})
        old_way = {"type": PASSWORD, "medium": "email", "address": "ann@home.example"}
        code, answer = await hearth.call("POST", "/login", {**old_way, "password": OLD_PASSWORD})
        self.assertEqual((code, answer["user_id"]), (200, ann.id))

    async def test_to_prove_oneself_by_an_address_it_has_to_be_ones_own(self) -> None:
        hearth, _ = await self.begin()
        ann = await self.person_with("ann", "ann@home.example")
        await self.person_with("ben", "ben@home.example")
        address = {"type": "m.id.thirdparty", "medium": "email"}
        refusals = []
        for identifier in (
            {**address, "address": "nobody@home.example"},
            {**address, "address": "ben@home.example"},
            {**address, "medium": "msisdn", "address": "447700900123"},
            {"type": "m.id.phone", "country": "GB", "phone": "07700900123"},
        ):
            auth = {"type": PASSWORD, "identifier": identifier, "password": OLD_PASSWORD}
            body = {"devices": [], "auth": auth}
            code, answer = await ann.call("POST", "/delete_devices", body)
            self.assertEqual((code, answer["errcode"]), (403, "M_FORBIDDEN"), identifier)
            self.assertNotIn("flows", answer)
            refusals.append(answer)
        # Nobody learns whose addresses are known here.
        self.assertEqual(refusals[0], refusals[1])
        # One's own is the right one; then the password may be wrong, and is asked for again.
        identifier = {**address, "address": "ann@home.example"}
        auth = {"type": PASSWORD, "identifier": identifier, "password": "a wrong guess"}
        code, answer = await ann.call("POST", "/delete_devices", {"devices": [], "auth": auth})
        self.assertEqual((code, answer["errcode"]), (401, "M_FORBIDDEN"))
        auth["session"], auth["password"] = answer["session"], OLD_PASSWORD
        await ann.ask("POST", "/delete_devices", {"devices": [], "auth": auth})

    async def test_an_address_belongs_to_one_account_whoever_was_first(self) -> None:
        hearth, post = await self.begin()
        ann, ben = await hearth.people("ann", "ben")
        proofs = [await self.prove(ADD, "home@home.example", secret) for secret in ("a", "b")]
        code, _ = await ann.call("POST", f"{ADD}/add", {**proofs[0], "auth": own_password(ann)})
        self.assertEqual(code, 200)
        code, answer = await ben.call(
            "POST", f"{ADD}/add", {**proofs[1], "auth": own_password(ben)}
        )
        self.assertEqual((code, answer["errcode"]), (403, "M_THREEPID_AUTH_FAILED"))
        self.assertEqual(await self.addresses(ben), [])
        # Ben asks again: the answer says nothing, the letter says why.
        self.assertEqual((await self.ask(ADD, "HOME@home.example", "c"))[0], 200)
        letter = await post.letter()
        self.assertIn("already", letter["Subject"])
        self.assertNotIn("http", letter.get_content())
        # Nobody else can take it from her, and she can.
        for who, left in ((ben, ["home@home.example"]), (ann, [])):
            body = {"medium": "email", "address": "Home@home.example"}
            answer = await who.ask("POST", f"{ADD}/delete", body)
            self.assertEqual(answer, {"id_server_unbind_result": "no-support"})
            self.assertEqual(await self.addresses(ann), left)
        self.assertEqual((await self.log_in("home@home.example"))[0], 403)

    async def test_two_who_add_one_address_at_once(self) -> None:
        hearth, _ = await self.begin()
        people = await hearth.people("ann", "ben")
        proofs = [await self.prove(ADD, "home@home.example", secret) for secret in ("a", "b")]
        answers = await both(
            *(
                person.call("POST", f"{ADD}/add", {**proof, "auth": own_password(person)})
                for person, proof in zip(people, proofs, strict=True)
            )
        )
        self.assertEqual(sorted(code for code, _ in answers), [200, 403], answers)

    async def test_an_account_has_a_bounded_number_of_addresses(self) -> None:
        hearth, _ = await self.begin()
        ann = await hearth.person("ann")
        for number in range(MAX_ADDRESSES + 1):
            proof = await self.prove(ADD, f"ann{number}@home.example")
            code, answer = await ann.call(
                "POST", f"{ADD}/add", {**proof, "auth": own_password(ann)}
            )
        self.assertEqual((code, answer["errcode"]), (403, "M_THREEPID_DENIED"))
        self.assertEqual(len(await self.addresses(ann)), MAX_ADDRESSES)

    async def test_a_closed_account_frees_its_address(self) -> None:
        hearth, _ = await self.begin()
        ann = await self.person_with("ann", "ann@home.example")
        await ann.ask("POST", "/account/deactivate", {"auth": own_password(ann)})
        ben = await self.person_with("ben", "ann@home.example")
        self.assertEqual(await self.addresses(ben), ["ann@home.example"])

    async def test_phones_and_identity_servers_are_refused_in_their_words(self) -> None:
        hearth, _ = await self.begin()
        ann = await hearth.person("ann")
        phone = {"client_secret": "s", "country": "GB", "phone_number": "07", "send_attempt": 1}
        for what, code, errcode in (
            (REGISTER, 403, "M_THREEPID_DENIED"),
            (RESET, 403, "M_THREEPID_DENIED"),
            (ADD, 400, "M_THREEPID_MEDIUM_NOT_SUPPORTED"),
        ):
            got, answer = await hearth.call("POST", f"{what}/msisdn/requestToken", phone)
            self.assertEqual((got, answer["errcode"]), (code, errcode))
        credentials = {"sid": "1", "client_secret": "s", "id_server": "x", "id_access_token": "y"}
        code, answer = await ann.call("POST", f"{ADD}/bind", credentials)
        self.assertEqual((code, answer["errcode"]), (400, "M_SERVER_NOT_TRUSTED"))
        code, answer = await ann.call("POST", ADD, {"three_pid_creds": credentials})
        self.assertEqual((code, answer["errcode"]), (403, "M_THREEPID_AUTH_FAILED"))
        body = {"medium": "msisdn", "address": "447"}
        for path in (f"{ADD}/unbind", f"{ADD}/delete"):
            answer = await ann.ask("POST", path, body)
            self.assertEqual(answer, {"id_server_unbind_result": "no-support"})
        identifier = {"type": "m.id.phone", "country": "GB", "phone": "07"}
        body = {"type": PASSWORD, "identifier": identifier, "password": "x"}
        self.assertEqual((await hearth.call("POST", "/login", body))[0], 403)


class LettersTest(EmailCase):
    async def test_the_same_attempt_is_not_sent_twice_and_a_new_one_replaces_the_link(self) -> None:
        hearth, post = await self.begin()
        answers = [await self.ask(REGISTER, "ann@home.example", attempt=2) for _ in range(2)]
        answers += [await self.ask(REGISTER, "Ann@home.example", attempt=1)]
        first = await post.link()
        answers += [await self.ask(REGISTER, "ann@home.example", attempt=3)]
        second = await post.link()
        self.assertEqual({code for code, _ in answers}, {200})
        self.assertEqual(len({answer["sid"] for _, answer in answers}), 1)
        # Had there been more letters, they would have come before the second link.
        self.assertNotEqual(first, second)
        self.assertEqual((await hearth.call("POST", first, raw=b""))[0], 404)
        self.assertEqual((await hearth.call("POST", second, raw=b""))[0], 200)
        # Another client, another address, another purpose: a session of its own.
        for what, email, secret in (
            (REGISTER, "ann@home.example", "other"),
            (REGISTER, "ben@home.example", "secret"),
            (ADD, "ann@home.example", "secret"),
        ):
            answers.append(await self.ask(what, email, secret))
            await post.letter()
        self.assertEqual(len({answer["sid"] for _, answer in answers}), 4)

    async def test_retries_at_the_same_moment_make_one_letter(self) -> None:
        _, post = await self.begin()
        answers = await both(*(self.ask(REGISTER, "ann@home.example") for _ in range(4)))
        self.assertEqual(len({answer["sid"] for _, answer in answers}), 1)
        await post.letter()
        await self.ask(REGISTER, "ben@home.example")
        self.assertEqual((await post.letter())["To"], "ben@home.example")

    async def test_a_link_ends_in_time_and_cannot_be_guessed(self) -> None:
        hearth, post = await self.begin()
        await self.ask(REGISTER, "ann@home.example")
        link = await post.link()
        self.later.ahead = LIFETIME_MS + 1
        for method in ("GET", "POST"):
            self.assertEqual((await hearth.call(method, link, raw=b""))[0], 404)
        await self.ask(REGISTER, "ann@home.example", attempt=0)
        link = await post.link()
        sid = link.partition("sid=")[2].partition("&")[0]
        for guess in range(MAX_WRONG_TOKENS - 1):
            wrong = f"{CONFIRM_PATH}?sid={sid}&token=guess{guess}"
            self.assertEqual((await hearth.call("POST", wrong, raw=b""))[0], 404)
        self.assertEqual((await hearth.call("GET", link))[0], 200)
        self.assertEqual((await hearth.call("GET", f"{CONFIRM_PATH}?sid={sid}&token=g"))[0], 404)
        self.assertEqual((await hearth.call("GET", link))[0], 404)
        for odd in ("", "?sid=x", "?sid=&token=", "?token=x&sid=%E2%82%AC"):
            self.assertEqual((await hearth.call("GET", CONFIRM_PATH + odd))[0], 404)

    async def test_a_proof_ends_in_time(self) -> None:
        hearth, _ = await self.begin()
        ann = await hearth.person("ann")
        proof = await self.prove(ADD, "ann@home.example")
        self.later.ahead = LIFETIME_MS + 1
        body = {**proof, "auth": own_password(ann)}
        self.assertEqual((await ann.call("POST", f"{ADD}/add", body))[0], 403)
        stored = await hearth.app.storage.store.read(
            lambda txn: txn.value("SELECT COUNT(*) FROM email_validations")
        )
        await self.ask(ADD, "ben@home.example")
        after = await hearth.app.storage.store.read(
            lambda txn: txn.value("SELECT COUNT(*) FROM email_validations")
        )
        self.assertEqual((stored, after), (1, 1))

    async def test_people_go_on_to_where_their_client_wants_if_that_is_a_web_page(self) -> None:
        hearth, post = await self.begin()
        for link in (
            "javascript:alert(1)",
            "ftp://x.example/",
            "https://user@x.example/",
            "https:///path",
            "//x.example/",
            "https://x.example/\r\nSet-Cookie: a=b",
            "https://x.example/\tx",
            'https://x.example/"><script>',
            "https://x.example; script-src *",
            "https://bücher.example/",
            "https://x.example/" + "x" * 2000,
        ):
            code, answer = await self.ask(REGISTER, "ann@home.example", next_link=link)
            self.assertEqual(code, 400, answer)
        goal = "https://app.example:8443/#/register?client_secret=x&session_id=y"
        self.assertEqual((await self.ask(REGISTER, "a@b.example", next_link=goal))[0], 200)
        path = await post.link()
        self.assertEqual((await self.ask(REGISTER, "c@b.example", next_link=""))[0], 200)
        _, page = await hearth.call("GET", path)
        self.assertIn("taken to app.example", page.decode())
        response = await treq.post(hearth.base + path, allow_redirects=False, persistent=False)
        await response.content()
        self.assertEqual(response.code, 303)
        self.assertEqual(response.headers.getRawHeaders("location"), [goal])
        self.assertEqual(response.headers.getRawHeaders("referrer-policy"), ["no-referrer"])
        (policy,) = response.headers.getRawHeaders("content-security-policy")
        self.assertIn("form-action 'self' https://app.example:8443;", policy)
        self.assertIn("script-src 'none'", policy)

    async def test_what_is_no_request_sends_nothing(self) -> None:
        _, post = await self.begin()
        for email, secret in (
            ("not an address", "secret"),
            ("ann@home.example\r\nBcc: eve@home.example", "secret"),
            ("ann@home.example", ""),
            ("ann@home.example", "with space"),
            ("ann@home.example", "x" * 256),
        ):
            for what in (REGISTER, RESET, ADD):
                code, answer = await self.ask(what, email, secret)
                self.assertEqual(code, 400, answer)
        code, answer = await self.ask(REGISTER, "ann@home.example", attempt="1")  # type: ignore[arg-type]
        self.assertEqual((code, answer["errcode"]), (400, "M_BAD_JSON"))
        self.assertEqual(len(self.hearth.app.people.email.mailer), 0)  # type: ignore[union-attr]
        self.assertFalse(post.has_letters)

    async def test_nobody_is_flooded(self) -> None:
        limits = {"enabled": True, "email": [0.0001, 3]}
        await self.begin(rate_limits=limits)
        for attempt in range(3):
            self.assertEqual((await self.ask(RESET, f"p{attempt}@home.example"))[0], 200)
        code, answer = await self.ask(RESET, "ann@home.example")
        self.assertEqual((code, answer["errcode"]), (429, "M_LIMIT_EXCEEDED"))

    async def test_nobody_is_flooded_from_many_places_either(self) -> None:
        limits = {"enabled": True, "email_recipient": [0.0001, 3]}
        hearth, _ = await self.begin(rate_limits=limits)
        codes = []
        for place in range(5):
            body = {"email": "ann@home.example", "client_secret": f"s{place}", "send_attempt": 1}
            code, _ = await hearth.call(
                "POST",
                f"{RESET}/email/requestToken",
                body,
                headers={"X-Forwarded-For": f"192.0.2.{place}"},
            )
            codes.append(code)
        self.assertEqual(codes, [200, 200, 200, 429, 429])

    async def test_the_database_holds_no_secret_of_a_letter(self) -> None:
        hearth, post = await self.begin()
        await self.ask(REGISTER, "ann@home.example", "very-secret-secret")
        token = (await post.link()).partition("token=")[2]
        rows = await hearth.app.storage.store.read(
            lambda txn: repr(txn.all("SELECT * FROM email_validations"))
        )
        self.assertNotIn(token, rows)
        self.assertNotIn("very-secret-secret", rows)


class NewPasswordTest(EmailCase):
    async def test_whoever_reads_the_letter_gets_a_new_password(self) -> None:
        hearth, post = await self.begin()
        ann = await self.person_with("ann", "ann@home.example")
        code, question = await hearth.call("POST", RESET, {"new_password": NEW_PASSWORD})
        self.assertEqual((code, question["flows"]), (401, [{"stages": [EMAIL]}]))
        code, answer = await self.ask(RESET, "ann@home.example", "mine")
        proof = {"sid": answer["sid"], "client_secret": "mine"}
        link = await post.link()
        # The client asks again and again while the person looks for the letter.
        session = question["session"]
        auth = {"type": EMAIL, "threepid_creds": proof, "session": session}
        body = {"new_password": NEW_PASSWORD, "auth": auth}
        code, answer = await hearth.call("POST", RESET, body)
        self.assertEqual((code, answer["errcode"]), (401, "M_UNAUTHORIZED"))
        self.assertEqual((answer["session"], answer["completed"]), (session, []))
        await hearth.call("POST", link, raw=b"")
        # The proof is of this client, and the session of this request.
        code, answer = await self.reset({**proof, "client_secret": "eve"})
        self.assertEqual((code, answer["errcode"]), (401, "M_UNAUTHORIZED"))
        other = {**body, "new_password": "another, by somebody else"}
        self.assertEqual((await hearth.call("POST", RESET, other))[0], 403)
        self.assertEqual((await hearth.call("POST", RESET, body))[0], 200)
        self.assertEqual((await ann.call("GET", "/account/whoami"))[0], 401)
        self.assertEqual((await self.log_in("ann@home.example"))[0], 403)
        self.assertEqual((await self.log_in("ann@home.example", NEW_PASSWORD))[0], 200)
        # Once: neither the session nor the proof opens anything again.
        again = {"new_password": NEW_PASSWORD, "auth": {"session": session}}
        self.assertEqual((await hearth.call("POST", RESET, again))[0], 401)
        self.assertEqual((await self.reset(proof))[0], 401)

    async def test_devices_stay_logged_in_when_the_client_wants_it(self) -> None:
        await self.begin()
        ann = await self.person_with("ann", "ann@home.example")
        proof = await self.prove(RESET, "ann@home.example")
        self.assertEqual((await self.reset(proof, logout_devices=False))[0], 200)
        self.assertEqual((await ann.call("GET", "/account/whoami"))[0], 200)

    async def test_nobody_learns_whether_an_address_has_an_account(self) -> None:
        _, post = await self.begin()
        await self.person_with("ann", "ann@home.example")
        for what in (REGISTER, RESET, ADD):
            known = await self.ask(what, "ann@home.example", "x")
            unknown = await self.ask(what, "nobody@home.example", "x")
            self.assertEqual((known[0], unknown[0]), (200, 200))
            self.assertEqual(known[1].keys(), unknown[1].keys())
            letters = {
                letter["To"]: letter for letter in [await post.letter(), await post.letter()]
            }
            with_link = [to for to, letter in letters.items() if "http" in letter.get_content()]
            whose = "ann" if what == RESET else "nobody"
            self.assertEqual(with_link, [f"{whose}@home.example"], what)
        wrong = await self.log_in("ann@home.example", "a wrong password")
        nobody = await self.log_in("nobody@home.example", "a wrong password")
        self.assertEqual(wrong, nobody)
        self.assertEqual(wrong[0], 403)

    async def test_a_proof_for_one_thing_is_none_for_another(self) -> None:
        hearth, _ = await self.begin()
        await self.person_with("ann", "ann@home.example")
        ben = await hearth.person("ben")
        to_add = await self.prove(ADD, "new@home.example", "1")
        code, answer = await self.reset(to_add)
        self.assertEqual((code, answer["errcode"]), (403, "M_THREEPID_AUTH_FAILED"))
        for_password = await self.prove(RESET, "ann@home.example", "2")
        body = {**for_password, "auth": own_password(ben)}
        code, answer = await ben.call("POST", f"{ADD}/add", body)
        self.assertEqual((code, answer["errcode"]), (403, "M_THREEPID_AUTH_FAILED"))
        self.assertEqual(await self.addresses(ben), [])

    async def test_an_address_that_changed_hands_resets_nobodys_password(self) -> None:
        await self.begin()
        ann = await self.person_with("ann", "shared@home.example")
        proof = await self.prove(RESET, "shared@home.example")
        body = {"medium": "email", "address": "shared@home.example"}
        await ann.ask("POST", f"{ADD}/delete", body)
        await self.person_with("ben", "shared@home.example")
        self.assertEqual((await self.reset(proof))[0], 401)
        self.assertEqual((await self.log_in("shared@home.example"))[0], 200)

    async def test_without_e_mail_a_password_needs_a_token(self) -> None:
        hearth = await self.server()
        code, answer = await hearth.call("POST", RESET, {"new_password": NEW_PASSWORD})
        self.assertEqual((code, answer["errcode"]), (401, "M_MISSING_TOKEN"))
        ann = await hearth.person("ann")
        capabilities = (await ann.ask("GET", "/capabilities"))["capabilities"]
        self.assertEqual(capabilities["m.3pid_changes"], {"enabled": False})
        self.assertEqual((await hearth.call("GET", f"{CONFIRM_PATH}?sid=a&token=b"))[0], 404)


class SigningUpTest(EmailCase):
    async def sign_up(self, name: str, proof: dict[str, str], **auth: Any) -> tuple[int, Any]:
        auth = {"type": EMAIL, "threepid_creds": proof, **auth}
        body = {"username": name, "password": OLD_PASSWORD, "auth": auth}
        return await self.hearth.call("POST", "/register", body)

    async def test_who_wants_to_signs_up_with_an_address(self) -> None:
        hearth, _ = await self.begin()
        code, question = await hearth.call("POST", "/register", {})
        self.assertEqual(question["flows"], [{"stages": [DUMMY]}, {"stages": [EMAIL]}])
        proof = await self.prove(REGISTER, "ann@home.example")
        code, answer = await self.sign_up("ann", proof, session=question["session"])
        self.assertEqual(code, 200, answer)
        ann = Person(hearth, answer, None)
        self.assertEqual(await self.addresses(ann), ["ann@home.example"])
        ben = await hearth.person("ben")
        self.assertEqual(await self.addresses(ben), [])
        code, answer = await self.sign_up("cat", proof)
        self.assertEqual((code, answer["errcode"]), (401, "M_UNAUTHORIZED"))

    async def test_an_address_can_be_required_beside_a_token(self) -> None:
        hearth, _ = await self.begin(registration={"mode": "token", "email": "required"})
        token = await hearth.app.people.tokens.create(uses_allowed=1)
        _, question = await hearth.call("POST", "/register", {})
        self.assertEqual(question["flows"], [{"stages": [EMAIL, REGISTRATION_TOKEN]}])
        session = question["session"]
        proof = await self.prove(REGISTER, "ann@home.example")
        rival = await self.prove(REGISTER, "ann@home.example", "rival")
        code, answer = await self.sign_up("ann", proof, session=session)
        self.assertEqual((code, answer["completed"]), (401, [EMAIL]))
        _, other = await self.sign_up("ben", rival)
        body = {"username": "ann", "password": OLD_PASSWORD}
        auth = {"type": REGISTRATION_TOKEN, "token": token, "session": session}
        code, answer = await hearth.call("POST", "/register", {**body, "auth": auth})
        self.assertEqual(code, 200, answer)
        # Meanwhile the address is hers: whoever was half way through ends with nothing used.
        spare = await hearth.app.people.tokens.create(uses_allowed=1)
        auth = {"type": REGISTRATION_TOKEN, "token": spare, "session": other["session"]}
        code, answer = await hearth.call(
            "POST", "/register", {**body, "username": "ben", "auth": auth}
        )
        self.assertEqual((code, answer["errcode"]), (403, "M_THREEPID_AUTH_FAILED"))
        self.assertTrue(await hearth.app.people.tokens.is_valid(spare))
        self.assertIsNone(await hearth.app.people.accounts.find("@ben:localhost"))

    async def test_it_can_be_left_out(self) -> None:
        hearth, _ = await self.begin(registration={"mode": "open", "email": "never"})
        _, question = await hearth.call("POST", "/register", {})
        self.assertEqual(question["flows"], [{"stages": [DUMMY]}])
        code, answer = await self.ask(REGISTER, "ann@home.example")
        self.assertEqual((code, answer["errcode"]), (403, "M_THREEPID_DENIED"))
        self.assertEqual((await self.ask(RESET, "ann@home.example"))[0], 200)

    async def test_where_nobody_signs_up_nobody_is_asked_to(self) -> None:
        await self.begin(registration={"mode": "closed"})
        code, answer = await self.ask(REGISTER, "ann@home.example")
        self.assertEqual((code, answer["errcode"]), (403, "M_THREEPID_DENIED"))
