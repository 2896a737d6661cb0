"""The texts of the pages about what to offer a customer, in English and Spanish."""

from __future__ import annotations

from collections.abc import Mapping

from engine.schema import Word

OFFER_TEXTS: Mapping[str, Word] = {
    # One customer
    "offers_title": Word("What to offer next", "Qué ofrecer ahora"),
    "offers_finding": Word("First of all: {product}", "Lo primero: {product}"),
    "offers_help": Word(
        "The products that this customer will most probably take next, by purchases before {day}. The reasons may be"
        " shown to the customer too.",
        "Los productos que este cliente se llevará con más probabilidad, según las compras anteriores al {day}. Los"
        " motivos también se le pueden mostrar al cliente.",
    ),
    "offers_new": Word(
        "This customer bought nothing before {day}, so these are the products that fit anybody new in the segment.",
        "Este cliente no compró nada antes del {day}: estos son los productos adecuados para cualquier cliente nuevo"
        " del segmento.",
    ),
    "offers_caption": Word("The {n} best, the first one first", "Los {n} mejores, por orden"),
    "offers_caption_one": Word("The only one", "El único"),
    "offers_none": Word(
        "There is nothing to offer that this customer does not have already",
        "No hay nada que ofrecer que este cliente no tenga ya",
    ),
    "offers_none_bought": Word(
        "There is nothing that this customer bought before and will probably take again",
        "No hay nada que este cliente haya comprado antes y vaya a llevarse otra vez con cierta probabilidad",
    ),
    "offers_which": Word("Which products", "Qué productos"),
    "offers_all": Word("All products", "Todos los productos"),
    "offers_only_new": Word("Only what is new to the customer", "Solo lo que aún no ha comprado"),
    "offers_only_bought": Word("Only what was bought before", "Solo lo que ya ha comprado"),
    "offer_why": Word("Why", "Motivo"),
    "times_bought": Word("Baskets with it", "Cestas que lo llevan"),
    "days_since": Word("Days since", "Días desde la compra"),
}
"""Sentences and labels by key; braces are filled in when the text is used."""
