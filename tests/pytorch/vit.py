"""A Vision Transformer in stages, out of PyTorch's own parts and with timm's names.

Stage 0 owns the embeddings, the last stage the final norm and the head.
"""

from itertools import repeat

import torch
import torch.nn.functional as F
from torch import nn


class Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        width = config["width"]
        self.heads = config["heads"]
        self.fused = config.get("fused_attention", False)
        self.qkv = nn.Linear(width, 3 * width, bias=config["qkv_bias"])
        self.proj = nn.Linear(width, width)

    def forward(self, tokens):
        batch, count, width = tokens.shape
        query, key, value = self.qkv(tokens).chunk(3, dim=-1)

        def split(part):
            return part.reshape(batch, count, self.heads, width // self.heads).transpose(1, 2)

        query, key, value = split(query), split(key), split(value)
        if self.fused:
            mixed = F.scaled_dot_product_attention(query, key, value)
        else:
            scores = query @ key.transpose(-2, -1) / (width // self.heads) ** 0.5
            mixed = torch.softmax(scores, dim=-1) @ value
        return self.proj(mixed.transpose(1, 2).reshape(batch, count, width))


class Perceptron(nn.Module):
    def __init__(self, config):
        super().__init__()
        width = config["width"]
        hidden = width * config["mlp_ratio"]
        self.fc1 = nn.Linear(width, hidden)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, tokens):
        return self.fc2(self.act(self.fc1(tokens)))


class Block(nn.Module):
    def __init__(self, config):
        super().__init__()
        epsilon = config["layer_norm_eps"]
        self.norm1 = nn.LayerNorm(config["width"], eps=epsilon)
        self.attn = Attention(config)
        self.norm2 = nn.LayerNorm(config["width"], eps=epsilon)
        self.mlp = Perceptron(config)

    def forward(self, tokens, factors=None):
        """`factors`: of the two branches, [2, batch]; 0 drops a branch."""
        if factors is None:
            tokens = tokens + self.attn(self.norm1(tokens))
            return tokens + self.mlp(self.norm2(tokens))
        first, second = factors[:, :, None, None]
        tokens = tokens + first * self.attn(self.norm1(tokens))
        return tokens + second * self.mlp(self.norm2(tokens))


class PatchEmbed(nn.Module):
    def __init__(self, config):
        super().__init__()
        patch = config["patch_size"]
        self.proj = nn.Conv2d(config["channels"], config["width"], patch, stride=patch)

    def forward(self, images):
        return self.proj(images).flatten(2).transpose(1, 2)


class Stage(nn.Module):
    def __init__(self, config, depth, first, last):
        super().__init__()
        width = config["width"]
        self.first, self.last = first, last
        if first:
            count = (config["image_size"] // config["patch_size"]) ** 2 + 1
            self.pos_embed = nn.Parameter(torch.zeros(1, count, width))
            self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
            self.patch_embed = PatchEmbed(config)
        self.blocks = nn.ModuleList(Block(config) for _ in range(depth))
        if last:
            self.norm = nn.LayerNorm(width, eps=config["layer_norm_eps"])
            self.head = nn.Linear(width, config["classes"])

    def forward(self, values, factors=None):
        if self.first:
            patches = self.patch_embed(values)
            classes = self.cls_token.expand(len(patches), -1, -1)
            values = torch.cat([classes, patches], dim=1) + self.pos_embed
        for block, block_factors in zip(self.blocks, repeat(None) if factors is None else factors):
            values = block(values, block_factors)
        return self.head(self.norm(values)[:, 0]) if self.last else values


class Vit(nn.Module):
    def __init__(self, config, depths):
        super().__init__()
        self.depths = depths
        last = len(depths) - 1
        self.stages = nn.ModuleList(
            Stage(config, depth, index == 0, index == last) for index, depth in enumerate(depths)
        )

    def forward(self, images, factors=None):
        """`factors`: of every block's two branches, [blocks, 2, batch]."""
        parts = repeat(None) if factors is None else factors.split(self.depths)
        for stage, part in zip(self.stages, parts):
            images = stage(images, part)
        return images
