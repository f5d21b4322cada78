"""A request that is not stored, and how that is answered."""


class RefusalError(Exception):
    """Says with which HTTP status, why, and with which headers a request is refused."""

    def __init__(self, status: int, reason: str, *headers: tuple[str, str]) -> None:
        super().__init__(reason)
        self.status = status
        self.headers = headers
