"""How far a transfer is, in words."""


def in_words(size: int) -> str:
    """Return a number of bytes as people read it.

    >>> [in_words(n) for n in (0, 999, 1_500, 2_340_000_000)]
    ['0 B', '999 B', '1.5 kB', '2.3 GB']
    """
    amount, unit = float(size), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if amount < 1000 or unit == "TB":
            break
        amount /= 1000
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
