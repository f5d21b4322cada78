"""The Web SDK as npm has it, as one module for a page: fetched once, then kept in the cache.

`python -m tests.collector.web_sdk` fetches it ahead of the tests.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

NAME = "@aws/clickstream-web"
SDK = f"{NAME}@0.12.6"
_BUNDLER = "esbuild@0.28.2"
_CACHE = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "clickstream"
# The SDK's base library is written for bundlers that know Node's names.
_NODE_NAMES = "--define:global=window"


def web_sdk() -> Path:
    """Give the file of the module. What npm fetches for it, 200 MB, does not stay."""
    module = _CACHE / f"{SDK.rpartition('/')[2]}.mjs"
    if not module.is_file():
        npm = shutil.which("npm")
        assert npm, "no npm: install it, for example with `apt-get install npm`"
        _CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=_CACHE) as folder:
            quiet = ("--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error")
            install = [npm, "install", "--ignore-scripts", *quiet, SDK, _BUNDLER]
            subprocess.run(install, cwd=folder, check=True)
            entry = Path(folder) / "entry.js"
            entry.write_text(f"export * from '{NAME}';\n")
            bundle = Path(folder) / module.name
            subprocess.run(
                [
                    *("node_modules/.bin/esbuild", entry.name, "--bundle", "--format=esm"),
                    *(_NODE_NAMES, "--log-level=warning", f"--outfile={bundle}"),
                ],
                cwd=folder,
                check=True,
            )
            bundle.rename(module)
    return module


if __name__ == "__main__":
    print(web_sdk())
