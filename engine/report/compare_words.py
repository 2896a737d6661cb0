"""Every text of the comparison of two runs, in English and Spanish, but those that the main report has too."""

from __future__ import annotations

from collections.abc import Mapping

from engine.report.words import Words
from engine.schema import Word

ALIKE_FROM = (0.9, 0.8, 0.65)
"""Adjusted Rand from which two divisions are almost the same, alike, and partly alike.

The levels are those of D. Steinley, "Properties of the Hubert-Arabie adjusted Rand index", Psychological Methods 9
(2004), who calls them excellent, good and moderate.
"""

TEXTS: Mapping[str, Word] = {
    # Top of the page
    "compare_eyebrow": Word("Two runs compared", "Comparación de dos ejecuciones"),
    "compare_moved": Word(
        "{share} of the customers in both runs changed segment",
        "El {share} de los clientes comunes ha cambiado de segmento",
    ),
    "compare_still": Word("No customer changed segment", "Ningún cliente ha cambiado de segmento"),
    "compare_none": Word("The two runs have no customer in common", "Las dos ejecuciones no comparten ningún cliente"),
    "compare_lead": Word(
        "{stayed} of {common} customers stayed in their segment. The two divisions {alike} (adjusted Rand {rand}).",
        "{stayed} de {common} clientes siguen en su segmento. Las dos divisiones {alike} (Rand ajustado {rand}).",
    ),
    "compare_lead_short": Word(
        "{stayed} of {common} customers stayed in their segment.",
        "{stayed} de {common} clientes siguen en su segmento.",
    ),
    "compare_period": Word("The customers as of {before} and as of {after}.", "Los clientes al {before} y al {after}."),
    "compare_same_day": Word("Both runs look at {day}.", "Ambas ejecuciones miran la misma fecha: {day}."),
    "alike_same": Word("are the same", "son iguales"),
    "alike_very": Word("are almost the same", "son casi iguales"),
    "alike_good": Word("are much alike", "se parecen mucho"),
    "alike_partly": Word("are partly alike", "se parecen en parte"),
    "alike_little": Word("are not much alike", "se parecen poco"),
    "compare_skip": Word("Skip to the movements", "Ir a los movimientos"),
    "figure_common": Word("customers in both", "clientes comunes"),
    "figure_moved": Word("changed segment", "han cambiado de segmento"),
    "figure_new": Word("were not there before", "no estaban antes"),
    "figure_gone": Word("are no longer there", "ya no están"),
    "figure_rand": Word("adjusted Rand", "Rand ajustado"),
    "divisions": Word("the two divisions", "las dos divisiones"),
    "report": Word("report", "informe"),
    # Movements
    "nav_moves": Word("Movements", "Movimientos"),
    "moves_title": Word("Who went where", "De dónde a dónde"),
    "moves_finding": Word(
        "Most frequent change: from “{start}” to “{end}” ({n})",
        "El cambio más frecuente: de «{start}» a «{end}» ({n})",
    ),
    "moves_help": Word(
        "Before on the left, after on the right. A band is as thick as the customers it stands for, and has the colour"
        " of the segment that they come from.",
        "A la izquierda, antes; a la derecha, después. Cada banda es tan gruesa como los clientes que representa y"
        " lleva el color del segmento del que vienen.",
    ),
    "flow_item": Word("{start} → {end}: {n}", "{start} → {end}: {n}"),
    "flow_alt": Word("Flow of customers between the two runs.", "Flujo de clientes entre las dos ejecuciones."),
    "matrix_caption": Word(
        "Of the customers of each segment before (row), how many are in each segment after (column). Blue: they"
        " stayed. Orange: they changed. Grey: in one run only.",
        "De los clientes de cada segmento antes (fila), cuántos están en cada segmento después (columna). Azul: siguen."
        " Naranja: han cambiado. Gris: solo están en una de las ejecuciones.",
    ),
    "before": Word("Before", "Antes"),
    "after": Word("After", "Después"),
    "from_to": Word("Before ↓  After →", "Antes ↓  Después →"),
    "new": Word("Not there before", "No estaban antes"),
    "gone": Word("No longer there", "Ya no están"),
    "total": Word("Total", "Total"),
    "top_caption": Word("The largest movements between segments", "Los mayores movimientos entre segmentos"),
    "top_from": Word("From", "De"),
    "top_to": Word("To", "A"),
    "top_share": Word("% of the first segment", "% del segmento de origen"),
    "top_nobody": Word("Nobody moved from one segment to another", "Nadie ha pasado de un segmento a otro"),
    # Profiles
    "pairs_title": Word("Segment by segment", "Segmento a segmento"),
    "pairs_finding": Word(
        "What changed most: customers of “{name}”, {change}",
        "Lo que más ha cambiado: los clientes de «{name}», {change}",
    ),
    "pairs_same": Word("Every segment has as many customers as before", "Cada segmento tiene los mismos clientes"),
    "pairs_none": Word("No segment has a counterpart in the other run", "Ningún segmento tiene equivalente en la otra"),
    "pairs_help": Word(
        "Each segment beside the one that it became. Below the shares stand averages per customer. The change is"
        " relative; for shares it is in percentage points.",
        "Cada segmento junto a aquel en que se ha convertido. Tras los pesos figuran medias por cliente. La variación"
        " es relativa; en los pesos, en puntos porcentuales.",
    ),
    "change": Word("Change", "Variación"),
    "points": Word("{n} pp", "{n} p. p."),
    "kept_customers": Word(
        "{kept} of its {n} customers are still in it ({share}).",
        "{kept} de sus {n} clientes siguen en él ({share}).",
    ),
    "by_id": Word("The same segment of the same model.", "El mismo segmento del mismo modelo."),
    "by_customers": Word("Matched by the customers that they share.", "Emparejados por los clientes que comparten."),
    "ended": Word("It has no counterpart after.", "No tiene equivalente después."),
    "born": Word("It had no counterpart before.", "No tenía equivalente antes."),
    "became": Word("Now “{name}”", "Ahora «{name}»"),
    # Definitions
    "rand_definition": Word(
        "Takes customers two by two and asks whether both runs agree on putting the two together or apart. 1 means"
        " that the divisions are the same; 0, that they agree no more than two made at random. From 0.8 on they are"
        " much alike. Names and numbers of segments play no part.",
        "Toma a los clientes de dos en dos y mira si ambas ejecuciones coinciden en ponerlos juntos o separados. 1"
        " significa que las divisiones son iguales; 0, que no coinciden más que dos hechas al azar. Desde 0,8 se"
        " parecen mucho. Ni los nombres ni los números de los segmentos influyen.",
    ),
    "moved_title": Word("Changed segment", "Ha cambiado de segmento"),
    "moved_definition": Word(
        "A customer of both runs whose segment after is not the counterpart of the segment before.",
        "Cliente de ambas ejecuciones cuyo segmento de después no es el equivalente del de antes.",
    ),
    "match_title": Word("Counterpart", "Equivalente"),
    "match_definition": Word(
        "Each segment has at most one: the segment with the same identifier or, where the model is another, the one"
        " chosen so that as many customers as possible stay.",
        "Cada segmento tiene como mucho uno: el segmento con el mismo identificador o, si el modelo es otro, el que se"
        " elige para que sigan en su sitio tantos clientes como sea posible.",
    ),
    "outside_title": Word("Not there before, no longer there", "No estaban antes, ya no están"),
    "outside_definition": Word(
        "Customers of one run only: they began or stopped buying, or a period or a filter leaves them out.",
        "Clientes de una sola ejecución: han empezado o dejado de comprar, o los deja fuera un periodo o un filtro.",
    ),
    # The two runs
    "nav_runs": Word("The two runs", "Las dos ejecuciones"),
    "runs_title": Word("What was compared", "Qué se ha comparado"),
    "runs_caption": Word(
        "Facts of the two runs; what differs is marked with ≠", "Datos de las dos ejecuciones; ≠ marca lo que difiere"
    ),
    "run_name": Word("Run", "Ejecución"),
    "run_features": Word("Customers compared on", "Clientes comparados según"),
    "run_none": Word("none", "ninguno"),
}
"""Sentences and labels by key; braces are filled in when the text is used."""


class CompareWords(Words):
    """The texts of the comparison in one language; keys that it lacks are those of the main report.

    Examples
    --------
    >>> say = CompareWords("es")
    >>> say("change"), say("customers"), say.alike(0.83)
    ('Variación', 'Clientes', 'se parecen mucho')
    """

    __slots__ = ()

    def __call__(self, key: str, **values: object) -> str:
        """Return the text of a key with its gaps filled."""
        return self.of(TEXTS[key]).format(**values) if key in TEXTS else super().__call__(key, **values)

    def alike(self, adjusted_rand: float) -> str:
        """Say how alike two divisions are, after "the two divisions"."""
        if adjusted_rand == 1:
            return self("alike_same")
        levels = ("alike_very", "alike_good", "alike_partly")
        passed = (level for level, least in zip(levels, ALIKE_FROM, strict=True) if adjusted_rand >= least)
        return self(next(passed, "alike_little"))
