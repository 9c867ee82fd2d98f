"""Addresses of PostgreSQL databases, as organizers write them."""

import os
from contextlib import closing
from unittest import SkipTest, TestCase

from storage.postgres import PostgresEngine


class AddressTest(TestCase):
    def test_an_address_may_say_what_the_server_says_itself(self) -> None:
        address = os.environ.get("HEARTH_TEST_POSTGRES")
        if address is None:
            raise SkipTest("This needs a PostgreSQL; it runs with those of PostgreSQL")
        more = "?connect_timeout=3&application_name=street&gssencmode=prefer"
        with closing(PostgresEngine(address + more).connect(writing=False)) as connection:
            parameters = connection.get_dsn_parameters()
        self.assertEqual(parameters["application_name"], "hearth")
        self.assertEqual(parameters["gssencmode"], "prefer")
