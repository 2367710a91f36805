"""Reference values for JPEG files, made with Pillow.

    python3 tests/data/photographs.py > tests/data/photographs.json

Made with Pillow 13.0 and libjpeg-turbo 3.2. Files and pixels are in hexadecimal; without pixels the
file is left to another decoder.
"""

import io
import json

import numpy as np
from PIL import Image


def picture(width, height):
    """Waves with noise, and a bright and a dark corner."""
    random = np.random.RandomState(5)
    y, x = np.mgrid[0:height, 0:width]
    layers = [
        128 + 90 * np.sin(x * (0.2 + 0.1 * channel)) * np.cos(y * 0.3 - channel) + 25 * random.randn(height, width)
        for channel in range(3)
    ]
    pixels = np.stack(layers, -1)
    pixels[: height // 3, : width // 3] = 255
    pixels[-(height // 4) :, -(width // 4) :] = 0
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def case(name, image, decoded=True, **settings):
    data = io.BytesIO()
    image.save(data, "JPEG", **settings)
    pixels = Image.open(data).convert("RGB").tobytes().hex() if decoded else None
    return {
        "name": name,
        "width": image.size[0],
        "height": image.size[1],
        "file": data.getvalue().hex(),
        "pixels": pixels,
    }


CASES = [
    case("full colours", picture(29, 19), quality=85, subsampling=0),
    case("halved colours", picture(29, 19), quality=85, subsampling=1),
    case("quartered colours", picture(35, 27), quality=85, subsampling=2),
    case("coarse", picture(35, 27), quality=3, subsampling=2),
    case("fine", picture(24, 16), quality=100, subsampling=2, optimize=True),
    case("restarts", picture(41, 18), quality=60, subsampling=1, restart_marker_blocks=2),
    case("grey", picture(19, 23).convert("L"), quality=75),
    case("a line", picture(30, 1), quality=75, subsampling=2),
    case("narrow", picture(3, 9), decoded=False, quality=75, subsampling=2),
    case("progressive", picture(20, 20), decoded=False, quality=75, progressive=True),
    case("red, green, blue", picture(20, 20), decoded=False, quality=75, keep_rgb=True),
    case("four colours", picture(20, 20).convert("CMYK"), decoded=False, quality=75),
]

print(json.dumps(CASES))
