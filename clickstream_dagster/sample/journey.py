"""What somebody does in one session: the places seen and the deeds done there, on any platform."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

from clickstream_dagster.sample.shop import CATEGORIES, SEARCH_TERMS, Product, products

MAX_STEPS = 40
SHIPPING_USD = 4.95
TAX_RATE = 0.19

_LANDING = (("home", 0.5), ("category", 0.75), ("product", 1.0))
_NEXT = {
    "home": (("category", 0.45), ("search", 0.65), ("product", 0.92), ("account", 1.0)),
    "category": (("product", 0.75), ("category", 0.88), ("search", 1.0)),
    "search": (("product", 0.78), ("search", 0.9), ("home", 1.0)),
    "product": (("product", 0.38), ("category", 0.58), ("cart", 0.86), ("home", 1.0)),
    "cart": (("checkout", 0.6), ("product", 1.0)),
    "checkout": (("confirmation", 0.75), ("cart", 1.0)),
    "confirmation": (("home", 0.5), ("account", 1.0)),
    "account": (("home", 0.6), ("product", 1.0)),
}
_SOME_SUBCATEGORIES = tuple((c, s) for c, subs in CATEGORIES.items() for s in subs)


@dataclass(slots=True)
class Step:
    """One place (page or screen), and what happens on it within `dwell_ms`.

    `deeds` are names of custom events: view_item, add_to_cart, login, begin_checkout, purchase.
    """

    place: str
    dwell_ms: int
    category: tuple[str, str] | None = None
    product: Product | None = None
    term: str | None = None
    scrolled: bool = False
    clicked: bool = False
    deeds: list[str] = field(default_factory=list)
    cart: tuple[Product, ...] = ()


def journey(rng: Random, signed_in: bool, is_bot: bool = False) -> Iterator[Step]:
    """The steps of a session: one in three leaves at once, the others stay for some pages.

    Nobody orders without being signed in; a bot looks only.
    """
    draw = rng.random
    steps = 1 if draw() < 0.3 else min(MAX_STEPS, 2 + int(rng.expovariate(0.25)))
    place = _choose(_LANDING, draw())
    cart: list[Product] = []
    for _ in range(steps):
        step = Step(
            place,
            dwell_ms=min(600_000, 700 + int(rng.expovariate(1 / 17_000))),
            scrolled=draw() < 0.4,
            clicked=draw() < 0.25 and not is_bot,
        )
        if place == "product":
            step.product = products()[int(300 * draw() ** 1.5)]
            step.deeds.append("view_item")
            if draw() < 0.3 and not is_bot:
                step.deeds.append("add_to_cart")
                cart.append(step.product)
        elif place == "category":
            step.category = _SOME_SUBCATEGORIES[int(len(_SOME_SUBCATEGORIES) * draw())]
        elif place == "search":
            step.term = SEARCH_TERMS[int(len(SEARCH_TERMS) * draw())]
        elif place in ("account", "checkout") and not signed_in and not is_bot:
            step.deeds.append("login")
            signed_in = True
        if place == "checkout":
            step.deeds.append("begin_checkout")
        elif place == "confirmation":
            step.deeds.append("purchase")
        step.cart = tuple(cart)
        yield step
        if place == "confirmation":
            cart.clear()
        place = _choose(_NEXT[place], draw())
        if place in ("cart", "checkout") and not cart:
            place = "product"


def _choose(table: tuple[tuple[str, float], ...], point: float) -> str:
    for name, upto in table:
        if point < upto:
            return name
    return table[-1][0]
