"""Every text of the report of a sweep, in English and Spanish, but those that the main report has too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engine.report.words import Words
from engine.schema import Word

MOST_LISTED = 6
"""Names that are listed in a sentence; of more, only their number is told."""

TEXTS: Mapping[str, Word] = {
    # Top of the page
    "sweep_eyebrow": Word("Sweep: many segmentations compared", "Barrido: muchas segmentaciones comparadas"),
    "sweep_proposal": Word("Proposed: {segments} from “{name}”", "Propuesta: {segments} con «{name}»"),
    "sweep_no_proposal": Word(
        "No proposal: no number of segments within the limits could be judged",
        "Sin propuesta: no se ha podido juzgar ningún número de segmentos dentro de los límites",
    ),
    "no_proposal_help": Word(
        "What was tried lies outside {low} to {high} segments, or failed. Change sweep.k, or segments.min and"
        " segments.max.",
        "Lo que se ha probado queda fuera de {low} a {high} segmentos o ha fallado. Cambie sweep.k, o segments.min y"
        " segments.max.",
    ),
    "tried": Word(
        "Tried on {customers} customers as of {day}: {parts}.",
        "Pruebas con {customers} clientes, a {day}: {parts}.",
    ),
    "customers_range": Word("{low} to {high}", "entre {low} y {high}"),
    "look_first": Word("Look first at {choice}:", "Conviene mirar primero {choice}:"),
    "to_make_it": Word("The command that makes it", "La orden que la genera"),
    "copy": Word("Copy", "Copiar"),
    "copied": Word("Copied", "Copiada"),
    "sweep_skip": Word("Skip to the leaderboard", "Ir a la clasificación"),
    "trials": Word("trials done", "pruebas hechas"),
    "trials_of": Word("{done} of {asked}", "{done} de {asked}"),
    "trials_failed": Word("failed", "fallidas"),
    "trials_resumed": Word("from an earlier run", "de una ejecución anterior"),
    "configurations": Word("configurations", "configuraciones"),
    "failed": Word("Failed", "Fallos"),
    "failed_trials": Word("{failed} of {asked} trials came to nothing:", "{failed} de {asked} pruebas no han salido:"),
    "and_more": Word("and {n} more", "y {n} más"),
    "other_reasons": Word("Other reasons: {n}", "Otros motivos: {n}"),
    "cut_off": Word("Not listed here, but in sweep.csv: {n}.", "No caben aquí, pero están en sweep.csv: {n}."),
    # The sentence on what was tried
    "n_features": Word("{n} feature sets", "{n} conjuntos de medidas"),
    "one_features": Word("1 feature set", "1 conjunto de medidas"),
    "n_transforms": Word("{n} transforms", "{n} transformaciones"),
    "one_transforms": Word("1 transform", "1 transformación"),
    "n_backends": Word("{n} backends", "{n} motores"),
    "one_backends": Word("1 backend", "1 motor"),
    "n_seeds": Word("{n} seeds", "{n} semillas"),
    "one_seeds": Word("1 seed", "1 semilla"),
    "k_range": Word("k from {low} to {high}", "k de {low} a {high}"),
    "k_list": Word("k = {ks}", "k = {ks}"),
    "k_many": Word("{n} values of k from {low} to {high}", "{n} valores de k de {low} a {high}"),
    "and": Word("{most} and {last}", "{most} y {last}"),
    "n_segments": Word("{n}\N{NO-BREAK SPACE}segments", "{n}\N{NO-BREAK SPACE}segmentos"),
    "one_segments": Word("1 segment", "1 segmento"),
    # Leaderboard
    "nav_settings": Word("Settings", "Ajustes"),
    "nav_board": Word("Leaderboard", "Clasificación"),
    "board_finding": Word(
        "Of those that can be used, “{name}” in {segments} has the highest silhouette: {value}",
        "De las que se pueden usar, «{name}» en {segments} tiene la silueta más alta: {value}",
    ),
    "board_none": Word("None of the configurations can be used", "Ninguna configuración se puede usar"),
    "board_unmeasured": Word("The configurations, best first", "Las configuraciones, de mejor a peor"),
    "board_help": Word(
        "Usable configurations come first, by silhouette, then stability and balance. Figures are of the seed with the"
        " lowest inertia. Grey: cannot be used, with the reason.",
        "Primero las que se pueden usar, por silueta, estabilidad y equilibrio. Las cifras son de la semilla con menor"
        " inercia. En gris, las que no se pueden usar, con el motivo.",
    ),
    "one_seed_help": Word(
        "Stability is not known: it takes at least two seeds (sweep.seed).",
        "La estabilidad no se conoce: hacen falta al menos dos semillas (sweep.seed).",
    ),
    "board_caption": Word("The configurations, best first", "Las configuraciones, de mejor a peor"),
    "rest_caption": Word("The configurations from place {first} on", "Las configuraciones desde el puesto {first}"),
    "show_rest": Word("Show the other {n}", "Ver las otras {n}"),
    "show_one": Word("Show the other one", "Ver la otra"),
    "more_figures": Word("Further figures", "Más cifras"),
    "more_caption": Word("Further figures of the same configurations", "Más cifras de las mismas configuraciones"),
    "rank": Word("Rank", "Puesto"),
    "features_head": Word("Feature set", "Medidas"),
    "backend_head": Word("Backend", "Motor"),
    "seconds_head": Word("Seconds", "Segundos"),
    "sizes_head": Word("Customers per segment", "Clientes por segmento"),
    "mark_proposed": Word("proposal", "propuesta"),
    "mark_pareto": Word("Pareto", "Pareto"),
    "mark_chosen": Word("verdict", "veredicto"),
    "off_failed": Word("every seed failed", "han fallado todas las semillas"),
    "off_limits": Word("outside {low} to {high} segments", "fuera de {low} a {high} segmentos"),
    "off_dominant": Word("one segment holds {share} of customers", "un segmento reúne el {share} de los clientes"),
    "off_unknown": Word("cannot be used", "no se puede usar"),
    "some_failed": Word("{failed} of {n} seeds failed", "han fallado {failed} de {n} semillas"),
    # Pareto chart
    "nav_pareto": Word("Pareto front", "Frente de Pareto"),
    "pareto_title": Word("What has to be weighed", "Lo que hay que sopesar"),
    "pareto_finding": Word(
        "On the front: {front} of {usable}, which no other beats without losing to it elsewhere",
        "En el frente: {front} de {usable}, a las que ninguna otra supera sin perder en otra cosa",
    ),
    "pareto_help": Word(
        "Each mark is a usable configuration. Further right: better separated segments. Higher: {higher}. Filled marks"
        " are on the front and carry their rank in the leaderboard; the dark ring is the proposal.",
        "Cada marca es una configuración que se puede usar. Más a la derecha, segmentos mejor separados. Más arriba,"
        " {higher}. Las marcas llenas son las del frente y llevan su puesto en la clasificación; el aro oscuro es la"
        " propuesta.",
    ),
    "pareto_size": Word(
        "The larger the mark, the more even the sizes.",
        "Cuanto más grande la marca, más parejos los tamaños.",
    ),
    "higher_stability": Word("seeds that agree better", "semillas que coinciden más"),
    "higher_balance": Word("more even sizes", "tamaños más parejos"),
    "pareto_undrawn": Word(
        "Usable, but without one of the two figures or for want of room not drawn: {n}.",
        "Se pueden usar, pero les falta una de las dos cifras o no caben en el dibujo: {n}.",
    ),
    "pareto_alt": Word(
        "Scatter chart of {n} configurations, silhouette against {y}. On the front:",
        "Diagrama de dispersión de {n} configuraciones, silueta frente a {y}. En el frente:",
    ),
    # Curves and verdicts
    "cells_none_clear": Word(
        "No number of segments stands out by itself", "Ningún número de segmentos destaca por sí solo"
    ),
    "cells_clear": Word(
        "A number of segments stands out in {clear} of {n} verdicts",
        "Un número de segmentos destaca en {clear} de {n} veredictos",
    ),
    "cells_one_k": Word("Only one number of segments was tried", "Solo se ha probado un número de segmentos"),
    "cells_no_verdict": Word("No verdict could be given", "No se ha podido dar ningún veredicto"),
    "cells_help": Word(
        "One block for each feature set and transform. All curves of a kind have the same scale. The shaded band marks"
        " the numbers allowed ({low} to {high}), filled points the verdict.",
        "Un bloque por cada conjunto de medidas y transformación. Todas las curvas de un tipo tienen la misma escala."
        " La franja sombreada marca los números permitidos (de {low} a {high}); los puntos llenos, el veredicto.",
    ),
    "gap_once": Word(
        "The gap was worked out once, with the first backend.",
        "La brecha (gap) se ha calculado una sola vez, con el primer motor.",
    ),
    "no_curves": Word(
        "There is no room for more curves: the figures are in sweep.csv.",
        "No caben más curvas: las cifras están en sweep.csv.",
    ),
    "cell_failed": Word("Every trial failed.", "Han fallado todas las pruebas."),
    "cell_no_verdict": Word(
        "No verdict with {backends}: what lies within the limits failed.",
        "Sin veredicto con {backends}: ha fallado lo que está dentro de los límites.",
    ),
    "curve_item": Word("{backend}, k = {k}: {value}", "{backend}, k = {k}: {value}"),
    "plus_minus": Word("{value} ± {error}", "{value} ± {error}"),
    # Backends
    "nav_backends": Word("Backends", "Motores"),
    "backends_title": Word("The backends side by side", "Los motores, uno junto a otro"),
    "backends_same": Word(
        "All find practically the same inertia; the quickest is {quickest}",
        "Todos encuentran prácticamente la misma inercia; el más rápido es {quickest}",
    ),
    "backends_differ": Word(
        "Lowest inertia most often: {best}; quickest: {quickest}",
        "La inercia más baja, más a menudo: {best}; el más rápido: {quickest}",
    ),
    "backends_none": Word("No two backends can be compared", "No hay dos motores que comparar"),
    "backends_help": Word(
        "On the {n} combinations of feature set, transform and k that every backend with results has finished. Inertia"
        " is divided by the lowest that any of them found: 1 is the best.",
        "En las {n} combinaciones de medidas, transformación y k que han terminado todos los motores con resultados. La"
        " inercia se divide entre la más baja que ha encontrado alguno: 1 es lo mejor.",
    ),
    "backends_caption": Word("Inertia and time by backend", "Inercia y tiempo por motor"),
    "reached": Word("Lowest inertia, within 0.1%", "Inercia más baja, o a un 0,1 % de ella"),
    "ratio_median": Word("Inertia / lowest, median", "Inercia / mínima, mediana"),
    "ratio_worst": Word("Inertia / lowest, worst", "Inercia / mínima, peor caso"),
    "seconds_median": Word("Seconds, median", "Segundos, mediana"),
    "seconds_worst": Word("Seconds, slowest", "Segundos, máximo"),
    "backend_failed": Word("Trials failed", "Pruebas fallidas"),
    # Backends on the proposal
    "nav_parity": Word("Does the backend matter?", "¿Importa el motor?"),
    "parity_help": Word(
        "Each backend on the same {rows} customers and {features} measures, k = {k}, seed {seed}, in a process of its"
        " own. Inertia is computed by one function for all and divided by the lowest.",
        "Cada motor con los mismos {rows} clientes y {features} medidas, k = {k}, semilla {seed}, en un proceso propio."
        " La inercia se calcula con una misma función para todos y se divide entre la más baja.",
    ),
    "parity_caption": Word("Time, memory and inertia by backend", "Tiempo, memoria e inercia por motor"),
    "parity_seconds": Word("Seconds", "Segundos"),
    "parity_memory": Word("Memory added, MiB", "Memoria añadida, MiB"),
    "parity_own": Word("Its own inertia / ours", "Su inercia / la nuestra"),
    "parity_rows": Word("Customers trained on", "Clientes para entrenar"),
    "parity_iterations": Word("Iterations", "Iteraciones"),
    "parity_stop": Word("Ended because", "Motivo del final"),
    "parity_pairs": Word("Would the segments be the same people?", "¿Serían las mismas personas?"),
    "parity_pairs_caption": Word("Agreement of each pair of backends", "Acuerdo de cada par de motores"),
    "parity_pairs_help": Word(
        "Adjusted Rand index of each pair (1: the same people together, 0: no more than by chance) and, in brackets,"
        " the share of customers who stay in their segment when the segments are matched. Above {same} they count as"
        " the same segments, below {other} as other segments.",
        "Índice de Rand ajustado de cada par (1: las mismas personas juntas; 0: no más que por azar) y, entre"
        " paréntesis, la parte de los clientes que siguen en su segmento al emparejar los segmentos. Por encima de"
        " {same} cuentan como los mismos segmentos; por debajo de {other}, como otros.",
    ),
    "parity_pair": Word("{rand} ({share})", "{rand} ({share})"),
    # Figures
    "stability": Word("Stability", "Estabilidad"),
    "balance": Word("Balance", "Equilibrio"),
    "inertia_ratio": Word("Inertia / lowest", "Inercia / mínima"),
    "explained": Word("Explained share", "Parte explicada"),
    # Definitions
    "caution_title": Word("Before comparing feature sets", "Antes de comparar conjuntos de medidas"),
    "caution": Word(
        "Silhouettes of different feature sets and transforms compare only roughly: fewer measures, or a few"
        " customers far from the rest, easily give higher ones without the segments being of more use. Which"
        " measures to use is a business choice: what should the segments differ in? Once that is settled, these"
        " figures help to choose the number of segments and the backend. Of the others, Caliński–Harabasz and the"
        " gap speak only within one feature set and transform.",
        "Las siluetas de conjuntos de medidas o transformaciones distintos solo se comparan a grandes rasgos: con"
        " menos medidas, o con unos pocos clientes muy alejados del resto, suelen salir más altas sin que los"
        " segmentos sirvan de más. Qué medidas usar es una decisión de negocio: ¿en qué deben diferenciarse los"
        " segmentos? Una vez decidido, estas cifras ayudan a elegir el número de segmentos y el motor. De las demás,"
        " Caliński–Harabasz y la brecha (gap) solo valen dentro de un mismo conjunto y transformación.",
    ),
    "about_silhouette": Word(
        "Measured with squared distances, over all customers.",
        "Se mide con distancias al cuadrado, sobre todos los clientes.",
    ),
    "about_stability": Word(
        "How alike the segments from different seeds are: the adjusted Rand index, averaged over all pairs of"
        " seeds. 1: the same customers together each time; 0: no more than by chance. From {stable} on they are"
        " called alike.",
        "Cuánto se parecen los segmentos que salen de semillas distintas: el índice de Rand ajustado, en media de"
        " todos los pares de semillas. 1: siempre los mismos clientes juntos; 0: no más que por azar. Desde {stable}"
        " se consideran parecidos.",
    ),
    "about_balance": Word(
        "How even the sizes of the segments are: 1, all alike; near 0, one holds nearly everybody (entropy of the"
        " shares over its maximum).",
        "Cómo de parejos son los tamaños de los segmentos: 1, todos iguales; cerca de 0, uno reúne a casi todos"
        " (entropía de las proporciones entre su máximo).",
    ),
    "about_inertia_ratio": Word(
        "Inertia is the spread left inside the segments. Here it is divided by the lowest that any backend found"
        " with the same measures, transform and k: 1 is the best.",
        "La inercia es la dispersión que queda dentro de los segmentos. Aquí se divide entre la más baja que ha"
        " encontrado algún motor con las mismas medidas, transformación y k: 1 es lo mejor.",
    ),
    "about_explained": Word(
        "The part of the differences between customers that lies between segments; the rest is left inside them. It"
        " grows with every segment added: what counts is where it stops growing fast.",
        "La parte de las diferencias entre clientes que separa unos segmentos de otros; el resto queda dentro de"
        " ellos. Crece con cada segmento que se añade: lo que cuenta es dónde deja de crecer deprisa.",
    ),
    "about_seconds": Word(
        "Median time of one trial: segments and figures, without gap and bootstrap.",
        "Tiempo mediano de una prueba: segmentos y cifras, sin brecha (gap) ni bootstrap.",
    ),
    "about_pareto": Word(
        "Where no other usable configuration is at least as good in silhouette, stability, balance and time, and"
        " better in one of them. Times within a factor of {factor} count as equal.",
        "Donde ninguna otra configuración utilizable es al menos igual de buena en silueta, estabilidad, equilibrio"
        " y tiempo, y mejor en algo. Los tiempos que no llegan a {factor} veces otro cuentan como iguales.",
    ),
    "about_chosen": Word(
        "The number of segments that the evidence points to, for one feature set, transform and backend. Where none"
        " stands out, the limits of the business decide, and the verdict says so.",
        "El número de segmentos al que apuntan los datos, para un conjunto de medidas, transformación y motor. Si"
        " ninguno destaca, deciden los límites del negocio, y el veredicto lo dice.",
    ),
    "about_transform": Word(
        "log: the logarithm of 1 + value, so that a few very large customers do not decide everything. none: the"
        " values as they are.",
        "log: el logaritmo de 1 + valor, para que unos pocos clientes muy grandes no lo decidan todo. Ninguna: los"
        " valores tal cual.",
    ),
    "about_seed": Word(
        "Where the random choices start. Each configuration is tried from each seed.",
        "De dónde parten las elecciones al azar. Cada configuración se prueba con cada semilla.",
    ),
    # Settings
    "sweep_run_title": Word("What was set", "Con qué ajustes"),
    "sets_caption": Word("The feature sets", "Los conjuntos de medidas"),
    "measures": Word("Measures", "Medidas"),
    "set_name": Word("Name", "Nombre"),
    "run_data": Word("Data", "Datos"),
    "run_ks": Word("k tried", "k probados"),
    "run_transforms": Word("Transforms", "Transformaciones"),
    "run_backends": Word("Backends", "Motores"),
    "run_seeds": Word("Seeds", "Semillas"),
    "run_limits": Word("Segments allowed", "Segmentos permitidos"),
    "run_limits_value": Word("{low} to {high}", "de {low} a {high}"),
    "run_min_share": Word("Warn of segments below", "Avisar de segmentos por debajo de"),
}
"""Sentences and labels by key; braces are filled in when the text is used."""

SHORT: Mapping[str, Word] = {
    "log": Word("log", "log"),
    "native": Word("native", "native"),
}
"""What a table calls a transform or a backend, where the main report says more than fits."""

UNTRANSFORMED = Word("untransformed", "sin transformar")
"""What the transform ``none`` is called beside the name of a feature set."""


class SweepWords(Words):
    """The texts of a sweep's report in one language; keys that it lacks are those of the main report.

    Examples
    --------
    >>> say = SweepWords("es")
    >>> say("nav_board"), say("silhouette"), say.short("none"), say.short("native")
    ('Clasificación', 'Silueta', 'ninguna', 'native')
    >>> say.counted("seeds", 1, "1"), say.counted("seeds", 3, "3")
    ('1 semilla', '3 semillas')
    """

    __slots__ = ()

    def __call__(self, key: str, **values: object) -> str:
        """Return the text of a key with its gaps filled."""
        return self.of(TEXTS[key]).format(**values) if key in TEXTS else super().__call__(key, **values)

    def short(self, name: str) -> str:
        """Return the short term for a transform or a backend."""
        return self.of(SHORT[name]) if name in SHORT else self.name(name)

    def treated(self, features: str, transform: str) -> str:
        """Name a feature set together with its transform.

        Examples
        --------
        >>> SweepWords("en").treated("rfm", "none")
        'rfm · untransformed'
        """
        return f"{features} · {self.of(UNTRANSFORMED) if transform == 'none' else self.short(transform)}"

    def counted(self, key: str, count: int, written: str) -> str:
        """Say how many: ``one_KEY`` for 1, ``n_KEY`` otherwise."""
        return self(f"one_{key}") if count == 1 else self(f"n_{key}", n=written)

    def listed(self, items: Sequence[str]) -> str:
        """Join with commas and a final "and".

        Examples
        --------
        >>> SweepWords("en").listed(["a", "b", "c"])
        'a, b and c'
        """
        if len(items) < 2:
            return "".join(items)
        return self("and", most=", ".join(items[:-1]), last=items[-1])
