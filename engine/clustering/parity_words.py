"""What a comparison of backends says to a reader, in English and in Spanish."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engine.schema import Word

SAME_PEOPLE = 0.95
"""Adjusted Rand index above which two divisions are the same segments for all that is done with them."""

OTHER_SEGMENTS = 0.8
"""Adjusted Rand index below which they are other segments."""

_NBSP = "\N{NO-BREAK SPACE}"
_SEEN = 0.00005
"""A smaller excess of inertia would be written as 0.00 %."""

NAMES: Mapping[str, Word] = {
    "native": Word("native", "native"),
    "native full": Word("native (all rows)", "native (todas las filas)"),
    "native sample": Word("native (sample)", "native (muestra)"),
    "faiss": Word("FAISS", "FAISS"),
    "sklearn": Word("scikit-learn", "scikit-learn"),
    "dask_ml": Word("Dask-ML", "Dask-ML"),
}
"""What readers call a contestant."""

STOPS: Mapping[str, Word] = {
    "converged": Word("converged", "convergencia"),
    "fixed point": Word("nothing moved any more", "ya no se movía nada"),
    "tolerance": Word("hardly moved any more", "apenas se movía"),
    "max_iter": Word("most iterations reached", "máximo de iteraciones"),
    "polished": Word("sample solved and polished", "muestra resuelta y afinada"),
    "max_passes": Word("most reads of all rows reached", "máximo de lecturas de todas las filas"),
    "max_seconds": Word("time was up", "tiempo agotado"),
}
"""What readers are told of why the iterations ended."""

NONE_FINISHED = Word("None of the backends finished", "Ningún motor ha terminado")


def one_finished(name: Word) -> Word:
    """Say that there is nothing to compare."""
    return Word(
        f"Only {name.en} finished: there is nothing to compare it with",
        f"Solo ha terminado {name.es}: no hay con qué compararlo",
    )


def distance(quickest: Word, seconds: float, best: Word, best_seconds: float, excess: float | None) -> Word:
    """Say how far the quickest is from the lowest inertia.

    Parameters
    ----------
    excess
        Its inertia over the lowest, less 1; None where the lowest is 0 and its own is not.

    Examples
    --------
    >>> distance(NAMES["faiss"], 0.25, NAMES["sklearn"], 1.5, 0.0123).en.replace(_NBSP, " ")
    'FAISS is the quickest (0.25 s); its inertia is 1.23% above the lowest, that of scikit-learn (1.50 s)'
    """
    en = f"{quickest.en} is the quickest ({number(seconds, 2, 'en')}{_NBSP}s)"
    es = f"{quickest.es} es el más rápido ({number(seconds, 2, 'es')}{_NBSP}s)"
    if quickest == best:
        return Word(f"{en} and finds the lowest inertia", f"{es} y encuentra la inercia más baja")
    whose_en = f"that of {best.en} ({number(best_seconds, 2, 'en')}{_NBSP}s)"
    whose_es = f"la de {best.es} ({number(best_seconds, 2, 'es')}{_NBSP}s)"
    if excess is None:
        return Word(
            f"{en}; its inertia is not the lowest, {whose_en}", f"{es}; su inercia no es la más baja, {whose_es}"
        )
    if excess < _SEEN:
        return Word(
            f"{en}; its inertia is practically the lowest, {whose_en}",
            f"{es}; su inercia es prácticamente la más baja, {whose_es}",
        )
    return Word(
        f"{en}; its inertia is {number(100 * excess, 2, 'en')}% above the lowest, {whose_en}",
        f"{es}; su inercia supera en un {number(100 * excess, 2, 'es')}{_NBSP}% a la más baja, {whose_es}",
    )


def people_of_both(rand: float) -> Word:
    """Say whether the quickest and the best backend put the same people together.

    Examples
    --------
    >>> people_of_both(0.99).en
    'The segments of both would be the same people (adjusted Rand index 0.990).'
    >>> people_of_both(0.5).es
    'Son otros segmentos: muchas personas quedarían agrupadas de otra forma (índice de Rand ajustado 0,500).'
    """
    en, es = _index(rand)
    if rand > SAME_PEOPLE:
        return Word(
            f"The segments of both would be the same people ({en}).",
            f"Los segmentos de ambos reunirían a las mismas personas ({es}).",
        )
    if rand >= OTHER_SEGMENTS:
        return Word(
            f"Most people would be together in the segments of both, but not all ({en}).",
            f"La mayoría de las personas quedarían juntas con ambos, pero no todas ({es}).",
        )
    return Word(
        f"They are other segments: many people would be grouped differently ({en}).",
        f"Son otros segmentos: muchas personas quedarían agrupadas de otra forma ({es}).",
    )


def people_of_others(rand: float, farthest: Word) -> Word:
    """Say whether another backend than the quickest and best would put the same people together.

    Parameters
    ----------
    rand, farthest
        The lowest adjusted Rand index with it, and whose it is.
    """
    en, es = _index(rand)
    at_least = Word("", "") if round(rand, 3) == 1.0 else Word(" or more", " o más")
    if rand > SAME_PEOPLE:
        return Word(
            f"With any of the others the segments would be the same people ({en}{at_least.en}).",
            f"Con cualquiera de los demás los segmentos reunirían a las mismas personas ({es}{at_least.es}).",
        )
    if rand >= OTHER_SEGMENTS:
        return Word(
            f"With {farthest.en} most people would be in the same segments, but not all ({en}).",
            f"Con {farthest.es} la mayoría de las personas quedarían en los mismos segmentos, pero no todas ({es}).",
        )
    return Word(
        f"{farthest.en} finds other segments: many people would be grouped differently ({en}).",
        f"{farthest.es} encuentra otros segmentos: muchas personas quedarían agrupadas de otra forma ({es}).",
    )


HEADS = (
    Word("backend", "motor"),
    Word("seconds", "segundos"),
    Word("added MiB", "MiB de más"),
    Word("inertia/lowest", "inercia/mínima"),
    Word("rand with best", "rand con el mejor"),
    Word("rows used", "filas usadas"),
    Word("iterations", "iteraciones"),
)
"""Heads of :func:`engine.clustering.parity.Parity.table`."""


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Return rows of cells as text: the first column to the left, the others to the right.

    A row that is shorter than the first has a sentence for its last cell.

    Examples
    --------
    >>> print(aligned([["who", "s"], ["native", "0.1"]]))
    who       s
    native  0.1
    """
    whole = [line for line in lines if len(line) == len(lines[0])]
    widths = [max(map(len, column)) for column in zip(*whole, strict=True)]
    widths[0] = max(len(line[0]) for line in lines)
    written = []
    for line in lines:
        cells = [line[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)] if line in whole else []
        written.append("  ".join(cells if line in whole else [*cells, *line[1:]]))
    return "\n".join(written)


def number(value: float | None, places: int, language: str) -> str:
    """Write a figure as a language does; a dash where there is none.

    Examples
    --------
    >>> number(1234.5, 1, "en"), number(1234.5, 1, "es"), number(None, 1, "en")
    ('1,234.5', '1.234,5', '–')
    """
    if value is None:
        return "–"
    text = f"{value:,.{places}f}"
    return text if language == "en" else text.translate(str.maketrans(",.", ".,"))


def _index(rand: float) -> tuple[str, str]:
    return (
        f"adjusted Rand index {number(rand, 3, 'en')}",
        f"índice de Rand ajustado {number(rand, 3, 'es')}",
    )
