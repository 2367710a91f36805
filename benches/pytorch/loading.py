"""Loads pictures with timm and tells how long that takes: a worker of the bench.

It reads one command a line, as JSON, and answers each with one line:

{"do": "about"}: versions.
{"do": "make", "folder", "train", "validation"}: writes a set of pictures like ImageNet's, `large`,
    and one of 32 pixels, `small`.
{"do": "open", "folder", "part", "size", "batch", "normalise_in_workers"}: takes the training or the
    validation pictures of a set with the recipe of DeiT, in place of the one before.
{"do": "epoch"}: loads every picture once; seconds, seconds of all processors, and pictures.
"""

import io
import json
import os
import pathlib
import sys
import time
import traceback

import numpy as np
import PIL
import timm
import torch
import torchvision
from PIL import Image, features
from timm.data import ImageDataset, auto_augment, create_loader
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

# Widths and heights that are frequent in ImageNet; the mean of all is 400 x 350.
SIZES = [(500, 375), (500, 333), (375, 500), (500, 375), (333, 500), (400, 300), (500, 400), (640, 480)]
CLASSES = 4


def texture(random, width, height):
    """Noise with as much in every octave, as photographs have it, over colours that vary slowly."""
    whole = np.zeros((height, width, 3), np.float32)
    size = 2
    while size < max(width, height):
        small = (max(2, size * width // max(width, height)), max(2, size * height // max(width, height)))
        grey = random.normal(size=(small[1], small[0], 1)) * 26
        colour = random.normal(size=(small[1], small[0], 3)) * (60 if size == 2 else 6)
        for channel in range(3):
            plane = Image.fromarray((grey[:, :, 0] + colour[:, :, channel]).astype(np.float32))
            whole[:, :, channel] += np.asarray(plane.resize((width, height), Image.BICUBIC))
        size *= 2
    whole += random.normal(size=(height, width, 1)) * 5
    return Image.fromarray((whole + 118).clip(0, 255).astype(np.uint8))


def make(command):
    """Photographs are JPEG files with halved colours, of quality 85 to 95 at most; the small ones
    PNG files."""
    random = np.random.default_rng(0)
    sizes = []
    for part, count in (("train", command["train"]), ("val", command["validation"])):
        for index in range(count):
            width, height = SIZES[index % len(SIZES)]
            picture = texture(random, width, height)
            data = io.BytesIO()
            picture.save(data, "JPEG", quality=90)
            sizes.append(data.tell() / 1000)
            for name, ending in (("large", "jpg"), ("small", "png")):
                folder = pathlib.Path(command["folder"]) / name / part / f"class-{index % CLASSES}"
                folder.mkdir(parents=True, exist_ok=True)
                path = folder / f"{index:05}.{ending}"
                if ending == "jpg":
                    path.write_bytes(data.getvalue())
                else:
                    picture.resize((32, 32), Image.BICUBIC, reducing_gap=2.0).save(path)
    return {"kilobytes": sum(sizes) / len(sizes)}


class Padded:
    """DeiT's crop of small pictures in place of the random region."""

    def __init__(self, size):
        self.crop = torchvision.transforms.RandomCrop(size, padding=4)

    def __call__(self, picture):
        return self.crop(picture)


def posterize(picture, bits, posterize=auto_augment.posterize, **rest):
    """timm's, which asks for no bits at all at magnitude 10: Pillow 13 refuses that."""
    if bits == 0:
        return Image.new(picture.mode, picture.size)
    return posterize(picture, bits, **rest)


auto_augment.NAME_TO_OP["PosterizeIncreasing"] = posterize


def loader_of(command, workers):
    training = command["part"] == "train"
    size = command["size"]
    small = size <= 32
    folder = pathlib.Path(command["folder"]) / command["part"]
    loader = create_loader(
        ImageDataset(str(folder)),
        input_size=(3, size, size),
        batch_size=command["batch"],
        is_training=training,
        re_prob=0.25 if training else 0.0,
        re_mode="pixel",
        hflip=0.5,
        color_jitter=0.0,
        auto_augment="rand-m9-mstd0.5-inc1" if training else None,
        interpolation="bicubic",
        mean=IMAGENET_DEFAULT_MEAN,
        std=IMAGENET_DEFAULT_STD,
        num_workers=workers,
        crop_pct=1.0 if small else 0.875,
        use_prefetcher=not command["normalise_in_workers"],
        device=torch.device("cpu"),
        persistent_workers=True,
    )
    if small and training:
        loader.dataset.transform.transforms[0] = Padded(size)
    return loader


def processor_seconds(pids):
    ticks = os.sysconf("SC_CLK_TCK")
    total = 0
    for pid in pids:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / ticks


def children():
    tasks = pathlib.Path("/proc/self/task")
    found = [(task / "children").read_text().split() for task in tasks.iterdir()]
    return [pid for some in found for pid in some]


def epoch(loader):
    used = processor_seconds(["self", *children()])
    begun = time.perf_counter()
    pictures, total = 0, 0.0
    for images, _ in loader:
        pictures += len(images)
        # A value of the batch, so that it is really there.
        total += images[0, 0, 0, 0].item()
    seconds = time.perf_counter() - begun
    used = processor_seconds(["self", *children()]) - used
    return {"seconds": seconds, "processor": used, "pictures": pictures, "value": total}


def main():
    workers = int(sys.argv[1])
    torch.set_num_threads(1)
    loader = None
    for line in sys.stdin:
        command = json.loads(line)
        try:
            if command["do"] == "make":
                answer = make(command)
            elif command["do"] == "open":
                loader = None
                loader = loader_of(command, workers)
                # The first pass starts the workers.
                answer = epoch(loader)
            elif command["do"] == "epoch":
                answer = epoch(loader)
            else:
                answer = {
                    "versions": f"timm {timm.__version__}, torchvision {torchvision.__version__}, "
                    f"PyTorch {torch.__version__}, Pillow {PIL.__version__} "
                    f"(libjpeg-turbo {features.version('libjpeg_turbo')}), Python {sys.version.split()[0]}"
                }
        except Exception:
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer), flush=True)


main()
