"""Writes expected.json: position embeddings that PyTorch interpolates, for host/src/model/vit/position.rs.

Debian's python3-torch is enough: /usr/bin/python3 tests/position/make.py
"""

import json
import pathlib

import torch

WIDTH = 3
SIDES = [(2, 3), (4, 6), (7, 12), (14, 24), (6, 4), (1, 3), (5, 5)]

torch.manual_seed(0)
cases = []
for old_side, new_side in SIDES:
    # In 64 bits, so that what differs is not PyTorch's rounding.
    values = torch.randn(1, 1 + old_side * old_side, WIDTH, dtype=torch.float64)
    values = torch.round(values, decimals=4)
    class_token, grid = values[:, :1], values[:, 1:]
    grid = grid.reshape(1, old_side, old_side, WIDTH).permute(0, 3, 1, 2)
    grid = torch.nn.functional.interpolate(
        grid, size=(new_side, new_side), mode="bicubic", align_corners=False
    )
    grid = grid.permute(0, 2, 3, 1).reshape(1, new_side * new_side, WIDTH)
    interpolated = torch.cat([class_token, grid], dim=1)
    cases.append(
        {
            "old_side": old_side,
            "new_side": new_side,
            "width": WIDTH,
            "values": [round(value, 4) for value in values.flatten().tolist()],
            "interpolated": [round(value, 7) for value in interpolated.flatten().tolist()],
        }
    )
lines = ",\n".join(json.dumps(case) for case in cases)
text = '{"torch": "%s", "cases": [\n%s\n]}\n' % (torch.__version__, lines)
pathlib.Path(__file__).with_name("expected.json").write_text(text)
