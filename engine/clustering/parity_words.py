"""What a comparison of backends says to a reader, in English and in Spanish."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engine.schema import Word

BUSY_CORES = 0.5
"""Cores that others keep busy from which on the times are said to be too long."""

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
    en = f"{quickest.en} is the quickest ({_short(seconds, 'en')}{_NBSP}s)"
    es = f"{quickest.es} es el más rápido ({_short(seconds, 'es')}{_NBSP}s)"
    if quickest == best:
        return Word(f"{en} and finds the lowest inertia", f"{es} y encuentra la inercia más baja")
    whose_en = f"that of {best.en} ({_short(best_seconds, 'en')}{_NBSP}s)"
    whose_es = f"la de {best.es} ({_short(best_seconds, 'es')}{_NBSP}s)"
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
    Word("added MiB", "MiB añadidos"),
    Word("inertia/lowest", "inercia/mínima"),
    Word("adjusted Rand index", "índice de Rand ajustado"),
    Word("rows used", "filas usadas"),
    Word("iterations", "iteraciones"),
)
"""Heads of :func:`engine.clustering.parity.Parity.table`."""


def of_repeats(fits: int, quick_s: float) -> Word:
    """Say how often a quick fit was made."""
    return Word(
        f"Seconds: of fits under {quick_s:.0f}{_NBSP}s, the median of {fits} and in brackets their range.",
        f"Segundos: en los ajustes de menos de {quick_s:.0f}{_NBSP}s, la mediana de {fits} y, entre paréntesis, el "
        f"mínimo y el máximo.",
    )


def of_busy(cores: float) -> Word:
    """Say that others were at work on the machine."""
    return Word(
        f"The machine was busy: when the comparison began, other programs kept {number(cores, 1, 'en')} of its cores "
        f"at work. On a quiet machine the seconds are fewer.",
        f"La máquina estaba ocupada: al empezar la comparación, otros programas usaban {number(cores, 1, 'es')} de sus "
        f"núcleos. En una máquina libre los segundos son menos.",
    )


def of_rows(rows: int, *, merged: bool, sampled: bool) -> Word:
    """Say why native clustering trained on fewer rows than there are.

    Examples
    --------
    >>> of_rows(2469, merged=True, sampled=False).en
    'Native used fewer than 2,469 rows: customers with the same measures are one row with their number as its weight.'
    """
    why_en, why_es = [], []
    if merged:
        why_en.append("customers with the same measures are one row with their number as its weight")
        why_es.append("los clientes con las mismas medidas forman una sola fila, con su número como peso")
    if sampled:
        why_en.append("with “sample” it searches a sample")
        why_es.append("con «muestra» busca en una muestra")
    return Word(
        f"Native used fewer than {number(rows, 0, 'en')} rows: {'; '.join(why_en)}.",
        f"Native ha usado menos de {number(rows, 0, 'es')} filas: {'; '.join(why_es)}.",
    )


def of_index() -> Word:
    """Explain the adjusted Rand index and its two thresholds."""
    same, other = (number(one, 2, "en") for one in (SAME_PEOPLE, OTHER_SEGMENTS))
    same_es, other_es = (number(one, 2, "es") for one in (SAME_PEOPLE, OTHER_SEGMENTS))
    return Word(
        f"Adjusted Rand index: how far the segments are those of the lowest inertia. 1: the same people together; 0: "
        f"no more than by chance; above {same} they count as the same segments, below {other} as other segments.",
        f"Índice de Rand ajustado: cuánto coinciden los segmentos con los de la inercia más baja. 1: las mismas "
        f"personas juntas; 0: no más que por azar; por encima de {same_es} cuentan como los mismos segmentos; por "
        f"debajo de {other_es}, como otros.",
    )


def seconds(median: float, lowest: float | None, highest: float | None, language: str) -> str:
    """Write how long a fit took, with its range where it was made several times.

    Examples
    --------
    >>> seconds(0.25, 0.2, 1.5, "es"), seconds(7.0, 7.0, 7.0, "en")
    ('0,250 (0,200–1,500)', '7.000')
    """
    told = number(median, 3, language)
    if lowest is None or highest is None or lowest == highest:
        return told
    return f"{told} ({number(lowest, 3, language)}–{number(highest, 3, language)})"


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


def _short(seconds: float, language: str) -> str:
    return number(seconds, 2 if seconds >= 0.1 else 3, language)


def _index(rand: float) -> tuple[str, str]:
    return (
        f"adjusted Rand index {number(rand, 3, 'en')}",
        f"índice de Rand ajustado {number(rand, 3, 'es')}",
    )
