"""`netkit demo`: a container network in five scenes, with real packets, and nothing left.

scenes.py     the five networks, as a user of netkit writes them; their text is printed as it runs
packets.py    what is asked of each network: pings, a frame, a TCP request, a page
twins.py      the commands a person would have typed instead
page.py       the program that serves the page of scene 5: Python's http.server
play.py       the order of things; source.py, screen.py, picture.py show them
leftovers.py  what the kernel has before and after
"""
