"""`python -m tests.bench [name ...]`: runs the named benchmarks, or all."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from pathlib import Path

PREFIX = "bench_"


def main() -> int:
    """List the modules, and run each one's `main`."""
    found = [
        module.name.removeprefix(PREFIX)
        for module in pkgutil.iter_modules([str(Path(__file__).parent)])
        if module.name.startswith(PREFIX)
    ]
    wanted = sys.argv[1:] or found
    unknown = sorted(set(wanted) - set(found))
    if unknown:
        print(f"no such benchmark: {', '.join(unknown)}; there are: {', '.join(found)}")
        return 2
    for name in wanted:
        print(f"{name}: ", end="", flush=True)
        module = importlib.import_module(f"{__package__}.{PREFIX}{name}")
        print((module.__doc__ or "").strip())
        module.main()
    return 0


if __name__ == "__main__":
    sys.exit(main())
