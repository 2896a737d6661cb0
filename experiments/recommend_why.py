"""Why a table of ``cartera recommend`` has nothing for a segment: what was found, with its figure, and what to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from engine.schema import Word

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Note(Word):
    """What a reader of the report must know; who runs the command is told the setting as well.

    Attributes
    ----------
    setting
        The command-line keys that change it.

    Examples
    --------
    >>> note = Note("3 rules were left out.", "Se dejaron fuera 3 reglas.", "cross_sell.most_pairs=")
    >>> note.text("es"), note.to_dict()["es"]
    ('Se dejaron fuera 3 reglas. (cross_sell.most_pairs=)', 'Se dejaron fuera 3 reglas.')
    """

    setting: str = ""

    def text(self, language: str) -> str:
        """Return it in one language, with the setting."""
        said = Word(self.en, self.es).text(language)
        return f"{said} ({self.setting})" if self.setting else said


def worded(en: str, es: str, setting: str = "", **figures: float | str) -> Note:
    """Return a note whose gaps are filled with figures as each language writes them.

    Examples
    --------
    >>> worded("{n} of them", "{n} de ellos", n=1200).to_dict()
    {'en': '1,200 of them', 'es': '1.200 de ellos'}
    """
    from engine.report.numbers import NumberFormat

    def filled(text: str, language: str) -> str:
        to = NumberFormat(language)
        shown = {name: to.whole(each) if isinstance(each, int) else each for name, each in figures.items()}
        shown |= {name: to.percent(each) for name, each in figures.items() if isinstance(each, float)}
        shown |= {name: to.date(str(each)) for name, each in figures.items() if name == "first"}
        return text.format(**shown)

    return Note(filled(en, "en"), filled(es, "es"), setting)


def no_rules(seen: Row, least: int) -> Note:
    """Return why a segment has no cross-selling rule; ``seen`` is its row of ``CrossSell.segments``."""
    if seen["products"] < 2:
        return worded(
            "It has {customers} customers, and the products that {least} or more of them bought are {products}, where "
            "a rule takes two. Ask for fewer customers, or take in a longer time.",
            "Tiene {customers} clientes, y los productos que compraron al menos {least} de ellos son {products}; una "
            "regla necesita dos. Conviene exigir menos clientes o abarcar más tiempo.",
            "cross_sell.least_customers=, window_days=",
            customers=seen["customers"],
            least=least,
            products=seen["products"],
        )
    return worded(
        "{products} products have {least} buyers or more here, which makes {pairs} pairs, and none of them "
        "goes together so often that chance can be ruled out. A larger segment or a longer time shows more.",
        "{products} productos tienen aquí al menos {least} compradores, lo que da {pairs} parejas, y en "
        "ninguna se puede descartar el azar. Un segmento mayor o más tiempo permiten ver más.",
        "level=, cross_sell.least_customers=",
        products=seen["products"],
        least=least,
        pairs=seen["pairs_tested"],
    )


def nothing_tried(customers: int, came_back: int, most: int, least: int, first: str) -> Note:
    """Return why a segment has no next product.

    Parameters
    ----------
    customers, came_back
        Of the segment; and who bought both before ``first`` and from then on.
    most
        How many of them took up the product that most took up.
    least
        How many were needed.
    first
        The day, in ISO form, from which baskets were counted.
    """
    if not came_back:
        return worded(
            "None of its {customers} customers bought both before {first} and from then on, so there is no next basket "
            "to count. Count over more days.",
            "Ninguno de sus {customers} clientes compró antes del {first} y también después: no hay siguiente cesta que"
            " contar. Conviene contar más días.",
            "next_products.days=",
            customers=customers,
            first=first,
        )
    return worded(
        "Of its {customers} customers {came} came back from {first} on; of the new products that are still bought "
        "the most frequent was in the baskets of {most}, and {least} are needed to name one. Count over more days.",
        "De sus {customers} clientes volvieron {came} a partir del {first}; entre los productos nuevos que siguen"
        " comprándose, el más frecuente estaba en {most} cestas, y hacen falta {least} para destacarlo. Conviene "
        "contar más días.",
        "next_products.days=, next_products.least_customers=",
        customers=customers,
        came=came_back,
        first=first,
        most=most,
        least=least,
    )


TOP = Word(
    "No segment has a higher revenue per customer, so there is none whose choices could be taken as a goal.",
    "Ningún segmento factura más por cliente, así que no hay otro cuyas elecciones sirvan de objetivo.",
)
"""Of up-selling, for the highest segment."""


def no_dearer(seen: Row, *, least: int, ratio: float, false_share: float) -> Note:
    """Return why a segment has no up-selling; ``seen`` is its row of ``UpSell.segments``, the others the settings."""
    figures: dict[str, Any] = {"least": least}
    if seen["products_bought"] < 2:
        return worded(
            "Of {products} products with a category and a price, {bought} have {least} buyers in this segment and the "
            "next one up, and a choice takes two. Ask for fewer customers, or take in a longer time.",
            "De {products} productos con categoría y precio, {bought} tienen {least} compradores entre este segmento y "
            "el superior, y para elegir hacen falta dos. Conviene exigir menos clientes o abarcar más tiempo.",
            "cross_sell.least_customers=, window_days=",
            **figures,
            products=seen["products"],
            bought=seen["products_bought"],
        )
    if not seen["pairs"]:
        return worded(
            "{bought} products are bought enough, but no two of one category are chosen by {least} customers each with "
            "the dearer at most {ratio} times the price. Allow a larger difference, or use coarser categories.",
            "{bought} productos se compran lo suficiente, pero no hay dos de una categoría que elijan {least} clientes "
            "cada uno y de los que el más caro cueste como mucho {ratio} veces más. Conviene admitir más diferencia de "
            "precio o categorías más amplias.",
            "up_sell.most_price_ratio=, recommend.category=",
            **figures,
            bought=seen["products_bought"],
            ratio=f"{ratio:g}",
        )
    if not seen["pairs_next"]:
        return worded(
            "{pairs} pairs of a cheaper and a dearer product of one category were compared; in none does the next "
            "segment up choose the dearer more often, with {least} customers on each side. There is nothing to copy.",
            "Se compararon {pairs} parejas de un producto barato y otro más caro de la misma categoría; en ninguna "
            "elige el segmento superior el caro con más frecuencia, con {least} clientes en cada lado. No hay nada que "
            "imitar.",
            "cross_sell.least_customers=",
            **figures,
            pairs=seen["pairs"],
        )
    return worded(
        "{pairs} pairs of a cheaper and a dearer product of one category were compared; in {next} of them the next "
        "segment up chooses the dearer more often, but even the clearest may be chance: {q} of findings as clear would "
        "be false, and {most} are allowed. Compare fewer pairs, of products with more buyers, or add more sales.",
        "Se compararon {pairs} parejas de un producto barato y otro más caro de la misma categoría; en {next} elige el "
        "segmento superior el caro con más frecuencia, pero hasta la más clara puede ser azar: el {q} de hallazgos así "
        "sería falso, y se admite el {most}. Conviene comparar menos parejas, de productos con más compradores, o "
        "añadir más ventas.",
        "cross_sell.least_customers=",
        pairs=seen["pairs"],
        next=seen["pairs_next"],
        q=float(seen["lowest_q"]),
        most=float(false_share),
    )


def up_sell_impossible(*, segments: int, level: str, category: str | None, priced: int, products: int) -> Note | None:
    """Return why there is no up-selling at all, ``None`` where there may be some.

    Parameters
    ----------
    segments
        How many there are.
    level
        What counts as a product.
    category
        The column of the products with the category, ``None`` for none.
    priced, products
        How many products have a price, of how many.
    """
    reasons: tuple[tuple[bool, Callable[[], Note]], ...] = (
        (
            segments < 2,
            lambda: worded(
                "No up-selling: there are not two segments. It takes the choices of a higher segment: divide the "
                "customers into two or more.",
                "Sin venta de productos superiores: no hay dos segmentos. Hacen falta las elecciones de un segmento "
                "superior: conviene dividir a los clientes en dos o más.",
                "assignments=",
            ),
        ),
        (
            level != "product_id",
            lambda: worded(
                "No up-selling: it compares the prices of products within a category, and these recommendations are "
                "of whole groups. Recommend single products to get it.",
                "Sin venta de productos superiores: se comparan precios de productos de una misma categoría, y aquí se "
                "recomiendan grupos enteros. Para tenerla, hay que recomendar productos sueltos.",
                "level=product_id",
            ),
        ),
        (
            category is None,
            lambda: worded(
                "No up-selling: none of the {products} products has a category, and only products of one category are "
                "compared. Name the column that holds it.",
                "Sin venta de productos superiores: ninguno de los {products} productos tiene categoría, y solo se "
                "comparan los de una misma. Falta indicar la columna que la contiene.",
                "recommend.category=, data.products.columns=",
                products=products,
            ),
        ),
        (
            priced == 0,
            lambda: worded(
                "No up-selling: none of the {products} products has a price above 0, as the sales have neither unit "
                "prices nor amounts. Read the sales with one of them.",
                "Sin venta de productos superiores: ninguno de los {products} productos tiene un precio mayor que 0, "
                "porque las ventas no traen precio ni importe. Basta con leerlas con uno de los dos.",
                "data.columns.amount=",
                products=products,
            ),
        ),
    )
    return next((say() for holds, say in reasons if holds), None)
