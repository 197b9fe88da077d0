"""What `netkit show`, `up`, `down` and `exec` do; the command line itself is netkit/_cli.py."""
