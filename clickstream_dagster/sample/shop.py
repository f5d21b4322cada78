"""What there is to see and to buy, and the campaigns that bring people to it."""

from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True, slots=True)
class Product:
    """A product of the shop; `price` in US dollars."""

    id: str
    name: str
    brand: str
    category: str
    subcategory: str
    price: float


@dataclass(frozen=True, slots=True)
class Campaign:
    """How a session came about: `utm_*` values, or just a referrer, or nothing."""

    share: float
    source: str = ""
    medium: str = ""
    name: str = ""
    referrer: str = ""

    @property
    def query(self) -> str:
        """The `utm_*` part of a landing page's address, without its question mark."""
        if not self.medium:
            return ""
        return f"utm_source={self.source}&utm_medium={self.medium}&utm_campaign={self.name}"


CATEGORIES = {
    "garden": ("tools", "seeds", "furniture"),
    "kitchen": ("knives", "pans", "storage"),
    "sport": ("running", "cycling", "yoga"),
    "books": ("novels", "travel", "cooking"),
    "home": ("lamps", "textiles", "shelves"),
}

SEARCH_TERMS = (
    "running shoes", "lamp", "cast iron pan", "yoga mat", "garden chair", "gift for her",
    "café press", "travel guide japan", "bike light", "tomato seeds", "bread knife", "wool blanket",
)  # fmt: skip

CAMPAIGNS = (
    Campaign(0.48),
    Campaign(0.20, referrer="https://www.google.com/"),
    Campaign(0.04, referrer="https://duckduckgo.com/"),
    Campaign(0.09, "google", "cpc", "winter_sale", "https://www.google.com/"),
    Campaign(0.04, "bing", "cpc", "brand", "https://www.bing.com/"),
    Campaign(0.06, "newsletter", "email", "weekly_news"),
    Campaign(0.05, "facebook", "social", "new_year", "https://l.facebook.com/"),
    Campaign(0.02, "instagram", "social", "influencer_january", "https://l.instagram.com/"),
    Campaign(0.02, "tradedoubler", "affiliate", "partners", "https://clk.tradedoubler.com/"),
)

_MAKERS = ("Norrvik", "Aldine", "Kaito", "Bluestem", "Harrow & Pell")
_KINDS = ("Classic", "Light", "Pro", "Compact")


@cache
def products() -> tuple[Product, ...]:
    """The catalogue: 300 products, the same for every seed."""
    shelf = [(category, sub) for category, subs in CATEGORIES.items() for sub in subs]
    found = []
    for number in range(300):
        category, sub = shelf[number % len(shelf)]
        maker = _MAKERS[number % 7 % len(_MAKERS)]
        name = f"{maker} {_KINDS[number // 15 % 4]} {sub.capitalize()} {number // 60 + 1}"
        price = 4.9 + (number * 7919 % 240) + (0.05 if number % 3 else 0.09)
        found.append(Product(f"SKU-{number + 1:04}", name, maker, category, sub, round(price, 2)))
    return tuple(found)


def item(product: Product, quantity: int = 1) -> dict[str, object]:
    """A product as an entry of an event's `items` (seed 000, "ods_event", column items)."""
    return {
        "id": product.id,
        "name": product.name,
        "category": product.category,
        "category2": product.subcategory,
        "brand": product.brand,
        "price": product.price,
        "quantity": quantity,
    }
