"""Checkpoints as people have them, written and loaded by PyTorch.

`checkpoint.py write FOLDER` makes a random Vision Transformer of the dimensions in FOLDER/model.json
and saves it in every form that a reader should know, with the logits of some random pictures.
`checkpoint.py load FOLDER FILE` loads FILE strictly into a network of timm's names, of the
dimensions in FOLDER/model.json, and writes the logits of the pictures in FOLDER/images.safetensors.
Where timm is installed, its own class must load the same file and give the same logits.
"""

import argparse
import collections
import copy
import json
import pathlib
import sys

import torch
from torch import nn

import files
import vit


def flat(config):
    """One stage that is first and last: timm's names."""
    network = vit.Stage(config, config["depth"], True, True)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)
    return network.eval()


def logits(network, images):
    blocks = len(network.blocks)
    with torch.no_grad():
        return network(images, images.new_ones(blocks, 2, len(images)))


def stages(state, depths):
    """The weights by stage, with names local to the stage."""
    found, first = [], 0
    for index, depth in enumerate(depths):
        stage = collections.OrderedDict()
        for name, tensor in state.items():
            if name.startswith("blocks."):
                _, block, rest = name.split(".", 2)
                if first <= int(block) < first + depth:
                    stage[f"blocks.{int(block) - first}.{rest}"] = tensor
            elif name.startswith(("norm.", "head.")):
                if index + 1 == len(depths):
                    stage[name] = tensor
            elif index == 0:
                stage[name] = tensor
        found.append(stage)
        first += depth
    return found


def strided(state):
    """The same values, in storages that are shared, longer, or in another order."""
    views = collections.OrderedDict()
    vectors = [name for name, tensor in state.items() if tensor.dim() == 1]
    shared = torch.cat([torch.full((5,), 9.0)] + [state[name] for name in vectors])
    offset = 5
    for name, tensor in state.items():
        if tensor.dim() == 1:
            views[name] = shared[offset : offset + len(tensor)]
            offset += len(tensor)
        elif tensor.dim() == 2:
            views[name] = tensor.t().contiguous().t()
        elif tensor.dim() == 4:
            wide = torch.full((*tensor.shape[:3], 2 * tensor.shape[3]), 7.0)
            wide[..., ::2] = tensor
            views[name] = wide[..., ::2]
        else:
            views[name] = tensor
    assert all(torch.equal(views[name], state[name]) for name in state)
    return views


class Meter:
    """Something of a training script that a checkpoint should not have."""

    def __init__(self):
        self.values = [1.0, 2.0]


def write(folder):
    config = json.loads((folder / "model.json").read_text())
    torch.manual_seed(1)
    network = flat(config)
    state = network.state_dict()
    images = torch.randn(3, config["channels"], config["image_size"], config["image_size"])
    answers = {"images": images, "float": logits(network, images)}

    def save(name, content, **how):
        torch.save(content, folder / f"{name}.pth", **how)

    def rounded(kind):
        other = copy.deepcopy(network)
        other.load_state_dict({name: tensor.to(kind).float() for name, tensor in state.items()})
        return logits(other, images)

    save("flat", state)
    save("legacy", state, _use_new_zipfile_serialization=False)
    save("protocol4", state, pickle_protocol=4)
    save("parameters", dict(network.named_parameters()))
    save("strided", strided(state))
    save("strided-legacy", strided(state), _use_new_zipfile_serialization=False)
    for name, kind in [("half", torch.half), ("bfloat16", torch.bfloat16), ("double", torch.double)]:
        save(name, {key: tensor.to(kind) for key, tensor in state.items()})
    answers["half"] = rounded(torch.half)
    answers["bfloat16"] = rounded(torch.bfloat16)

    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    logits_of_training = network(images, images.new_ones(config["depth"], 2, len(images)))
    logits_of_training.sum().backward()
    averaged = flat(config)
    other = flat(config)
    answers["averaged"] = logits(averaged, images)
    save(
        "deit",
        {
            "model": state,
            "optimizer": optimizer.state_dict(),
            "lr_scheduler": {"base_values": [1e-3], "metric": None, "noise_range_t": None},
            "epoch": 299,
            "model_ema": averaged.state_dict(),
            "scaler": {"scale": 65536.0, "_growth_tracker": 17},
            "args": argparse.Namespace(
                model="deit_tiny", data_path=pathlib.Path("/data"), betas=(0.9, 0.999), big=1 << 80
            ),
            "meter": Meter(),
        },
    )
    wrapped = {f"module.{name}": tensor for name, tensor in state.items()}
    save("wrapped", {"arch": "vit", "state_dict": wrapped, "state_dict_ema": averaged.state_dict()})
    save("averaged", {"model_ema": averaged.state_dict(), "epoch": 3})

    depths = config["stages"]
    local = stages(state, depths)
    twice = collections.OrderedDict(state)
    for index, stage in enumerate(local):
        twice.update({f"stages.{index}.{name}": tensor for name, tensor in stage.items()})
    everything = {"model": twice, "model_stages": local, "epoch": 4, "scaler": None}
    save("reference", everything)
    save("twice", {"model": twice})
    for index, stage in enumerate(local):
        save(f"stage-{index}", stage)

    # What is refused.
    save("whole", network)
    save("distilled", {"model": {**state, "dist_token": torch.zeros(1, 1, config["width"])}})
    save("no-class-token", {key: state[key] for key in state if key != "cls_token"})
    save("whole-numbers", {key: tensor.long() for key, tensor in state.items()})
    save("two-networks", {"teacher": state, "student": other.state_dict()})
    files.write(folder / "answers.safetensors", answers)


def load(folder, file):
    config = json.loads((folder / "model.json").read_text())
    images = files.read(folder / "images.safetensors")["images"]
    tensors = files.read(file)
    network = flat(config)
    network.load_state_dict(tensors, strict=True)
    answer = logits(network, images)
    judges = ["torch"]
    try:
        from timm.models.vision_transformer import VisionTransformer
    except ImportError:
        pass
    else:
        from functools import partial

        model = VisionTransformer(
            img_size=config["image_size"],
            patch_size=config["patch_size"],
            in_chans=config["channels"],
            num_classes=config["classes"],
            embed_dim=config["width"],
            depth=config["depth"],
            num_heads=config["heads"],
            mlp_ratio=config["mlp_ratio"],
            qkv_bias=config["qkv_bias"],
            norm_layer=partial(nn.LayerNorm, eps=config["layer_norm_eps"]),
        )
        model.load_state_dict(tensors, strict=True)
        with torch.no_grad():
            difference = (model.eval()(images) - answer).abs().max().item()
        assert difference <= 1e-5, f"timm's logits differ by {difference}"
        judges.append("timm")
    files.write(folder / "answers.safetensors", {"logits": answer})
    print(json.dumps(judges))


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(pathlib.Path(sys.argv[2]))
    else:
        load(pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]))
