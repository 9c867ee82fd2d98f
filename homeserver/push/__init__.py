"""Push rules: the default set, changes to it, evaluation, unread counts."""
