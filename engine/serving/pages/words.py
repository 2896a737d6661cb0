"""Every text of the pages that are served, in English and Spanish, but those that the report has too."""

from __future__ import annotations

from collections.abc import Mapping

from engine.report.look import lower_first, upper_first
from engine.report.recommend_words import SEGMENT_OFFER_TEXTS
from engine.report.words import Words
from engine.schema import Word
from engine.serving.pages.offer_words import OFFER_TEXTS

TEXTS: Mapping[str, Word] = {
    # Every page
    "site": Word("Customer segments", "Segmentos de clientes"),
    "main_skip": Word("Skip to the content", "Ir al contenido"),
    "site_nav": Word("Pages", "Páginas"),
    "nav_overview": Word("Overview", "Resumen"),
    "nav_classify": Word("Classify a customer", "Clasificar un cliente"),
    "nav_customers": Word("Customers", "Clientes"),
    "nav_compare": Word("Compare runs", "Comparar ejecuciones"),
    "log_out": Word("Log out", "Salir"),
    "serving_script": Word(
        "The charts need JavaScript. Everything else on this page works without it.",
        "Los gráficos necesitan JavaScript. Todo lo demás de esta página funciona sin él.",
    ),
    "serving_footer": Word(
        "Cartera {version} · model {digest}, loaded on {day} at {time} UTC",
        "Cartera {version} · modelo {digest}, cargado el {day} a las {time} UTC",
    ),
    "serving_footer_bare": Word("Cartera {version}", "Cartera {version}"),
    # Log in
    "login_title": Word("Log in", "Entrar"),
    "login_lead": Word(
        "Paste the token that you were given. It is printed when the server starts, or made by whoever runs it.",
        "Pegue el token que le han dado. Aparece al arrancar el servidor o lo crea quien lo administra.",
    ),
    "login_token": Word("Token", "Token"),
    "login_button": Word("Log in", "Entrar"),
    "login_wrong": Word(
        "This token is not known. Check that it was copied whole.",
        "Ese token no es válido. Compruebe que lo ha copiado entero.",
    ),
    # Problems
    "problem_home": Word("Back to the overview", "Volver al resumen"),
    "problem_400": Word("The request cannot be read", "La petición no se entiende"),
    "problem_401": Word("Log in first", "Hay que entrar primero"),
    "problem_403": Word("You may not see this", "No tiene acceso a esta página"),
    "problem_404": Word("There is no such page", "Esta página no existe"),
    "problem_405": Word("That cannot be done here", "Eso no se puede hacer aquí"),
    "problem_413": Word("Too much was sent", "Se han enviado demasiados datos"),
    "problem_422": Word("Something in the form is not right", "Hay algo en el formulario que no es correcto"),
    "problem_429": Word("Too many requests", "Demasiadas peticiones"),
    "problem_500": Word("Something went wrong on our side", "Algo ha fallado por nuestra parte"),
    "problem_503": Word("Not ready yet", "Todavía no está listo"),
    "problem_other": Word("This did not work", "No ha funcionado"),
    "problem_401_help": Word(
        "This address needs a token. Log in and open it again.",
        "Esta dirección necesita un token. Entre y vuelva a abrirla.",
    ),
    "problem_403_help": Word(
        "Your token does not allow it. Ask whoever runs this server for one that does.",
        "Su token no lo permite. Pida a quien administra este servidor uno que sí lo haga.",
    ),
    "problem_404_help": Word(
        "The address may be mistyped, or the model has changed since the link was made.",
        "Puede que la dirección esté mal escrita o que el modelo haya cambiado desde que se creó el enlace.",
    ),
    "problem_429_help": Word("Wait a moment and try again.", "Espere un momento y vuelva a intentarlo."),
    "problem_500_help": Word(
        "Nothing was lost. Try again; if it goes on, tell whoever runs this server when it happened.",
        "No se ha perdido nada. Vuelva a intentarlo; si continúa, avise a quien administra este servidor e indique"
        " a qué hora ocurrió.",
    ),
    "problem_503_help": Word(
        "The model is being loaded. Try again in a few seconds.",
        "El modelo se está cargando. Vuelva a intentarlo en unos segundos.",
    ),
    "form_expired": Word(
        "The form is no longer valid: the session has changed since the page was opened. Open it again and repeat.",
        "El formulario ha caducado: la sesión ha cambiado desde que se abrió la página. Ábrala de nuevo y repita.",
    ),
    "no_segment": Word("The model in use has no segment “{id}”.", "El modelo en uso no tiene ningún segmento «{id}»."),
    "no_base": Word(
        "No customers can be looked up here: the server was started without `customers=`.",
        "Aquí no se pueden consultar clientes: el servidor se ha arrancado sin `customers=`.",
    ),
    # Overview
    "overview_fitted": Word("Fitted as of {as_of}, on {window}.", "Ajustado al {as_of}, con {window}."),
    "window_whole": Word("the whole history", "todo el histórico"),
    "window_days": Word("the last {days} days", "los últimos {days} días"),
    "old_model": Word(
        "The newest model was refused and the one before goes on serving.",
        "El modelo más reciente no se ha podido aceptar y sigue en uso el anterior.",
    ),
    "overview_known": Word("customers to look up", "clientes que se pueden consultar"),
    "overview_measures": Word("measures compared", "medidas comparadas"),
    "overview_segments_lead": Word("In order of revenue per customer.", "Por orden de facturación por cliente."),
    "model_title": Word("What the model was fitted on", "Con qué datos se ajustó el modelo"),
    "model_caption": Word("Facts of the model", "Datos del modelo"),
    "model_customers": Word("Customers it was fitted on", "Clientes con los que se ajustó"),
    "model_features": Word("Measures compared", "Medidas comparadas"),
    "model_file": Word("Model", "Modelo"),
    # Map
    "plane_finding": Word(
        "Customers close together behave alike", "Los clientes cercanos se comportan de forma parecida"
    ),
    "plane_help": Word(
        "Each point is a customer, from a sample of {n}; the numbered marks are the centres of the segments."
        " The map squeezes {d} measures into two directions and keeps {share} of the differences.",
        "Cada punto es un cliente, de una muestra de {n}; las marcas con número son los centros de los segmentos."
        " El mapa reduce {d} medidas a dos direcciones y conserva el {share} de las diferencias.",
    ),
    "plane_help_bare": Word(
        "The numbered marks are the centres of the segments. The map squeezes {d} measures into two directions and"
        " keeps {share} of the differences between them.",
        "Las marcas con número son los centros de los segmentos. El mapa reduce {d} medidas a dos direcciones y"
        " conserva el {share} de las diferencias entre ellos.",
    ),
    "plane_alt": Word("Map of the segments and their customers.", "Mapa de los segmentos y sus clientes."),
    "plane_right": Word("To the right: {what}", "Hacia la derecha: {what}"),
    "plane_up": Word("Upwards: {what}", "Hacia arriba: {what}"),
    "plane_more": Word("more {measure}", "más {measure}"),
    "plane_less": Word("less {measure}", "menos {measure}"),
    "this_customer": Word("This customer", "Este cliente"),
    "place_title": Word("The place on the map", "Su lugar en el mapa"),
    "place_finding": Word("The star is the customer", "La estrella es el cliente"),
    # One segment
    "segment_eyebrow": Word("Segment {rank} of {k}", "Segmento {rank} de {k}"),
    "segment_revenue": Word("mean revenue per customer", "facturación media por cliente"),
    "profile_against": Word("Against all customers", "Frente a todos los clientes"),
    "profile_caption": Word(
        "Mean and median of the segment beside the mean of all customers",
        "Media y mediana del segmento junto a la media de todos los clientes",
    ),
    "mean_here": Word("Mean here", "Media aquí"),
    "median_here": Word("Median here", "Mediana aquí"),
    "mean_all": Word("Mean of all", "Media de todos"),
    "times_all": Word("Times the mean of all", "Veces la media de todos"),
    "typical_title": Word("Its most typical customers", "Sus clientes más típicos"),
    "typical_lead": Word(
        "Those who lie nearest to the centre of the segment.", "Los que están más cerca del centro del segmento."
    ),
    "its_people": Word("More customers of this segment", "Más clientes de este segmento"),
    "all_segments": Word("All segments", "Todos los segmentos"),
    # Classify
    "classify_title": Word("Which segment does a customer belong to?", "¿A qué segmento pertenece un cliente?"),
    "classify_lead": Word("Type the {n} values below.", "Escriba los {n} valores siguientes."),
    "classify_lead_one": Word("Type the value below.", "Escriba el valor siguiente."),
    "of_window_whole": Word(
        "Count everything that the customer has bought up to today.",
        "Cuente todo lo que el cliente ha comprado hasta hoy.",
    ),
    "of_window_days": Word(
        "Count only what the customer has bought in the last {days} days, up to today.",
        "Cuente solo lo que el cliente ha comprado en los últimos {days} días, hasta hoy.",
    ),
    "example_from": Word("Fill in a typical customer of", "Rellenar con un cliente típico de"),
    "classify_button": Word("Find the segment", "Buscar el segmento"),
    "range_from": Word("{low} or more", "{low} o más"),
    "range_between": Word("From {low} to {high}", "De {low} a {high}"),
    "range_any": Word("Any number", "Cualquier número"),
    "field_example": Word("for example {value}", "por ejemplo {value}"),
    "errors_title": Word("Some values need a second look", "Hay valores que conviene revisar"),
    "value_missing": Word("Type a number.", "Escriba un número."),
    "value_no_number": Word(
        "“{text}” is not a number. Write it like this: {example}.",
        "«{text}» no es un número. Escríbalo así: {example}.",
    ),
    "value_low": Word("The value must be {low} or more.", "El valor debe ser {low} o más."),
    "value_outside": Word("The value must be between {low} and {high}.", "El valor debe estar entre {low} y {high}."),
    "value_too_large": Word("The value is too large.", "El valor es demasiado grande."),
    "answer_eyebrow": Word("The customer belongs to", "El cliente pertenece a"),
    "how_sure": Word("How sure this segment is", "Seguridad de la asignación"),
    "sure_clear": Word(
        "Clear: the second choice, “{second}”, is a good way off.",
        "Clara: la segunda opción, «{second}», queda bastante más lejos.",
    ),
    "sure_fair": Word(
        "Fairly sure: the second choice, “{second}”, is further away.",
        "Bastante segura: la segunda opción, «{second}», queda más lejos.",
    ),
    "sure_leaning": Word(
        "It leans this way, but “{second}” is not far behind.",
        "Se inclina por este segmento, pero «{second}» no queda muy lejos.",
    ),
    "sure_border": Word(
        "On the border: nearly as close to “{second}”. Treat it as a toss-up between the two.",
        "En la frontera: está casi igual de cerca de «{second}». Conviene tratarla como un empate entre los dos.",
    ),
    "sure_alone": Word("The model has this one segment.", "El modelo solo tiene este segmento."),
    "margin": Word("Margin", "Margen"),
    "margin_help": Word(
        "0% is the border to the second segment; 100%, the centre of its own.",
        "0 % es la frontera con el segundo segmento; 100 %, el centro del suyo.",
    ),
    "percentile_text": Word(
        "Of the customers whom the segment was fitted on, {share} lie nearer to its centre than this one.",
        "De los clientes con los que se ajustó el segmento, el {share} está más cerca del centro que este.",
    ),
    "agreement_text": Word(
        "Of the most similar known customers, {share} are in the same segment.",
        "De los clientes conocidos más parecidos, el {share} está en el mismo segmento.",
    ),
    "novel_title": Word("Unlike anything seen", "No se parece a nada conocido"),
    "novel_text": Word(
        "Fewer than 1 in 1,000 of the segment's customers lay so far from its centre when the model was fitted."
        " Check the values and the period before acting on this answer.",
        "Menos de 1 de cada 1.000 clientes del segmento estaba tan lejos del centro cuando se ajustó el modelo."
        " Compruebe los valores y el periodo antes de actuar según esta respuesta.",
    ),
    "beyond_title": Word("Longer ago than the model looks back", "Más atrás de lo que mira el modelo"),
    "beyond_text": Word(
        "The model was fitted on customers who bought in the last {days} days; this one has bought nothing for {typed}."
        " It has seen nobody like that, so take the segment for a guess.",
        "El modelo se ajustó con clientes que compraron en los últimos {days} días; este lleva {typed} sin comprar."
        " No ha visto a nadie así: tome el segmento como una conjetura.",
    ),
    "why_title": Word("Why this segment", "Por qué este segmento"),
    "why_finding": Word(
        "{measure} speaks most for “{first}” and against “{second}”",
        "{measure} es lo que más inclina hacia «{first}» y no hacia «{second}»",
    ),
    "why_finding_many": Word(
        "{measure} speak most for “{first}” and against “{second}”",
        "{measure} son lo que más inclina hacia «{first}» y no hacia «{second}»",
    ),
    "why_help": Word(
        "How much each measure counts for the customer's segment (to the right) or for the second choice (to the left)."
        " The longer the bar, the more it counts.",
        "Cuánto cuenta cada medida a favor del segmento del cliente (hacia la derecha) o de la segunda opción (hacia la"
        " izquierda). Cuanto más larga la barra, más cuenta.",
    ),
    "why_value": Word("This customer", "Este cliente"),
    "why_typical": Word("Typical of “{name}”", "Típico de «{name}»"),
    "why_typical_rank": Word("Typical of segment {rank}", "Típico del segmento {rank}"),
    "why_pull": Word("Counts for", "A favor de"),
    "why_towards": Word("{name}", "{name}"),
    "why_neither": Word("neither", "ninguno"),
    # Customers
    "customers_title": Word("Find a customer", "Buscar un cliente"),
    "customers_lead": Word("You can look up {n} customers.", "Puede consultar {n} clientes."),
    "customer_id": Word("Customer number", "Número de cliente"),
    "find": Word("Find", "Buscar"),
    "customer_unknown": Word(
        "There is no customer “{id}”. Check the number; zeros in front count.",
        "No hay ningún cliente «{id}». Compruebe el número; los ceros a la izquierda cuentan.",
    ),
    "customer_needed": Word("Type the number of a customer.", "Escriba el número de un cliente."),
    "by_segment": Word("Or look at the customers of a segment", "O mirar los clientes de un segmento"),
    "show": Word("Show", "Mostrar"),
    "typical_of": Word("Typical customers of “{name}”", "Clientes típicos de «{name}»"),
    "typical_caption": Word(
        "The {n} customers who lie nearest to its centre", "Los {n} clientes más cercanos a su centro"
    ),
    "customer": Word("Customer", "Cliente"),
    "distance": Word("Distance", "Distancia"),
    "similarity": Word("Similarity", "Parecido"),
    # One customer
    "customer_title": Word("Customer {id}", "Cliente {id}"),
    "customer_in": Word("In the segment “{name}”.", "En el segmento «{name}»."),
    "values_title": Word("What the customer is like", "Cómo es el cliente"),
    "values_caption": Word(
        "The customer beside the means of the segment and of everybody",
        "El cliente junto a las medias de su segmento y de todos",
    ),
    "value": Word("Customer", "Cliente"),
    "segment_mean": Word("Mean of the segment", "Media del segmento"),
    "value_filled": Word("not known", "sin dato"),
    "more_title": Word("What else is known", "Qué más se sabe"),
    "history_title": Word("Purchases", "Compras"),
    "history_finding": Word("{n} orders between {first} and {last}", "{n} pedidos entre el {first} y el {last}"),
    "history_finding_one": Word("One order, on {first}", "Un pedido, el {first}"),
    "history_none": Word(
        "No transaction of this customer is in the data.", "En los datos no hay ninguna transacción de este cliente."
    ),
    "history_returns": Word("Only returns, no purchase", "Solo devoluciones, ninguna compra"),
    "history_broken": Word(
        "The transactions cannot be read now. Whoever runs this server finds the reason in its log.",
        "Ahora mismo no se pueden leer las transacciones. Quien administra este servidor encontrará el motivo en su"
        " registro.",
    ),
    "history_caption": Word("The last {n} orders", "Los últimos {n} pedidos"),
    "months_help": Word("Orders in each month.", "Pedidos de cada mes."),
    "months_alt": Word("Bars: orders in each month.", "Barras: pedidos de cada mes."),
    "months_item": Word("{month}: {n} orders, {amount}", "{month}: {n} pedidos, {amount}"),
    "months_item_one": Word("{month}: 1 order, {amount}", "{month}: 1 pedido, {amount}"),
    "day": Word("Day", "Día"),
    "order": Word("Order", "Pedido"),
    "lines": Word("Lines", "Líneas"),
    "returned": Word("Returned", "Devuelto"),
    "similar_title": Word("Customers who resemble this one", "Clientes que se parecen a este"),
    "similar_help": Word(
        "The nearest on the measures of the model. 100% means no difference in any of them.",
        "Los más cercanos en las medidas del modelo. 100 % significa que no difieren en ninguna.",
    ),
    "similar_none": Word("There is nobody else to compare with.", "No hay nadie más con quien comparar."),
    "similar_more": Word("Show look-alikes", "Mostrar similares"),
    "how_many": Word("How many", "Cuántos"),
    "any_segment": Word("any segment", "cualquier segmento"),
    # Compare
    "choose_title": Word("Compare two runs", "Comparar dos ejecuciones"),
    "choose_lead": Word(
        "Who changed segment between two runs, and how the segments changed.",
        "Quién ha cambiado de segmento entre dos ejecuciones y cómo han cambiado los segmentos.",
    ),
    "choose_few": Word(
        "There is nothing to compare yet. Every `cartera segment` leaves a folder: its run. Whoever runs this server"
        " names two or more of them when starting it: `cartera serve … runs=[FOLDER,FOLDER]`.",
        "Todavía no hay nada que comparar. Cada `cartera segment` deja una carpeta: su ejecución. Quien administra este"
        " servidor indica dos o más al arrancarlo: `cartera serve … runs=[CARPETA,CARPETA]`.",
    ),
    "choose_button": Word("Compare", "Comparar"),
    "choose_same": Word("Choose two different runs.", "Elija dos ejecuciones distintas."),
    "choose_broken": Word(
        "One of the two runs cannot be read now. Whoever runs this server finds the reason in its log.",
        "Una de las dos ejecuciones no se puede leer ahora. Quien administra este servidor encontrará el motivo en su"
        " registro.",
    ),
    "choose_unknown": Word("There is no such run on the list.", "Esa ejecución no está en la lista."),
    "whole_report": Word("The whole comparison, on one page", "La comparación completa, en una página"),
    "changed_caption": Word(
        "Customers of each segment, before and after", "Clientes de cada segmento, antes y después"
    ),
    "customers_before": Word("Customers before", "Clientes antes"),
    "customers_after": Word("Customers after", "Clientes después"),
    "kept_share": Word("Stayed", "Siguen"),
    "no_counterpart": Word("no counterpart", "sin equivalente"),
    **OFFER_TEXTS,
}
"""Sentences and labels by key; braces are filled in when the text is used."""


ARTICLES: Mapping[str, str] = {
    "recency_days": "la",
    "tenure_days": "la",
    "frequency": "la",
    "units": "las",
    "monetary": "la",
    "average_ticket": "el",
    "basket_units": "el",
    "basket_products": "la",
    "distinct_products": "la",
    "return_rate": "la",
    "gap_days_median": "el",
    "active_span_days": "el",
    "trend_quarter": "la",
}
"""Spanish article of each measure of ours."""


class PageWords(Words):
    """The texts of the pages in one language; keys that they lack are those of the report.

    Examples
    --------
    >>> say = PageWords("es")
    >>> say("classify_button"), say("customers")
    ('Buscar el segmento', 'Clientes')
    """

    __slots__ = ()

    def __call__(self, key: str, **values: object) -> str:
        """Return the text of a key with its gaps filled."""
        word = TEXTS.get(key) or SEGMENT_OFFER_TEXTS.get(key)
        return super().__call__(key, **values) if word is None else self.of(word).format(**values)

    def has(self, key: str) -> bool:
        """Tell whether there is a text of the pages under a key."""
        return key in TEXTS

    def subject(self, name: str, label: str) -> tuple[str, bool]:
        """Return a measure as the subject of a sentence, and whether its verb stands in the plural.

        Examples
        --------
        >>> PageWords("es").subject("recency_days", "Recencia"), PageWords("en").subject("units", "Units")
        (('La recencia', False), ('Units', True))
        >>> PageWords("es").subject("visits_web", "visits web")
        ('La medida «visits web»', False)
        """
        if self.language == "en":
            return upper_first(label), name == "units"
        if name not in ARTICLES:
            return f"La medida «{label}»", False
        return upper_first(f"{ARTICLES[name]} {lower_first(label)}"), ARTICLES[name] in ("los", "las")
