"""Whose environments count as known, besides those of the project at hand."""

from __future__ import annotations

from dataclasses import dataclass

from mfenv.errors import InvalidSpec

NOBODY = ":none:"
ONESELF = ":username:"
ANYBODY = ":any:"


@dataclass(frozen=True, slots=True)
class Others:
    """The users whose latest locks are taken before anything is solved.

    >>> Others.parse("ada, grace", where="here").count("grace", me="linus")
    True
    """

    users: tuple[str, ...] = (NOBODY,)
    """User names; or one of `NOBODY`, `ONESELF`, `ANYBODY`."""

    @classmethod
    def parse(cls, text: str, *, where: str) -> Others:
        """Read ``:none:``, ``:username:``, ``:any:``, or user names between commas; raise `InvalidSpec` otherwise."""
        users = tuple(user.strip() for user in text.split(",") if user.strip())
        special = {NOBODY, ONESELF, ANYBODY}
        if not users or any(user.startswith(":") and (user not in special or len(users) > 1) for user in users):
            raise InvalidSpec(
                f"{where}: `{text}` names nobody",
                hint=f"Set it to `{NOBODY}`, `{ONESELF}`, `{ANYBODY}`, or user names such as `ada,grace`",
            )
        return cls(users)

    @property
    def is_nobody(self) -> bool:
        """Whether nobody counts."""
        return self.users == (NOBODY,)

    def count(self, user: str, *, me: str) -> bool:
        """Tell whether the locks of `user` count for `me`."""
        if self.users == (ANYBODY,):
            return True
        return user == me if self.users == (ONESELF,) else user in self.users
