"""Trains networks in PyTorch as jobs say: python3 train.py FOLDER JOB...

A job is JOB.json (dimensions, settings) and JOB.safetensors (initial weights, and for every update
its pictures, labels, share of mixing, and factors of the residual branches). The answer is
JOB.answer.json (loss, rate, and norm of the gradients of every update, and the version of PyTorch)
and JOB.answer.safetensors (the weights in the end and the gradients of the first update).
"""

import json
import math
import sys

import torch
import torch.nn.functional as F

import files
from vit import Vit


def rate_at(schedule, update):
    """timm's cosine with warm-up, update by update."""
    rate, warmup = schedule["rate"], schedule["warmup"]
    if update < warmup:
        first = schedule["warmup_rate"]
        return first + update * (rate - first) / warmup
    least = schedule["min_rate"]
    return least + 0.5 * (rate - least) * (1 + math.cos(math.pi * update / schedule["updates"]))


def groups_of(network, weight_decay):
    """The parameters that are trained, those that do not decay apart, as DeiT sorts them."""
    decay, no_decay = [], []
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        spared = name.endswith((".bias", "pos_embed", "cls_token")) or parameter.ndim == 1
        (no_decay if spared else decay).append(parameter)
    return [
        {"params": decay, "weight_decay": weight_decay},
        {"params": no_decay, "weight_decay": 0.0},
    ]


def smoothed(labels, classes, smoothing):
    """timm's smoothed one-hot rows."""
    off = smoothing / classes
    rows = torch.full((len(labels), classes), off, dtype=torch.get_default_dtype())
    return rows.scatter_(1, labels[:, None], 1 - smoothing + off)


def targets_of(labels, share, classes, smoothing):
    """What a batch is trained towards: class ids, or with mixing a share of every class."""
    if share is None:
        return labels
    rows = smoothed(labels, classes, smoothing)
    return share * rows + (1 - share) * rows.flip(0)


def loss_of(logits, targets, smoothing):
    if targets.ndim == 1:
        return F.cross_entropy(logits, targets, label_smoothing=smoothing)
    return torch.sum(-targets * F.log_softmax(logits, dim=-1), dim=-1).mean()


def train(job, tensors):
    torch.set_default_dtype(getattr(torch, job["type"]))
    exact = {
        name: tensor.to(torch.get_default_dtype()) if tensor.is_floating_point() else tensor
        for name, tensor in tensors.items()
    }
    config = job["model"]
    network = Vit(config, job["depths"])
    network.load_state_dict(
        {name[len("weights.") :]: values for name, values in exact.items() if name.startswith("weights.")}
    )
    if job["trained"] is not None:
        for index, stage in enumerate(network.stages):
            stage.requires_grad_(index == job["trained"])
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(
        groups_of(network, job["weight_decay"]),
        lr=0.0,
        betas=tuple(job["betas"]),
        eps=job["epsilon"],
    )
    answer = {"losses": [], "rates": [], "norms": [], "version": torch.__version__}
    gradients = {}
    for update in range(job["updates"]):
        images, labels = exact["images"][update], exact["labels"][update]
        share = exact["shares"][update] if "shares" in exact else None
        factors = exact["factors"][update] if "factors" in exact else None
        if share is not None:
            images = share * images + (1 - share) * images.flip(0)
        targets = targets_of(labels, share, config["classes"], job["smoothing"])
        rate = rate_at(job["schedule"], update)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad()
        total = 0.0
        size = len(labels) // job["parts"]
        for first in range(0, len(labels), size):
            part = slice(first, first + size)
            logits = network(images[part], None if factors is None else factors[:, :, part])
            loss = loss_of(logits, targets[part], job["smoothing"]) / job["parts"]
            (job["scale"] * loss).backward()
            total += loss.item()
        if update == 0:
            gradients = {
                f"gradients.{name}": parameter.grad.clone()
                for name, parameter in network.named_parameters()
                if parameter.requires_grad
            }
        limit = job["clip"] or math.inf
        norm = torch.nn.utils.clip_grad_norm_(trained, limit)
        optimizer.step()
        answer["losses"].append(total)
        answer["rates"].append(rate)
        answer["norms"].append(norm.item())
    weights = {f"weights.{name}": values for name, values in network.state_dict().items()}
    return answer, {**weights, **gradients}


def main():
    folder, *names = sys.argv[1:]
    torch.set_num_threads(1)
    for name in names:
        with open(f"{folder}/{name}.json") as file:
            job = json.load(file)
        answer, tensors = train(job, files.read(f"{folder}/{name}.safetensors"))
        files.write(f"{folder}/{name}.answer.safetensors", tensors)
        with open(f"{folder}/{name}.answer.json", "w") as file:
            json.dump(answer, file)


main()
