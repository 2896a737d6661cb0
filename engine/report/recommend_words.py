"""Every text about what to offer in a segment, and of the page of `cartera recommend`, but those of the main report."""

from __future__ import annotations

from collections.abc import Mapping

from engine.report.words import Words
from engine.schema import Word

SEGMENT_OFFER_TEXTS: Mapping[str, Word] = {
    "product": Word("Product", "Producto"),
    "offer_title": Word("What to offer", "Qué ofrecer"),
    "next_finding": Word("New {span}: {product}", "Lo nuevo {span}: {product}"),
    "next_alike": Word(
        "No product stands out; most often new {span}: {product}",
        "Ningún producto destaca; lo nuevo más frecuente {span}: {product}",
    ),
    "next_span": Word("in the last {days} days", "de los últimos {days} días"),
    "next_span_day": Word("on the last day", "del último día"),
    "next_span_unknown": Word("in the latest baskets", "de las últimas cestas"),
    "next_none": Word("No new product stands out", "Ningún producto nuevo destaca"),
    "next_help": Word(
        "Of the customers of the segment who came back, the share whose first basket then had the product, and none"
        " before.",
        "De los clientes del segmento que volvieron, qué parte se llevó entonces el producto por primera vez en su"
        " primera cesta.",
    ),
    "next_caption": Word(
        "New products in the next basket; {n} customers came back",
        "Productos nuevos en la siguiente cesta; {n} clientes volvieron",
    ),
    "probability": Word("Probability", "Probabilidad"),
    "between": Word("Interval", "Intervalo"),
    "cross_title": Word("Cross-selling", "Venta cruzada"),
    "cross_finding": Word(
        "Buyers of {bought} go on to {offer} {lift} times as often as expected",
        "Después de {bought} compran {offer}: {lift} veces lo esperado",
    ),
    "cross_and": Word("{one} and {other}", "{one} y {other}"),
    "cross_none": Word(
        "No two products go together so often in this segment that it is surely more than chance",
        "En este segmento no hay dos productos que vayan juntos tanto como para descartar el azar",
    ),
    "cross_all_taken": Word(
        "There is nobody left to offer to: in all {n} pairs and sets, whoever bought the first has the second already",
        "No queda a quién ofrecer: en las {n} combinaciones, quien compró el primero ya tiene el segundo",
    ),
    "cross_all_few": Word(
        "Hardly anybody is left to offer to: in all {n} pairs and sets there are fewer than {least} customers",
        "Apenas queda a quién ofrecer: en las {n} combinaciones hay menos de {least} clientes",
    ),
    "cross_help": Word(
        "How many times as often as expected the buyers of the first product take the second when they try something"
        " new; the other customers of the segment say what is to be expected. It tells what goes together, not that an"
        " offer brings it about.",
        "Cuántas veces más de lo esperable eligen el segundo producto, al probar algo nuevo, quienes compraron el"
        " primero; lo esperable lo marcan los demás clientes del segmento. Indica qué va unido, no que una oferta lo"
        " provoque.",
    ),
    "cross_order": Word(
        "First comes what promises the most buyers: customers to offer it to, times the share who went on to buy it,"
        " less what chance alone would bring.",
        "Primero, lo que promete más compradores: clientes a quienes ofrecerlo por la parte que lo compró después,"
        " menos lo que daría el puro azar.",
    ),
    "cross_same_only": Word(
        "The products of each of these are of one kind: another size, brand or flavour of the same.",
        "En cada combinación los productos son del mismo tipo: otro tamaño, otra marca u otro sabor.",
    ),
    "cross_same_left": Word(
        "Not listed: {n} between products of one kind, such as another size or flavour of the same.",
        "No se muestran: {n} entre productos del mismo tipo, como otro tamaño u otro sabor.",
    ),
    "cross_taken": Word(
        "Not listed: {n} in which whoever bought the first has the second already.",
        "No se muestran: {n} en las que quien compró el primero ya tiene el segundo.",
    ),
    "cross_few": Word(
        "Not listed: {n} with fewer than {least} customers to offer it to.",
        "No se muestran: {n} con menos de {least} clientes a quienes ofrecerlo.",
    ),
    "cross_caption": Word("{n} of {all} pairs and sets", "{n} de {all} combinaciones"),
    "cross_caption_all": Word("All that stand out: {all}", "Todas las que destacan: {all}"),
    "bought": Word("Bought", "Han comprado"),
    "to_offer": Word("Offer", "Ofrecer"),
    "went_on": Word("Went on to buy it", "Lo compraron después"),
    "lift": Word("Times the expected", "Veces lo esperado"),
    "people_to_offer": Word("Customers to offer it to", "Clientes a quienes ofrecerlo"),
    "up_title": Word("Up-selling", "Venta de productos superiores"),
    "up_finding": Word(
        "In place of {bought}, the next segment up chooses {offer}",
        "En lugar de {bought}, el segmento superior elige {offer}",
    ),
    "up_none": Word("No dearer product stands out", "No destaca ningún producto superior"),
    "up_help": Word(
        "Of the customers who buy exactly one of the two, the share who choose the dearer: here and in “{name}”.",
        "De los clientes que compran exactamente uno de los dos, la parte que elige el más caro: aquí y en «{name}».",
    ),
    "up_caption": Word("Dearer products of the same category", "Productos más caros de la misma categoría"),
    "price": Word("{price} each", "a {price}"),
    "share_here": Word("Choose it here", "Lo eligen aquí"),
    "share_next": Word("Choose it there", "Lo eligen allí"),
}
"""What the pages that are served say too."""

TEXTS: Mapping[str, Word] = {
    **SEGMENT_OFFER_TEXTS,
    # Top of the page
    "recommend_eyebrow": Word("Recommendations", "Recomendaciones"),
    "recommend_title": Word(
        "{share} of a customer's next basket is among the {k} products recommended",
        "El {share} de la siguiente cesta de un cliente está entre los {k} productos recomendados",
    ),
    "recommend_title_new": Word(
        "{share} of what a customer buys for the first time is among the {k} products recommended",
        "El {share} de lo que un cliente compra por primera vez está entre los {k} productos recomendados",
    ),
    "recommend_title_bare": Word(
        "What to offer {customers} customers next", "Qué ofrecer ahora a {customers} clientes"
    ),
    "recommend_lead": Word(
        "For {customers} customers, by purchases before {day}.",
        "Para {customers} clientes, según las compras anteriores al {day}.",
    ),
    "recommend_list": Word(
        "The list for each customer is in recommendations.parquet.",
        "La lista de cada cliente está en recommendations.parquet.",
    ),
    "recommend_skip": Word("Skip to what to offer", "Ir a qué ofrecer"),
    "figure_products": Word("products", "productos"),
    "figure_categories": Word("categories", "categorías"),
    "figure_recommendations": Word("recommendations", "recomendaciones"),
    "figure_found": Word("of the last basket foreseen", "de la última cesta, acertado"),
    "figure_rules": Word("cross-selling rules", "reglas de venta cruzada"),
    # Reasons
    "nav_reasons": Word("Reasons", "Motivos"),
    "reasons_title": Word("Why these products", "Por qué estos productos"),
    "reasons_finding": Word("{share} of the recommendations: {reason}", "El {share} de las recomendaciones: {reason}"),
    "reasons_help": Word(
        "Every recommendation has a reason, in a sentence that can be shown to the customer. Each has an example of"
        " middle score.",
        "Cada recomendación tiene un motivo, en una frase que se puede mostrar al cliente. De cada uno, un ejemplo de"
        " puntuación intermedia.",
    ),
    "reasons_caption": Word("Reasons, the most frequent first", "Motivos, de más a menos frecuentes"),
    "reason": Word("Reason", "Motivo"),
    "share_of_all": Word("Share", "Porcentaje"),
    "example": Word("For example", "Por ejemplo"),
    "as_told": Word("The reason in words", "El motivo, en palabras"),
    "reason_habit": Word("the customer buys it again and again", "el cliente lo compra una y otra vez"),
    "reason_owned": Word("the customer has bought it before", "el cliente ya lo ha comprado"),
    "reason_alike": Word("customers who buy alike have it", "lo compran clientes parecidos"),
    "reason_along": Word("it goes with another product", "va bien con otro producto"),
    "reason_following": Word("it comes after another product", "suele venir después de otro producto"),
    "reason_segment": Word("the segment buys it more than others", "el segmento lo compra más que los demás"),
    "reason_fresh": Word("it is bought more these days", "estos días se compra más"),
    "reason_popular": Word("many buy it", "lo compran muchos"),
    # How good
    "nav_quality": Word("How good they are", "Calidad"),
    "quality_title": Word("Tried on baskets that are known", "Puestas a prueba con cestas conocidas"),
    "quality_better": Word(
        "Better than the best plain rule, “{name}”", "Mejores que la mejor regla sencilla, «{name}»"
    ),
    "quality_alike": Word(
        "Not clearly better than the best plain rule, “{name}”",
        "No claramente mejores que la mejor regla sencilla, «{name}»",
    ),
    "quality_worse": Word("Worse than a plain rule, “{name}”", "Peores que una regla sencilla, «{name}»"),
    "quality_help": Word(
        "The last basket of {n} customers was foreseen from those before it, {k} products for each. Below each figure"
        " stands its 95% interval.",
        "Se previó la última cesta de {n} clientes a partir de las anteriores, con {k} productos para cada uno. Debajo"
        " de cada cifra, su intervalo al 95 %.",
    ),
    "novel_title": Word(
        "The same for products that were new to the customer", "Lo mismo con productos nuevos para el cliente"
    ),
    "novel_help": Word(
        "{n} customers had something in their last basket that they had not bought before. Each was recommended {k}"
        " products that were new to them, and only what was new was looked for.",
        "{n} clientes llevaban en su última cesta algo que no habían comprado antes. A cada uno se le recomendaron {k}"
        " productos nuevos para él, y solo se buscó lo nuevo.",
    ),
    "quality_caption": Word("Ours beside plain rules", "Las nuestras, junto a reglas sencillas"),
    "recommender": Word("Who recommends", "Según"),
    "interval": Word("{low} to {high}", "de {low} a {high}"),
    "by_cartera": Word("Cartera", "Cartera"),
    "by_popular": Word("what all buy most", "lo que más compran todos"),
    "by_personal": Word("what the customer buys most", "lo que más compra el cliente"),
    "by_personal_then_popular": Word(
        "what the customer buys most, then what all do", "lo que más compra el cliente y, después, todos"
    ),
    "by_segment_popular": Word("what the segment buys most", "lo que más compra el segmento"),
    "measure_recall": Word("Found of the basket", "Parte acertada de la cesta"),
    "measure_hit": Word("Customers with a hit", "Clientes con acierto"),
    "measure_ndcg": Word("NDCG", "NDCG"),
    "measure_recall_repeat": Word("Of what they had bought before", "De lo que ya compraban"),
    "measure_recall_explore": Word("Of what was new to them", "De lo que era nuevo para ellos"),
    # Segments
    "nav_offers": Word("Segments", "Segmentos"),
    "next_period": Word(
        "It rests on the {days} days from {first} on and holds for about as many ahead, as long as season and range"
        " stay as they were.",
        "Se basa en los {days} días desde el {first} y vale para otros tantos, más o menos, mientras no cambien la"
        " temporada ni el surtido.",
    ),
    "next_falling": Word(
        "What was bought much less towards the end of these days, as after a holiday, is left out.",
        "No aparece lo que se compró mucho menos al final de esos días, como tras una fiesta.",
    ),
    "no_tables": Word(
        "Too little was bought to tell what goes with what.", "Se ha comprado demasiado poco para saber qué va con qué."
    ),
    # Definitions
    "define_probability": Word(
        "Of the customers of the segment who came back after a date that has passed, the share whose first basket held"
        " the product for the first time. It holds as far as season and range are the same.",
        "De los clientes del segmento que volvieron tras una fecha ya pasada, la parte cuya primera cesta llevó el"
        " producto por primera vez. Vale mientras la temporada y el surtido sean los mismos.",
    ),
    "define_lift": Word(
        "Customers who went on to buy the product, over those to be expected from what others of the segment tried at"
        " the same time and stage. 1 means no connection. Having many baskets does not raise it.",
        "Clientes que compraron después el producto, entre los que cabría esperar por lo que otros del segmento"
        " probaron en el mismo momento y etapa. 1 significa que no hay relación. Comprar mucho no lo aumenta.",
    ),
    "define_between": Word(
        "The true figure lies in this interval in 95 of 100 cases.",
        "El valor verdadero está en este intervalo en 95 de cada 100 casos.",
    ),
    "define_ndcg": Word(
        "How high on the list the products of the basket stand: 1 where all are at the top, 0 where none is on it.",
        "Cómo de arriba en la lista están los productos de la cesta: 1 si están todos arriba, 0 si no hay ninguno.",
    ),
}
"""Sentences and labels by key; braces are filled in when the text is used."""


class RecommendWords(Words):
    """The texts of the page in one language; keys that they lack are those of the report.

    Examples
    --------
    >>> say = RecommendWords("es")
    >>> say("cross_title"), say("customers")
    ('Venta cruzada', 'Clientes')
    """

    __slots__ = ()

    def __call__(self, key: str, **values: object) -> str:
        """Return the text of a key with its gaps filled."""
        return self.of(TEXTS[key]).format(**values) if key in TEXTS else super().__call__(key, **values)
