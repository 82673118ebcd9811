"""What the pages share: style, elements, cameras. The report needs only ``base.css``."""

from pathlib import Path

FOLDER = Path(__file__).parent
