"""What users hold in their hands: browsers, phones, and programs that are no users."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Browser:
    """A browser: user agent with `{v}` for its version, maker, screens as (height, width)."""

    user_agent: str
    make: str
    versions: tuple[str, ...]
    screens: tuple[tuple[int, int], ...]
    share: float


@dataclass(frozen=True, slots=True)
class Phone:
    """A phone model: systems from old to new, screen in pixels as (height, width)."""

    make: str
    brand: str
    model: str
    systems: tuple[str, ...]
    screen: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Bot:
    """A program that visits pages and runs their scripts, and the network it comes from."""

    user_agent: str
    network: str


_CHROMIUM = ("138.0.0.0", "140.0.0.0", "141.0.0.0", "142.0.0.0")
_DESKTOP = ((1080, 1920), (1440, 2560), (900, 1440), (768, 1366))
_GECKO = "Mozilla/5.0"
_WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"
_MAC = "Macintosh; Intel Mac OS X 10_15_7"
_WINDOWS = "Windows NT 10.0; Win64; x64"

BROWSERS = (
    Browser(f"{_GECKO} ({_WINDOWS}) {_WEBKIT} Chrome/{{v}} Safari/537.36", "Google Inc.",
            _CHROMIUM, _DESKTOP, 0.30),
    Browser(f"{_GECKO} ({_MAC}) {_WEBKIT} Chrome/{{v}} Safari/537.36", "Google Inc.",
            _CHROMIUM, ((900, 1440), (982, 1512), (1440, 2560)), 0.12),
    Browser(f"{_GECKO} (Linux; Android 10; K) {_WEBKIT} Chrome/{{v}} Mobile Safari/537.36",
            "Google Inc.", _CHROMIUM, ((915, 412), (851, 393), (800, 360)), 0.20),
    Browser(f"{_GECKO} (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 "
            "(KHTML, like Gecko) Version/{v} Mobile/15E148 Safari/604.1", "Apple Computer, Inc.",
            ("17.5", "18.0", "18.1"), ((852, 393), (844, 390), (932, 430)), 0.18),
    Browser(f"{_GECKO} ({_MAC}) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/{{v}} "
            "Safari/605.1.15", "Apple Computer, Inc.", ("17.6", "18.1"), ((900, 1440),), 0.06),
    Browser(f"{_GECKO} ({_WINDOWS}) {_WEBKIT} Chrome/{{v}} Safari/537.36 Edg/{{v}}",
            "Google Inc.", _CHROMIUM, _DESKTOP, 0.08),
    Browser(f"{_GECKO} (Windows NT 10.0; Win64; x64; rv:{{v}}) Gecko/20100101 Firefox/{{v}}", "",
            ("128.0", "142.0", "144.0"), _DESKTOP, 0.06),
)  # fmt: skip

ANDROID_PHONES = (
    Phone("samsung", "samsung", "SM-S921B", ("14", "15"), (2340, 1080)),
    Phone("samsung", "samsung", "SM-A546B", ("13", "14"), (2340, 1080)),
    Phone("samsung", "samsung", "SM-A155F", ("14", "15"), (2340, 1080)),
    Phone("Google", "google", "Pixel 8", ("14", "15", "16"), (2400, 1080)),
    Phone("Google", "google", "Pixel 6a", ("13", "14", "15"), (2400, 1080)),
    Phone("Xiaomi", "Redmi", "23053RN02A", ("13", "14"), (2460, 1080)),
    Phone("Xiaomi", "Xiaomi", "2201123G", ("12", "13", "14"), (2400, 1080)),
    Phone("HUAWEI", "HUAWEI", "TAS-AN00", ("10",), (2259, 1080)),
    Phone("OPPO", "OPPO", "CPH2579", ("14",), (1612, 720)),
    Phone("motorola", "motorola", "moto g84 5G", ("13", "14"), (2400, 1080)),
)

IPHONES = (
    Phone("apple", "apple", "iPhone 15 Pro", ("17.5.1", "17.6.1", "18.1"), (2556, 1179)),
    Phone("apple", "apple", "iPhone 15", ("17.6.1", "18.1"), (2556, 1179)),
    Phone("apple", "apple", "iPhone 14 Pro", ("16.4", "17.6.1", "18.0"), (2556, 1179)),
    Phone("apple", "apple", "iPhone 13", ("16.7.10", "17.6.1", "18.0"), (2532, 1170)),
    Phone("apple", "apple", "iPhone SE (3rd generation)", ("16.4", "17.6.1"), (1334, 750)),
    Phone("apple", "apple", "iPad Air (5th generation)", ("17.6.1", "18.1"), (2360, 1640)),
)

BOTS = (
    Bot("Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; Googlebot/2.1; "
        "+http://www.google.com/bot.html) Chrome/141.0.7390.122 Safari/537.36", "66.249.64.0/20"),
    Bot("Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; bingbot/2.0; "
        "+http://www.bing.com/bingbot.htm) Chrome/136.0.0.0 Safari/537.36", "157.55.39.0/24"),
    Bot(f"{_GECKO} (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)", "54.36.148.0/23"),
    Bot(f"{_GECKO} (compatible; YandexBot/3.0; +http://yandex.com/bots)", "5.255.253.0/24"),
    Bot(f"{_GECKO} (X11; Linux x86_64) {_WEBKIT} HeadlessChrome/140.0.0.0 Safari/537.36",
        "34.64.0.0/11"),
)  # fmt: skip
