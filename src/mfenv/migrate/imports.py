"""The imports of Metaflow's names: what has to be added to them, and what they no longer need."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import libcst as cst
from libcst import matchers as m

from mfenv.migrate.names import Meaning, Names, aliases_of
from mfenv.migrate.spelling import ALIASES


class ImportChanges:
    """Collects what decorators need, and then tells what each import is to be."""

    def __init__(self, names: Names) -> None:
        """Begin with no change."""
        self._names = names
        self._added: defaultdict[cst.CSTNode, list[str]] = defaultdict(list)
        self._renamed: set[tuple[cst.CSTNode, str]] = set()
        self._given_up: set[cst.CSTNode] = set()

    @property
    def are_none(self) -> bool:
        """Whether no import changes."""
        return not (self._added or self._renamed or self._given_up)

    def add(self, meaning: Meaning, today: str) -> None:
        """Import `today` too, where what `meaning` stands for is imported."""
        for node in meaning.imports:
            if today not in self._added[node]:
                self._added[node].append(today)

    def rename(self, meaning: Meaning, func: cst.Name) -> None:
        """Import today's name under the one that the file has for it."""
        self._renamed |= {(node, func.value) for node in meaning.imports}

    def no_longer_uses(self, func: cst.BaseExpression) -> None:
        """Note that an expression is another one now."""
        self._given_up.add(func)

    def names_of(self, node: cst.ImportFrom) -> list[cst.ImportAlias] | None:
        """Return what an import is to bring; None when it stays as it is."""
        names = list(aliases_of(node))
        new = sorted(set(self._added.get(node, ())) - {_both(alias)[1] for alias in names})
        for alias in aliases_of(node):
            name, local = _both(alias)
            today = ALIASES.get(name)
            if today is None:
                continue
            if self._is_gone(node, local):
                _replace(names, alias, new, today)
            elif alias.asname and (node, local) in self._renamed:
                asname = None if local == today else alias.asname
                names[names.index(alias)] = alias.with_changes(name=cst.Name(today), asname=asname)
        for name in new:
            _append(names, name, node)
        is_changed = len(names) != len(aliases_of(node)) or any(
            one is not other for one, other in zip(names, aliases_of(node), strict=False)
        )
        return names if is_changed else None

    def unused(self) -> Iterator[cst.ImportAlias]:
        """Yield the old names that stay imported though nothing in the file uses them."""
        for node in self._names.imports:
            kept = {_both(alias) for alias in self.names_of(node) or aliases_of(node)}
            for alias in aliases_of(node):
                uses = self._names.references(node, _both(alias)[1])
                is_old = alias.evaluated_name in ALIASES and _both(alias) in kept
                if is_old and all(use in self._given_up for use in uses):
                    yield alias

    def _is_gone(self, node: cst.ImportFrom, local: str) -> bool:
        """Tell whether nothing uses a name any more, that was used."""
        uses = self._names.references(node, local)
        is_exported = local in self._names.exported
        return bool(uses) and not is_exported and all(use in self._given_up for use in uses)


def _both(alias: cst.ImportAlias) -> tuple[str, str]:
    """Return the name of what is imported, and what the file calls it."""
    return alias.evaluated_name, alias.evaluated_alias or alias.evaluated_name


def _replace(names: list[cst.ImportAlias], alias: cst.ImportAlias, new: list[str], today: str) -> None:
    """Put a new name in the place of one that is gone, so that long imports keep their lines; else take it out."""
    index = names.index(alias)
    if new:
        name = new.pop(new.index(today) if today in new else 0)
        names[index] = alias.with_changes(name=cst.Name(name), asname=None)
        return
    is_last = index == len(names) - 1
    around = names[index - 1 : index + 1] if is_last else [alias]
    if len(names) == 1 or any(m.findall(one, m.Comment()) for one in around):
        # Unused, but a comment or the statement would go with it.
        return
    names.pop(index)
    if is_last:
        names[-1] = names[-1].with_changes(comma=alias.comma)


def _append(names: list[cst.ImportAlias], name: str, node: cst.ImportFrom) -> None:
    """Put a name behind the others; before them where a comment ends the list, which stays where it is."""
    last = names[-1]
    between = _between(names, node)
    if m.findall(last, m.Comment()) or (node.rpar and m.findall(node.rpar, m.Comment())):
        names.insert(0, cst.ImportAlias(name=cst.Name(name), comma=between))
        return
    names[-1] = last.with_changes(comma=between)
    names.append(cst.ImportAlias(name=cst.Name(name), comma=last.comma))


def _between(names: list[cst.ImportAlias], node: cst.ImportFrom) -> cst.Comma:
    """Return the comma that stands between two names, as the file has it."""
    space: cst.BaseParenthesizableWhitespace | None = node.lpar.whitespace_after if node.lpar else None
    first = names[0].comma
    if not isinstance(space, cst.ParenthesizedWhitespace) and len(names) > 1 and isinstance(first, cst.Comma):
        space = first.whitespace_after
    if isinstance(space, cst.ParenthesizedWhitespace):
        newline = space.first_line.newline
        plain = cst.TrailingWhitespace(whitespace=cst.SimpleWhitespace(""), newline=newline)
        return cst.Comma(whitespace_after=space.with_changes(first_line=plain, empty_lines=()))
    return cst.Comma(whitespace_after=space if space and not space.empty else cst.SimpleWhitespace(" "))
