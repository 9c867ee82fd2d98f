"""The layers of the domain, each put together by one function for ``homeserver.app``."""
