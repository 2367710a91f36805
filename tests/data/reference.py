"""Reference values for the changes of training pictures, made with Pillow, torchvision, and timm.

    python3 tests/data/reference.py > tests/data/reference.json

Made with Pillow 9.4, torchvision 0.14.1, and timm 0.6.13. Pictures are rows of pixels in
hexadecimal.
"""

import json
import math
import random
import sys

import numpy as np
import torch
from PIL import Image
from timm.data import auto_augment, mixup, random_erasing, transforms as timm_transforms
from torchvision import transforms
from torchvision.transforms import InterpolationMode


def picture(width, height, channels, low=0, high=255, seed=1):
    """A smooth picture with noise and a few flat spots."""
    state = np.random.RandomState(seed)
    y, x = np.mgrid[0:height, 0:width]
    layers = []
    for channel in range(channels):
        waves = np.sin(x * (0.5 + channel * 0.3)) + np.cos(y * 0.7 - channel) + state.rand(height, width)
        waves = (waves - waves.min()) / (waves.max() - waves.min())
        layers.append(low + waves * (high - low))
    pixels = np.stack(layers, -1).round().astype(np.uint8)
    pixels[0, : width // 3] = low
    pixels[-1, : width // 4] = high
    return Image.fromarray(pixels if channels == 3 else pixels[:, :, 0], "RGB" if channels == 3 else "L")


def written(image):
    return {
        "width": image.size[0],
        "height": image.size[1],
        "channels": len(image.getbands()),
        "pixels": image.tobytes().hex(),
    }


SOURCES = {
    "colour": picture(13, 9, 3),
    "dull": picture(10, 12, 3, low=90, high=140, seed=2),
    "grey": picture(8, 8, 1, seed=3),
    "flat": Image.new("RGB", (6, 5), (7, 80, 200)),
    "large": picture(43, 30, 3, seed=4),
    "tall": picture(14, 37, 1, seed=5),
    "thin": picture(2, 7, 3, seed=6),
}

FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
FILL = {"RGB": (124, 116, 104), "L": 124}


def operations():
    """timm's functions on pictures, by our names."""
    cases = [("auto-contrast", "auto_contrast", [()]), ("equalize", "equalize", [()]), ("invert", "invert", [()])]
    cases.append(("posterize", "posterize", [(0,), (1,), (4,)]))
    cases.append(("solarize", "solarize", [(0,), (26,), (256,)]))
    cases.append(("solarize-add", "solarize_add", [(99,), (0,), (110,)]))
    for name in ["color", "contrast", "brightness", "sharpness"]:
        ours = "colour" if name == "color" else name
        cases.append((ours, name, [(0.1,), (0.6375,), (1.0,), (1.81,)]))
    geometry = [
        ("rotate", "rotate", [(27.0,), (-12.345,), (0.0,), (30.0,)]),
        ("shear-x", "shear_x", [(0.27,), (-0.3,), (0.0,)]),
        ("shear-y", "shear_y", [(0.27,), (-0.111,)]),
        ("translate-x", "translate_x_rel", [(0.405,), (-0.45,), (0.0,)]),
        ("translate-y", "translate_y_rel", [(0.405,), (-0.123,)]),
    ]
    found = []
    for name, function, arguments in cases + geometry:
        for source in ["colour", "grey", "thin"] if (name, function, arguments) in geometry else SOURCES:
            if source in ("large", "tall"):
                continue
            image = SOURCES[source]
            for values in arguments:
                for filter_name, resample in FILTERS.items():
                    if (name, function, arguments) not in geometry and filter_name != "bicubic":
                        continue
                    out = getattr(auto_augment, function)(
                        image, *values, fillcolor=FILL[image.mode], resample=resample
                    )
                    found.append(
                        {
                            "operation": name,
                            "value": values[0] if values else 0.0,
                            "filter": filter_name,
                            "source": source,
                            "pixels": out.tobytes().hex(),
                        }
                    )
    return found


def resizes():
    """A region of a picture as a square one."""
    cases = []
    for source, box, size in [
        ("large", (0, 0, 43, 30), 12),
        ("large", (5, 3, 29, 20), 16),
        ("large", (40, 27, 43, 30), 9),
        ("colour", (2, 1, 12, 9), 24),
        ("colour", (0, 0, 1, 1), 5),
        ("grey", (0, 0, 8, 8), 8),
        ("tall", (1, 2, 14, 30), 7),
    ]:
        for name, resample in FILTERS.items():
            out = SOURCES[source].crop(box).resize((size, size), resample)
            cases.append({"source": source, "box": box, "size": size, "filter": name, "pixels": out.tobytes().hex()})
    return cases


def evaluations():
    """The evaluation transform: resize the shorter side, cut the centre out."""
    cases = []
    for source in SOURCES:
        for size, crop in [(8, 1.0), (11, 0.875), (16, 0.7), (5, 0.95)]:
            transform = transforms.Compose(
                [
                    transforms.Resize(math.floor(size / crop), interpolation=InterpolationMode.BICUBIC),
                    transforms.CenterCrop(size),
                ]
            )
            cases.append(
                {"source": source, "size": size, "crop": crop, "pixels": transform(SOURCES[source]).tobytes().hex()}
            )
    return cases


def levels():
    """What timm's functions of the level give for each operation, without and with `inc`."""
    random.random = lambda: 0.0  # a sign of +
    ours = {
        "Rotate": "rotate",
        "Posterize": "posterize",
        "Solarize": "solarize",
        "SolarizeAdd": "solarize-add",
        "Color": "colour",
        "Contrast": "contrast",
        "Brightness": "brightness",
        "Sharpness": "sharpness",
        "ShearX": "shear-x",
        "ShearY": "shear-y",
        "TranslateXRel": "translate-x",
        "TranslateYRel": "translate-y",
    }
    cases = []
    for increasing, table in [
        (False, auto_augment._RAND_TRANSFORMS),
        (True, auto_augment._RAND_INCREASING_TRANSFORMS),
    ]:
        assert len(table) == 15
        for name in table:
            function = auto_augment.LEVEL_TO_ARG[name]
            if function is None:
                continue
            for level in [0.0, 3.3, 9.0, 10.0]:
                value = function(level, {})[0]
                kind = ours[name.replace("Increasing", "")]
                cases.append({"operation": kind, "increasing": increasing, "level": level, "value": value})
    return cases


def cut_boxes():
    """timm's box of cutmix for a weight and a centre."""
    cases = []
    for height, width, weight, down, right in [
        (224, 224, 0.5, 112, 112),
        (224, 224, 0.3, 0, 223),
        (32, 32, 0.9, 31, 5),
        (8, 8, 0.0, 3, 3),
        (8, 8, 1.0, 3, 3),
        (28, 28, 0.77, 14, 2),
    ]:
        centre = iter([down, right])
        np.random.randint = lambda low, high, size=None: np.int64(next(centre))
        (top, bottom, left, rest), corrected = mixup.cutmix_bbox_and_lam((3, height, width), weight)
        box = [int(left), int(top), int(rest), int(bottom)]
        cases.append(
            {
                "height": height,
                "width": width,
                "weight": weight,
                "down": down,
                "right": right,
                "box": box,
                "corrected": float(corrected),
            }
        )
    return cases


def crops(draws=40000):
    """Means of what timm's random resized crop draws."""
    cases = []
    for width, height, scale in [(64, 48, (0.08, 1.0)), (200, 30, (0.5, 1.0)), (20, 60, (0.08, 1.0)), (8, 8, (0.08, 1.0))]:
        image = Image.new("L", (width, height))
        random.seed(0)
        boxes = [
            timm_transforms.RandomResizedCropAndInterpolation.get_params(image, scale, (3 / 4, 4 / 3))
            for _ in range(draws)
        ]
        top, left, high, wide = np.array(boxes, dtype=float).T
        statistics = {
            "width": wide,
            "height": high,
            "left": left,
            "top": top,
            "area": wide * high,
            "ratio": np.log(wide / high),
        }
        cases.append(
            {
                "size": [width, height],
                "scale": scale,
                "mean": {key: value.mean() for key, value in statistics.items()},
                "std": {key: value.std() for key, value in statistics.items()},
            }
        )
    return cases


def erasings(draws=20000):
    """How much timm's random erasing erases, as moments of the erased share."""
    cases = []
    for size, probability, count in [(32, 1.0, 1), (32, 0.25, 1), (32, 1.0, 3), (8, 1.0, 1)]:
        random.seed(0)
        erase = random_erasing.RandomErasing(
            probability, mode="const", min_count=count, max_count=count, device="cpu"
        )
        shares = np.array([1.0 - erase(torch.ones(1, size, size)).mean().item() for _ in range(draws)])
        cases.append(
            {
                "size": size,
                "probability": probability,
                "count": count,
                "none": (shares == 0.0).mean(),
                "mean": shares.mean(),
                "std": shares.std(),
            }
        )
    return cases


def rand_augments(draws=20000):
    """How often timm's policy does what, by the operation alone or nothing."""
    random.seed(0)
    np.random.seed(0)
    policy = auto_augment.rand_augment_transform("rand-m9-mstd0.5-inc1", {"img_mean": FILL["RGB"]})
    magnitudes = []
    for op in policy.ops:
        op.level_fn, op.aug_fn = (lambda level, _: (level,)), (lambda img, level, **_: magnitudes.append(level))
    for _ in range(draws):
        policy(0)
    magnitudes = np.array(magnitudes)
    return {
        "applied": len(magnitudes) / draws,
        "mean": magnitudes.mean(),
        "std": magnitudes.std(),
        "clipped": (magnitudes == 10.0).mean(),
    }


document = {
    "sources": {name: written(image) for name, image in SOURCES.items()},
    "crops": crops(),
    "erasings": erasings(),
    "rand_augment": rand_augments(),
    "operations": operations(),
    "resizes": resizes(),
    "evaluations": evaluations(),
    "levels": levels(),
    "cut_boxes": cut_boxes(),
}
lines = []
for key, value in document.items():
    if isinstance(value, list):
        body = ",\n".join(json.dumps(one) for one in value)
        lines.append(f'"{key}": [\n{body}\n]')
    else:
        lines.append(f'"{key}": {json.dumps(value)}')
sys.stdout.write("{\n" + ",\n".join(lines) + "\n}\n")
