"""What a verdict says to a reader, in English and in Spanish, with the figures written as each language does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engine.schema import Word

_NBSP = "\N{NO-BREAK SPACE}"

HOW_BEND = Word("where the curve bends most", "donde más se dobla la curva")
HOW_BREAK = Word("where the curve breaks", "donde la curva se quiebra")
HOW_ONLY = Word("the only usable number among those tried", "el único número utilizable entre los probados")
HOW_SILHOUETTE = Word("which has the highest silhouette", "el de mayor silueta")


def clear(k: int, strength: float, silhouette: float) -> Word:
    """Say that inertia and silhouette agree on k."""
    return Word(
        f"{k} segments stand out. Up to {k}, each further segment makes the customers inside a segment much more "
        f"alike; behind {k} that gain drops by {_en_share(strength)}. The silhouette agrees "
        f"({_en(silhouette)}).",
        f"Destacan {k} segmentos. Hasta {k}, cada segmento más hace mucho más parecidos entre sí a los clientes de "
        f"un mismo segmento; a partir de {k} esa mejora cae un {_es_share(strength)}. La silueta lo confirma "
        f"({_es(silhouette)}).",
    )


def not_clear(why: Word, k: int, limits: tuple[int, int], how: Word) -> Word:
    """Say that the limits decide, why, and on which k."""
    low, high = limits
    return Word(
        f"No number of segments stands out: {why.en}. Within the limits of {low} to {high}, {k} was taken, {how.en}.",
        f"Ningún número de segmentos destaca: {why.es}. Dentro de los límites, de {low} a {high}, se ha tomado {k}, "
        f"{how.es}.",
    )


def no_break(strengths: Mapping[int, float], needed: float) -> Word:
    """Say that the inertia curve nowhere breaks as it does where there are groups."""
    if not strengths:
        return Word(
            "too few were tried to see where the gain from one more segment drops",
            "se han probado demasiado pocos para ver dónde cae la mejora que aporta un segmento más",
        )
    k = max(strengths, key=lambda one: (strengths[one], -one))
    return Word(
        f"the gain from one more segment drops by {_en_share(strengths[k])} at most (behind {k}), where separate "
        f"groups would show {_en_share(needed)} or more",
        f"la mejora que aporta un segmento más cae como mucho un {_es_share(strengths[k])} (a partir de {k}), cuando "
        f"con grupos separados caería un {_es_share(needed)} o más",
    )


def not_confirmed(k: int, strength: float, silhouette: float, best: int, best_silhouette: float) -> Word:
    """Say that the curve breaks, but the silhouette does not agree."""
    here_en, here_es = _en(silhouette), _es(silhouette)
    if best == k:
        return Word(
            f"the gain from one more segment drops by {_en_share(strength)} behind {k}, but the silhouette does not "
            f"confirm separate groups ({here_en})",
            f"la mejora que aporta un segmento más cae un {_es_share(strength)} a partir de {k}, pero la silueta no "
            f"confirma que haya grupos separados ({here_es})",
        )
    return Word(
        f"the gain from one more segment drops by {_en_share(strength)} behind {k}, but the silhouette does not "
        f"confirm it ({here_en}; the highest is {_en(best_silhouette)}, at {best})",
        f"la mejora que aporta un segmento más cae un {_es_share(strength)} a partir de {k}, pero la silueta no lo "
        f"confirma ({here_es}; la mayor es {_es(best_silhouette)}, con {best})",
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


def clearer_outside(k: int, strength: float, silhouette: float, limits: tuple[int, int]) -> Word:
    """Say that the data ask for a k that the limits exclude."""
    low, high = limits
    return Word(
        f"The data themselves show {k} groups (the gain drops by {_en_share(strength)} behind {k}; silhouette "
        f"{_en(silhouette)}), but the limits are {low} to {high}.",
        f"Los datos muestran por sí mismos {k} grupos (la mejora cae un {_es_share(strength)} a partir de {k}; silueta "
        f"{_es(silhouette)}), pero los límites van de {low} a {high}.",
    )


def best_at_the_end(k: int) -> Word:
    """Say that the silhouette is best at the largest k tried."""
    return Word(
        f"The silhouette is highest at {k}, the largest number tried: more segments may fit better. Widen "
        f"clustering.k_range to see.",
        f"La silueta es máxima con {k}, el mayor número probado: quizá encajen mejor más segmentos. Para verlo, "
        f"amplíe clustering.k_range.",
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
        f"{_en_segments(k)} is outside the limits of {low} to {high} (segments.min, segments.max); it was set, so it "
        f"was kept.",
        f"{_es_segments(k)} queda fuera de los límites, de {low} a {high} (segments.min, segments.max); como se fijó, "
        f"se ha mantenido.",
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
