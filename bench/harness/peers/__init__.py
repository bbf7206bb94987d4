"""Sluice, and other people's mail servers from Debian's packages and from npm, as relays that are
measured alike. Read peer.py first.

What the system tests have for other people's servers unpacks them and shows them their paths.
"""

import pathlib
import sys

sys.path.append(str(pathlib.Path(__file__).resolve().parents[3] / "tests" / "system"))
