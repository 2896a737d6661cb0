"""What the figures that judge a clustering are called and mean, for readers of every report."""

from __future__ import annotations

from engine.schema import Word

FIGURE_WORDS: dict[str, Word] = {
    "silhouette_euclidean": Word("Euclidean silhouette", "Silueta euclídea"),
    "silhouette_euclidean_help": Word(
        "Euclidean silhouette: the same question as the silhouette, with plain instead of squared distances, so that "
        "it is mostly lower; estimated from a sample of customers, ± its standard error.",
        "Silueta euclídea: la misma pregunta que la silueta, con distancias sin elevar al cuadrado, por lo que suele "
        "ser menor; se estima con una muestra de clientes, ± su error típico.",
    ),
    "calinski_harabasz": Word("Caliński–Harabasz", "Caliński–Harabasz"),
    "calinski_harabasz_help": Word(
        "Caliński–Harabasz: variation between segments against variation within them; higher is better.",
        "Caliński–Harabasz: variación entre segmentos frente a variación dentro de ellos; cuanto más alto, mejor.",
    ),
    "davies_bouldin": Word("Davies–Bouldin", "Davies–Bouldin"),
    "davies_bouldin_help": Word(
        "Davies–Bouldin: how much each segment overlaps with the one most like it; lower is better.",
        "Davies–Bouldin: cuánto se solapa cada segmento con el que más se le parece; cuanto más bajo, mejor.",
    ),
    "gap": Word("Gap", "Brecha (gap)"),
    "gap_help": Word(
        "Gap: how much tighter the segments are than in data without groups, on a logarithmic scale, ± its standard "
        "error; the first k whose gap is not clearly below the next one is a candidate.",
        "Brecha (gap): cuánto más compactos son los segmentos que en datos sin grupos, en escala logarítmica, ± su "
        "error típico; el primer k cuya brecha no quede claramente por debajo de la siguiente es un candidato.",
    ),
    "bootstrap": Word("Bootstrap stability", "Estabilidad bootstrap"),
    "bootstrap_help": Word(
        "Bootstrap stability: how alike the segments come out when customers are drawn anew (adjusted Rand index, 1 is "
        "the same division), ± its standard error. Stable segments need not be separate groups.",
        "Estabilidad bootstrap: cuánto se parecen los segmentos al volver a sortear los clientes (índice de Rand "
        "ajustado; 1 es la misma división), ± su error típico. Unos segmentos estables no son por fuerza "
        "grupos separados.",
    ),
    "figures_title": Word("What these figures mean", "Qué significan estas cifras"),
}
