"""Every text of the report, in English and Spanish, and the words for names that come from the engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from engine.report.figure_words import FIGURE_WORDS
from engine.schema import Word, check_language

TEXTS: Mapping[str, Word] = {
    # Top of the page
    "eyebrow": Word("Customer segments", "Segmentos de clientes"),
    "headline": Word(
        "{customers} of customers bring {revenue} of revenue",
        "El {customers} de los clientes aporta el {revenue} de la facturación",
    ),
    "headline_without_revenue": Word("{customers} customers in {k} segments", "{customers} clientes en {k} segmentos"),
    "headline_who": Word(
        "They are the segment “{name}”, the one with the highest revenue per customer.",
        "Son el segmento «{name}», el de mayor facturación por cliente.",
    ),
    "period": Word(
        "Sales from {first} to {last}, seen on {as_of}.",
        "Ventas del {first} al {last}, vistas al {as_of}.",
    ),
    "period_window": Word(
        "Only the {days} days before that date count.",
        "Solo cuentan los {days} días anteriores a esa fecha.",
    ),
    "skip": Word("Skip to the segments", "Ir a los segmentos"),
    "contents": Word("Contents", "Contenido"),
    "figures": Word("Main figures", "Cifras principales"),
    "figure_customers": Word("customers", "clientes"),
    "figure_revenue": Word("revenue", "facturación"),
    "figure_orders": Word("orders", "pedidos"),
    "figure_mean": Word("revenue per customer", "facturación por cliente"),
    "figure_segments": Word("segments", "segmentos"),
    "no_script": Word(
        "The charts need JavaScript. Every figure in them is also in the tables of this page.",
        "Los gráficos necesitan JavaScript. Todas sus cifras están también en las tablas de esta página.",
    ),
    # The verdict
    "verdict_auto": Word(
        "Cartera chose {k} segments.",
        "Cartera ha elegido {k} segmentos.",
    ),
    "verdict_user": Word("You asked for {k} segments.", "Se han pedido {k} segmentos."),
    "verdict_clear": Word("Clear choice", "Elección clara"),
    "verdict_unclear": Word("No clear-cut choice", "Sin elección clara"),
    "verdict_fixed": Word("Set by you", "Fijado por el usuario"),
    "warning": Word("Warning", "Atención"),
    # Segment cards
    "nav_segments": Word("Segments", "Segmentos"),
    "segments_title": Word("The segments, one by one", "Los segmentos, uno a uno"),
    "segments_lead": Word(
        "In order of revenue per customer. Figures are averages per customer.",
        "Por orden de facturación por cliente. Las cifras son medias por cliente.",
    ),
    "of_customers": Word("of customers", "de los clientes"),
    "of_revenue": Word("of revenue", "de la facturación"),
    "customers_count": Word("{n} customers", "{n} clientes"),
    "one_customer": Word("1 customer", "1 cliente"),
    "apart": Word("What sets it apart", "Qué lo distingue"),
    "like_average": Word("No measure lies far from the average.", "Ninguna medida se aleja mucho de la media."),
    "to_do": Word("What to do", "Qué hacer"),
    # Shares
    "nav_shares": Word("Shares", "Pesos"),
    "shares_title": Word("Customers against revenue", "Clientes frente a facturación"),
    "shares_finding": Word(
        "The segment “{name}” weighs {ratio} times as much in revenue as in customers",
        "El segmento «{name}» pesa en facturación {ratio} veces lo que pesa en clientes",
    ),
    "shares_even": Word(
        "Every segment weighs about the same in revenue as in customers",
        "Cada segmento pesa en facturación casi lo mismo que en clientes",
    ),
    "shares_help": Word(
        "For each segment, its share of all customers (light bar) above its share of all revenue (solid bar).",
        "Para cada segmento, su parte de los clientes (barra clara) sobre su parte de la facturación (barra intensa).",
    ),
    "shares_item": Word(
        "{name}: {customers} of customers, {revenue} of revenue",
        "{name}: {customers} de los clientes, {revenue} de la facturación",
    ),
    # Map
    "nav_map": Word("Map", "Mapa"),
    "map_title": Word("The map of customers", "El mapa de los clientes"),
    "map_rises": Word("The higher the {x}, the higher the {y}", "A más {x}, más {y}"),
    "map_falls": Word("The higher the {x}, the lower the {y}", "A más {x}, menos {y}"),
    "map_apart": Word(
        "{x} and {y} tell different things about a customer",
        "{x} y {y}: cada una dice algo distinto de un cliente",
    ),
    "map_help": Word(
        "Each point is a customer, from a sample of {n}. The numbered marks stand at the median customer of each"
        " segment.",
        "Cada punto es un cliente, de una muestra de {n}. Las marcas con número señalan al cliente mediano de"
        " cada segmento.",
    ),
    "map_log": Word(
        "On both axes each step multiplies: the scale is logarithmic.",
        "En ambos ejes cada paso multiplica: la escala es logarítmica.",
    ),
    "map_undrawn": Word(
        "Customers at zero, below it or without the figure, who have no place on such a scale: {n}.",
        "Clientes con cero, con menos o sin el dato, que no caben en esa escala: {n}.",
    ),
    "map_item": Word(
        "{name}: median {x_label} {x}, median {y_label} {y}",
        "{name}: mediana de {x_label} {x}, mediana de {y_label} {y}",
    ),
    "map_alt": Word(
        "Scatter chart of {n} customers, {x_label} against {y_label}.",
        "Diagrama de dispersión de {n} clientes, {x_label} frente a {y_label}.",
    ),
    # Profiles
    "nav_profile": Word("Profiles", "Perfiles"),
    "profile_title": Word("How the segments differ", "En qué se diferencian los segmentos"),
    "profile_finding": Word(
        "Furthest above average: {measure} of “{name}”, {ratio} times it",
        "Lo que más supera la media: {measure} de «{name}», {ratio} veces",
    ),
    "profile_even": Word("No segment departs from the average", "Ningún segmento se aparta de la media"),
    "profile_help": Word(
        "Mean of the segment divided by the mean of all customers: 1× is the average. Blue is above it, orange"
        " below; more is not always better (many days of recency mean a customer who does not come back).",
        "Media del segmento dividida entre la media de todos los clientes: 1× es la media. En azul, por encima;"
        " en naranja, por debajo; más no siempre es mejor (muchos días de recencia son un cliente que no vuelve).",
    ),
    "profile_alt": Word(
        "Heat map of segment means against the average of all customers.",
        "Mapa de calor de las medias de cada segmento frente a la media de todos los clientes.",
    ),
    "all_customers": Word("All customers", "Todos los clientes"),
    "table_caption": Word(
        "Mean per customer of each segment; below it, smaller, the median",
        "Media por cliente de cada segmento; debajo, más pequeña, la mediana",
    ),
    "segment": Word("Segment", "Segmento"),
    "customers": Word("Customers", "Clientes"),
    "share_customers": Word("% of customers", "% de clientes"),
    "share_revenue": Word("% of revenue", "% de facturación"),
    "median": Word("median", "mediana"),
    "notes_title": Word("Bear in mind", "Conviene saber"),
    # Choice of k
    "nav_choice": Word("Number of segments", "Número de segmentos"),
    "choice_title": Word("Why {k} segments", "Por qué {k} segmentos"),
    "choice_one": Word(
        "The number was fixed beforehand, so no other was tried: there is no curve to compare.",
        "El número se fijó de antemano y no se probó ningún otro: no hay curva que comparar.",
    ),
    "elbow_knee": Word(
        "Adding segments pays less beyond {knee}", "A partir de {knee}, añadir segmentos compensa menos"
    ),
    "elbow_weak": Word("The curve bends most at {knee}", "La curva se dobla más en {knee}"),
    "elbow_none": Word("The curve falls without a clear bend", "La curva baja sin un codo claro"),
    "elbow_help": Word(
        "Spread left inside the segments (inertia): the lower, the more alike the customers of a segment. It always"
        " falls; what counts is where it stops falling fast.",
        "Dispersión que queda dentro de los segmentos (inercia): cuanto más baja, más se parecen los clientes de un"
        " segmento. Siempre baja; lo que cuenta es dónde deja de bajar deprisa.",
    ),
    "silhouette_same": Word(
        "Of the numbers allowed, {k} also separates best",
        "De los números permitidos, {k} es también el que mejor separa",
    ),
    "silhouette_other": Word(
        "Of the numbers allowed, {best} separates best; with {k} the silhouette is {score}",
        "De los números permitidos, {best} es el que mejor separa; con {k} la silueta es {score}",
    ),
    "silhouette_unknown": Word("Separation was not measured at {k}", "No se midió la separación con {k}"),
    "silhouette_help": Word(
        "How much closer customers are to their own segment than to the next one (silhouette). 1 is perfect, 0 means"
        " segments that overlap.",
        "Cuánto más cerca están los clientes de su segmento que del siguiente (silueta). 1 es perfecto; 0, segmentos"
        " que se solapan.",
    ),
    "limits_help": Word(
        "The shaded band marks the numbers allowed: {low} to {high}.",
        "La franja sombreada marca los números permitidos: de {low} a {high}.",
    ),
    "limits_tried": Word("Of these, {low} to {high} were tried.", "De ellos se han probado de {low} a {high}."),
    "chosen_mark": Word("{k}: chosen", "{k}: elegido"),
    "knee_mark": Word("{k}: bend", "{k}: codo"),
    "best_mark": Word("{k}: best separated", "{k}: mejor separación"),
    "axis_k": Word("Number of segments", "Número de segmentos"),
    "trial_item": Word("{k} segments: {value}", "{k} segmentos: {value}"),
    **FIGURE_WORDS,
    "trials_caption": Word("The numbers of segments tried", "Los números de segmentos probados"),
    "smallest_share": Word("Smallest segment", "Segmento menor"),
    "largest_share": Word("Largest segment", "Segmento mayor"),
    "inertia": Word("Inertia", "Inercia"),
    "silhouette": Word("Silhouette", "Silueta"),
    "time": Word("Time", "Tiempo"),
    "chosen": Word("chosen", "elegido"),
    # Data
    "nav_data": Word("Data", "Datos"),
    "data_title": Word(
        "From the rows read to the customers segmented", "De las filas leídas a los clientes segmentados"
    ),
    "data_all_kept": Word(
        "All {rows} rows that were read are in the analysis",
        "Las {rows} filas leídas están todas en el análisis",
    ),
    "data_kept": Word(
        "{share} of the rows read are in the analysis", "El {share} de las filas leídas está en el análisis"
    ),
    "rows_caption": Word("Transaction rows and their value", "Filas de transacciones y su importe"),
    "people_caption": Word("Customers", "Clientes"),
    "rows": Word("Rows", "Filas"),
    "amount": Word("Amount", "Importe"),
    "read": Word("Read", "Leídas"),
    "kept": Word("Kept", "Conservadas"),
    "analysed": Word("Analysed", "Analizadas"),
    "rejected": Word("Rejected: {reason}", "Rechazadas: {reason}"),
    "in_lake": Word("In the data", "En los datos"),
    "segmented": Word("Segmented", "Segmentados"),
    "left_out": Word("Left out: {reason}", "Fuera del análisis: {reason}"),
    # Definitions and run facts
    "nav_definitions": Word("Definitions", "Definiciones"),
    "definitions_title": Word("What each figure means", "Qué significa cada cifra"),
    "definition_customers": Word(
        "Share of all segmented customers who are in the segment.",
        "Parte de todos los clientes segmentados que está en el segmento.",
    ),
    "definition_revenue": Word(
        "Share of the revenue of all segmented customers that the segment brings.",
        "Parte de la facturación de todos los clientes segmentados que aporta el segmento.",
    ),
    "definition_median": Word(
        "Half of the customers of the segment are above it, half below. A few very large customers move the mean, not"
        " the median.",
        "La mitad de los clientes del segmento está por encima y la otra mitad por debajo. Unos pocos clientes muy"
        " grandes mueven la media, pero no la mediana.",
    ),
    "features_caption": Word("What customers were compared on", "Con qué datos se ha comparado a los clientes"),
    "feature": Word("Measure", "Medida"),
    "transform": Word("Transformation", "Transformación"),
    "scale": Word("Scale", "Escala"),
    "weight": Word("Weight", "Peso"),
    "nav_run": Word("Run", "Ejecución"),
    "run_title": Word("How it was computed", "Cómo se ha calculado"),
    "run_caption": Word("Facts of the run", "Datos de la ejecución"),
    "seconds_caption": Word("Time by step", "Tiempo por etapa"),
    "run_rows": Word("Transaction rows", "Filas de transacciones"),
    "run_backend": Word("Clustering backend", "Motor de agrupamiento"),
    "run_solver": Word("Solver", "Método de cálculo"),
    "run_seed": Word("Seed", "Semilla"),
    "run_lake_version": Word("Version of the data", "Versión de los datos"),
    "run_as_of": Word("Date of the analysis", "Fecha del análisis"),
    "run_window": Word("Window", "Ventana"),
    "run_whole_history": Word("the whole history", "todo el histórico"),
    "run_days": Word("{days} days", "{days} días"),
    "run_where": Word("Filter on customers", "Filtro de clientes"),
    "run_memory": Word("Peak memory", "Memoria máxima"),
    "run_version": Word("Cartera version", "Versión de Cartera"),
    "footer": Word(
        "Made by Cartera {version}. This page works without a connection and holds no customer identifiers.",
        "Hecho con Cartera {version}. Esta página funciona sin conexión y no contiene identificadores de clientes.",
    ),
    "save_image": Word("Save the chart as an image", "Guardar el gráfico como imagen"),
    # What sets a segment apart: measures with a verb of their own, then any measure
    "monetary_high": Word("Spends {times} times the average", "Gasta {times} veces la media"),
    "monetary_low": Word("Spends {share} of the average", "Gasta el {share} de la media"),
    "frequency_high": Word(
        "Places {times} times the average number of orders", "Hace {times} veces los pedidos de la media"
    ),
    "frequency_low": Word(
        "Places {share} of the average number of orders",
        "Hace el {share} de los pedidos de la media",
    ),
    "units_high": Word("Buys {times} times the average units", "Compra {times} veces las unidades de la media"),
    "units_low": Word("Buys {share} of the average units", "Compra el {share} de las unidades de la media"),
    "recency_days_high": Word(
        "Has not bought for {times} times as long as average",
        "Lleva sin comprar {times} veces el tiempo medio",
    ),
    "recency_days_low": Word(
        "Bought recently: {share} of the average time since the last purchase",
        "Ha comprado hace poco: el {share} del tiempo medio desde la última compra",
    ),
    "tenure_days_high": Word(
        "Has been a customer {times} times as long as average",
        "Es cliente desde hace {times} veces el tiempo medio",
    ),
    "tenure_days_low": Word(
        "Newer customers: {share} of the average tenure",
        "Clientes más recientes: el {share} de la antigüedad media",
    ),
    "any_high": Word("{label}: {times} times the average", "{label}: {times} veces la media"),
    "any_low": Word("{label}: {share} of the average", "{label}: el {share} de la media"),
    "any_above": Word("{label}: usually above average", "{label}: por lo general, por encima de la media"),
    "any_below": Word("{label}: usually below average", "{label}: por lo general, por debajo de la media"),
}
"""Sentences and labels by key; braces are filled in when the text is used."""

NAMES: Mapping[str, Word] = {
    # Reasons for rejecting a row
    "missing_customer_id": Word("no customer", "sin cliente"),
    "missing_timestamp": Word("no date", "sin fecha"),
    "missing_quantity": Word("no quantity", "sin cantidad"),
    "missing_amount": Word("no amount", "sin importe"),
    "not_a_date": Word("date that cannot be read", "fecha ilegible"),
    "date_out_of_range": Word("date out of range", "fecha fuera de rango"),
    "not_a_number": Word("number that cannot be read", "número ilegible"),
    "infinite_number": Word("infinite number", "número infinito"),
    "number_too_large": Word("number too large", "número demasiado grande"),
    "zero_price": Word("price zero", "precio cero"),
    "negative_price": Word("negative price", "precio negativo"),
    "unknown_kind": Word("neither sale nor return", "ni venta ni devolución"),
    "ragged_row": Word("wrong number of fields", "número de campos incorrecto"),
    "exact_duplicate": Word("exact duplicate", "duplicado exacto"),
    "non_product": Word("not a product", "no es un producto"),
    # Reasons for leaving out a customer
    "where": Word("by the filter on customers", "por el filtro de clientes"),
    "returns_only": Word("only returns", "solo devoluciones"),
    "no_sale_in_window": Word("no purchase in the window", "sin compras en la ventana"),
    "nothing_before_as_of": Word("nothing before the date of the analysis", "nada antes de la fecha del análisis"),
    # Reasons for leaving out a row
    "returns": Word("returns", "devoluciones"),
    "on_or_after_as_of": Word("on or after the date of the analysis", "desde la fecha del análisis"),
    "before_window": Word("before the period", "antes del periodo"),
    # Steps of a run
    "read": Word("Reading the data", "Lectura de los datos"),
    "ingest": Word("Reading the data", "Lectura de los datos"),
    "features": Word("Measures per customer", "Medidas por cliente"),
    "clustering": Word("Clustering", "Agrupamiento"),
    "segments": Word("Describing the segments", "Descripción de los segmentos"),
    "parity": Word("Comparing the backends", "Comparación de los motores"),
    "report": Word("Writing the report", "Redacción del informe"),
    # How a measure enters the comparison
    "log": Word("logarithm of 1 + value", "logaritmo de 1 + valor"),
    "standard": Word("standard deviations", "desviaciones típicas"),
    "robust": Word("interquartile ranges", "rangos intercuartílicos"),
    "none": Word("none", "ninguna"),
    # Who computes the clusters, and how
    "native": Word("native (Cartera's own)", "native (propio de Cartera)"),
    "faiss": Word("FAISS", "FAISS"),
    "sklearn": Word("scikit-learn", "scikit-learn"),
    "dask_ml": Word("Dask-ML", "Dask-ML"),
    "auto": Word("automatic", "automático"),
    "full": Word("all customers from the start", "todos los clientes desde el principio"),
    "sample": Word("sample, then all customers", "muestra y después todos los clientes"),
}
"""What a reader is told in place of a name that the engine uses."""


@dataclass(frozen=True, slots=True)
class Words:
    """The texts in one language.

    Examples
    --------
    >>> say = Words("es")
    >>> say("customers_count", n="722")
    '722 clientes'
    >>> say.name("zero_price"), say.name("strange_till")
    ('precio cero', 'strange till')
    """

    language: str

    def __post_init__(self) -> None:
        check_language(self.language)

    def __call__(self, key: str, **values: object) -> str:
        """Return the text of a key with its gaps filled."""
        return self.of(TEXTS[key]).format(**values)

    def of(self, word: Word | Mapping[str, str]) -> str:
        """Pick this language out of a word, or out of its JSON form."""
        pair = word.to_dict() if isinstance(word, Word) else word
        return pair[self.language]

    def name(self, name: str) -> str:
        """Return the reader's term for an engine name; one we do not know is shown with blanks for ``_``."""
        return self.of(NAMES[name]) if name in NAMES else name.replace("_", " ")
