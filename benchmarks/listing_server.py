"""An S3 server that lists any number of made-up objects and holds none: `listing_server COUNT`.

It answers ListObjectsV2 over HTTP as S3 does (StartAfter, pages, continuation), so that a million
objects cost neither memory nor the time to put them there.
"""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

from benchmarks.raw_keys import RawKeys

PREFIX = "raw/"


def listing(keys: RawKeys, after: str, most: int) -> bytes:
    """Give a page of a listing behind a key, with the key to go on behind as its token."""
    first = keys.place_behind(after)
    last = min(first + most, keys.count)
    contents = "".join(
        f"<Contents><Key>{PREFIX}{keys[place]}</Key><Size>1000</Size><ETag>&quot;{place:032x}&quot;"
        "</ETag><LastModified>2026-11-24T00:00:00.000Z</LastModified></Contents>"
        for place in range(first, last)
    )
    more = "true" if last < keys.count else "false"
    token = f"<NextContinuationToken>{keys[last - 1]}</NextContinuationToken>" if last else ""
    return (
        f"<ListBucketResult><KeyCount>{last - first}</KeyCount><IsTruncated>{more}</IsTruncated>"
        f"{token}{contents}</ListBucketResult>"
    ).encode()


def serve(keys: RawKeys) -> None:
    """Serve until the process ends; the first line of output is the address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            query = dict(parse_qsl(urlsplit(self.path).query))
            after = query.get("continuation-token") or query.get("start-after", "")
            body = listing(keys, after.removeprefix(PREFIX), int(query.get("max-keys", 1000)))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    serve(RawKeys(int(sys.argv[1]), int(sys.argv[2])))
