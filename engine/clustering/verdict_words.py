"""What a verdict says to a reader, in English and in Spanish, with the figures written as each language does."""

from __future__ import annotations

from collections.abc import Sequence

from engine.schema import Word

_NBSP = "\N{NO-BREAK SPACE}"
_SEEN = 0.005
"""A weaker break would be written as 0 %."""

HOW_BEND = Word("where the inertia curve bends most", "donde más se dobla la curva de la inercia")
HOW_BREAK = Word("where the inertia curve breaks", "en el codo que la curva de la inercia tiene en escala logarítmica")
HOW_ONLY = Word("the only usable number among those tried", "el único número utilizable entre los probados")
HOW_SILHOUETTE = Word("which has the highest silhouette", "el de mayor silueta")

NO_BREAK = Word(
    "The customers shade into one another: no number of segments stands out.",
    "Entre unos clientes y otros no hay cortes claros: ningún número de segmentos destaca.",
)
TOO_FEW = Word(
    "Too few numbers of segments were tried to see whether one stands out.",
    "Se han probado demasiado pocos números de segmentos para ver si alguno destaca.",
)


def clear(k: int) -> Word:
    """Say that inertia and silhouette agree on k."""
    return Word(
        f"{k} segments stand out: up to {k}, each further segment makes the customers inside a segment much more "
        f"alike; beyond {k}, far less so. The silhouette agrees.",
        f"Destacan {k} segmentos: hasta {k}, cada segmento más hace mucho más parecidos entre sí a los clientes de un "
        f"mismo segmento; a partir de {k}, mucho menos. La silueta lo confirma.",
    )


def not_clear(
    why: Word, k: int, limits: tuple[int, int], tried: tuple[int, int], how: Word, silhouette: int | None
) -> Word:
    """Say that the limits decide, why, and on which k.

    Parameters
    ----------
    why, how
        A sentence on the data, and a clause on how k was found.
    tried
        Fewest and most segments tried within the limits.
    silhouette
        What the silhouette alone would choose; None where that is no news.
    """
    also = Word("", "")
    if silhouette == k:
        also = Word(f"; the silhouette is highest at {k} too", f"; la silueta también es máxima con {k}")
    elif silhouette is not None:
        also = Word(f"; by silhouette alone it would be {silhouette}", f"; solo por la silueta sería {silhouette}")
    low, high = tried
    if tried == limits:
        within = Word(f"Within the limits of {low} to {high}", f"Dentro de los límites, de {low} a {high}")
    elif low == high:
        within = Word("Within the limits", "Dentro de los límites")
    else:
        within = Word(
            f"From {low} to {high}, the numbers tried within the limits",
            f"De {low} a {high}, los números probados dentro de los límites",
        )
    return Word(
        f"{why.en} {within.en}, {k} was taken, {how.en}{also.en}.",
        f"{why.es} {within.es}, se ha tomado {k}, {how.es}{also.es}.",
    )


def not_confirmed(k: int) -> Word:
    """Say that the curve breaks, but the silhouette does not agree."""
    return Word(
        f"No number of segments stands out: the inertia curve breaks at {k}, but the silhouette does not confirm "
        f"separate groups.",
        f"Ningún número de segmentos destaca: en escala logarítmica la curva de la inercia tiene un codo en {k}, pero "
        f"la silueta no confirma que haya grupos separados.",
    )


def evidence(k: int, strength: float, needed: float, silhouette: float | None) -> Word:
    """Explain how sharply the inertia curve breaks on logarithmic scales, and what groups would take.

    Parameters
    ----------
    k, strength
        Where the curve breaks, and the part of its slope lost there, 0 to 1.
    needed
        Least part that counts as groups.
    silhouette
        At k, where one was measured and the break counts.
    """
    if strength < _SEEN:
        here = Word("Here it breaks nowhere", "Aquí no hay ningún codo")
    else:
        here = Word(
            f"Here the sharpest break is at {k}: beyond it, the slope is {_en_share(strength)} gentler",
            f"Aquí el codo más marcado está en {k}: a partir de ahí la pendiente es un {_es_share(strength)} menor",
        )
    beside = Word("", "")
    if silhouette is not None:
        beside = Word(f" The silhouette there is {_en(silhouette)}.", f" La silueta ahí es {_es(silhouette)}.")
    return Word(
        f"Drawn on logarithmic scales, the inertia of customers without groups falls in a straight line, and separate "
        f"groups break that line. {here.en}; groups are spoken of from {_en_share(needed)} on.{beside.en}",
        f"Dibujada en escalas logarítmicas, la inercia de unos clientes sin grupos baja en línea recta, y los grupos "
        f"separados forman en ella un codo. {here.es}; se habla de grupos a partir de un "
        f"{_es_share(needed)}.{beside.es}",
    )


def how_instead(knee: int, smallest_share: float) -> Word:
    """Say that k is as good as the knee and leaves no tiny segment."""
    return Word(
        f"as good as {knee}, which would leave a segment with {_en_share(smallest_share)} of customers",
        f"tan bueno como {knee}, que dejaría un segmento con el {_es_share(smallest_share)} de los clientes",
    )


def only(k: int) -> Word:
    """Say that one k was tried."""
    return Word(
        f"{_en_segments(k)}, as set: no other number was tried.",
        f"{_es_segments(k)}, según lo fijado: no se ha probado ningún otro número.",
    )


def all_degenerate(k: int, share: float, limits: tuple[int, int]) -> Word:
    """Say that every division within the limits is degenerate."""
    low, high = limits
    return Word(
        f"No number of segments from {low} to {high} divides these customers: each puts nearly all of them in one "
        f"segment. {k} was taken, where that segment is smallest ({_en_share(share)}).",
        f"Ningún número de segmentos de {low} a {high} divide a estos clientes: todos dejan a casi la totalidad en un "
        f"solo segmento. Se ha tomado {k}, donde ese segmento es menor ({_es_share(share)}).",
    )


def degenerate(k: int, share: float, silhouette: float | None) -> Word:
    """Say that one segment holds nearly everybody."""
    praised_en = praised_es = ""
    if silhouette is not None:
        praised_en = f", whatever its silhouette ({_en(silhouette)}) says"
        praised_es = f", diga lo que diga su silueta ({_es(silhouette)})"
    return Word(
        f"With {k} segments, one holds {_en_share(share)} of customers: a few extreme customers against everybody "
        f"else is no segmentation{praised_en}. Put the features on a logarithmic or a robust scale.",
        f"Con {k} segmentos, uno reúne al {_es_share(share)} de los clientes: unos pocos clientes extremos frente a "
        f"todos los demás no son una segmentación{praised_es}. Conviene llevar las variables a una escala logarítmica "
        f"o robusta.",
    )


def passed_over(ks: Sequence[int], largest_share: float) -> Word:
    """Say which trials were no candidates because they are degenerate."""
    several = len(ks) > 1
    return Word(
        f"{_list(ks, 'and')} segments put up to {_en_share(largest_share)} of customers in one and "
        f"{'were' if several else 'was'} passed over, whatever the silhouette. Features with long tails or unlike "
        f"scales do this.",
        f"{'Las divisiones' if several else 'La división'} en {_list(ks, 'y')} segmentos "
        f"{'dejan' if several else 'deja'} hasta el {_es_share(largest_share)} de los clientes en uno solo y se "
        f"{'han' if several else 'ha'} descartado, sea cual sea su silueta. Suele deberse a variables con colas largas "
        f"o en escalas muy distintas.",
    )


def clearer_outside(k: int, limits: tuple[int, int]) -> Word:
    """Say that the data ask for a k that the limits exclude."""
    low, high = limits
    return Word(
        f"The data themselves show {k} groups (the inertia curve breaks there, and the silhouette agrees), but the "
        f"limits are {low} to {high}.",
        f"Los datos muestran por sí mismos {k} grupos (ahí tiene un codo, en escala logarítmica, la curva "
        f"de la inercia, y la silueta lo confirma), pero los límites van de {low} a {high}.",
    )


def best_at_the_end(k: int) -> Word:
    """Say that the silhouette is best at the largest k tried."""
    return Word(
        f"The silhouette is highest at {k}, the largest number tried: more segments may fit better. Widen "
        f"clustering.k_range (sweep.k in a sweep) to see.",
        f"La silueta es máxima con {k}, el mayor número probado: quizá encajen mejor más segmentos. Para verlo, "
        f"amplíe clustering.k_range (sweep.k en un barrido).",
    )


def small_segment(share: float, min_share: float) -> Word:
    """Say that the smallest segment may be too small to act on."""
    return Word(
        f"The smallest segment has {_en_share(share)} of customers, less than {_en_share(min_share)}: perhaps too few "
        f"for a campaign of its own.",
        f"El segmento más pequeño reúne al {_es_share(share)} de los clientes, menos del {_es_share(min_share)}: quizá "
        f"sean pocos para una campaña propia.",
    )


def outside_limits(k: int, limits: tuple[int, int]) -> Word:
    """Say that the k which the user fixed is outside the limits."""
    low, high = limits
    return Word(
        f"The number that was set, {k}, is outside the limits of {low} to {high} (segments.min, segments.max); it was "
        f"kept.",
        f"El número fijado, {k}, queda fuera de los límites, de {low} a {high} (segments.min, segments.max); se ha "
        f"mantenido.",
    )


def _en_segments(k: int) -> str:
    return f"{k} segment" if k == 1 else f"{k} segments"


def _es_segments(k: int) -> str:
    return f"{k} segmento" if k == 1 else f"{k} segmentos"


def _list(ks: Sequence[int], conjunction: str) -> str:
    *first, last = [str(k) for k in ks]
    return f"{', '.join(first)} {conjunction} {last}" if first else last


def _en(value: float) -> str:
    return f"{value:.2f}"


def _es(value: float) -> str:
    return _en(value).replace(".", ",")


def _percent(share: float) -> str:
    # Shares near 0 and near 1 are told apart by a decimal.
    return f"{100 * share:.0f}" if 0.1 <= share < 0.945 else f"{100 * share:.1f}"


def _en_share(share: float) -> str:
    return f"{_percent(share)}%"


def _es_share(share: float) -> str:
    return f"{_percent(share).replace('.', ',')}{_NBSP}%"
