"""Writes the initial weights of a Vision Transformer: python3 initial.py CONFIG.json WEIGHTS.

They are drawn by PyTorch: truncated normal where timm does so, and PyTorch's own default for the
convolution.
"""

import json
import sys

import torch
from torch import nn

import files
from vit import Vit


def initialise(module):
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def main():
    config, weights = sys.argv[1:]
    with open(config) as file:
        job = json.load(file)
    torch.manual_seed(0)
    network = Vit(job["model"], job["depths"])
    network.apply(initialise)
    nn.init.trunc_normal_(network.stages[0].pos_embed, std=0.02)
    nn.init.trunc_normal_(network.stages[0].cls_token, std=0.02)
    files.write(weights, network.state_dict())


main()
