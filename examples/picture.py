"""The README's picture: real digits beside synthetic ones, with the scores under them.

python examples/picture.py examples/mnist.yaml docs/images/mnist.png
"""

from __future__ import annotations

import io
import sys

from PIL import Image, ImageDraw, ImageFont

from synthray import config as configs
from synthray import storage
from synthray.data.codec import Encoded
from synthray.data.image_codec import ImageCodec
from synthray.data.prepare import open_data
from synthray.data.source import open_source
from synthray.metrics.evaluation import sheet

MARGIN, LINE = 24, 26
INK, PALE = (28, 28, 34), (110, 110, 120)


def main(config_uri: str, out: str) -> None:
    config = configs.load(config_uri)
    report = storage.read_json(config.place("report.json"))
    source, codec = open_data(config.data)
    if not isinstance(codec, ImageCodec):
        raise SystemExit("the picture shows images")
    first = [chunk.read() for chunk in source.chunks[:8]]
    codec.fit([codec.partial(rows) for rows in first])
    made = open_source(config.place("synthetic")).chunks[0].read()
    real = Encoded.concat([codec.encode(rows) for rows in first])
    panels = [("real", real), ("synthetic", codec.encode(made))]
    write_picture([(title, sheet(rows, codec)) for title, rows in panels], captions(report), out)


def captions(report: dict) -> list[str]:
    """The lines under the picture: each score, and what fresh real data gets."""
    lines = []
    for name, score in report["scores"].items():
        kind = name.partition("_")[0]
        if kind in ("frechet", "kernel", "precision", "recall", "coverage"):
            lines.append(f"{name} {score['value']:.3g} (fresh real data {score['floor']:.3g})")
    utility = report["utility"]
    lines.append(
        f"accuracy on real test digits: trained on synthetic {utility['tstr']['accuracy']:.2%}, "
        f"on real {utility['trtr']['accuracy']:.2%}"
    )
    return lines


def write_picture(panels: list[tuple[str, bytes]], lines: list[str], out: str) -> None:
    font = ImageFont.load_default(17)
    tiles = [(title, Image.open(io.BytesIO(data)).convert("RGB")) for title, data in panels]
    width = sum(tile.width for _, tile in tiles) + MARGIN * (len(tiles) + 1)
    rows = -(-len(lines) // 2)
    height = MARGIN * 3 + LINE + tiles[0][1].height + LINE * (rows + 1)
    canvas = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(canvas)
    left = MARGIN
    for title, tile in tiles:
        draw.text((left, MARGIN), title, INK, ImageFont.load_default(20))
        canvas.paste(tile, (left, MARGIN + LINE + 6))
        left += tile.width + MARGIN
    top = MARGIN * 2 + LINE + tiles[0][1].height + 6
    for index, line in enumerate(lines[:-1]):
        x = MARGIN + index % 2 * (width // 2)
        draw.text((x, top + index // 2 * LINE), line, PALE, font)
    draw.text((MARGIN, top + (len(lines) // 2) * LINE), lines[-1], INK, font)
    buffer = io.BytesIO()
    canvas.save(buffer, "PNG", optimize=True)
    storage.write_bytes(out, buffer.getvalue())


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
