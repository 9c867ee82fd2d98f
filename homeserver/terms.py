"""Documents that whoever signs up must accept (client-server API, "Terms of service")."""

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from homeserver.clock import Clock
from homeserver.config import Policy
from storage.terms import add_accepted, remove_accepted
from storage.transaction import WriteTransaction


@frozen
class Terms:
    """Shows the documents of the configuration, and keeps who has accepted which version."""

    policies: Sequence[Policy]
    clock: Clock

    def params(self) -> dict[str, Any]:
        """What a client needs to show them: every document in every language."""
        shown: dict[str, dict[str, Any]] = {}
        for policy in self.policies:
            document = shown.setdefault(policy.id, {"version": policy.version})
            document[policy.language] = {"name": policy.name, "url": policy.url}
        return {"policies": shown}

    def for_reader(self, languages: Sequence[str]) -> list[Policy]:
        """Each document once: in the first of ``languages`` that there is, else as it comes."""
        chosen: dict[str, Policy] = {}
        for language in [*languages, None]:
            for policy in self.policies:
                if language in (None, policy.language):
                    chosen.setdefault(policy.id, policy)
        return [chosen[name] for name in dict.fromkeys(policy.id for policy in self.policies)]

    async def stage(self, user_id: str | None, auth: Mapping[str, Any]) -> dict[str, str]:
        """The stage ``m.login.terms``: to take it is to accept. Gives the versions that were shown.

        Sessions of authentication do not outlive this process, and its configuration does not
        change: what was shown is what is configured.
        """
        return {policy.id: policy.version for policy in self.policies}

    def accept(self, txn: WriteTransaction, user_id: str, versions: Mapping[str, str]) -> None:
        """Inside the transaction that creates the account: keep what was accepted."""
        add_accepted(txn, user_id, versions, self.clock())

    def forget(self, txn: WriteTransaction, user_id: str, erase: bool) -> None:
        """Inside a transaction: the account ends. What was accepted is kept unless it is erased."""
        if erase:
            remove_accepted(txn, user_id)
