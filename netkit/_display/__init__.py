"""Networks to look at: one model of what is there or planned, and what draws it.

    model.py     boxes with devices, wires between them: plain values
    live.py      from namespaces that are there      planned.py  from a Topology
    sources.py   from the objects that people hold   contents.py what is said of each thing
    picture.py   Picture, which they become          summary.py  big networks, made smaller
    tree.py      as text                             plain.py    as plain values, for JSON
    layout.py    where boxes and wires go            svg.py      the drawing
    mermaid.py   dot.py    for other programs that draw
    tables.py    rows of what an object has to say   page.py     HTML

Nothing of it is on the path of `import netkit`.
"""
