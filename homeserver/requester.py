"""Who asks: what the rest of the server may know about the sender of a request."""

from attrs import frozen


@frozen
class Requester:
    """The person and device behind an access token. Taken from the token, never from the body."""

    user_id: str
    device_id: str
    is_admin: bool = False
    is_guest: bool = False
    application_service: str | None = None
    """The id of the service that acts as this user."""
    is_rate_limited: bool = True
    is_person: bool = True
    """Not a user who belongs to an application service alone."""
