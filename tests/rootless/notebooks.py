"""Runs notebooks in a real Jupyter kernel, one after the other, and prints what each has shown.

    python notebooks.py DIRECTORY [DRAWINGS]

Each SVG that a cell shows is put into the directory DRAWINGS, if there is one.
One kernel for all: starting one takes longer than most of them. Each has to leave nothing, which the last
cell asks of the kernel: no namespace, no program, nothing that netkit would undo.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

SVG = "image/svg+xml"
_LEFT = """
from netkit._lifecycle import ROOT
print([repr(each) for each in ROOT._held_members() if each._is_alive()])
"""


async def run(client: NotebookClient, cells: list[Any], drawings: Path | None = None) -> Counter[str]:
    """Run the cells of one notebook; how often each type of output came."""
    shown: Counter[str] = Counter()
    for cell in cells:
        client.nb.cells.append(cell)
        if cell.cell_type == "code":
            await client.async_execute_cell(cell, len(client.nb.cells) - 1)
            shown.update([kind for each in cell.outputs for kind in each.get("data", {})])
            for drawn in [each["data"].get(SVG) for each in cell.outputs if "data" in each]:
                if drawn and drawings is not None:
                    (drawings / f"{len(list(drawings.iterdir())):02}.svg").write_text(drawn)
    return shown


async def main(directory: Path, drawings: Path | None = None) -> dict[str, dict[str, int]]:
    """All notebooks of a directory."""
    found: dict[str, dict[str, int]] = {}
    client: Any = NotebookClient(nbformat.v4.new_notebook(), timeout=150, kernel_name="python3")
    client.create_kernel_manager().transport = "ipc"
    async with client.async_setup_kernel(stdout=subprocess.DEVNULL):
        for path in sorted(directory.glob("*.ipynb")):
            notebook = nbformat.read(path, as_version=4)
            nbformat.validate(notebook)
            found[path.stem] = dict(await run(client, notebook.cells, drawings))
            left = nbformat.v4.new_code_cell(_LEFT)
            await run(client, [left])
            assert left.outputs[0].text == "[]\n", left.outputs
    return found


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        os.environ |= {
            "HOME": place,
            "IPYTHONDIR": f"{place}/ipython",
            "JUPYTER_RUNTIME_DIR": f"{place}/runtime",
            "JUPYTER_PLATFORM_DIRS": "1",
            "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        }
        print(json.dumps(asyncio.run(main(*map(Path, sys.argv[1:])))))
