"""`python -m netkit`: the command `netkit`."""

import sys

from netkit._cli import main

if __name__ == "__main__":
    sys.exit(main())
