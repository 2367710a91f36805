"""Trains networks in PyTorch at its best and tells how long that takes: the worker of the bench.

It reads one command a line, as JSON, and answers each with one line:

{"do": "open", "folder", "name", "precision", "trained"}: takes the network NAME (NAME.json has its
    dimensions, NAME.weights and NAME.batch are safetensors files), in place of the one before.
{"do": "step", "calls"}: trains; seconds until the loss, the gradients, and the new weights are
    there, and the first and the least loss.
{"do": "evaluate", "calls"}: passes the batch forward without a graph; seconds, and the loss.
{"do": "about"}: versions.
{"do": "memory"}: the most bytes that this process had in memory, and those that it has.
"""

import json
import pathlib
import sys
import time
import traceback

import torch
import torch.nn.functional as F

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "tests" / "pytorch"))

import files  # noqa: E402
from vit import Vit  # noqa: E402


def optimizer_of(network, settings):
    """The fastest AdamW that this version has, for the parameters that are trained."""
    groups = {True: [], False: []}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            spared = parameter.ndim == 1 or name.endswith(("pos_embed", "cls_token"))
            groups[not spared].append(parameter)
    decay = settings["weight_decay"]
    groups = [
        {"params": parameters, "weight_decay": decay if decays else 0.0}
        for decays, parameters in groups.items()
        if parameters
    ]
    rest = {"lr": settings["rate"], "betas": tuple(settings["betas"]), "eps": settings["epsilon"]}
    for way in ("fused", "foreach"):
        try:
            return way, torch.optim.AdamW(groups, **rest, **{way: True})
        except (TypeError, RuntimeError):
            continue
    return "one by one", torch.optim.AdamW(groups, **rest)


class Training:
    def __init__(self, command):
        path = pathlib.Path(command["folder"]) / command["name"]
        settings = json.loads(path.with_suffix(".json").read_text())
        fused = hasattr(F, "scaled_dot_product_attention")
        config = dict(settings["model"], fused_attention=fused)
        self.network = Vit(config, settings["depths"])
        self.network.load_state_dict(files.read(path.with_suffix(".weights")))
        batch = files.read(path.with_suffix(".batch"))
        self.images, self.labels = batch["images"], batch["labels"]
        self.mixed = command["precision"] == "bfloat16"
        self.trained = command["trained"]
        if self.trained is not None:
            for index, stage in enumerate(self.network.stages):
                stage.requires_grad_(index == self.trained)
        self.way, self.optimizer = optimizer_of(self.network, settings)
        self.about = {
            "attention": "scaled_dot_product_attention" if fused else "composed",
            "optimizer": f"AdamW, {self.way}",
        }

    def loss(self):
        """The loss of the batch, with a graph behind the first stage that is trained."""
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.mixed):
            values = self.images
            first = self.trained or 0
            with torch.no_grad():
                for stage in self.network.stages[:first]:
                    values = stage(values)
            for stage in self.network.stages[first:]:
                values = stage(values)
            return F.cross_entropy(values.float(), self.labels)

    def step(self, calls):
        forward = backward = whole = 0.0
        losses = []
        for _ in range(calls):
            begun = time.perf_counter()
            loss = self.loss()
            forward += time.perf_counter() - begun
            loss.backward()
            backward += time.perf_counter() - begun
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            whole += time.perf_counter() - begun
            losses.append(loss.detach())
        return {
            "forward": forward / calls,
            "backward": backward / calls,
            "step": whole / calls,
            "first_loss": losses[0].item(),
            "least_loss": min(loss.item() for loss in losses),
        }

    def evaluate(self, calls):
        with torch.inference_mode():
            begun = time.perf_counter()
            for _ in range(calls):
                loss = self.loss()
            seconds = time.perf_counter() - begun
        return {"evaluation": seconds / calls, "loss": loss.item()}


def memory():
    """What Linux says of this process, in bytes."""
    fields = {}
    with open("/proc/self/status") as file:
        for line in file:
            name, _, value = line.partition(":")
            if name in ("VmHWM", "VmRSS"):
                fields[name] = int(value.split()[0]) * 1024
    return {"peak": fields["VmHWM"], "now": fields["VmRSS"]}


def main():
    torch.set_num_threads(int(sys.argv[1]))
    training = None
    for line in sys.stdin:
        command = json.loads(line)
        try:
            if command["do"] == "open":
                training = None
                training = Training(command)
                answer = training.about
            elif command["do"] == "step":
                answer = training.step(command["calls"])
            elif command["do"] == "evaluate":
                answer = training.evaluate(command["calls"])
            elif command["do"] == "about":
                answer = {"python": sys.version.split()[0], "torch": torch.__version__}
            else:
                answer = memory()
        except Exception:
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer), flush=True)


main()
