"""Values and gradients of the shipped losses from PyTorch 1.13, in float64.

    python3 tests/losses/reference.py > tests/losses/reference.json

The losses are those of PyTorch where it has them; focal, poly-1, and the z-loss are written as in their
papers, and differentiated by PyTorch.
"""

import json

import torch
import torch.nn.functional as F

torch.manual_seed(7)
PICTURES, CLASSES, TOKENS, WIDTH = 5, 4, 3, 6
DOUBLE = torch.float64


def normal(*shape):
    # Through float32, since that is what the host is given.
    return (1.5 * torch.randn(*shape)).float().to(DOUBLE)


LOGITS = normal(PICTURES, CLASSES)
TAUGHT = normal(PICTURES, CLASSES)
IDS = torch.randint(CLASSES, (PICTURES,))
SHARES = torch.tensor([0.75, 0.5, 0.25, 0.625, 1.0], dtype=DOUBLE).unsqueeze(1)
HARD = F.one_hot(IDS, CLASSES).to(DOUBLE)
MIXED = SHARES * HARD + (1 - SHARES) * HARD.flip(0)
NETWORK = [normal(PICTURES, TOKENS, WIDTH) for _ in range(2)]
META = [normal(PICTURES, TOKENS, WIDTH) for _ in range(2)]


def smooth(y, e):
    return (1 - e) * y + e / CLASSES


def cross_entropy(smoothing=0.0):
    # PyTorch's own takes class probabilities and smooths them the same way.
    return lambda z, f, y: F.cross_entropy(z, y, label_smoothing=smoothing)


def bce(smoothing=0.0, threshold=None, weight=1.0, total=False):
    def loss(z, f, y):
        y = smooth(y, smoothing)
        if threshold is not None:
            y = y.gt(threshold).to(DOUBLE)
        each = F.binary_cross_entropy_with_logits(
            z, y, reduction="none", pos_weight=torch.tensor(weight, dtype=DOUBLE)
        )
        return each.sum(-1).mean() if total else each.mean()

    return loss


def focal(gamma):
    def loss(z, f, y):
        p = z.softmax(-1)
        return -(y * (1 - p) ** gamma * p.log()).sum(-1).mean()

    return loss


def poly(epsilon, smoothing):
    def loss(z, f, y):
        y = smooth(y, smoothing)
        return F.cross_entropy(z, y) + epsilon * (y * (1 - z.softmax(-1))).sum(-1).mean()

    return loss


def z_loss(factor):
    return lambda z, f, y: factor * z.logsumexp(-1).pow(2).mean()


def distillation(form, alpha, temperature=1.0, elements=False, smoothing=0.0):
    def loss(z, f, y):
        if form == "soft":
            # As DeiT writes it.
            distance = F.kl_div(
                (z / temperature).log_softmax(-1),
                (TAUGHT / temperature).log_softmax(-1),
                reduction="sum" if elements else "batchmean",
                log_target=True,
            ) * (temperature * temperature)
            if elements:
                distance = distance / z.numel()
        else:
            distance = F.cross_entropy(z, TAUGHT.argmax(-1))
        return (1 - alpha) * F.cross_entropy(z, smooth(y, smoothing)) + alpha * distance

    return loss


DISTANCES = {
    "l1": F.l1_loss,
    "l2": F.mse_loss,
    "huber": lambda a, b: F.huber_loss(a, b, delta=0.5),
    "cosine": lambda a, b: (1 - F.cosine_similarity(a, b, dim=-1)).mean(),
}


def imitation(distance, module, every=False):
    between = DISTANCES[distance]

    def loss(z, f, y):
        pairs = [(f[i], META[i]) for i in range(2)] + [(z, TAUGHT)]
        pairs = pairs[module:] if every else pairs[module : module + 1]
        return sum(between(own, other) for own, other in pairs) / len(pairs)

    return loss


CASES = [
    ("cross-entropy", {}, cross_entropy()),
    ("cross-entropy", {"smoothing": 0.1}, cross_entropy(0.1)),
    ("bce", {}, bce()),
    ("bce", {"smoothing": 0.1}, bce(0.1)),
    ("bce", {"threshold": 0.2}, bce(threshold=0.2)),
    ("bce", {"smoothing": 0.1, "threshold": 0.2, "positive_weight": 2.5, "sum_classes": True},
     bce(0.1, 0.2, 2.5, True)),
    ("focal", {"gamma": 0.5}, focal(0.5)),
    ("focal", {"gamma": 2.0}, focal(2.0)),
    ("poly-1", {"epsilon": 1.0}, poly(1.0, 0.0)),
    ("poly-1", {"epsilon": -0.5, "smoothing": 0.1}, poly(-0.5, 0.1)),
    ("z-loss", {"factor": 0.25}, z_loss(0.25)),
    ("distillation", {"alpha": 1.0}, distillation("soft", 1.0)),
    ("distillation", {"alpha": 0.3, "temperature": 3.0, "smoothing": 0.1},
     distillation("soft", 0.3, 3.0, smoothing=0.1)),
    ("distillation", {"alpha": 0.7, "temperature": 2.0, "normalisation": "elements"},
     distillation("soft", 0.7, 2.0, True)),
    ("distillation", {"form": "hard"}, distillation("hard", 0.5)),
]
CASES = [(name, given, loss, 0) for name, given, loss in CASES]
for distance in DISTANCES:
    given = {"distance": distance}
    if distance == "huber":
        given["delta"] = 0.5
    for module in range(3):
        CASES.append(("imitation", given, imitation(distance, module), module))
    every = dict(given, boundaries="all")
    CASES.append(("imitation", every, imitation(distance, 1, True), 1))


def numbers(tensor):
    return [float(f"{value:.10g}") for value in tensor.flatten()]


def run(name, given, loss, module, mixed):
    z = LOGITS.clone().requires_grad_()
    features = [feature.clone().requires_grad_() for feature in NETWORK]
    value = loss(z, features, MIXED if mixed else HARD)
    value.backward()

    def gradient(leaf):
        return numbers(torch.zeros_like(leaf) if leaf.grad is None else leaf.grad)

    return {
        "plugin": name,
        "parameters": given,
        "module": module,
        "mixed": mixed,
        "loss": float(value),
        "logits": gradient(z),
        "network": [gradient(feature) for feature in features],
    }


reference = {
    "torch": torch.__version__,
    "shape": {"pictures": PICTURES, "classes": CLASSES, "tokens": TOKENS, "width": WIDTH},
    "logits": numbers(LOGITS),
    "class_ids": [int(id) for id in IDS],
    "soft_targets": numbers(MIXED),
    "teacher": numbers(TAUGHT),
    "network": [numbers(feature) for feature in NETWORK],
    "meta": [numbers(feature) for feature in META],
    "cases": [run(*case, mixed) for case in CASES for mixed in [False, True]],
}
# A line for each case.
lines = ["{"]
for key, value in reference.items():
    if key == "cases":
        lines.append(' "cases": [')
        lines.append(",\n".join("  " + json.dumps(case) for case in value))
        lines.append(" ]")
    else:
        lines.append(f" {json.dumps(key)}: {json.dumps(value)},")
lines.append("}")
print("\n".join(lines))
