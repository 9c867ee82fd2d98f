"""What the self-test says when something is wrong."""


class Fault(Exception):
    """The server did not do what the specification says. The message is for its organizer."""


def check(is_right: bool, otherwise: str) -> None:
    """Go on only if something is right.

    Raises:
        Fault: it is not; ``otherwise`` is the sentence.
    """
    if not is_right:
        raise Fault(otherwise)
