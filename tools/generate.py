"""Generates `gen/` from `proto/`: messages, stubs, types, and Envoy's descriptor set.

`python -m tools.generate` writes; with `--check` it compares and exits 1 when `gen/` is stale.
"""

from __future__ import annotations

import filecmp
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
GEN = ROOT / "gen"
GENERATED = (ROOT / "proto", ROOT / "third_party" / "envoy")
"""Roots whose files are generated; the Google APIs come as a package."""
GOOGLEAPIS = ROOT / "third_party" / "googleapis"


def generate(into: Path) -> None:
    """Write all generated files below `into`.

    Raises:
        SystemExit: a generator failed; it has said why.
    """
    sources = sorted(
        str(path.relative_to(root)) for root in GENERATED for path in root.rglob("*.proto")
    )
    bin_folder = Path(sys.executable).parent
    arguments = [
        "protoc",
        *(f"-I{root}" for root in GENERATED),
        f"-I{GOOGLEAPIS}",
        f"-I{Path(protoc.__file__).parent / '_proto'}",
        f"--plugin=protoc-gen-mypy={bin_folder / 'protoc-gen-mypy'}",
        f"--plugin=protoc-gen-mypy_grpc={bin_folder / 'protoc-gen-mypy_grpc'}",
        f"--python_out={into}",
        f"--grpc_python_out={into}",
        f"--mypy_out=quiet:{into}",
        f"--mypy_grpc_out=quiet:{into}",
        *sources,
    ]
    if protoc.main(arguments) != 0:
        sys.exit("protoc failed")
    subprocess.run(
        [bin_folder / "buf", "build", "--as-file-descriptor-set", "-o", into / "layer.binpb"],
        cwd=ROOT,
        check=True,
    )


def differences(expected: Path, actual: Path) -> list[str]:
    """Relative names of files that differ or exist on one side only."""
    names = {
        str(path.relative_to(folder))
        for folder in (expected, actual)
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    return sorted(
        name
        for name in names
        if not (expected / name).exists()
        or not (actual / name).exists()
        or not filecmp.cmp(expected / name, actual / name, shallow=False)
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        # A folder of its own: the temporary one is closed to others, and copies keep that.
        fresh = Path(folder) / "gen"
        fresh.mkdir()
        generate(fresh)
        if "--check" in sys.argv[1:]:
            stale = differences(fresh, GEN)
            if stale:
                sys.exit("stale, run `make gen`: " + ", ".join(stale))
            return
        shutil.rmtree(GEN, ignore_errors=True)
        shutil.copytree(fresh, GEN)


if __name__ == "__main__":
    main()
