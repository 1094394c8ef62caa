"""Where the golden numbers and the real footage are: `from places import GOLDEN`. They may not be there."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = Path(os.environ.get("UNDERSTUDY_GOLDEN", ROOT.parent / "shared" / "golden"))
MEDIA = Path(os.environ.get("UNDERSTUDY_MEDIA", ROOT.parent / "shared" / "media"))
