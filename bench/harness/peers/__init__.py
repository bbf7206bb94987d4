"""Other people's mail servers as relays, from Debian's packages and from npm. Read peer.py first.

They are unpacked and shown their paths by what the system tests have for it.
"""

import pathlib
import sys

sys.path.append(str(pathlib.Path(__file__).resolve().parents[3] / "tests" / "system"))
