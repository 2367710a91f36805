"""Writes expected.json: values of timm and PyTorch that tests/recipe.rs and unit tests compare with.

Run with PyTorch 1.13 or newer, timm 1.0, and safetensors: python reference.py
"""

import json
import os

import torch
from safetensors.torch import load_file
from timm.models.vision_transformer import VisionTransformer
from timm.optim import param_groups_layer_decay
from timm.utils import ModelEmaV2
from torch import nn

HERE = os.path.dirname(os.path.abspath(__file__))
PARITY = os.path.join(HERE, "..", "parity")


class Scalar(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))


# What an average over these weights is after each of them; the first is where it begins.
WEIGHTS = [1.0, 0.5, -2.0, 3.0, 3.25, 0.125, 7.0]


def averages(decay):
    model = Scalar(WEIGHTS[0])
    average = ModelEmaV2(model, decay=decay)
    found = []
    for weight in WEIGHTS[1:]:
        model.value.data.fill_(weight)
        average.update(model)
        found.append(average.module.value.item())
    return found


def averages_with_warm_up(decay):
    """ModelEmaV2 whose decay is min(decay, (1 + t) / (10 + t)) at update t, as in TensorFlow."""
    model = Scalar(WEIGHTS[0])
    average = ModelEmaV2(model, decay=decay)
    found = []
    for update, weight in enumerate(WEIGHTS[1:], start=1):
        model.value.data.fill_(weight)
        average.decay = min(decay, (1 + update) / (10 + update))
        average.update(model)
        found.append(average.module.value.item())
    return found


def network(config, depth):
    return VisionTransformer(
        img_size=config["image_size"],
        patch_size=config["patch_size"],
        in_chans=config["channels"],
        num_classes=config["classes"],
        embed_dim=config["embed_dim"],
        depth=depth,
        num_heads=config["heads"],
        mlp_ratio=config["mlp_ratio"],
        qkv_bias=config["qkv_bias"],
    )


def layer_scales(config):
    """The factors of the learning rate at layer decay 0.75, depth 4, by parameter."""
    model = network(config, 4)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = param_groups_layer_decay(model, 0.05, layer_decay=0.75)
    return {
        names[id(parameter)]: group["lr_scale"]
        for group in groups
        for parameter in group["params"]
    }


def half(config):
    """The meta model of the parity folder under autocast: logits, loss, norms of gradients."""
    tensors = load_file(os.path.join(PARITY, "meta.safetensors"))
    depths = config["meta_depths"]
    flat = {}
    for name, tensor in tensors.items():
        _, stage, rest = name.split(".", 2)
        if rest.startswith("blocks."):
            _, block, rest = rest.split(".", 2)
            rest = f"blocks.{sum(depths[:int(stage)]) + int(block)}.{rest}"
        flat[rest] = tensor
    model = network(config, sum(depths))
    model.load_state_dict(flat)
    batch = load_file(os.path.join(PARITY, "batch.safetensors"))
    found = {}
    for name, enabled in [("float32", False), ("bfloat16", True)]:
        model.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            logits = model(batch["images"])
            loss = nn.functional.cross_entropy(logits.float(), batch["labels"])
        loss.backward()
        assert all(p.grad.dtype == torch.float32 for p in model.parameters())
        found[name] = {
            "loss": loss.item(),
            "logits": logits.float().flatten().tolist(),
            "gradient_norms": {n: p.grad.norm().item() for n, p in model.named_parameters()},
        }
    return found


def main():
    with open(os.path.join(PARITY, "expected.json")) as file:
        config = json.load(file)["config"]
    expected = {
        "weights": WEIGHTS,
        "average_0.9": averages(0.9),
        "average_0.9_with_warm_up": averages_with_warm_up(0.9),
        "layer_scales_0.75": layer_scales(config),
        "precision": half(config),
    }
    with open(os.path.join(HERE, "expected.json"), "w") as file:
        json.dump(expected, file, indent=1)
        file.write("\n")


main()
