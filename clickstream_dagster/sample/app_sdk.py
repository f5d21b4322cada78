"""Sessions in an app, with the events and fields of the Android 0.14 and iOS 0.12 SDKs."""

from clickstream_dagster.sample.journey import Step
from clickstream_dagster.sample.session import SDK_NAME, SECOND_MS, Event, Session

CRASH_SHARE = 0.006
OS_UPDATE_SHARE = 0.01
RELEASE_MS = 7 * 86_400_000
"""The shop's app has a new version each week."""

_STACK = """java.lang.NullPointerException: {message}
\tat {package}.cart.CartRepository.total(CartRepository.kt:88)
\tat {package}.cart.CartViewModel.refresh(CartViewModel.kt:41)
\tat {package}.MainActivity.onResume(MainActivity.kt:120)
\tat android.app.Instrumentation.callActivityOnResume(Instrumentation.java:1531)
\tat android.app.ActivityThread.performResumeActivity(ActivityThread.java:4999)"""


class AppSession(Session):
    """A session in the shop's app on Android or iOS."""

    def session_prefix(self) -> str:
        # The Swift SDK takes the first eight characters, the Android SDK the last.
        unique_id = self.profile.unique_id
        return unique_id[:8] if self.profile.platform == "iOS" else unique_id[-8:]

    def event_id(self) -> str:
        made = super().event_id()
        return made.upper() if self._is_ios else made

    def template(self) -> Event:
        profile, country = self.profile, self.visitor.country
        self._package = f"com.example.{self.plan.project_id}"
        self._is_ios = profile.platform == "iOS"
        self._view_ms = 0
        self._foreground_ms = self.start_ms
        self._system = min(self.visitor.os_updates, len(profile.systems) - 1)
        language, height_width = f"{profile.language}_{country.code}", profile.screen
        event = {
            "unique_id": profile.unique_id,
            "event_type": "",
            "event_id": "",
            "app_id": profile.app_id,
            "timestamp": 0,
            "device_id": profile.device_id,
            "device_unique_id": profile.advertising_id,
            "platform": profile.platform,
            "os_version": profile.systems[self._system],
            "make": profile.device.make,
            "brand": profile.device.brand,
            "model": profile.device.model,
            "locale": f"{language} (current)" if self._is_ios else language,
            "carrier": "UNKNOWN" if self._is_ios else profile.carrier,
            "network_type": profile.network_type,
            "screen_height": height_width[0],
            "screen_width": height_width[1],
            "zone_offset": country.zone_ms,
            "system_language": profile.language,
            "country": country.name,
            "country_code": country.code,
            "sdk_version": "0.12.5" if self._is_ios else "0.14.0",
            "sdk_name": SDK_NAME,
            "app_version": self.visitor.app_version,
            "app_package_name": self._package,
            "app_title": f"{self.plan.project_id.capitalize()} Shop",
            "items": [],
            "user": {},
            "attributes": {},
        }
        if self._is_ios:
            # The Swift SDK sorts the keys and knows no country name.
            del event["country"]
            event = dict(sorted(event.items()))
        return event

    def open(self) -> None:
        visitor, rng = self.visitor, self.rng
        self._globals["_channel"] = "App Store" if self._is_ios else "Google Play"
        newest = f"2.{self.start_ms // RELEASE_MS % 100}.0"
        older = f"2.{(self.start_ms // RELEASE_MS - 1) % 100}.0"
        previous = visitor.app_version
        if self.is_first:
            visitor.app_version = newest
        elif not previous:
            visitor.app_version = previous = older
        if previous != newest and (self.is_first or rng.random() < 0.5):
            visitor.app_version = newest
        self._template["app_version"] = visitor.app_version
        if self.is_first:
            self.record("_first_open")
        elif visitor.app_version != previous:
            self.record("_app_update", {"_previous_app_version": previous})
        self._update_system()
        self.record("_app_start", {"_is_first_time": self.is_first})
        self.record("_session_start")

    def show(self, step: Step) -> None:
        before, is_entry = self.page, not self.page
        name = f"{step.place.capitalize()}{'ViewController' if self._is_ios else 'Activity'}"
        self.page = {
            "_screen_name": name,
            "_screen_id": f"{self._package}.{name}",
            "_screen_unique_id": f"{hash_of(name, self.visitor.key):08x}",
        }
        attributes: dict[str, object] = {"_entrances": 1 if is_entry else 0}
        if not is_entry:
            attributes |= {f"_previous{key}": value for key, value in before.items()}
            attributes["_previous_timestamp"] = self._view_ms
            attributes["_engagement_time_msec"] = self.now_ms - self._view_ms
        self._view_ms = entered = self.now_ms
        self.record("_screen_view", attributes)
        if step.term:
            self.record("search", {"search_term": step.term, "results": step.dwell_ms % 60})
        self.do(step)
        if step.clicked:
            self.now_ms += 500 + int(self.rng.random() * 5000)
            self.record("button_click", {"button": f"{step.place}_more", "position": 2})
        self.now_ms = max(self.now_ms, entered + step.dwell_ms)

    def close(self) -> None:
        if self.rng.random() < CRASH_SHARE:
            message = "Attempt to read the price of an item that is gone"
            stack = _STACK.format(message=message, package=self._package)
            self.record(
                "_app_exception", {"_exception_message": message, "_exception_stack": stack}
            )
        else:
            engaged = self.now_ms - self._foreground_ms
            if engaged > SECOND_MS:
                self.record("_user_engagement", {"_engagement_time_msec": engaged})
            self.record("_app_end")
        super().close()

    def _update_system(self) -> None:
        systems = self.profile.systems
        if self.is_first or self._system + 1 >= len(systems):
            return
        if self.rng.random() < OS_UPDATE_SHARE:
            self.visitor.os_updates += 1
            self._template["os_version"] = systems[self._system + 1]
            self.record("_os_update", {"_previous_os_version": systems[self._system]})


def hash_of(name: str, key: str) -> int:
    """A 32-bit number for a screen object: the same on each run, unlike `hash`."""
    number = 0
    for letter in name + key:
        number = (number * 31 + ord(letter)) & 0xFFFFFFFF
    return number
