"""Refusals: every error that a client can receive, as one family of exceptions.

A class is an errcode and an HTTP status; the sentence says which rule was broken and, where it
helps, what to do. Only ``rest.routing`` turns them into HTTP (client-server API, "Standard error
response").
"""

from typing import Any


class MatrixError(Exception):
    """A refusal with a Matrix errcode. Extra fields go into the JSON answer as they are."""

    errcode = "M_UNKNOWN"
    status = 400

    def __init__(self, error: str, **fields: Any) -> None:
        super().__init__(error)
        self.error = error
        self.fields = fields

    @property
    def retry_after(self) -> int | None:
        """The seconds after which to try again, as the header of this name has them."""
        milliseconds = self.fields.get("retry_after_ms")
        return None if milliseconds is None else -(-milliseconds // 1000)

    def body(self) -> dict[str, Any]:
        """The JSON object of the answer."""
        return {"errcode": self.errcode, "error": self.error, **self.fields}


class BadRequest(MatrixError):
    """Refused, and no errcode of the specification says more."""


class Forbidden(MatrixError):
    errcode, status = "M_FORBIDDEN", 403


class NobodysThreepid(MatrixError):
    """Somebody is identified by an address that is not theirs; no step of authentication."""

    errcode, status = "M_FORBIDDEN", 403


class InviteBlocked(MatrixError):
    errcode, status = "M_INVITE_BLOCKED", 403


class NotFound(MatrixError):
    errcode, status = "M_NOT_FOUND", 404


class Unrecognized(MatrixError):
    errcode, status = "M_UNRECOGNIZED", 404


class MethodNotAllowed(MatrixError):
    errcode, status = "M_UNRECOGNIZED", 405


class NotJson(MatrixError):
    errcode = "M_NOT_JSON"


class BadJson(MatrixError):
    errcode = "M_BAD_JSON"


class MissingParam(MatrixError):
    errcode = "M_MISSING_PARAM"


class InvalidParam(MatrixError):
    errcode = "M_INVALID_PARAM"


class TooLarge(MatrixError):
    errcode, status = "M_TOO_LARGE", 413


class EventTooLarge(MatrixError):
    """An event beyond the size limits of the specification."""

    errcode, status = "M_TOO_LARGE", 413


class MissingToken(MatrixError):
    errcode, status = "M_MISSING_TOKEN", 401


class UnknownToken(MatrixError):
    errcode, status = "M_UNKNOWN_TOKEN", 401


class LimitExceeded(MatrixError):
    """Too many requests. Always carries ``retry_after_ms``."""

    errcode, status = "M_LIMIT_EXCEEDED", 429


class UserInUse(MatrixError):
    errcode = "M_USER_IN_USE"


class InvalidUsername(MatrixError):
    errcode = "M_INVALID_USERNAME"


class Exclusive(MatrixError):
    errcode = "M_EXCLUSIVE"


class UnknownDevice(MatrixError):
    """A device was named, or is needed, that the user does not have."""

    errcode = "M_UNKNOWN_DEVICE"


class WeakPassword(MatrixError):
    errcode = "M_WEAK_PASSWORD"


class UserDeactivated(MatrixError):
    errcode, status = "M_USER_DEACTIVATED", 403


class RoomInUse(MatrixError):
    errcode = "M_ROOM_IN_USE"


class InvalidRoomState(MatrixError):
    errcode = "M_INVALID_ROOM_STATE"


class UnsupportedRoomVersion(MatrixError):
    errcode = "M_UNSUPPORTED_ROOM_VERSION"


class BadAlias(MatrixError):
    errcode = "M_BAD_ALIAS"


class BadState(MatrixError):
    """The change makes no sense in this state, such as lifting a ban that is not there."""

    errcode, status = "M_BAD_STATE", 403


class DuplicateAnnotation(MatrixError):
    errcode = "M_DUPLICATE_ANNOTATION"


class InvalidSignature(MatrixError):
    errcode = "M_INVALID_SIGNATURE"


class WrongRoomKeysVersion(MatrixError):
    """The backup that was written to is not the current one. Carries ``current_version``."""

    errcode, status = "M_WRONG_ROOM_KEYS_VERSION", 403


class NotYetUploaded(MatrixError):
    errcode, status = "M_NOT_YET_UPLOADED", 504


class CannotOverwriteMedia(MatrixError):
    errcode, status = "M_CANNOT_OVERWRITE_MEDIA", 409


class Conflict(MatrixError):
    """Somebody else has it already."""

    errcode, status = "M_UNKNOWN", 409


class Timeout(MatrixError):
    """Who has to answer first has not done so in time."""

    errcode, status = "M_UNKNOWN", 408


class UrlNotSet(MatrixError):
    errcode = "M_URL_NOT_SET"


class ConnectionFailed(MatrixError):
    errcode, status = "M_CONNECTION_FAILED", 502


class BadStatus(MatrixError):
    """The application service has refused the ping. Carries its ``status`` and ``body``."""

    errcode, status = "M_BAD_STATUS", 502


class ConnectionTimeout(MatrixError):
    errcode, status = "M_CONNECTION_TIMEOUT", 504


class Unavailable(MatrixError):
    """A part that the answer needs cannot be reached now; the same request may succeed later.

    Always carries ``retry_after_ms``.
    """

    errcode, status = "M_UNKNOWN", 503

    def __init__(self, error: str, *, retry_after_ms: int = 1000) -> None:
        super().__init__(error, retry_after_ms=retry_after_ms)


class Overloaded(Unavailable):
    """Too much waits already, whoever it is that asks.

    The errcode is that of rate limiting (client-server API, "Rate limiting"): clients wait as long
    as they are told and ask again. The status says that it is not theirs to ask for less.
    """

    errcode = "M_LIMIT_EXCEEDED"


class UserLocked(MatrixError):
    """The account is locked; the client keeps what it has and waits (``soft_logout``)."""

    errcode, status = "M_USER_LOCKED", 401

    def __init__(self) -> None:
        super().__init__(
            "This account is locked; ask the organizer of this server", soft_logout=True
        )


class UserSuspended(MatrixError):
    """The account is suspended: it reads on, but takes part in nothing."""

    errcode, status = "M_USER_SUSPENDED", 403

    def __init__(self) -> None:
        super().__init__(
            "This account is suspended, so it can do no more than read, leave and take back its"
            " own messages; ask the organizer of this server"
        )


class GuestAccessForbidden(MatrixError):
    errcode, status = "M_GUEST_ACCESS_FORBIDDEN", 403


class ThreepidDenied(MatrixError):
    errcode, status = "M_THREEPID_DENIED", 403


class ThreepidAuthFailed(MatrixError):
    errcode, status = "M_THREEPID_AUTH_FAILED", 403


class ThreepidInUse(MatrixError):
    errcode = "M_THREEPID_IN_USE"


class ServerNotTrusted(MatrixError):
    """Another server is named that this one has nothing to do with."""

    errcode = "M_SERVER_NOT_TRUSTED"


class Unauthorized(MatrixError):
    """A step of authentication has not been taken yet; the client goes on asking."""

    errcode, status = "M_UNAUTHORIZED", 401


class ThreepidMediumNotSupported(MatrixError):
    errcode = "M_THREEPID_MEDIUM_NOT_SUPPORTED"


class InteractiveAuth(MatrixError):
    """More authentication is needed, and ``fields`` say which. An error only if a stage failed."""

    errcode, status = "M_FORBIDDEN", 401

    def __init__(self, failed: MatrixError | None, **fields: Any) -> None:
        super().__init__("More authentication is needed", **fields)
        self._failed = {} if failed is None else failed.body()

    def body(self) -> dict[str, Any]:
        """The JSON object of the answer."""
        return {**self._failed, **self.fields}


class AliasTaken(MatrixError):
    """The alias points to a room already."""

    errcode, status = "M_UNKNOWN", 409


class MethodForbidden(MatrixError):
    """This is kept by the server itself and cannot be written this way."""

    errcode, status = "M_BAD_JSON", 405


class KeyTooLarge(MatrixError):
    errcode = "M_KEY_TOO_LARGE"


class ProfileTooLarge(MatrixError):
    errcode = "M_PROFILE_TOO_LARGE"
