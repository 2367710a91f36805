"""Partition scheme `front-light`: n / K blocks for every module; the remainder, one each, to the last
modules, so that the first ones are the light ones."""

from incubate import Plugin, describe, fault, parameter
from wit_world.exports.partition import ModuleDepth

Description = describe(
    parameter("meta_depth", "Blocks of every meta module", "integer", default=1, minimum=1.0)
)


class Partition(Plugin):
    def divide(self, request):
        blocks, modules, meta = len(request.blocks), request.modules, self.settings["meta_depth"]
        if not 1 <= modules <= blocks:
            raise fault(
                "invalid-input",
                f"{modules} modules cannot divide {blocks} blocks",
                "take from 1 module to as many as there are blocks",
            )
        depth, deeper = divmod(blocks, modules)
        # The first module is the shallowest.
        if meta > depth:
            raise fault(
                "invalid-input",
                f"`meta_depth` is {meta}, and a target module has {depth} blocks",
                "take a smaller `meta_depth` or fewer modules",
            )
        light = modules - deeper
        return [ModuleDepth(depth + (module >= light), meta) for module in range(modules)]
